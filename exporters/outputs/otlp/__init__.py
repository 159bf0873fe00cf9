"""OTLP: spans of flow records and the declared metrics, to an OpenTelemetry collector by gRPC or HTTP/protobuf.

Here belong the encoding of columns and families into OTLP requests, their transport, the bounded queue between the two
and the counting of what it dropped. Never here: which attribute a flow gets or what a span means (the flows collector
hands over finished columns), the names of metrics (``skytrail.metrics``), or a reader of the environment
(``skytrail.settings``).

grpcio, protobuf and urllib3 are imported when an exporter is made: without OTLP an agent never pays for them.
"""
