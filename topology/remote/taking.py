"""Reports of agents into the graph, each with the note of how far an agent's are taken."""

from __future__ import annotations

from typing import Protocol

from topology.facts import Report, Source
from topology.reconcile import Reconciler
from topology.store.interface import AwayError, Note


class Taker(Protocol):
    """Takes reports of agents, one after the other."""

    def claim(self, source: Source, holder: str) -> bool:
        """Write for a source from now on, as a holder; before its reports are taken.

        Returns whether another hub may have taken reports meanwhile: the notes are to be read anew.

        Raises:
            StoreError: another one writes, or the store is away.
        """
        ...

    def take(self, report: Report, note: Note) -> bool:
        """Take a report; when this returns it is taken for good.

        Returns whether the note was kept, at once with what the report changed: one that changes nothing keeps none, and may
        be taken once more.

        Raises:
            StoreError: it is to be sent again.
        """
        ...

    def keep(self, source: Source, note: Note) -> None:
        """Keep a note as the one who writes for a source. Raises StoreError."""
        ...


class Taking:
    """A :class:`Taker` before a reconciler."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    def claim(self, source: Source, holder: str) -> bool:
        """As :class:`Taker` says."""
        return self._reconciler.claim(source, holder)

    def take(self, report: Report, note: Note) -> bool:
        """One that is only held here until the store is there is not taken: the agent keeps it."""
        changes = 0
        if not self._reconciler.held:
            changes = self._reconciler.report(report, note)
        if self._reconciler.held:
            raise AwayError("the hub's store is away")
        return changes > 0

    def keep(self, source: Source, note: Note) -> None:
        """As :class:`Taker` says."""
        self._reconciler.keep(source, note)
