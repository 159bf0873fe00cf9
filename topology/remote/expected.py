"""Which hosts of a graph have an agent, also where none of theirs is known yet: as after a restart of the hub."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import structlog

from topology.elements import node_id
from topology.remote.marks import Mark, marks
from topology.store.interface import Store, StoreError

_log = structlog.get_logger(__name__)

_PERIOD = 10.0  # seconds
_FIRST = 1.0  # seconds that are waited for the first look


class Expected:
    """Looks every so often, on a thread of its own, which hosts are in the graph of which agents have reported into it.

    Args:
        store: the graph.
        clock: µs since the epoch.
        tell: is told what is kept of each agent, by the TID of its host, at each look.
    """

    def __init__(
        self, store: Store, clock: Callable[[], int], tell: Callable[[Mapping[str, Mark]], None] = lambda _: None
    ) -> None:
        self._store, self._clock, self._tell = store, clock, tell
        self._found: Mapping[str, str] = {}
        self._looked, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="expected", daemon=True)

    def start(self) -> None:
        """Begin; when this returns the first look is over, unless the store takes long."""
        self._thread.start()
        self._looked.wait(_FIRST)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def hosts(self) -> Mapping[str, str]:
        """Their names by TID, as of some seconds ago."""
        return self._found

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except StoreError as error:
                _log.debug("expected_not_read", error=str(error))
            self._looked.set()
            if self._stopping.wait(_PERIOD):
                return

    def look(self) -> None:
        """Look once. Raises StoreError."""
        known = marks(self._store)
        self._tell(known)
        ids = [node_id(tid) for tid in _latest(known)]
        there = self._store.as_of(self._clock(), ids) if ids else []
        self._found = {one.state.tid: one.state.host for one in there if one.state is not None}


def _latest(known: Mapping[str, Mark]) -> set[str]:
    """An agent whose host has got another ID goes on with its outbox: the host of before is not there any more."""
    latest: dict[str, str] = {}
    for tid, mark in known.items():
        before = latest.get(mark.outbox)
        if before is None or known[before].number < mark.number:
            latest[mark.outbox] = tid
    return set(latest.values())
