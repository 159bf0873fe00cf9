"""Judges a store's whole history by the contract's words alone: what no sequence of faults may ever leave behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from topology.elements import FOREVER, Revision
from topology.store.interface import Store

_PAGE = 5000


def feed(store: Store) -> list[Revision]:
    """All of it, page by page."""
    found: list[Revision] = []
    while page := store.feed(found[-1].sequence if found else 0, _PAGE):
        found += page
    return found


def moments(store: Store) -> list[int]:
    """The times (µs since the epoch) at which the graph became otherwise, in order."""
    return sorted({one.updated_at for one in feed(store)})


def flaws(store: Store) -> list[str]:
    """What is wrong with the history of a store from which nothing was removed and to which nobody writes, a line each."""
    recorded = feed(store)
    wrong = _flaws_of_feed(recorded, store.health().sequence)
    kept = list(store.between(0, FOREVER - 1))
    if {one.sequence for one in kept} != {one.sequence for one in recorded if one.state is not None}:
        wrong.append("the feed and the history do not have the same revisions")
    deaths = {(one.id, one.updated_at) for one in recorded if one.state is None}
    histories: dict[str, list[Revision]] = {}
    for one in kept:
        histories.setdefault(one.id, []).append(one)
    for history in histories.values():
        history.sort(key=lambda one: (one.updated_at, one.sequence))
        wrong += _flaws_of_element(history, deaths)
    lives = {id_: list(_lives(history)) for id_, history in histories.items()}
    for history in histories.values():
        wrong += _flaws_of_edge(history, lives)
    return wrong + _flaws_of_now(store, kept)


def _flaws_of_feed(recorded: list[Revision], last: int) -> list[str]:
    sequences = [one.sequence for one in recorded]
    return [] if sequences == list(range(1, last + 1)) else [f"the feed's sequence has gaps, up to {last}: {sequences[:20]} …"]


def _flaws_of_element(history: list[Revision], deaths: set[tuple[str, int]]) -> Iterator[str]:
    for one in history:
        where = f"{one.id}, revision {one.number}"
        if not 0 < one.created_at <= one.updated_at < one.archived_at:
            yield f"{where}: created {one.created_at}, from {one.updated_at}, to {one.archived_at}"
        if one.deleted != ((one.id, one.archived_at) in deaths):
            yield f"{where}: deleted is {one.deleted}, the feed says otherwise"
    for before, after in pairwise(history):
        where = f"{after.id}, revisions {before.number} and {after.number}"
        if before.archived_at > after.updated_at:
            yield f"{where}: they overlap"
        if before.number >= after.number or before.sequence >= after.sequence:
            yield f"{where}: by time they are in another order than by number or sequence"
        if not before.deleted and (before.archived_at != after.updated_at or before.created_at != after.created_at):
            yield f"{where}: one life, with a gap or with two beginnings"
        if before.deleted and after.created_at != after.updated_at:
            yield f"{where}: another life, that did not begin with it"
        if not before.deleted and before.state == after.state:
            yield f"{where}: nothing changed"


def _lives(history: Iterable[Revision]) -> Iterator[tuple[int, int]]:
    """Its stretches of time, those that touch as one."""
    begin = end = 0
    for one in history:
        if one.updated_at != end:
            if end:
                yield begin, end
            begin = one.updated_at
        end = one.archived_at
    yield begin, end


def _flaws_of_edge(history: list[Revision], lives: dict[str, list[tuple[int, int]]]) -> Iterator[str]:
    for one in history:
        for end in (one.state.parent, one.state.child) if one.state and one.state.parent else ():
            if not any(begin <= one.updated_at and one.archived_at <= to for begin, to in lives.get(end, ())):
                yield f"edge {one.id}, revision {one.number}: its node {end} was not there all the while"


def _flaws_of_now(store: Store, kept: list[Revision]) -> list[str]:
    """What is there now, and as of the end of time, are the revisions that have no end, each once."""
    opened = sorted(one.sequence for one in kept if one.archived_at == FOREVER)
    now, at_the_end = (sorted(one.sequence for one in some) for some in (store.current(), store.as_of(FOREVER - 1)))
    return [] if opened == now == at_the_end else ["what is there now is not what has no end"]
