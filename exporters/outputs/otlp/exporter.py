"""The OTLP output as a whole: batches of spans and families of metrics in, requests to the receiver out."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from exporters.outputs.otlp.columns import SpanColumns
from exporters.outputs.otlp.config import OtlpConfig, Signal
from exporters.outputs.otlp.queue import DEFAULT_BACKOFF, DEFAULT_LIMITS, Backoff, Encoded, ExportQueue, Limits
from exporters.outputs.otlp.spans import encode_spans
from exporters.outputs.otlp.transport import Connections, connect
from skytrail.metrics import Family

if TYPE_CHECKING:
    from exporters.outputs.otlp.attributes import Value

REQUEST_BYTES = 4_000_000
"""A request of spans beyond this is halved: gRPC receivers refuse messages of more than 4 MiB unless told otherwise."""


class OtlpExporter:
    """Encodes on the caller's thread, sends on one thread for each signal. Thread-safe.

    Args:
        config: where to and how.
        resource: attributes of this host and service (``service.name``, ``host.name``, ``host.id`` …).
        version: ours; named in the scope and the user agent.
        signals: what will be exported.
        limits: of each signal's queue.
        batch_max: spans in one request.
        backoff: between attempts.
        connections: is told what is sent where.

    Raises:
        NotSupportedError: the libraries of the extra ``otlp`` are not installed.
        SettingsError: an endpoint, header, certificate or key that cannot be used.
    """

    def __init__(
        self,
        config: OtlpConfig,
        resource: Mapping[str, Value],
        *,
        version: str,
        signals: Collection[Signal] = tuple(Signal),
        limits: Limits = DEFAULT_LIMITS,
        batch_max: int = 2048,
        backoff: Backoff = DEFAULT_BACKOFF,
        connections: Connections | None = None,
    ) -> None:
        self._batch_max = batch_max
        self._queues: dict[Signal, ExportQueue] = {}
        targets = {signal: config.target(signal) for signal in signals}
        transports = {signal: connect(target, f"skytrail/{version}", connections) for signal, target in targets.items()}
        from exporters.outputs.otlp import attributes  # noqa: PLC0415 - loads protobuf, only where OTLP is used

        self._resource = attributes.resource(resource)
        self._scope = attributes.scope("skytrail", version)
        for signal, transport in transports.items():
            timeout = targets[signal].timeout
            self._queues[signal] = ExportQueue(signal, transport, timeout=timeout, limits=limits, backoff=backoff)

    def export_spans(self, batch: SpanColumns) -> None:
        """Encode and queue spans in requests of at most ``batch_max`` spans and 4 MB; never waits for a receiver."""
        for start in range(0, len(batch), self._batch_max):
            self._offer_spans(batch.rows(start, start + self._batch_max))

    def export_metrics(self, families: Iterable[Family]) -> None:
        """Encode the values of metrics, read now, and queue them."""
        from exporters.outputs.otlp.metrics import encode_metrics  # noqa: PLC0415 - loads protobuf

        for request in encode_metrics(families, self._resource, self._scope, time.time_ns()):
            self._queues[Signal.METRICS].offer(request)

    def families(self) -> list[Family]:
        """The export's own metrics, one family for each name."""
        by_queue = [queue.families() for queue in self._queues.values()]
        return [
            Family(same[0].metric, [sample for family in same for sample in family.samples], same[0].start)
            for same in zip(*by_queue, strict=True)
        ]

    def queue(self, signal: Signal) -> ExportQueue:
        """One signal's queue, for its counters."""
        return self._queues[signal]

    def close(self, timeout: float) -> None:
        """Send what can be sent within ``timeout`` seconds, drop and count the rest, end the threads."""
        deadline = time.monotonic() + timeout
        for queue in self._queues.values():
            queue.begin_close(timeout)
        for queue in self._queues.values():
            queue.close(max(0.0, deadline - time.monotonic()))

    def _offer_spans(self, batch: SpanColumns) -> None:
        data = encode_spans(batch, self._resource, self._scope)
        half = len(batch) // 2
        if len(data) > REQUEST_BYTES and half:
            self._offer_spans(batch.rows(0, half))
            self._offer_spans(batch.rows(half, len(batch)))
        else:
            self._queues[Signal.TRACES].offer(Encoded(Signal.TRACES, len(batch), data))
