"""Forgetting: revisions that ended long ago, or the oldest of those that ended when there are too many bytes.

The checkpoints first, then the log page by page, then the properties and edges of the elements. An element of which nothing is
left keeps its vertex with the latest number, so that no number is given twice.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

import msgspec
from gremlin_python.process.graph_traversal import GraphTraversalSource
from gremlin_python.process.traversal import P
from gremlin_python.statics import long
from msgspec import structs

from topology.elements import FOREVER
from topology.store.interface import Retained
from topology.store.janusgraph import write
from topology.store.janusgraph.commit import Committer
from topology.store.janusgraph.log import bucket, place_of
from topology.store.janusgraph.records import Entry

_IDS = 50  # elements of one transaction


def retain(committer: Committer, before: int | None, size: int | None) -> Retained:
    """As the interface says. Raises StoreError; what was begun is finished when it is done again."""
    head, _ = committer.state("")
    had = head.revisions
    if before is not None:
        _forget(committer, before)
    while size is not None and (head := committer.state("")[0]).size > size:
        limit = _oldest(committer, head.revisions * (head.size - size) // max(head.size, 1) + 1)
        if limit is None or not _forget(committer, limit):
            break
    left = committer.state("")[0].revisions
    return Retained(had - left, left)


def _oldest(committer: Committer, count: int) -> int | None:
    """The time by which so many revisions, or all that ended, had ended; None: none ended."""
    ends = sorted(end for ended in _ended(committer, FOREVER - 1).values() for end in ended.values())
    return ends[min(count, len(ends)) - 1] if ends else None


def _ended(committer: Committer, before: int) -> dict[str, dict[int, int]]:
    """By page: the sequences of what ended at or before a time, and when that was."""
    log = committer.log
    later: dict[str, list[int]] = {}
    ended: dict[str, dict[int, int]] = {}
    places = [place for place in log.buckets() if place.earliest <= before and place.count]
    for place in reversed(places):
        for entry in reversed(log.entries([place.page])[place.page]):
            if entry.at > before:
                continue
            times = later.setdefault(entry.id, [])
            following = bisect_left(times, entry.at)
            end = entry.at if entry.gone else min([entry.to, *times[following : following + 1]])
            insort(times, entry.at)
            if end <= before:
                ended.setdefault(place.page, {})[entry.sequence] = end
    return ended


@dataclass(frozen=True, slots=True)
class _Forgotten:
    """What goes.

    Attributes:
        sequences: of entries.
        created: by sequences of later entries, when the element came to be as a late one that goes had it, and its sequence.
    """

    sequences: AbstractSet[int]
    created: Mapping[int, tuple[int, int]]

    @classmethod
    def made(cls, going: list[Entry], after: int = 0) -> _Forgotten:
        """From entries in the order of their sequences; what a page already has, up to a sequence, it need not learn."""
        created = {
            sequence: (entry.to if entry.gone else entry.created, entry.sequence)
            for entry in going
            if entry.sequence > after
            for sequence in entry.lives
        }
        return cls({entry.sequence for entry in going}, created)

    def of(self, entry: Entry) -> Entry | None:
        """What is kept of an entry."""
        if entry.sequence in self.sequences:
            return None
        created, settled = self.created.get(entry.sequence, (entry.created, entry.settled))
        return structs.replace(entry, created=created, settled=settled)

    def touches(self, entry: Entry) -> bool:
        """Whether an entry goes or changes."""
        return entry.sequence in self.sequences or entry.sequence in self.created


def _forget(committer: Committer, before: int) -> int:
    before = min(before, FOREVER - 1)
    log, ended = committer.log, _ended(committer, before)
    going = [entry for page, some in ended.items() for entry in log.entries([page])[page] if entry.sequence in some]
    if not going:
        return 0
    going.sort(key=lambda one: one.sequence)
    forgotten = _Forgotten.made(going)
    _forget_checkpoints(committer, before, going)
    numbers: dict[str, int] = {}
    for entry in going:
        numbers[entry.id] = max(numbers.get(entry.id, 0), entry.number)
    for place in log.buckets():
        if place.page in ended or any(place.first <= sequence <= place.last for sequence in forgotten.created):
            _forget_page(committer, place.page, forgotten)
    _forget_properties(committer, numbers, before)
    log.forget()
    committer.forget_head()
    return len(going)


def _forget_page(committer: Committer, page: str, forgotten: _Forgotten) -> None:
    head, _ = committer.state("")
    entries = committer.log.entries([page])[page]
    kept = [entry for entry in entries if entry.sequence not in forgotten.sequences]
    number, gone = int(page.partition("/")[2]), len(entries) - len(kept)
    place = place_of(page, kept, 0) if number < bucket(head.committed + 1) else None
    committer.rewrite(
        page,
        forgotten.of,
        msgspec.json.encode(place).decode() if place else "",
        revisions=head.revisions - gone,
        size=max(head.size - head.size * gone // max(head.revisions, 1), 0),
        generation=head.generation + 1,
    )


def _forget_checkpoints(committer: Committer, before: int, going: list[Entry]) -> None:
    """Those of times that are forgotten go; the latest of them stays, without what is forgotten: later times begin from it.

    A later one, too, may hold what is forgotten, if that was ended by a change that came late.
    """
    log = committer.log
    old = [place for place in log.checkpoints if place.earliest <= before]
    late = max((place.last for place in log.buckets() if place.earliest <= before), default=0)
    for place in log.checkpoints:
        head, _ = committer.state("")
        forgotten = _Forgotten.made(going, place.last)
        if place in old[:-1]:
            empty = partial(write.without_page, vertex=committer.vertices.system(place.page))
            committer.gated(empty, generation=head.generation + 1)
        elif (place in old or place.last < late) and any(map(forgotten.touches, log.entries([place.page])[place.page])):
            text = msgspec.json.encode(place).decode()
            committer.rewrite(place.page, forgotten.of, text, generation=head.generation + 1)


def _forget_properties(committer: Committer, numbers: dict[str, int], before: int) -> None:
    """The latest number of what is removed stays with the vertex."""
    limit = P.lte(long(before))
    ids = sorted(committer.vertices.find(numbers))
    for at in range(0, len(ids), _IDS):
        part = ids[at : at + _IDS]
        vertices = [committer.vertices.known[id_] for id_ in part]
        kept = committer.connections.run(partial(_numbers, vertices))
        given = {committer.vertices.known[id_]: max(numbers[id_], kept.get(id_, 0)) for id_ in part}
        committer.state("")
        committer.gated(partial(write.without_past, given=given, ids=part, limit=limit))


def _numbers(vertices: list[object], g: GraphTraversalSource) -> dict[str, int]:
    rows = g.V(*vertices).has("number").project("id", "number").by("uid").by("number").to_list()
    return {row["id"]: row["number"] for row in rows}
