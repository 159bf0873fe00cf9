"""What is there now, in memory: of each element its latest entry, and its declared keys; the document's digest only.

Follows the log: what this process wrote it is told, what others wrote it reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from msgspec import structs

from topology.elements import FOREVER
from topology.store.janusgraph.log import Log, bucket
from topology.store.janusgraph.read import Found, at_time, complete
from topology.store.janusgraph.records import Entry
from topology.store.janusgraph.timeline import Step, Work, step


class Mirror:
    """The latest entries by element. Written under the writer's lock; reading one is safe for any thread.

    Attributes:
        tails: by ID; only of what is there. Its entry's ``given`` is 0 where the latest number is to be looked up.
        sequence: up to which it follows.
    """

    def __init__(self) -> None:
        self.tails: dict[str, Step] = {}
        self.sequence = 0

    def follow(self, log: Log, committed: int) -> None:
        """Take in what the log has up to there. Raises StoreError."""
        if not self.sequence:
            self._load(log)
        elif committed > self.sequence:
            self._catch_up(log, committed)
        self.sequence = committed

    def take(self, works: Iterable[Work], committed: int) -> None:
        """Take in what this process wrote."""
        for work in works:
            tail = work.tail
            if tail is None:
                self.tails.pop(work.id, None)
            else:
                entry = structs.replace(tail.entry, given=work.given)
                self.tails[work.id] = replace(tail, entry=entry, document=None, state=None)
        self.sequence = committed

    def _load(self, log: Log) -> None:
        found = at_time(log, FOREVER - 1, None)
        complete(log, found, {})
        base = max(log.checkpoints, key=lambda one: one.earliest, default=None)
        since = base.last if base else 0
        given = {entry.id: entry.given for entry in log.entries([base.page])[base.page]} if base else {}
        later = [place.page for place in log.buckets() if place.last > since]
        for entries in log.entries(later).values():
            for entry in entries:
                if entry.sequence > since and (base is None or given.get(entry.id)):
                    given[entry.id] = max(given.get(entry.id, 0), entry.number)
        if base is None and log.generation:
            given = {}  # the latest may be among those that were forgotten
        for one in found:
            one.entry.given = given.get(one.entry.id, 0)
        self._add(log, found)

    def _catch_up(self, log: Log, committed: int) -> None:
        new: dict[str, Found] = {}
        pages = [f"bucket/{number}" for number in range(max(0, bucket(self.sequence + 1) - 1), bucket(committed) + 1)]
        for page, entries in log.entries(pages).items():
            for entry in entries:
                if self.sequence < entry.sequence <= committed:
                    self._take_entry(new, page, entry)
        self._add(log, list(new.values()))

    def _take_entry(self, new: dict[str, Found], page: str, entry: Entry) -> None:
        known = new[entry.id].entry if entry.id in new else self.tails[entry.id].entry if entry.id in self.tails else None
        if entry.open() and entry.gone:
            new.pop(entry.id, None)
            self.tails.pop(entry.id, None)
        elif entry.open():
            new[entry.id] = Found(structs.replace(entry), page, entry.sequence)
        elif known is not None:
            known.given = entry.number
            entry.amend_life(known)

    def _add(self, log: Log, found: list[Found]) -> None:
        wanted: dict[str, set[int]] = {}
        for one in found:
            wanted.setdefault(one.page, set()).add(one.entry.sequence)
        documents = log.documents(wanted)
        for one in found:
            self.tails[one.entry.id] = step(one.entry, documents[one.entry.sequence]).light()
