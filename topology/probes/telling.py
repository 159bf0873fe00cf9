"""Reports what is otherwise than before, of a source that is looked at as a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import structlog

from topology.facts import Fact, Report, Source

_log = structlog.get_logger(__name__)


class Teller:
    """Keeps what was reported, and reports the difference. For any thread.

    Args:
        report: takes a report; what it raises is logged, and all is told once more at the next time.
        source: under which the facts are reported.
        clock: µs since the epoch.

    Attributes:
        failure: why the last report was not taken; None: it was.
    """

    def __init__(self, report: Callable[[Report], object], source: Source, clock: Callable[[], int]) -> None:
        self._report, self._source, self._clock = report, source, clock
        self._told: dict[str, Fact] = {}
        self._whole = True
        self._lock = threading.Lock()
        self.failure: str | None = None

    def __len__(self) -> int:
        return len(self._told)

    def tell(self, facts: Iterable[Fact], observed: int | None = None) -> None:
        """These are all that there are, as of when they were observed (µs; None: now)."""
        with self._lock:
            self._tell({fact.id: fact for fact in facts}, self._clock() if observed is None else observed)

    def tell_all(self) -> None:
        """Report what was told last once more; nothing, if nothing was."""
        with self._lock:
            if not self._whole:
                self._whole = True
                self._tell(self._told, self._clock())

    def _tell(self, now: dict[str, Fact], observed: int) -> None:
        whole, before = self._whole, {} if self._whole else self._told
        changed = tuple(fact for id_, fact in now.items() if before.get(id_) != fact)
        gone = tuple(before.keys() - now.keys())
        if not (changed or gone or whole):
            return
        try:
            self._report(Report(self._source, observed, changed, gone, whole))
        except Exception as error:  # noqa: BLE001 - whatever the graph says, the watching goes on
            self.failure, self._whole = str(error), True
            _log.error("report_failed", probe=self._source.probe, error=str(error))
        else:
            self.failure, self._whole, self._told = None, False, now
