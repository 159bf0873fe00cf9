"""Node exporters: collectors (flows; later interfaces and sockets) and outputs (Prometheus, OTLP).

A collector reads one thing and hands on batches; an output turns batches into somebody's protocol. Never here: the graph
(``topology``), the command line, or one collector's import of another; what two collectors need lives in ``skytrail``.
"""
