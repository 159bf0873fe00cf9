"""Finishing what a process left undone when it died, or when it lost the server, within a batch of several transactions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from topology.store.interface import Change
from topology.store.janusgraph import write
from topology.store.janusgraph.connection import ConflictError
from topology.store.janusgraph.histories import histories
from topology.store.janusgraph.log import Head, Log, bucket
from topology.store.janusgraph.projection import project
from topology.store.janusgraph.timeline import Work, groups, step

if TYPE_CHECKING:
    from topology.store.janusgraph.commit import Committer


def finish(committer: Committer, head: Head) -> None:
    """Remove what was not committed; apply to the elements what was.

    Raises:
        ConflictError: another process is at it, and is not taken for dead yet.
        StoreError: as JanusGraph has it.
    """
    await_turn(committer, head)
    if head.pending > head.committed:
        for number in range(bucket(head.committed + 1), bucket(head.pending) + 1):
            committer.rewrite(f"bucket/{number}", lambda entry: entry if entry.sequence <= head.committed else None)
        committer.gated(lambda steps: steps, pending=0, until=0)
    if head.applied < head.committed:
        _apply(committer, head)


def await_turn(committer: Committer, head: Head) -> None:
    """Raise ConflictError while another hub has the turn: it writes a large batch, or others were always before it."""
    if head.owner != committer.owner and head.until > committer.clock():
        raise ConflictError("JanusGraph: it is another hub's turn to write; try again")


def _apply(committer: Committer, head: Head) -> None:
    """What is in a history already is passed over, and the rest made anew: it does not matter how far the other came."""
    log = Log(committer.connections)
    pages = [f"bucket/{number}" for number in range(max(0, bucket(head.applied + 1)), bucket(head.committed) + 1)]
    left = {
        page: [entry for entry in entries if head.applied < entry.sequence <= head.committed]
        for page, entries in log.entries(pages).items()
    }
    documents = log.documents({page: {entry.sequence for entry in entries} for page, entries in left.items()})
    entries = sorted((entry for several in left.values() for entry in several), key=lambda one: one.sequence)
    there = committer.vertices.find({entry.id for entry in entries})
    known = histories(committer.connections, {id_: committer.vertices.known[id_] for id_ in there})
    works = {entry.id: Work(entry.id, *known.get(entry.id, (0, []))) for entry in entries}
    for entry in entries:
        work = works[entry.id]
        if all(one.entry.sequence != entry.sequence for one in work.steps):
            state = step(entry, documents[entry.sequence]).state
            work.take(Change(entry.id, entry.at, state), entry.sequence, entry.recorded)
        work.late = True
    committer.find_vertices(list(works.values()))
    for group in groups(list(works.values())):
        committer.gated(partial(write.with_rows, rows=project(group, committer.vertices.known)))
    committer.gated(lambda steps: steps, applied=head.committed)
