"""Reports that are held while the store is away: in order, and not more than so many facts. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from topology.elements import Metadata
from topology.facts import EdgeFact, Fact, Report, Source

MOST_FACTS = 100_000
"""Of held reports; 1 KB each is usual."""


class Held:
    """A queue of reports, for one thread at a time.

    Beyond the bound those of each source become one, that says the same as all of them: what was in between is lost then,
    and what is now is not.

    Args:
        most: facts; with a larger graph, twice what it has.

    Attributes:
        facts: of the reports held.
        collapsed: reports that became part of others.
    """

    def __init__(self, most: int = MOST_FACTS) -> None:
        self._most = self._bound = most
        self._reports: deque[Report] = deque()
        self.facts = self.collapsed = 0

    def add(self, report: Report) -> None:
        """Take one more."""
        self._reports.append(report)
        self.facts += _size(report)
        if self.facts > self._bound:
            had = len(self._reports)
            self._reports = deque(collapse(self._reports))
            self.facts = sum(map(_size, self._reports))
            self.collapsed += had - len(self._reports)
            self._bound = max(self._most, 2 * self.facts)

    def first(self) -> Report | None:
        """The oldest, taken out; None: there is none."""
        if not self._reports:
            return None
        report = self._reports.popleft()
        self.facts -= _size(report)
        return report

    def put_back(self, report: Report) -> None:
        """Put one before all others."""
        self._reports.appendleft(report)
        self.facts += _size(report)

    def __len__(self) -> int:
        return len(self._reports)


@dataclass(slots=True)
class _Sum:
    observed: int = 0
    facts: dict[str, Fact] = field(default_factory=dict)
    gone: dict[str, None] = field(default_factory=dict)
    whole: bool = False
    volatile: dict[str, Metadata] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def take(self, report: Report) -> None:
        self.observed = report.observed
        if report.whole:
            self.facts = {id_: one for id_, one in self.facts.items() if _stays(one, report)}
            self.gone = self.gone if report.unknown else {}
            self.unknown = tuple(one for one in report.unknown if not self.whole or one in self.unknown)
            self.whole = True
        for id_ in report.gone:
            self.facts.pop(id_, None)
            self.gone[id_] = None
        for fact in report.facts:
            self.facts[fact.id] = fact
            self.gone.pop(fact.id, None)
        self.volatile.update(report.volatile)


def collapse(reports: Iterable[Report]) -> list[Report]:
    """One report of each source, in the order of their first ones, that leaves what is as all of them do."""
    sums: dict[Source, _Sum] = {}
    for report in reports:
        sums.setdefault(report.source, _Sum()).take(report)
    return [
        Report(source, one.observed, tuple(one.facts.values()), tuple(one.gone), one.whole, one.volatile, unknown=one.unknown)
        for source, one in sums.items()
    ]


def _stays(fact: Fact, report: Report) -> bool:
    """Whether what was said before a whole report is true after it, though that does not say it."""
    return isinstance(fact, EdgeFact) and report.spares((fact.parent, fact.child))


def _size(report: Report) -> int:
    return 1 + len(report.facts) + len(report.gone)
