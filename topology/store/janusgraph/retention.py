"""Forgetting: revisions that ended long ago, or the oldest of those that ended when there are too many bytes.

The checkpoints first, then the log page by page, then the properties and edges of the elements. An element of which nothing is
left keeps its vertex with the latest number, so that no number is given twice.
"""

from __future__ import annotations

from bisect import bisect_left, insort
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
from topology.store.janusgraph.records import Entry, pack_text, unpack_text

_IDS = 50  # elements of one transaction
_JOB = "retention/job"


def retain(committer: Committer, before: int | None, size: int | None) -> Retained:
    """As the interface says. Raises StoreError; what was begun is finished when it is done again."""
    _finish(committer)
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


class _Job(msgspec.Struct, frozen=True):
    """What goes; noted in JanusGraph before anything does, so that what a killed process began is finished by the next.

    Attributes:
        before: the time.
        sequences: of entries.
        created: by sequences of later entries, when the element came to be as a late one that goes had it, and its sequence.
        numbers: the latest of what goes, by element.
    """

    before: int
    sequences: frozenset[int]
    created: dict[int, tuple[int, int]]
    numbers: dict[str, int]

    @classmethod
    def made(cls, before: int, going: list[Entry]) -> _Job:
        """From entries in the order of their sequences."""
        created = {
            sequence: (entry.to if entry.gone else entry.created, entry.sequence) for entry in going for sequence in entry.lives
        }
        numbers: dict[str, int] = {}
        for entry in going:
            numbers[entry.id] = max(numbers.get(entry.id, 0), entry.number)
        return cls(before, frozenset(entry.sequence for entry in going), created, numbers)

    def after(self, sequence: int) -> _Job:
        """Without what a page that has all up to a sequence need not learn."""
        return structs.replace(self, created={one: told for one, told in self.created.items() if told[1] > sequence})

    def of(self, entry: Entry) -> Entry | None:
        """What is kept of an entry."""
        if entry.sequence in self.sequences:
            return None
        created, settled = self.created.get(entry.sequence, (entry.created, entry.settled))
        return structs.replace(entry, created=created, settled=settled)

    def touches(self, entry: Entry) -> bool:
        """Whether an entry goes or changes."""
        return entry.sequence in self.sequences or entry.sequence in self.created


_jobs = msgspec.msgpack.Decoder(_Job)


def _forget(committer: Committer, before: int) -> int:
    before = min(before, FOREVER - 1)
    log, ended = committer.log, _ended(committer, before)
    going = [entry for page, some in ended.items() for entry in log.entries([page])[page] if entry.sequence in some]
    if going:
        job = _Job.made(before, sorted(going, key=lambda one: one.sequence))
        forgotten = max(before, committer.state("")[0].forgotten)
        _note(committer, pack_text(msgspec.msgpack.encode(job)), forgotten=forgotten)
        _carry_out(committer, job)
    return len(going)


def _finish(committer: Committer) -> None:
    """Do what a process that died left undone."""
    committer.state("")
    texts = committer.connections.read(lambda g: g.V().has("system", _JOB).values("place").to_list())
    for text in texts:
        _carry_out(committer, unpack_text(text, _jobs))


def _note(committer: Committer, text: str, **sets: int) -> None:
    committer.state("")
    vertex = committer.vertices.system(_JOB)
    committer.gated(
        partial(write.with_place, vertex=vertex, place=text) if text else partial(write.without_page, vertex=vertex), **sets
    )


def _carry_out(committer: Committer, job: _Job) -> None:
    """Each part again is the same as once."""
    log = committer.log
    _forget_checkpoints(committer, job)
    for place in log.buckets():
        if any(map(job.touches, log.entries([place.page])[place.page])):
            _forget_page(committer, place.page, job)
    _forget_properties(committer, job.numbers, job.before)
    _note(committer, "")
    log.forget()
    committer.forget_head()


def _forget_page(committer: Committer, page: str, job: _Job) -> None:
    head, _ = committer.state("")
    entries = committer.log.entries([page])[page]
    kept = [entry for entry in entries if entry.sequence not in job.sequences]
    number, gone = int(page.partition("/")[2]), len(entries) - len(kept)
    place = place_of(page, kept, 0) if number < bucket(head.committed + 1) else None
    committer.rewrite(
        page,
        job.of,
        msgspec.json.encode(place).decode() if place else "",
        revisions=head.revisions - gone,
        size=max(head.size - head.size * gone // max(head.revisions, 1), 0),
        generation=head.generation + 1,
    )


def _forget_checkpoints(committer: Committer, job: _Job) -> None:
    """Those of times that are forgotten go; the latest of them stays, without what is forgotten: later times begin from it.

    A later one, too, may hold what is forgotten, if that was ended by a change that came late.
    """
    log, before = committer.log, job.before
    old = [place for place in log.checkpoints if place.earliest <= before]
    late = max((place.last for place in log.buckets() if place.earliest <= before), default=0)
    for place in log.checkpoints:
        head, _ = committer.state("")
        forgotten = job.after(place.last)
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
