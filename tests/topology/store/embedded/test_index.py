"""Moments against lists of what was there when they were taken, while others write."""

from __future__ import annotations

import gc
import itertools
import random
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from topology.elements import Kind, Part, Revision, State
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Change
from topology.store.traversal import Listed, Moment, values_at

_KEYS = ("Name", "Type", "MTU", "IPV4", "Up", "K8s.Labels.app", "@Host", "@label", "Nothing")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path / "graph")
    yield store
    store.close()


class Writer:
    """Writes random changes: nodes, edges between them, deletions of both."""

    def __init__(self, store: EmbeddedStore, seed: int) -> None:
        self._store, self._random = store, random.Random(seed)
        self._nodes = [str(uuid.UUID(int=self._random.getrandbits(128))) for _ in range(40)]
        self._edges = [str(uuid.UUID(int=self._random.getrandbits(128))) for _ in range(60)]
        self._number, self._at = 0, 1_000_000

    @property
    def now(self) -> int:
        return self._at

    def write(self) -> None:
        self._number += 1
        self._at += 1
        changes = [self._change() for _ in range(self._random.randrange(1, 6))]
        self._store.apply(Batch("writer", 1, self._number, self._at, tuple(changes)))

    def _change(self) -> Change:
        if self._random.random() < 0.3:
            edge = self._random.choice(self._edges)
            ends = self._random.sample(self._nodes, 2)
            state = State("host", "o", {"p": Part.of({"RelationType": "layer2"})}, parent=ends[0], child=ends[1])
            return Change(edge, self._at, state if self._random.random() < 0.8 else None)
        node = self._random.choice(self._nodes)
        if self._random.random() < 0.15:
            return Change(node, self._at, None)
        metadata: dict[str, Any] = {"Name": f"n{self._random.randrange(20)}"}
        metadata["Type"] = self._random.choice(["veth", "veth", "bridge", "", 5])
        metadata["MTU"] = self._random.choice([1500, 9000, 1500.0, "1500", None])
        metadata["IPV4"] = [f"10.0.0.{self._random.randrange(9)}/24" for _ in range(self._random.randrange(3))]
        metadata["Up"] = self._random.choice([True, False, 1])
        metadata["K8s"] = {"Labels": {"app": self._random.choice(["a", "b"])}}
        return Change(node, self._at, State(self._random.choice(["h1", "h2", ""]), "o", {"p": Part.of(metadata)}))


def _states(revisions: Iterable[Revision]) -> list[Revision]:
    """What stays as it was: when it ended is told as it is known."""
    return sorted((replace(one, archived_at=0, deleted=False) for one in revisions), key=lambda one: one.id)


def _told(moment: Moment) -> dict[str, Any]:
    return {
        "nodes": _states(moment.nodes()),
        "edges": _states(moment.edges()),
        "count": (moment.count(Kind.NODE), moment.count(Kind.EDGE)),
    }


def _values(listed: Listed, key: str) -> Iterator[tuple[str, Any]]:
    for one in listed.nodes():
        assert one.state is not None
        beside = {"@Host": [one.state.host], "@label": [str(one.state.metadata["Type"] or "node")]}
        found = beside.get(key) or values_at(one.state.metadata, key)
        for value in found:
            if isinstance(value, str | int | float):
                yield one.id, value


def _check(moment: Moment, then: Listed) -> None:
    assert _told(moment) == _told(then)
    there = {one.id for one in then.nodes()}
    ends = [{one.state.parent, one.state.child} for one in then.edges() if one.state is not None]
    assert (moment.count(Kind.NODE), moment.count(Kind.EDGE)) == (len(there), sum(each <= there for each in ends))
    for key in () if moment.having("Nothing", ["n3"]) is None else _KEYS:  # in the past, where much changed since: test_past
        pairs = list(_values(then, key))
        for wanted in ("n3", "veth", "", "node", "5", 5, 1500, True, 1, "10.0.0.4/24", "a", "h1"):
            same = {id_ for id_, value in pairs if value == wanted and isinstance(value, bool) == isinstance(wanted, bool)}
            assert set(moment.having(key, [wanted]) or ()) == same, (key, wanted)
        assert set(moment.passing(key, lambda value: "1" in str(value)) or ()) == {
            id_ for id_, value in pairs if "1" in str(value)
        }
        counted = moment.counted(key)
        if counted is not None:
            assert sum(many for _, many in counted) == len({id_ for id_, _ in pairs}) == len(pairs)
            for value, many in counted:
                assert many == sum(it == value and isinstance(it, bool) == isinstance(value, bool) for _, it in pairs)
        elif key != "IPV4":
            assert len({id_ for id_, _ in pairs}) < len(pairs), key
    for node in {one.id for one in then.nodes()}:
        assert sorted(one.id for one in moment.edges_from(node)) == sorted(one.id for one in then.edges_from(node))
        assert sorted(one.id for one in moment.edges_to(node)) == sorted(one.id for one in then.edges_to(node))


@pytest.mark.parametrize("seed", range(6))
def test_a_moment_stays_as_it_was(store: EmbeddedStore, seed: int) -> None:
    writer, chance = Writer(store, seed), random.Random(seed)
    taken: list[tuple[Moment, Listed]] = []
    for _ in range(150):
        writer.write()
        if chance.random() < 0.15:
            moment = store.moment()
            if chance.random() < 0.5:
                moment.having("Name", ["n1"])  # the indexes are brought up to date now, or later
            taken.append((moment, Listed(store.current())))
        if taken and chance.random() < 0.1:
            _check(*taken.pop(chance.randrange(len(taken))))
    for moment, then in taken:
        _check(moment, then)
    _check(store.moment(), Listed(store.current()))


@pytest.mark.parametrize("few", [1000, 3])
def test_a_moment_in_the_past_is_what_was_there(store: EmbeddedStore, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topology.store.embedded.reading._FEW", few)
    writer, chance = Writer(store, 17), random.Random(17)
    taken = []
    for number in range(120):
        writer.write()
        if number % 10 == 5:
            when = chance.randrange(1_000_000, writer.now + 1)
            taken.append((store.moment(when), Listed(store.as_of(when))))
    for moment, then in taken:
        _check(moment, then)
    _check(store.moment(999_999), Listed([]))
    _check(store.moment(writer.now), Listed(store.current()))


def test_moments_stay_as_they_were_while_a_thread_writes(store: EmbeddedStore) -> None:
    writer, stop = Writer(store, 99), threading.Event()

    def write() -> None:
        while not stop.is_set():
            writer.write()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(60):
            moment = store.moment()
            before = _told(moment)
            names = {one.id: one.state.metadata["Name"] for one in moment.nodes() if one.state}
            for name in set(names.values()):
                assert set(moment.having("Name", [name]) or ()) == {id_ for id_, it in names.items() if it == name}
            counted = moment.counted("Name")
            assert counted is not None
            assert sum(many for _, many in counted) == len(names)
            assert _told(moment) == before
    finally:
        stop.set()
        thread.join()


def test_a_moment_that_nobody_has_any_more_costs_writers_nothing(store: EmbeddedStore) -> None:
    moments = [store.moment() for _ in range(10)]
    assert len(store._indexes._moments) == 10
    del moments
    gc.collect()
    assert len(store._indexes._moments) == 0


def test_changes_that_nobody_asks_about_are_not_kept_for_ever(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topology.store.embedded.index._LEAST", 20)
    indexes, at, numbers = store._indexes, iter(range(1, 10_000)), iter(range(10_000))

    def come_and_go(times: int) -> None:
        for number in itertools.islice(numbers, times):
            node = str(uuid.UUID(int=10_000 + number))
            for state in (State("h", "o", {"p": Part.of({"Name": f"n{number}"})}), None):
                when = next(at)
                store.apply(Batch("w", 1, when, when, (Change(node, when, state),)))

    come_and_go(30)
    assert not indexes._dirty  # there is no index to keep up to date
    assert set(store.moment().having("Name", ["n1"]) or ()) == set()
    come_and_go(10)
    assert len(indexes._dirty) == 10
    come_and_go(15)
    assert not indexes._indexes
    assert not indexes._dirty
    Writer(store, 3).write()
    _check(store.moment(), Listed(store.current()))


def test_edges_that_lack_an_end_are_looked_for_anew_with_new_indexes(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topology.store.embedded.index._LEAST", 1)
    edge, parent, child, *others = (str(uuid.UUID(int=number)) for number in range(9))
    node = State("h", "o", {"p": Part.of({})})
    store.apply(Batch("w", 1, 1, 1, (Change(edge, 1, State("h", "o", node.parts, parent=parent, child=child)),)))
    assert store.moment().count(Kind.EDGE) == 0
    store.apply(Batch("w", 1, 2, 2, tuple(Change(id_, 2, node) for id_ in (parent, child, *others))))
    store.apply(Batch("w", 1, 3, 3, tuple(Change(id_, 3, None) for id_ in others)))
    assert not store._indexes._indexes
    assert store.moment().count(Kind.EDGE) == 1


def test_values_at_keys() -> None:
    metadata = {"A": 1, "B": {"C": {"D": [1, 2]}, "E.F": 3}, "G": [{"H": 1}, {"H": [2, 3]}, {"I": 4}, 5], "J.K": 6, "N": None}
    for key, found in [
        ("A", [1]), ("B.C.D", [1, 2]), ("B.E.F", [3]), ("G.H", [1, 2, 3]), ("G.I", [4]), ("J.K", [6]), ("N", []), ("B.X", []),
        ("A.B", []), ("G", [{"H": 1}, {"H": [2, 3]}, {"I": 4}, 5]), ("", []), ("B.C", [{"D": [1, 2]}]),
    ]:  # fmt: skip
        assert values_at(metadata, key) == found, key
