"""Vertices and edges say the same as the log: their histories, asked by Gremlin alone, give the graph at each time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

import pytest
from contract.steps import T, apply, edge, element, node
from gremlin_python.process.graph_traversal import __
from gremlin_python.process.traversal import P
from gremlin_python.process.traversal import T as Token
from gremlin_python.statics import long

from topology.elements import FOREVER, Kind, decode_state
from topology.store.janusgraph import commit, timeline
from topology.store.janusgraph.store import JanusGraphStore

pytestmark = pytest.mark.lab

NAMES = [element(name) for name in "abcd"]
LINK = element("link")


def documents(store: JanusGraphStore, when: int) -> dict[str, Any]:
    """What each vertex says it was, by its own history."""
    at = long(T + when)
    rows = store._connections.run(
        lambda g: (
            g.V()
            .has_label("node", "edge_record")
            .as_("v")
            .properties("doc", "doc_was")
            .has("valid_from", P.lte(at))
            .has("valid_to", P.gt(at))
            .project("id", "document")
            .by(__.element().values("uid"))
            .by(Token.value)
            .to_list()
        )
    )
    found = {row["id"]: decode_state(row["document"].encode()) for row in rows}
    assert len(found) == len(rows)
    return found


def values(store: JanusGraphStore, key: str, when: int) -> dict[str, list[Any]]:
    at = long(T + when)
    rows = store._connections.run(
        lambda g: (
            g.V()
            .has_label("node")
            .properties(key, key + "_was")
            .has("valid_from", P.lte(at))
            .has("valid_to", P.gt(at))
            .project("id", "value")
            .by(__.element().values("uid"))
            .by(Token.value)
            .to_list()
        )
    )
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row["id"], []).append(row["value"])
    return {id_: sorted(several) for id_, several in found.items()}


def links(store: JanusGraphStore, when: int) -> list[tuple[str, str, str]]:
    at = long(T + when)
    rows = store._connections.run(
        lambda g: (
            g.E()
            .has("valid_from", P.lte(at))
            .has("valid_to", P.gt(at))
            .project("label", "out", "in")
            .by(Token.label)
            .by(__.out_v().values("uid"))
            .by(__.in_v().values("uid"))
            .to_list()
        )
    )
    return sorted((row["label"], row["out"], row["in"]) for row in rows)


def check(store: JanusGraphStore, last: int) -> None:
    for when in range(last + 2):
        there = {one.id: one.state for one in store.as_of(T + when)}
        assert documents(store, when) == there
        nodes = {id_: state.metadata for id_, state in there.items() if state and state.kind is Kind.NODE}
        assert values(store, "State", when) == {id_: [told["State"]] for id_, told in nodes.items() if "State" in told}
        assert values(store, "IPV4", when) == {id_: sorted(told["IPV4"]) for id_, told in nodes.items() if "IPV4" in told}
        assert links(store, when) == sorted(
            (state.metadata["RelationType"], state.parent, state.child)
            for state in there.values()
            if state and state.kind is Kind.EDGE
        )


def random_changes(rng: random.Random, count: int, last: int) -> list[tuple[str, int, Any]]:
    made: list[tuple[str, int, Any]] = []
    for _ in range(count):
        at = rng.randint(1, last)
        if rng.random() < 0.25:
            state = edge(NAMES[0], rng.choice(NAMES[1:]), RelationType=rng.choice(["layer2", "ownership"]))
            made.append((LINK, at, rng.choice([None, state])))
        else:
            told: dict[str, Any] = {"Name": "x", "n": rng.randint(1, 2)}
            told |= {"State": rng.choice(["UP", "DOWN"])} if rng.random() < 0.8 else {}
            told |= {"IPV4": rng.sample(["10.0.0.1/8", "10.0.0.2/8", "10.0.0.3/8"], 2)} if rng.random() < 0.7 else {}
            made.append((rng.choice(NAMES), at, rng.choice([None, node(**told), node(**told)])))
    return made


@pytest.mark.parametrize("seed", range(8))
def test_histories_of_vertices_are_the_logs(store: JanusGraphStore, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(6):
        apply(store, *random_changes(rng, rng.randint(1, 6), 12))
    check(store, 12)


def test_what_is_now_is_in_current_properties(store: JanusGraphStore) -> None:
    apply(store, (NAMES[0], 1, node(Name="eth0", State="UP")), (NAMES[1], 1, node(Name="eth1")))
    apply(store, (NAMES[0], 2, node(Name="eth7", State="UP")), (NAMES[1], 2, None))
    run = store._connections.run
    assert run(lambda g: g.V().has("Name", "eth7").values("uid").to_list()) == [NAMES[0]]
    assert run(lambda g: g.V().has("Name", P.within("eth0", "eth1")).count().next()) == 0
    assert run(lambda g: g.V().has("uid", NAMES[1]).values("doc").to_list()) == []
    assert run(lambda g: g.V().has("Name", "eth7").properties("Name").values("valid_to").next()) == FOREVER


def test_a_value_of_another_type_than_declared_stays_in_the_document(store: JanusGraphStore) -> None:
    apply(store, (NAMES[0], 1, node(Name=7, MTU="big", IPV4="10.0.0.1/8", State="", Vlan=True)))
    assert values(store, "Name", 1) == values(store, "MTU", 1) == values(store, "IPV4", 1) == {}
    assert [one.state for one in store.as_of(T + 1)] == [node(Name=7, MTU="big", IPV4="10.0.0.1/8", State="", Vlan=True)]


@pytest.mark.parametrize("fails_at", range(1, 9))
def test_what_a_process_left_half_done_the_next_finishes(
    open_store: Callable[..., JanusGraphStore], monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """A batch of several transactions ends after each of them in turn: it is there whole, or not at all, for all readers."""
    monkeypatch.setattr(commit, "ROWS", 4)
    monkeypatch.setattr(timeline, "ROWS", 4)
    monkeypatch.setattr(commit, "_PENDING_US", 0)
    monkeypatch.setattr("topology.store.janusgraph.records.CHUNK_BYTES", 400)
    store = open_store()
    apply(store, (NAMES[0], 1, node(State="OLD")))
    real, calls = store._committer.gated, []

    def failing(*arguments: Any, **sets: int) -> Any:
        calls.append(1)
        if len(calls) >= fails_at:
            raise SystemExit
        return real(*arguments, **sets)

    monkeypatch.setattr(store._committer, "gated", failing)
    changes = [(element(number), 5, node(State="UP", n=number)) for number in range(9)]
    changes += [
        (NAMES[0], 6, node(State="NEW")),
        (NAMES[0], 3, node(State="LATE")),
        (LINK, 7, edge(*NAMES[:2], RelationType="layer2")),
    ]
    with contextlib.suppress(SystemExit):
        apply(store, *changes)
    store._committer.forget_head()
    other = open_store()
    there = {one.id for one in other.as_of(T + 9)}
    assert len(there) in {1, 11}
    apply(other, (NAMES[1], 8, node(State="AFTER")))
    assert {one.id for one in other.as_of(T + 9)} == there | {NAMES[1]}
    assert other.health().revisions == {1: 2, 11: 14}[len(there)]
    check(other, 10)
