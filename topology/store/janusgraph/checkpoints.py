"""What is done from time to time after a commit: full buckets are sealed, and a checkpoint is made now and then."""

from __future__ import annotations

import statistics
from functools import partial

import msgspec

from topology.store.interface import StoreError
from topology.store.janusgraph import write
from topology.store.janusgraph.commit import Committer
from topology.store.janusgraph.log import Place, bucket, place_of
from topology.store.janusgraph.read import at_time, complete
from topology.store.janusgraph.records import Entry, chunks, pack

EVERY = 2048
"""Changes between checkpoints at least; with more elements, as many as there are elements: so each change costs at most one
more document."""

_CHUNKS = 32


def maintain(committer: Committer, before: int) -> None:
    """After a commit that began at that sequence. What fails here is done after a later one."""
    committed = committer.mirror.sequence
    if bucket(committed + 1) == bucket(before + 1):
        return
    try:
        for number in sorted(committer.log.open):
            if number < bucket(committed + 1):
                _seal(committer, number)
        latest = max((place.last for place in committer.log.checkpoints), default=0)
        if committed - latest >= max(EVERY, len(committer.mirror.tails)):
            _checkpoint(committer)
    except StoreError:
        committer.forget_head()


def _seal(committer: Committer, number: int) -> None:
    """Say what is on a bucket; one of hundreds of small chunks is written anew, for it would be slow to read."""
    page = f"bucket/{number}"
    place = place_of(page, committer.log.open[number], 0)
    told = msgspec.json.encode(place).decode()
    committer.state("")
    if committer.log.chunks.get(number, 0) > _CHUNKS:
        committer.rewrite(page, lambda entry: entry, told)
    else:
        committer.gated(partial(write.with_place, vertex=committer.vertices.system(page), place=told))
    committer.log.seal(number, place)


def _checkpoint(committer: Committer) -> None:
    """The graph at the median time of the last bucket: whatever strange times are in it, most that follows comes later."""
    log, mirror = committer.log, committer.mirror
    page = [place.page for place in log.buckets() if place.count][-2:][0]
    when = statistics.median_low(entry.at for entry in log.entries([page])[page])
    found = at_time(log, when, None)
    complete(log, found, mirror.tails)
    wanted: dict[str, set[int]] = {}
    for one in found:
        tail = mirror.tails.get(one.entry.id)
        one.entry.given = tail.entry.given if tail else one.entry.number
        wanted.setdefault(one.page, set()).add(one.entry.sequence)
    documents = log.documents(wanted)
    pairs: list[tuple[Entry, bytes]] = [(one.entry, documents[one.entry.sequence]) for one in found]
    page = f"checkpoint/{mirror.sequence}"
    texts = [pack(part) for part in chunks(pairs)]
    place = Place(page, 0, mirror.sequence, when, when, len(pairs), sum(len(a) + len(b) for a, b in texts))
    committer.state("")
    vertex = committer.vertices.system(page)
    committer.gated(partial(write.with_page, vertex=vertex, place="", chunks=texts[:1]))
    for text in texts[1:]:
        committer.gated(partial(write.with_chunk, vertex=vertex, chunk=text))
    told = msgspec.json.encode(place).decode()
    committer.gated(partial(write.with_place, vertex=vertex, place=told), checkpoint=mirror.sequence)
    log.checkpoints.append(place)
