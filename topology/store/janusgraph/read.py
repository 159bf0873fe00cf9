"""The graph at a time, ranges and the feed, from the log: never from the histories of properties.

What held at T is, of each element, the last entry up to T: among the nearest checkpoint before T, and what the log has since.
When that ended is told by what was recorded after it: buckets are read forward until all have an end, but for those that
have none, which the mirror knows. Buckets whose times are of no matter are passed over.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec import structs

from topology.elements import FOREVER, Revision
from topology.store.janusgraph.log import Log
from topology.store.janusgraph.records import Entry
from topology.store.janusgraph.timeline import Step

_STRETCH = 32  # buckets read at once when going forward
_BLOCK = 2000  # revisions whose documents are read at once


@dataclass(slots=True)
class Found:
    """An entry that answers.

    Attributes:
        entry: a copy.
        page: where its document is.
        since: up to which sequence its end is right.
    """

    entry: Entry
    page: str
    since: int


def at_time(log: Log, when: int, ids: Collection[str] | None, last: int = FOREVER) -> list[Found]:
    """What held at a time, by what was recorded up to a sequence; the ends are as they were recorded. Raises StoreError."""
    bases = (place for place in log.checkpoints if place.earliest <= when and place.last <= last)
    base = max(bases, key=lambda one: one.earliest, default=None)
    covered, upto = (base.earliest, base.last) if base else (-1, 0)
    pages = [place.page for place in log.buckets() if place.earliest <= when and (place.latest > covered or place.last > upto)]
    names = [base.page, *pages] if base else pages
    entries = log.entries(names)
    wanted = None if ids is None else frozenset(ids)
    latest: dict[str, tuple[Entry, str]] = {}
    for page in names:
        for entry in entries[page]:
            if entry.at > when or entry.sequence > last or (wanted is not None and entry.id not in wanted):
                continue
            if entry.at <= covered and entry.sequence <= upto and page is not names[0]:
                continue  # it is in the checkpoint, or was over by then
            known = latest.get(entry.id)
            if known is None or entry.order() > known[0].order():
                latest[entry.id] = entry, page
    return [
        Found(structs.replace(entry), page, max(entry.sequence, upto) if base and page == base.page else entry.sequence)
        for entry, page in latest.values()
        if not entry.gone and entry.to > when
    ]


def in_range(log: Log, begin: int, end: int, ids: Collection[str] | None) -> list[Found]:
    """What held at the beginning, and what began after it up to the end, by that time. Raises StoreError."""
    found = at_time(log, begin, ids)
    pages = [place.page for place in log.buckets() if place.earliest <= end and place.latest > begin]
    wanted = None if ids is None else frozenset(ids)
    for page, entries in log.entries(pages).items():
        found.extend(
            Found(structs.replace(entry), page, entry.sequence)
            for entry in entries
            if begin < entry.at <= end and not entry.gone and (wanted is None or entry.id in wanted)
        )
    return sorted(found, key=lambda one: one.entry.order())


def recorded_after(log: Log, after: int, limit: int) -> list[Found]:
    """The next ones of the feed. Raises StoreError."""
    found: list[Found] = []
    for place in log.buckets():
        if place.last <= after or not place.count:
            continue
        entries = log.entries([place.page])[place.page]
        found.extend(Found(structs.replace(one), place.page, one.sequence) for one in entries if one.sequence > after)
        if len(found) >= limit:
            break
    return found[:limit]


def entries_after(log: Log, sequence: int) -> list[Entry]:
    """All that was recorded after it. Raises StoreError."""
    pages = [place.page for place in log.buckets() if place.last > sequence]
    return [entry for entries in log.entries(pages).values() for entry in entries if entry.sequence > sequence]


def latest_until(log: Log, sequence: int) -> int:
    """The latest time of what was recorded up to it; 0: there is nothing. Raises StoreError."""
    places = [place for place in log.buckets() if place.count and place.first <= sequence]
    whole = [place.latest for place in places if place.last <= sequence]
    pages = [place.page for place in places if place.last > sequence]
    parts = (entry.at for entries in log.entries(pages).values() for entry in entries if entry.sequence <= sequence)
    return max([*whole, *parts], default=0)


def complete(log: Log, found: Iterable[Found], tails: Mapping[str, Step], last: int = FOREVER) -> None:
    """Set when each ended, and began to be, as far as the log goes, or up to a sequence. Raises StoreError."""
    pending: list[Found] = []
    for one in found:
        tail = tails.get(one.entry.id)
        if tail is not None and tail.entry.sequence == one.entry.sequence:
            one.entry.to, one.entry.ends, one.entry.created = FOREVER, False, tail.entry.created
        elif not one.entry.gone:
            pending.append(one)
    if not pending:
        return
    waiting: dict[str, list[Found]] = {}
    for one in sorted(pending, key=lambda one: -one.since):
        waiting.setdefault(one.entry.id, []).append(one)
    there: dict[str, list[Found]] = {id_: [] for id_ in waiting}
    since = min(one.since for one in pending)
    places = [place for place in log.buckets() if place.last > since]
    for at in range(0, len(places), _STRETCH):
        horizon = max(one.entry.to for one in pending)
        part = [place.page for place in places[at : at + _STRETCH] if place.earliest < horizon]
        for entries in log.entries(part).values():
            for entry in entries:
                queue = waiting.get(entry.id)
                if queue is None or entry.sequence > last:
                    continue
                known = there[entry.id]
                while queue and queue[-1].since < entry.sequence:
                    insort(known, queue.pop(), key=lambda one: one.entry.order())
                if known:
                    _amend(known, entry)


def _amend(known: list[Found], later: Entry) -> None:
    """What an entry says of those of its element that were recorded before: an end, or when the element came to be."""
    place = bisect_right(known, later.at, key=lambda one: one.entry.at)
    if place:
        before = known[place - 1].entry
        if later.at < before.to:
            before.to, before.ends = later.at, later.gone
    if later.lives:
        for one in known[place:]:
            later.amend_life(one.entry)


def revisions(log: Log, found: list[Found]) -> Iterator[Revision]:
    """With their states, in the same order. Raises StoreError, ConflictError where retention came between."""
    for at in range(0, len(found), _BLOCK):
        block = found[at : at + _BLOCK]
        wanted: dict[str, set[int]] = {}
        for one in block:
            if not one.entry.gone:
                wanted.setdefault(one.page, set()).add(one.entry.sequence)
        documents = log.documents(wanted)
        for one in block:
            yield one.entry.revision(documents.get(one.entry.sequence, b""))
