"""What leaves the exporter: Prometheus' text, OTLP's spans and metrics.

An output gets batches and declared metrics and renders them. Never here: collecting, or the names of metrics, which are
declared once, as data, in ``skytrail.metrics``.
"""
