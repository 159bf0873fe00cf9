"""Collectors side by side: one that is slow or fails holds up neither the others nor whoever asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError

import structlog

from skytrail.errors import SkytrailError
from skytrail.metrics import Family, Kind, Metric, Source

_PATIENCE = 5.0  # seconds; Prometheus gives up after 10

SECONDS = Metric(
    "skytrail_collector_duration_seconds", "skytrail.collector.duration", Kind.GAUGE, "s",
    "How long a collector took to tell what it has, the last time that it was asked.", ("collector",), "collectors",
)  # fmt: skip
SUCCESS = Metric(
    "skytrail_collector_success", "skytrail.collector.success", Kind.GAUGE, "1",
    "Whether a collector told what it has, in time; else its series are missing from this answer.", ("collector",),
    "collectors",
)  # fmt: skip
DECLARED = (SECONDS, SUCCESS)

_log = structlog.get_logger(__name__)


class Collectors:
    """Sources by their names, asked all at once.

    Args:
        sources: each is asked on a thread of its own, by one at a time; who asks meanwhile gets the same answer.
        patience: seconds that an answer is waited for.
    """

    def __init__(self, sources: Mapping[str, Source], patience: float = _PATIENCE) -> None:
        self._sources = [_Asked(name, source) for name, source in sources.items()]
        self._patience = patience

    def families(self) -> Iterator[Family]:
        """What all of them have, and how that went."""
        until = time.monotonic() + self._patience
        answers = [(one, one.ask()) for one in self._sources]
        told: list[_Asked] = []
        for one, answer in answers:
            try:
                yield from answer.result(max(0.0, until - time.monotonic()))
                told.append(one)
                one.said = None
            except Exception as error:  # noqa: BLE001 - whatever one does, the others are told of
                if isinstance(error, LateError) and not answer.done():
                    _log.warning("collector_late", collector=one.name, seconds=self._patience, effect="its metrics are missing")
                elif isinstance(error, SkytrailError):
                    one.say(str(error))
                else:
                    _log.error("collector_failed", collector=one.name, error=str(error), exc_info=True)
        yield Family(SECONDS, [((one.name,), one.seconds) for one in self._sources])
        yield Family(SUCCESS, [((one.name,), float(one in told)) for one in self._sources])


class _Asked:
    """A source, and the answer that is under way."""

    def __init__(self, name: str, source: Source) -> None:
        self.name, self._source = name, source
        self.seconds = 0.0
        self.said: str | None = None  # why it tells nothing
        self._lock = threading.Lock()
        self._answer: Future[list[Family]] | None = None

    def say(self, why: str) -> None:
        """Log why it tells nothing, once."""
        if why != self.said:
            _log.warning("collector_tells_nothing", collector=self.name, reason=why)
        self.said = why

    def ask(self) -> Future[list[Family]]:
        with self._lock:
            if self._answer is None or self._answer.done():
                answer: Future[list[Family]] = Future()
                self._answer = answer
                # a daemon: the end of the process does not wait for one that hangs
                threading.Thread(target=self._collect, args=(answer,), name=f"collect-{self.name}", daemon=True).start()
            return self._answer

    def _collect(self, answer: Future[list[Family]]) -> None:
        begun = time.monotonic()
        try:
            found = list(self._source())
        except Exception as error:  # noqa: BLE001 - told to who asked
            self.seconds = time.monotonic() - begun
            answer.set_exception(error)
        else:
            self.seconds = time.monotonic() - begun
            answer.set_result(found)
