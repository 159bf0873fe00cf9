"""The metrics of sockets, as data."""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

_WHERE, _WHERE_OTEL = ("netns",), ("skytrail.netns",)
_WHOSE, _WHOSE_OTEL = (*_WHERE, "process"), (*_WHERE_OTEL, "process.executable.name")
_MANY = "namespaces x process names (prometheus.owners, then 'overflow')"

SOCKETS = Metric(
    "skytrail_sockets", "skytrail.socket.count", Kind.GAUGE, "{socket}",
    "Sockets that processes have open, by state.", (*_WHERE, "transport", "state"), "namespaces x transports x 12",
    (*_WHERE_OTEL, "network.transport", "network.connection.state"),
)  # fmt: skip
RECEIVE_QUEUE = Metric(
    "skytrail_socket_receive_queue_bytes", "skytrail.socket.receive_queue", Kind.GAUGE, "By",
    "Bytes that wait to be read by the processes that have the sockets.", (*_WHERE, "transport"), "namespaces x transports",
    (*_WHERE_OTEL, "network.transport"),
)  # fmt: skip
SEND_QUEUE = Metric(
    "skytrail_socket_send_queue_bytes", "skytrail.socket.send_queue", Kind.GAUGE, "By",
    "Bytes that wait to be sent or acknowledged.", (*_WHERE, "transport"), "namespaces x transports",
    (*_WHERE_OTEL, "network.transport"),
)  # fmt: skip
DROPS = Metric(
    "skytrail_socket_dropped_packets_total", "skytrail.socket.dropped", Kind.COUNTER, "{packet}",
    "Packets that found no room in a socket's queue, or were no good for it.", (*_WHERE, "transport"),
    "namespaces x transports", (*_WHERE_OTEL, "network.transport"),
)  # fmt: skip
_LISTENER, _LISTENER_OTEL = (*_WHOSE, "port"), (*_WHOSE_OTEL, "server.port")
LISTEN_QUEUE = Metric(
    "skytrail_tcp_listen_queue", "skytrail.tcp.listen.queue", Kind.GAUGE, "{connection}",
    "Connections that wait to be accepted.", _LISTENER, "listeners, 1000 at most", _LISTENER_OTEL,
)  # fmt: skip
LISTEN_LIMIT = Metric(
    "skytrail_tcp_listen_queue_limit", "skytrail.tcp.listen.limit", Kind.GAUGE, "{connection}",
    "How many connections may wait to be accepted: more are dropped.", _LISTENER, "listeners, 1000 at most", _LISTENER_OTEL,
)  # fmt: skip
CONNECTS = Metric(
    "skytrail_tcp_connects_total", "skytrail.tcp.connects", Kind.COUNTER, "{connection}",
    "Connections that processes opened.", _WHOSE, _MANY, _WHOSE_OTEL,
)  # fmt: skip
ACCEPTS = Metric(
    "skytrail_tcp_accepts_total", "skytrail.tcp.accepts", Kind.COUNTER, "{connection}",
    "Connections that others opened to processes that listen.", _WHOSE, _MANY, _WHOSE_OTEL,
)  # fmt: skip
FAILURES = Metric(
    "skytrail_tcp_connect_failures_total", "skytrail.tcp.connect.failures", Kind.COUNTER, "{connection}",
    "Connections that could not be opened, by reason.", (*_WHOSE, "reason"), f"{_MANY} x reasons",
    (*_WHOSE_OTEL, "error.type"),
)  # fmt: skip
ENDS = Metric(
    "skytrail_tcp_ends_total", "skytrail.tcp.ends", Kind.COUNTER, "{connection}",
    "Ends of established connections, one for each end that is here, by how.", (*_WHOSE, "reason"), f"{_MANY} x 5",
    (*_WHOSE_OTEL, "reason"),
)  # fmt: skip
RETRANSMITS = Metric(
    "skytrail_tcp_process_retransmits_total", "skytrail.tcp.process.retransmits", Kind.COUNTER, "{segment}",
    "Segments that processes' TCP sockets sent again: of living ones as of the last pass, of others when they ended.",
    _WHOSE, _MANY, _WHOSE_OTEL,
)  # fmt: skip
CONNECT_SECONDS = Metric(
    "skytrail_tcp_connect_seconds", "skytrail.tcp.connect.duration", Kind.HISTOGRAM, "s",
    "Time from connect() to the connection.", _WHERE, "namespaces", _WHERE_OTEL,
    (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)  # fmt: skip
RTT_SECONDS = Metric(
    "skytrail_tcp_smoothed_rtt_seconds", "skytrail.tcp.smoothed_rtt", Kind.HISTOGRAM, "s",
    "Smoothed round-trip time of connections at their end.", _WHERE, "namespaces", _WHERE_OTEL,
    CONNECT_SECONDS.buckets,
)  # fmt: skip
LOST = Metric(
    "skytrail_socket_events_lost_total", "skytrail.socket.events.lost", Kind.COUNTER, "{event}",
    "What became of sockets and could not be told (the ring was full), whose (no memory for its owner), or not be kept for "
    "flows that ask (too many in a minute).", ("what",), "3",
)  # fmt: skip
PASSES = Metric(
    "skytrail_socket_passes_total", "skytrail.socket.passes", Kind.COUNTER, "{pass}", "Readings of all sockets.",
)  # fmt: skip
PASS_SECONDS = Metric(
    "skytrail_socket_pass_seconds_total", "skytrail.socket.pass.time", Kind.COUNTER, "s", "Time spent reading all sockets.",
)  # fmt: skip

DECLARED = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
