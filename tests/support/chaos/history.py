"""Judges the history by what the scripts did: each thing lived once, in its time, by its names, and no state stands twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

from support.chaos.churn import Churn, Element
from support.chaos.laboratory import Chaos, Part
from support.graphhistory import flaws
from topology.elements import FOREVER, Revision
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Store

_NOTICED = int(3e9)  # ns that an agent needs at most to see what is there, on a busy machine
_PRECISE = int(3e9)  # ns by which a time in the history may be wrong


def wrong(chaos: Chaos, churns: Sequence[Churn]) -> tuple[list[str], str]:
    """What is wrong, and a line about what was looked at. No hub runs."""
    with _store(chaos) as store:
        found = flaws(store) if not store.shared else []
        revisions: dict[str, dict[str, list[Revision]]] = {churn.node: {} for churn in churns}
        count = 0
        for one in store.between(0, FOREVER - 1):
            count += 1
            if one.state is not None and not one.state.parent and one.state.host in revisions:
                revisions[one.state.host].setdefault(one.id, []).append(one)
    lived = 0
    for churn in churns:
        for history in revisions[churn.node].values():
            history.sort(key=lambda one: (one.updated_at, one.sequence))
        by_name = _by_name(revisions[churn.node])
        for element in churn.elements:
            ids = {id_ for name in element.names for id_ in by_name.get(name, ())}
            lines = list(_flaws(chaos.agents[churn.node], element, [revisions[churn.node][id_] for id_ in sorted(ids)]))
            found += [f"{churn.node}: {element.kind} {' → '.join(element.names)}: {line}" for line in lines]
            lived += bool(ids)
    elements = sum(len(churn.elements) for churn in churns)
    return found, f"{count} revisions; {lived} of {elements} elements of the scripts are in the history"


@contextlib.contextmanager
def _store(chaos: Chaos) -> Iterator[Store]:
    if chaos.server is None:
        with contextlib.closing(EmbeddedStore(chaos.hubs[0].disk.place / "state" / "graph")) as store:
            yield store
        return
    from topology.store.janusgraph.store import JanusGraphStore

    with contextlib.closing(JanusGraphStore(chaos.server.url)) as shared:
        yield shared


def _by_name(revisions: dict[str, list[Revision]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for id_, history in revisions.items():
        for one in history:
            assert one.state
            found.setdefault(str(one.state.metadata.get("Name")), set()).add(id_)
    return found


def _flaws(agent: Part, element: Element, histories: list[list[Revision]]) -> Iterator[str]:
    begin, end = element.made[1], element.removed[0] if element.removed else None
    if not histories:
        if _looked(agent, begin, end):
            yield f"is missing; it was there from {begin} to {end}"
        return
    if len(histories) > 1:
        yield f"has {len(histories)} identities: {[[_shown(one) for one in history] for history in histories]}"
        return
    [history] = histories
    yield from _flaws_of_life(element, history)
    first, last = history[0], history[-1]
    if _looked(agent, element.made[0], element.made[1] + _NOTICED, throughout=True):
        yield from _compared("begins", first.created_at, element.made)
    elif first.created_at * 1000 < element.made[0] - _PRECISE:
        yield f"begins {(element.made[0] / 1e9 - first.created_at / 1e6):.3f} s too early"
    if element.removed is None:
        if last.archived_at != FOREVER:
            yield "has ended, and is there"
    elif last.archived_at == FOREVER:
        yield "has not ended, and is gone"
    elif _looked(agent, element.removed[0], element.removed[1] + _NOTICED, throughout=True):
        yield from _compared("ends", last.archived_at, element.removed)


def _flaws_of_life(element: Element, history: list[Revision]) -> Iterator[str]:
    if len({one.created_at for one in history}) > 1:
        yield f"lived more than once: {[_shown(one) for one in history]}"
    names = [str(one.state.metadata.get("Name")) for one in history if one.state]
    if element.kind == "netns":  # its name comes last and goes first: between, the kernel has one without a name
        if names[0].startswith("netns:"):
            names.pop(0)
        if element.removed and names and names[-1].startswith("netns:"):
            names.pop()
    order = [element.names.index(name) if name in element.names else -1 for name in names]
    if order != sorted(order) or -1 in order:
        yield f"had the names {names}"
    for before, after in pairwise(history):
        if before.archived_at != after.updated_at:
            yield f"has a gap or an overlap: {_shown(before)}, {_shown(after)}"
        if before.state == after.state:
            yield f"is in the same state twice: {_shown(before)}, {_shown(after)}"


def _shown(one: Revision) -> str:
    name = one.state.metadata.get("Name") if one.state else None
    return f"{name} {one.number}: {one.created_at} {one.updated_at} {one.archived_at}"


def _compared(what: str, told: int, truth: tuple[int, int]) -> Iterator[str]:
    """``told`` in µs, the truth in ns."""
    if not truth[0] - _PRECISE <= told * 1000 <= truth[1] + _PRECISE:
        yield f"{what} at {told / 1e6:.3f}, {told / 1e6 - truth[0] / 1e9:+.3f} s from when it did"


def _looked(agent: Part, begin: int, end: int | None, *, throughout: bool = False) -> bool:
    """Whether an agent looked during a time: long enough to notice what is there, or all the while."""
    for run in agent.runs:
        ready, ending = run.ready or FOREVER, run.ending or FOREVER
        cuts = sorted((a, b) for a, b in agent.pauses if a < ending and b > ready)
        starts, ends = [ready, *(b for _, b in cuts)], [*(a for a, _ in cuts), ending]
        for first, last in zip(starts, ends, strict=True):
            if throughout and end is not None and first <= begin and last >= end:
                return True
            shared = min(last, FOREVER if end is None else end) - max(first, begin)
            if not throughout and shared >= _NOTICED:
                return True
    return False
