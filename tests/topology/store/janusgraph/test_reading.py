"""Planning, the log and reading, against the contract's naive model, without a server: thousands of histories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from contract.model import FOREVER, Model
from contract.steps import node
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.store.interface import Batch, Change
from topology.store.janusgraph import read
from topology.store.janusgraph.log import Place, place_of
from topology.store.janusgraph.mirror import Mirror
from topology.store.janusgraph.records import Entry
from topology.store.janusgraph.timeline import Step, plan, step

LAST = 12
NAMES = "ab"
changes = st.tuples(st.sampled_from(NAMES), st.integers(1, LAST), st.sampled_from([None, 1, 2]))
histories = st.lists(st.lists(changes, min_size=1, max_size=4), min_size=1, max_size=10)


@dataclass
class Pages:
    """As log.Log, in memory: a bucket for each batch."""

    pages: dict[str, list[Entry]] = field(default_factory=dict)
    texts: dict[int, bytes] = field(default_factory=dict)
    checkpoints: list[Place] = field(default_factory=list)
    generation: int = 0

    def buckets(self) -> list[Place]:
        return [place_of(page, entries, 0) for page, entries in self.pages.items() if page.startswith("bucket")]

    def entries(self, pages: Iterable[str]) -> dict[str, list[Entry]]:
        return {page: self.pages[page] for page in pages}

    def documents(self, wanted: dict[str, set[int]]) -> dict[int, bytes]:
        return {sequence: self.texts[sequence] for sequences in wanted.values() for sequence in sequences}


class Sut:
    """What the store does, with lists for a server. The history of an element is what an exhaustive reading gives."""

    def __init__(self) -> None:
        self.log: Any = Pages()
        self.mirror = Mirror()
        self.sequence = 0
        self.steps: dict[str, list[Step]] = {}

    def histories(self, ids: Iterable[str]) -> dict[str, tuple[int, list[Step]]]:
        return {
            id_: (len(self.steps[id_]), [replace(one, entry=_fresh(one.entry)) for one in self.steps[id_]])
            for id_ in ids
            if id_ in self.steps
        }

    def apply(self, number: int, operations: list[tuple[str, int, Any]]) -> None:
        made = tuple(Change(name, at, None if state is None else node(n=state)) for name, at, state in operations)
        planned = plan(Batch("w", 1, number, number, made), self.mirror.tails, self.histories, self.sequence)
        if not planned.entries:
            return
        self.sequence += len(planned.entries)
        self.log.pages[f"bucket/{number}"] = [entry for entry, _ in planned.entries]
        self.log.texts.update((entry.sequence, document) for entry, document in planned.entries)
        self.mirror.take(planned.works, self.sequence)
        for entry, document in planned.entries:
            self.steps.setdefault(entry.id, []).append(step(_fresh(entry), document))
        for steps in self.steps.values():
            steps.sort(key=lambda one: one.entry.order())
            for one, following in zip(steps, [*steps[1:], None], strict=True):
                one.entry.to = following.entry.at if following else FOREVER
                one.entry.ends = following is not None and following.entry.gone
            for before, one in zip([None, *steps], steps, strict=False):
                alive = before is not None and not before.entry.gone
                one.entry.created = before.entry.created if before is not None and alive else one.entry.at

    def checkpoint(self, when: int) -> None:
        found = read.at_time(self.log, when, None)
        read.complete(self.log, found, {})
        page = f"checkpoint/{self.sequence}"
        self.log.pages[page] = [one.entry for one in found]
        for one in found:
            tail = self.mirror.tails.get(one.entry.id)
            one.entry.given = tail.entry.given if tail else one.entry.number
        self.log.checkpoints = [place for place in self.log.checkpoints if place.page != page]
        self.log.checkpoints.append(Place(page, 0, self.sequence, when, when, len(found), 0))

    def restart(self) -> None:
        self.mirror = Mirror()
        self.mirror.follow(self.log, self.sequence)


def _fresh(entry: Entry) -> Entry:
    return Entry(
        entry.id, entry.number, entry.created, entry.at, entry.to, entry.ends, entry.recorded, entry.sequence, entry.gone, 0
    )


def value(state: Any) -> int:
    return int(state.metadata["n"])


def answers(sut: Sut, found: list[read.Found], *, tails: bool) -> Iterator[Any]:
    read.complete(sut.log, found, sut.mirror.tails if tails else {})
    return read.revisions(sut.log, found)


@given(
    history=histories,
    checkpoints=st.dictionaries(st.integers(1, 10), st.integers(0, LAST + 1), max_size=3),
    restarts=st.sets(st.integers(1, 10), max_size=2),
    tails=st.booleans(),
)
@settings(max_examples=1000, deadline=None)
def test_every_answer_is_the_models(history: Any, checkpoints: dict[int, int], restarts: set[int], tails: bool) -> None:
    sut, model = Sut(), Model()
    for number, operations in enumerate(history, 1):
        sut.apply(number, operations)
        model.apply(operations)
        if number in checkpoints:
            sut.checkpoint(checkpoints[number])
        if number in restarts:
            sut.restart()
    assert sut.sequence == model.order
    for when in range(LAST + 2):
        found = {one.id: value(one.state) for one in answers(sut, read.at_time(sut.log, when, None), tails=tails)}
        assert found == model.as_of(when)
    for first, second in ((0, LAST), (3, 6), (5, 5)):
        revisions = [
            one for one in answers(sut, read.in_range(sut.log, first, second, None), tails=tails) if one.archived_at > first
        ]
        assert {(one.id, one.updated_at, one.archived_at, repr(value(one.state))) for one in revisions} == model.between(
            first, second
        )
        lives = [one for one in revisions if one.updated_at < one.archived_at]
        assert [one.created_at for one in lives] == [model.created(one.id, one.updated_at) for one in lives]
    feed = list(answers(sut, read.recorded_after(sut.log, 0, 1000), tails=tails))
    assert [one.sequence for one in feed] == list(range(1, model.order + 1))
    assert {name: len([one for one in feed if one.id == name]) for name in NAMES} == {
        name: max((one.number for one in feed if one.id == name), default=0) for name in NAMES
    }
