"""Moments in the past against lists of what was there, while late changes are written and retention removes; their traces."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from contract.steps import T, batch, element, node
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.netlab import until

from topology.elements import Kind, Part, Revision, State, encode_state
from topology.store.embedded import had, noting, past, reading, retention
from topology.store.embedded.backup import back_up, bring_back
from topology.store.embedded.store import FILE, EmbeddedStore
from topology.store.interface import StoreError
from topology.store.traversal import Listed, Moment, Scalar, values_at

_NAMES = ("a", "b", "ä", "")
_KEYS = ("Name", "Type", "IPV4", "TID", "@Host", "@label", "K8s.Name", "MTU", "Nothing")
_VALUES: tuple[Scalar, ...] = (*_NAMES, "t1", "h1", "10.0.0.1/8", 1, 1.0, True, "node", "1", "True", "['a']")

_UNTRACED = {("@Host", ""), *(("@label", one) for one in ("node", "1", "True", "['a']", "10.0.0.1/8"))}


def _metadata() -> st.SearchStrategy[dict[str, Any]]:
    text = st.sampled_from([*_NAMES, None, 1, True])
    return st.fixed_dictionaries(
        {},
        optional={
            "Name": text,
            "Type": text | st.just(["a"]),
            "MTU": st.sampled_from([1, 1.0, "a", True]),
            "IPV4": st.lists(st.sampled_from(["10.0.0.1/8", "a", 1]), max_size=2),
            "K8s": st.sampled_from([{"Name": "a"}, {"Name": ["b", 1]}, [{"Name": "a"}, {"Name": "b"}, 1], "a", {}]),
            "K8s.Name": st.sampled_from(["ä", None, ["a"]]),
        },
    )


def _part() -> st.SearchStrategy[Part]:
    return st.builds(lambda metadata, enriches: Part.of(metadata, enriches=enriches), _metadata(), st.booleans())


def _node() -> st.SearchStrategy[State]:
    parts = st.dictionaries(st.sampled_from("pq"), _part(), min_size=1)
    return st.builds(State, st.sampled_from(["h1", "h2", ""]), st.just("o"), parts, st.sampled_from(["t1", ""]))


def _edge() -> st.SearchStrategy[State]:
    ends = st.sampled_from([element(number) for number in range(4)])
    parts = st.just({"p": Part.of({"RelationType": "layer2"})})
    return st.builds(State, st.just("h1"), st.just("o"), parts, parent=ends, child=ends)


def _change() -> st.SearchStrategy[tuple[str, int, State | None]]:
    at = st.integers(1, 30)
    nodes = st.tuples(st.sampled_from([element(number) for number in range(4)]), at, st.none() | _node())
    edges = st.tuples(st.sampled_from([element(f"e{number}") for number in range(4)]), at, st.none() | _edge())
    return nodes | edges


@dataclass(frozen=True)
class Write:
    """A batch of these."""

    changes: list[tuple[str, int, State | None]]


@dataclass(frozen=True)
class Open:
    """A moment is taken, and so many questions are asked of it at once."""

    when: int
    questions: int


@dataclass(frozen=True)
class Retain:
    """What ended before is removed."""

    before: int


def _steps() -> st.SearchStrategy[list[Write | Open | Retain]]:
    write = st.builds(Write, st.lists(_change(), min_size=1, max_size=6))
    return st.lists(
        write | write | st.builds(Open, st.integers(0, 31), st.integers(0, 9)) | st.builds(Retain, st.integers(1, 30))
    )


def _same(revisions: list[Revision]) -> list[Revision]:
    """What of revisions stays as it was: when they ended is told as it is known."""
    return sorted((replace(one, archived_at=0, deleted=False) for one in revisions), key=lambda one: one.id)


def _values(state: State, key: str) -> list[Any]:
    beside = {
        "@Host": [state.host],
        "@label": [str(state.metadata.get("Type") or "node")],
        "TID": [state.tid] if state.tid else [],
    }
    return beside[key] if key in beside else values_at(state.metadata, key)


def _having(listed: Listed, key: str, value: Scalar) -> set[str]:
    found = set()
    for one in listed.nodes():
        assert one.state is not None
        if any(it == value and isinstance(it, bool) == isinstance(value, bool) for it in _values(one.state, key)):
            found.add(one.id)
    return found


def _questions(chance: random.Random) -> Iterator[Callable[[Moment, Listed], None]]:
    """All that a moment can be asked, in any order."""

    def get(moment: Moment, then: Listed) -> None:
        ids = [element(number) for number in chance.sample(range(6), 3)] + [element("e1"), "no ID"]
        assert _same(moment.get(ids)) == _same(then.get(ids))

    def edges(moment: Moment, then: Listed) -> None:
        one = element(chance.randrange(5))
        assert _same(moment.edges_from(one)) == _same(then.edges_from(one))
        assert _same(moment.edges_to(one)) == _same(then.edges_to(one))

    def having(moment: Moment, then: Listed) -> None:
        for key in _KEYS:
            wanted = chance.sample(_VALUES, 2)
            found = moment.having(key, wanted)
            if found is None:
                traced = key in (*had.KEYS, "@label") and not any((key, one) in _UNTRACED for one in wanted)
                assert not traced or not all(isinstance(one, str) for one in wanted)
            else:
                assert sorted(found) == sorted(_having(then, key, wanted[0]) | _having(then, key, wanted[1])), (key, wanted)

    def whole(moment: Moment, then: Listed) -> None:
        assert _same(list(moment.nodes())) == _same(list(then.nodes()))
        assert _same(list(moment.edges())) == _same(list(then.edges()))
        nodes = {one.id for one in then.nodes()}
        whole = [one for one in then.edges() if one.state is not None and {one.state.parent, one.state.child} <= nodes]
        assert (moment.count(Kind.NODE), moment.count(Kind.EDGE)) == (len(nodes), len(whole))

    def others(moment: Moment, then: Listed) -> None:
        passing, counted = moment.passing("Name", lambda value: value == "a"), moment.counted("Type")
        assert passing is None or set(passing) == _having(then, "Name", "a")
        assert counted is None or sum(many for _, many in counted) == len(list(then.nodes())) - len(_without(then, "Type"))

    questions = [get, edges, having, get, edges, having, whole, others]
    while True:
        yield chance.choice(questions)


def _without(then: Listed, key: str) -> list[Revision]:
    return [one for one in then.nodes() if one.state is not None and not values_at(one.state.metadata, key)]


@pytest.mark.parametrize(("few", "many"), [(1000, 50_000), (0, 50_000), (0, 7), (3, 7)])
def test_a_moment_in_the_past_stays_what_was_there_when_it_was_taken(few: int, many: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_FEW", few)
        patch.setattr(had, "_MANY", many)
        _stays()


@settings(max_examples=60, deadline=None)
@given(_steps(), st.integers(0, 9999))
def _stays(steps: list[Write | Open | Retain], seed: int) -> None:
    questions = _questions(random.Random(seed))
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(EmbeddedStore(Path(folder))) as store:
        taken: list[tuple[Moment, Listed]] = []
        for step in steps:
            match step:
                case Write(changes):
                    store.apply(batch(*changes))
                case Retain(before):
                    store.retain(before=T + before)
                case Open(when, many):
                    taken.append((store.moment(T + when), Listed(store.as_of(T + when))))
                    for _ in range(many):
                        next(questions)(*taken[-1])
        taken += [(store.moment(T + when), Listed(store.as_of(T + when))) for when in (0, 9, 20, 31)]
        for moment, then in taken:
            for _ in range(6):
                next(questions)(moment, then)


def test_late_changes_of_a_thread_change_no_moment_that_was_taken(tmp_path: Path) -> None:
    """A writer that changes the past all the while: each question sees the same graph as the one before."""
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        ids = [element(number) for number in range(8)]
        store.apply(batch(*((id_, 1, node(Name="n0")) for id_ in ids)))
        stop, chance = threading.Event(), random.Random(5)

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                states = (node(Name=f"n{number % 5}") if chance.random() < 0.8 else None for _ in ids)
                store.apply(batch(*((id_, chance.randrange(2, 1000), state) for id_, state in zip(ids, states, strict=True))))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(150):
                moment = store.moment(T + 500)
                first = {name: set(moment.having("Name", [name]) or ()) for name in ("n0", "n1", "n2", "n3", "n4")}
                names = {one.id: one.state.metadata["Name"] for one in moment.get(ids) if one.state is not None}
                assert {id_: name for name, found in first.items() for id_ in found} == names
                assert {one.id: one.state.metadata["Name"] for one in moment.nodes() if one.state is not None} == names
        finally:
            stop.set()
            writer.join()


def test_a_common_value_is_no_reason_to_look_at_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "_MOST", 5)
    monkeypatch.setattr(reading, "_FEW", 0)
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        store.apply(batch(*((element(number), 1, node(Name=f"n{number % 3}", Type="veth")) for number in range(12))))
        store.apply(batch((element(0), 9, None)))
        moment = store.moment(T + 1)
        assert moment.having("Type", ["veth"]) is None
        assert len(moment.having("Name", ["n1"]) or ()) == 4
        assert moment.having("Name", ["n1", "n2"]) is None


FIRST = ["element", "revision", "state", "writer", "latest"]
"""The tables of version 1."""


def _old_file(folder: Path, monkeypatch: pytest.MonkeyPatch, states: int) -> dict[str, set[str]]:
    """A file as the version before left it; returns which nodes have which name at T + 1."""
    with contextlib.closing(EmbeddedStore(folder)) as store:
        for number in range(states):
            store.apply(batch((element(number % 100), number // 100 + 1, node(Name=f"n{number % 7}", MTU=number))))
        store.apply(batch(*((element(number), 2000, None) for number in range(50))))
        names: dict[str, set[str]] = {}
        for one in store.as_of(T + 1):
            assert one.state is not None
            names.setdefault(one.state.metadata["Name"], set()).add(one.id)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as database:
        for table in ("had", "had_lately", "noting", "resource"):  # all that later versions have
            database.execute(f"DROP TABLE {table}")
        assert [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == FIRST
        database.execute("PRAGMA user_version = 1")
    monkeypatch.setattr(noting, "_STATES", 150)
    monkeypatch.setattr(noting, "_ENTRIES", 20)
    monkeypatch.setattr(reading, "_FEW", 0)
    return names


def test_a_file_of_the_version_before_gets_its_traces_beside_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _old_file(tmp_path, monkeypatch, 1000)
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        store.apply(batch((element("new"), 1, node(Name="n3")), (element(77), 5, node(Name="n3", MTU=-1))))
        until(lambda: store.noting.over)
        moment = store.moment(T + 1)
        names["n3"].add(element("new"))
        assert {name: set(moment.having("Name", [name]) or ()) for name in names} == names
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        assert store.noting.over
        assert set(store.moment(T + 1).having("Name", ["n3"]) or ()) == names["n3"]


def test_a_file_that_is_closed_meanwhile_gets_the_rest_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _old_file(tmp_path, monkeypatch, 1000)
    done: list[int] = []
    put = had.put_in_order

    def put_and_stop(database: sqlite3.Connection, entries: list[int]) -> None:
        done.append(len(entries))
        if len(done) % 40 == 0:
            raise sqlite3.OperationalError("disk I/O error")
        put(database, entries)

    monkeypatch.setattr(had, "put_in_order", put_and_stop)
    for _ in range(100):
        with contextlib.closing(EmbeddedStore(tmp_path)) as store:
            store.noting.thread.join()
            moment = store.moment(T + 1)
            found = {name: moment.having("Name", [name]) for name in names}
            if store.noting.over:
                break
            assert set(found.values()) == {None}  # until then, all that was there is read
    assert {name: set(ids or ()) for name, ids in found.items()} == names
    assert len(done) >= 40


def _entries(folder: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(folder / FILE)) as database:
        return [entry for (entry,) in database.execute("SELECT entry FROM had")]


@pytest.mark.parametrize("swept", [10_000, 3])
def test_the_traces_of_elements_that_are_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swept: int) -> None:
    monkeypatch.setattr(retention, "_SWEPT", swept)
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        for number in range(30):
            store.apply(batch((element(number), number + 1, node(Name=f"n{number}"))))
            store.apply(batch((element(number), number + 2, node(Name=f"m{number}")), (element(number), number + 3, None)))
        store.apply(batch((element("stays"), 1, node(Name="n1"))))
        assert not _entries(tmp_path)
        store.retain(before=T + 20)
        left = {one.id for one in store.between(T, T + 100)}
        monkeypatch.setattr(reading, "_FEW", 0)
        assert len(_entries(tmp_path)) == 4 * (len(left) - 1) + 3  # host, TID, and two names, or one
        assert set(store.moment(T + 22).having("Name", ["n20", "m20", "n1"]) or ()) == {element(20), element("stays")}
        store.retain(size=0)
        assert len(_entries(tmp_path)) == 3


def test_a_backup_brings_the_traces_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_FEW", 0)
    monkeypatch.setattr(had, "_MANY", 20)
    with contextlib.closing(EmbeddedStore(tmp_path / "graph")) as store:
        for number in range(20):
            store.apply(batch((element(number), 1, node(Name=f"n{number}"))))
        store.apply(batch(*((element(number), 2, None) for number in range(20))))
        back_up(tmp_path / "graph", tmp_path / "file")
    assert 0 < len(_entries(tmp_path / "graph")) < 60  # some are in the log
    bring_back(tmp_path / "file", tmp_path / "other")
    with contextlib.closing(EmbeddedStore(tmp_path / "other")) as store:
        assert [store.moment(T + 1).having("Name", [f"n{number}"]) for number in range(20)] == [
            [element(number)] for number in range(20)
        ]


def test_a_batch_that_failed_leaves_no_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_FEW", 0)
    with contextlib.closing(EmbeddedStore(tmp_path)) as store:
        with pytest.raises(StoreError, match="is no time"):
            store.apply(batch((element(1), 1, node(Name="a")), (element(2), -T, node(Name="a"))))
        store.apply(batch((element(3), 1, node(Name="a"))))
        assert store.moment(T + 1).having("Name", ["a"]) == [element(3)]
        assert len(store._traces.lately([had.trace("Name", "a")])) == 1


@given(_node() | _edge())
def test_a_state_leaves_a_trace_of_each_text_that_it_may_be_asked_for(state: State) -> None:
    left = had.traces(encode_state(state))
    if state.kind is Kind.EDGE:
        assert left == {had.trace("@parent", state.parent), had.trace("@child", state.child)}
        return
    values = {key: values_at(state.metadata, key) for key in had.KEYS} | {"@Host": [state.host], "TID": [state.tid]}
    wanted = {had.trace(key, one) for key, some in values.items() for one in some if isinstance(one, str) and one}
    assert wanted <= left
    assert had.trace("Name", "nobody") not in left
    other = State("h9", "o", {"p": Part.of({"Name": "z"})})
    assert had.fresh_traces(encode_state(other), encode_state(state)) == left - had.traces(encode_state(other))
    assert had.fresh_traces(encode_state(state), encode_state(state)) == set()
