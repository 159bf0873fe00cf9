"""The topology service: probes, facts, graph, store, linkers (from the second step on).

A probe watches one source of truth and emits facts; the graph is built from facts alone. Never here: flows, metrics, the
query language, or a probe's import of another probe.
"""
