"""Moments against what a plain model computes from the graph as of then: every method, and walks of all kinds."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from contract.steps import T, apply, edge, element, node
from gremlin_python.process.graph_traversal import GraphTraversalSource
from gremlin_python.process.traversal import TraversalStrategies
from gremlin_python.structure.graph import Graph

from topology.elements import Kind, Part, Revision, State
from topology.store.interface import StoreError
from topology.store.janusgraph import commit, moment
from topology.store.janusgraph.log import Head, read_head
from topology.store.janusgraph.moment import JanusGraphMoment
from topology.store.janusgraph.store import JanusGraphStore
from topology.store.janusgraph.walking import Time, route
from topology.store.traversal import (
    Compare,
    Count,
    Dedup,
    Direction,
    Edges,
    Ends,
    Hop,
    Ids,
    Limit,
    Listed,
    Moment,
    Nodes,
    WalkStep,
    values_at,
)

pytestmark = pytest.mark.lab

OpenStore = Callable[..., JanusGraphStore]

OUT, IN, BOTH = Direction.OUT, Direction.IN, Direction.BOTH
LAST = 40
NODES = [element(f"node {number}") for number in range(8)]
EDGES = [element(f"edge {number}") for number in range(12)]
NAMES = ["a", "ab", "b", "\uffee", "\U0001f600", "Ünder"]  # Java puts the fifth before the fourth
RELATIONS = ["layer2", "layer2", "ownership", "homemade", "", None]


def random_node(rng: random.Random, *, odd: bool) -> State:
    told: dict[str, Any] = {
        "Name": rng.choice(NAMES),
        "Type": rng.choice(["veth", "bridge", "veth", "bridge", ""]),
        "n": rng.randint(1, 3),
    }
    told["MTU"] = rng.choice([1500, 9000, -1])
    told["IPV4"] = [f"10.0.0.{rng.randint(1, 3)}/8" for _ in range(rng.randint(0, 3))]
    told["State"] = rng.choice(["UP", "DOWN", ""])
    told["K8s"] = rng.choice([{"Name": "pod", "Namespace": rng.choice(["n", "m"])}, {}, None])
    told = {key: value for key, value in told.items() if key == "Name" or rng.random() < 0.8}
    if odd:
        told |= rng.choice([{}, {"Name": 7}, {"Name": ["a", "b"]}, {"MTU": 1500.0}, {"MTU": 2**64}, {"IPV4": "10.0.0.1/8"}])
        told |= rng.choice([{}, {"K8s.Namespace": "n"}, {"K8s": [{"Name": "pod"}]}, {"TID": "z"}])
    host = rng.choice(["h1", "h2", ""])
    return State(host, f"agent.{host}", {"netlink": Part.of(told)}, rng.choice(["t1", "t2", ""]))


def random_edge(rng: random.Random, *, odd: bool) -> State:
    relation = rng.choice([*RELATIONS, *([5, ["layer2"], True] if odd else [])])
    told = {"n": rng.randint(1, 3)} | ({} if relation == "" and not odd else {"RelationType": relation})
    return edge(rng.choice(NODES), rng.choice(NODES), **told)


def random_changes(rng: random.Random, now: int, *, odd: bool) -> list[tuple[str, int, State | None]]:
    made: list[tuple[str, int, State | None]] = []
    for _ in range(rng.randint(1, 6)):
        at = now if rng.random() < 0.8 else rng.randint(1, now)
        make, id_ = rng.choice([(random_node, rng.choice(NODES)), (random_edge, rng.choice(EDGES))])
        made.append((id_, at, None if rng.random() < 0.2 else make(rng, odd=odd)))
    return made


@dataclass(frozen=True)
class Plain:
    """The graph as a list of what is there: each question is answered by looking at all."""

    all: list[Revision]

    def of(self, kind: Kind) -> list[Revision]:
        return [one for one in self.all if one.state and one.state.kind is kind]

    def shown(self) -> list[Revision]:
        there = {one.id for one in self.of(Kind.NODE)}
        return [one for one in self.of(Kind.EDGE) if one.state and {one.state.parent, one.state.child} <= there]

    def walk(self, steps: Sequence[WalkStep]) -> list[Revision]:
        """What comes out, as often as it comes, with all that a limit would cut off."""
        came: list[Revision] = []
        for step in steps:
            came = self.step(came, step)
        return came

    def step(self, came: list[Revision], step: WalkStep) -> list[Revision]:
        match step:
            case Nodes():
                return [one for one in self.of(Kind.NODE) if meets(one, step.where)]
            case Edges():
                return [one for one in self.shown() if meets(one, step.where)]
            case Ids():
                return [one for one in came if one.id in step.ids]
            case Dedup():
                return list({one.id: one for one in came}.values())
            case Ends():
                ends = [self.node(id_) for one in came for id_ in ends_of(one, step.direction)]
                return [one for one in ends if meets(one, step.where)]
            case Hop():
                hops = [pair for one in came for pair in self.hops(one.id, step)]
                found = [along if step.to_edges else self.node(end) for along, end in hops]
                return [one for one in found if meets(one, step.where)]
            case _:
                return came

    def node(self, id_: str) -> Revision:
        [found] = [one for one in self.of(Kind.NODE) if one.id == id_]
        return found

    def hops(self, id_: str, step: Hop) -> Iterable[tuple[Revision, str]]:
        for one in self.shown():
            assert one.state
            if step.relations and str(one.state.metadata.get("RelationType") or "related") not in step.relations:
                continue
            if one.state.parent == id_ and step.direction in (OUT, BOTH):
                yield one, one.state.child
            if one.state.child == id_ and step.direction in (IN, BOTH):
                yield one, one.state.parent


def ends_of(one: Revision, direction: Direction) -> list[str]:
    assert one.state
    return {OUT: [one.state.parent], IN: [one.state.child], BOTH: [one.state.parent, one.state.child]}[direction]


def values_of(one: Revision, key: str) -> list[Any]:
    assert one.state
    if key.startswith("@"):
        return [one.state.host if key == "@Host" else one.state.origin]
    if key == "TID":
        return [one.state.tid] if one.state.tid else []
    return values_at(one.state.metadata, key)


def meets(one: Revision, where: Sequence[Compare]) -> bool:
    return all(any(passes(value, each.operator, each.values) for value in values_of(one, each.key)) for each in where)


def rank(value: Any) -> Any:
    """Two values can be compared where the first parts are the same."""
    if isinstance(value, str):
        return "text", value.encode("utf-16-be")
    return ("truth" if isinstance(value, bool) else "number" if isinstance(value, int | float) else repr(value)), value


def passes(value: Any, operator: str, operands: Sequence[Any]) -> bool:
    def alike(*others: Any) -> bool:
        return rank(value)[0] in ("text", "number") and all(rank(one)[0] == rank(value)[0] for one in others)

    def order(name: str, other: Any) -> bool:
        if not alike(other):
            return False
        mine, its = rank(value)[1], rank(other)[1]
        return bool({"gt": mine > its, "gte": mine >= its, "lt": mine < its, "lte": mine <= its}[name])

    if operator in ("eq", "within", "neq", "without"):
        return (rank(value) in [rank(one) for one in operands]) == (operator in ("eq", "within"))
    if operator in ("startingWith", "endingWith", "containing"):
        text = isinstance(value, str) and isinstance(operands[0], str)
        tests = {"startingWith": str.startswith, "endingWith": str.endswith, "containing": str.__contains__}
        return text and bool(tests[operator](value, operands[0]))
    if operator in ("gt", "gte", "lt", "lte"):
        return order(operator, operands[0])
    if not alike(*operands):
        return False
    first, second = {"between": ("gte", "lt"), "inside": ("gt", "lt"), "outside": ("lt", "gt")}[operator]
    told = order(first, operands[0]), order(second, operands[1])
    return any(told) if operator == "outside" else all(told)


TEXTS = ("eq", "neq", "within", "without", "gt", "gte", "lt", "lte", "between", "inside", "outside",
         "startingWith", "endingWith", "containing")  # fmt: skip
SOME = {
    "Name": NAMES, "Type": ["veth", "bridge", "other"], "State": ["UP", "DOWN", "U"], "IPV4": ["10.0.0.1/8", "10.0.0.2/8"],
    "K8s.Namespace": ["n", "m"], "K8s.Name": ["pod", "po"], "TID": ["t1", "t2", "t"], "MTU": [1500, 9000, 1500.5, 0, 1500.0],
    "@Host": ["h1", "h2"], "@Origin": ["agent.h1", "agent."],
}  # fmt: skip
MAYBE_EMPTY = ("neq", "without", "lt", "lte", "outside")
"""What an empty host passes: the declared keys do not tell of those."""


def random_comparison(rng: random.Random, keys: Sequence[str]) -> Compare:
    key = rng.choice(keys)
    operators = TEXTS[:-3] if key == "MTU" else TEXTS
    operator = rng.choice([one for one in operators if not (key.startswith("@") and one in MAYBE_EMPTY)])
    many = 2 if operator in ("between", "inside", "outside") else rng.randint(1, 3) if operator.startswith("with") else 1
    values = tuple(rng.choice(SOME[key]) for _ in range(many))
    if operator == "within" and key == "MTU":
        values = (*values, 9000)  # else it may be that none can pass
    if operator == "eq" and key == "MTU":
        values = (rng.choice([1500, 1500.0]),)
    return Compare(key, operator, values)


def random_walk(rng: random.Random, odd: Iterable[str]) -> list[WalkStep]:
    """One that JanusGraph can be asked whole."""
    keys = [key for key in SOME if key not in odd]
    indexed = [key for key in ("Name", "Type", "IPV4", "TID", "@Host", "K8s.Namespace") if key not in odd]

    def where() -> tuple[Compare, ...]:
        return tuple(random_comparison(rng, keys) for _ in range(rng.choice([0, 0, 0, 1, 2])))

    def of_edges() -> tuple[Compare, ...]:
        if "RelationType" in odd or rng.random() < 0.7:
            return ()
        return (
            Compare(
                "RelationType", rng.choice(["eq", "neq", "lt", "startingWith"]), (rng.choice(["layer2", "homemade", "p"]),)
            ),
        )

    def equal() -> Compare:
        key = rng.choice(indexed)
        return Compare(key, rng.choice(["eq", "within"]), (rng.choice(SOME[key]),))

    start = rng.random()
    if start < 0.6:
        steps: list[WalkStep] = [Nodes((equal(), *where()))]
    elif start < 0.8:
        steps = [Nodes(where()), Ids(tuple(rng.sample(NODES, rng.randint(1, 5))))]
    else:
        steps = [Edges(of_edges()), Ids(tuple(rng.sample(EDGES, rng.randint(1, 8))))]
    at_nodes = start < 0.8
    for _ in range(rng.randint(0, 4)):
        direction, kind = rng.choice([OUT, IN, BOTH]), rng.random()
        if kind < 0.2:
            steps.append(rng.choice([Dedup(), Ids(tuple(rng.sample(NODES if at_nodes else EDGES, 5)))]))
        elif at_nodes:
            relations = tuple(rng.sample(["layer2", "ownership", "homemade", "related"], rng.choice([0, 0, 1, 2])))
            at_nodes = kind < 0.7
            steps.append(Hop(direction, relations, not at_nodes, where() if at_nodes else of_edges()))
        else:
            steps.append(Ends(direction, where()))
            at_nodes = True
    return steps + rng.choice([[], [Count()], [Limit(rng.randint(0, 5))], [Limit(3), Count()], [Dedup(), Count()]])


def check_walk(asked: Moment, plain: Plain, steps: Sequence[WalkStep], answered: int) -> None:
    """The leading steps are answered, as many as that, and as the model does."""
    walked = asked.walk(steps)
    if not answered:
        assert walked is None, steps
        return
    assert walked is not None, steps
    assert walked.steps == answered, steps
    came = plain.walk(steps[:answered])
    limits = [step.many for step in steps[:answered] if isinstance(step, Limit)]
    if isinstance(steps[answered - 1], Count):
        assert walked.found == min([len(came), *limits]), steps
        return
    assert isinstance(walked.found, list)
    revisions = {one.id: one for one in came}
    assert len({one.id for one, _ in walked.found}) == len(walked.found)
    assert all(one == revisions[one.id] for one, _ in walked.found), steps
    found, wanted = Counter({one.id: many for one, many in walked.found}), Counter(one.id for one in came)
    if limits:
        assert found <= wanted, steps
        assert found.total() == min(len(came), *limits), steps
    else:
        assert found == wanted, steps


def ordered(revisions: Iterable[Revision]) -> list[Revision]:
    return sorted(revisions, key=lambda one: one.id)


def check_methods(asked: Moment, plain: Plain, odd: Iterable[str] = ()) -> None:
    wanted = [*NODES, "nobody", *EDGES, NODES[0]]
    by_id = {one.id: one for one in plain.all}
    assert asked.get(wanted) == [by_id[id_] for id_ in wanted if id_ in by_id]
    for id_ in (*NODES, "nobody"):
        ends = [(one, one.state.parent, one.state.child) for one in plain.of(Kind.EDGE) if one.state]
        assert ordered(asked.edges_from(id_)) == ordered(one for one, parent, _ in ends if parent == id_)
        assert ordered(asked.edges_to(id_)) == ordered(one for one, _, child in ends if child == id_)
    for key in ("Name", "Type", "IPV4", "TID", "@Host", "K8s.Namespace"):
        for values in (SOME[key][:1], SOME[key][1:], SOME[key]):
            found = asked.having(key, values)
            if key in odd:
                assert found is None
            else:
                assert Counter(found) == Counter(
                    one.id for one in plain.of(Kind.NODE) if any(value in values for value in values_of(one, key))
                )
    labels = {one.id: str(one.state.metadata.get("Type") or "node") for one in plain.of(Kind.NODE) if one.state}
    for wanted in (["veth"], ["bridge", "veth"], ["veth", "node"], ["veth", ""]):
        found = asked.having("@label", wanted)
        if "Type" in odd or wanted[-1] in ("node", ""):
            assert found is None
        else:
            assert Counter(found) == Counter(id_ for id_, label in labels.items() if label in wanted)
    assert asked.having("n", [1]) is asked.having("Nothing", ["x"]) is asked.having("MTU", [1500]) is None
    assert asked.passing("Name", bool) is asked.counted("Name") is None


def check_whole(asked: Moment, plain: Plain) -> None:
    assert ordered(asked.nodes()) == ordered(plain.of(Kind.NODE))
    assert ordered(asked.edges()) == ordered(plain.of(Kind.EDGE))
    assert (asked.count(Kind.NODE), asked.count(Kind.EDGE)) == (len(plain.of(Kind.NODE)), len(plain.shown()))


def taken(store: JanusGraphStore, when: int | None) -> tuple[Moment, Plain]:
    """A moment by the vertices, and the same by the log."""
    made = store.moment(when if when is None else T + when)
    assert isinstance(made, JanusGraphMoment)
    return made, Plain(list(store.current()) if when is None else store.as_of(T + when))


def check(asked: Moment, plain: Plain, rng: random.Random, walks: int = 25) -> None:
    """All walks are answered whole."""
    check_methods(asked, plain)
    for _ in range(walks):
        steps = random_walk(rng, ())
        check_walk(asked, plain, steps, len(steps))
    check_whole(asked, plain)


def filled(store: JanusGraphStore, rng: random.Random, *, odd: bool = False) -> None:
    for now in range(1, LAST, 2):
        apply(store, *random_changes(rng, now, odd=odd))


@pytest.mark.parametrize("seed", range(6))
def test_every_answer_is_the_models_at_every_time(store: JanusGraphStore, seed: int) -> None:
    rng = random.Random(seed)
    filled(store, rng)
    for when in (None, 0, LAST + 5, *rng.sample(range(1, LAST), 4)):
        check(*taken(store, when), rng)


@pytest.mark.parametrize("seed", range(2))
def test_answers_are_the_models_where_a_batch_is_several_transactions(open_store: OpenStore, seed: int) -> None:
    rng, store = random.Random(seed), open_store(transactional=False)
    filled(store, rng)
    for when in (None, *rng.sample(range(1, LAST), 2)):
        check(*taken(store, when), rng)


@pytest.mark.parametrize("seed", range(4))
def test_a_key_with_values_that_no_index_has_is_left_to_others(store: JanusGraphStore, seed: int) -> None:
    rng = random.Random(seed)
    filled(store, rng, odd=True)
    odd = {"Name", "MTU", "IPV4", "K8s.Namespace", "K8s.Name", "TID", "RelationType"}
    assert set((read_head_of(store).odd or "").split()) <= odd
    for when in (None, *rng.sample(range(1, LAST), 3)):
        asked, plain = taken(store, when)
        for _ in range(15):
            steps = random_walk(rng, odd)  # it asks for none of these
            check_walk(asked, plain, steps, len(steps))
            steps = random_walk(rng, ())
            walked = asked.walk(steps)
            check_walk(asked, plain, steps, walked.steps if walked else 0)


@pytest.mark.parametrize(
    ("told", "odd"),
    [
        ({"Name": "a", "MTU": 2**63 - 1, "IPV4": [], "State": "", "K8s": {"Name": "p"}, "n": [1.5]}, ""),
        ({"Name": 7, "MTU": 2**63}, "MTU Name"),
        ({"Name": None, "MTU": True, "IPV4": "10.0.0.1/8"}, "IPV4 MTU"),
        ({"IPV4": ["10.0.0.1/8", None], "K8s": {"Name": "p"}, "K8s.Name": "q"}, "IPV4 K8s.Name"),
    ],
)
def test_the_head_names_odd_keys(open_store: OpenStore, told: dict[str, Any], odd: str) -> None:
    store = open_store()
    apply(store, (NODES[0], 1, node(**told)))
    apply(store, (NODES[0], 2, None), (NODES[1], 2, node(Name="a")))
    assert read_head_of(store).odd == odd
    store = open_store()
    apply(store, (NODES[1], 3, node(State=["UP"])))
    assert read_head_of(store).odd == " ".join(sorted([*odd.split(), "State"]))


def read_head_of(store: JanusGraphStore) -> Head:
    return store._connections.read(lambda g: read_head(g, ""))


@pytest.mark.parametrize("asked_before", [True, False])
@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("when", [None, LAST, 15])
def test_what_is_written_during_a_moment_is_not_seen(
    store: JanusGraphStore, when: int | None, late: bool, asked_before: bool
) -> None:
    rng = random.Random(1)
    filled(store, rng)
    asked, plain = taken(store, when)
    if asked_before:
        check_methods(asked, plain)
    for now in range(LAST + 1, LAST + 4):
        apply(store, *((id_, at, one) for id_, at, one in random_changes(rng, now, odd=False) if (at == now) or late))
    apply(store, *((id_, 14 if late else LAST + 5, None) for id_ in NODES[:4]))
    assert store.as_of(T + LAST + 5) != plain.all
    steps = [Nodes((Compare("Type", "within", ("veth", "bridge")),)), Hop(BOTH), Dedup()]
    check_walk(asked, plain, steps, 0 if late else 3)
    if not late:
        for _ in range(20):
            steps = random_walk(rng, ())
            check_walk(asked, plain, steps, len(steps))
        check_methods(asked, plain)
    else:
        assert asked.having("Name", NAMES) is None
        assert asked.get(NODES) == [one for id_ in NODES for one in plain.all if one.id == id_]
        assert ordered(asked.edges_from(NODES[0])) == ordered(
            one for one in plain.of(Kind.EDGE) if one.state and one.state.parent == NODES[0]
        )
    check_whole(asked, plain)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ([("Name", ("x",))], "[['V'], ['has', 'Name', eq(x)]]"),
        ([("Name", ("x", "y"))], "[['V'], ['has', 'Name', within(['x', 'y'])]]"),
        ([("Type", ("t",)), ("Name", ("x",))], "[['V'], ['has', 'Name', eq(x)], ['has', 'Type', eq(t)]]"),
        ([("IPV4", ("x",))], "[['V'], ['has', 'IPV4', eq(x)], ['dedup']]"),
        ([("Name", ("x",)), ("State", ("UP",))],
         "[['V'], ['has', 'Name', eq(x)], ['filter', [['properties', 'State'], ['value'], ['is', eq(UP)]]]]"),
    ],
)  # fmt: skip
def test_what_an_index_tells_of_now_is_not_asked_twice(where: list[tuple[str, tuple[str, ...]]], told: str) -> None:
    steps = [Nodes(tuple(Compare(key, "within", values) for key, values in where))]
    made, then = (route(steps, time, ()) for time in (Time(), Time(T)))
    assert made is not None
    assert then is not None
    g = GraphTraversalSource(Graph(), TraversalStrategies())
    assert str(made.traversal(g).bytecode) == told
    assert str(then.traversal(g).bytecode).count("valid_from") == len(where)  # any of its values was found


UNTOLD = Compare("n", "gt", (1,))
VETHS = Nodes((Compare("Type", "eq", ("veth",)),))


@pytest.mark.parametrize(
    ("steps", "answered"),
    [
        ([], 0),
        ([Nodes()], 0),
        ([Nodes(), Count()], 0),
        ([Nodes((Compare("State", "eq", ("UP",)),)), Count()], 0),
        ([Nodes((Compare("Name", "gt", ("a",)),))], 0),
        ([Nodes((Compare("Name", "eq", ("a",)), UNTOLD)), Count()], 0),
        ([Nodes((Compare("Host", "eq", ("h1",)),))], 0),
        ([Nodes((Compare("Name", "eq", (1,)),))], 0),
        ([Edges(), Count()], 0),
        ([Edges((UNTOLD,)), Ids((EDGES[0],))], 0),
        ([Hop(OUT)], 0),
        ([Ids((NODES[0],))], 0),
        ([VETHS], 1),
        ([VETHS, Ends(OUT)], 1),
        ([VETHS, Hop(OUT, (), False, (UNTOLD,)), Count()], 1),
        ([VETHS, Hop(OUT, (), False, (Compare("@Host", "neq", ("h1",)),))], 1),
        ([VETHS, Hop(OUT, (), False, (Compare("@Host", "within", ("h1", "")),))], 1),
        ([VETHS, Hop(OUT, (), False, (Compare("MTU", "gt", ("h1",)),))], 1),
        ([VETHS, Hop(OUT, (), False, (Compare("MTU", "between", (1,)),))], 1),
        ([VETHS, Hop(OUT, (), False, (Compare("Name", "like", ("a",)),))], 1),
        ([VETHS, Hop(OUT, ("",))], 1),
        ([VETHS, Hop(OUT, (), True, (Compare("Name", "eq", ("a",)),))], 1),
        ([VETHS, Hop(OUT, (), True), Hop(OUT)], 2),
        ([VETHS, Hop(OUT, (), True), Ends(IN), Nodes()], 3),
        ([VETHS, Hop(OUT), Limit(2), Hop(OUT, (), False, (UNTOLD,)), Count()], 3),
        ([VETHS, Count(), Limit(1)], 2),
        ([Nodes(), Ids((*NODES, "nobody")), Hop(IN, (), False, (UNTOLD,))], 2),
    ],
)
def test_what_cannot_be_told_ends_what_is_taken_over(emptied_and_filled: JanusGraphStore, steps: Any, answered: int) -> None:
    for when in (None, 20):
        check_walk(*taken(emptied_and_filled, when), steps, answered)


@pytest.fixture
def emptied_and_filled(store: JanusGraphStore) -> JanusGraphStore:
    filled(store, random.Random(3))
    return store


def test_many_elements_come_in_several_answers(emptied_and_filled: JanusGraphStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment, "_AT_ONCE", 2)
    for when in (None, 20):
        check(*taken(emptied_and_filled, when), random.Random(7))


def test_what_retention_left_is_told_and_what_it_took_is_had_from_the_log(emptied_and_filled: JanusGraphStore) -> None:
    store = emptied_and_filled
    assert store.retain(before=T + 20).removed
    for when in (None, 20, 21, 30):
        check(*taken(store, when), random.Random(8))
    for when in (10, 19):
        old = store.moment(T + when)
        assert isinstance(old, Listed)
        check_whole(old, Plain(store.as_of(T + when)))


def test_what_was_forgotten_during_a_moment_is_no_answer(emptied_and_filled: JanusGraphStore) -> None:
    asked, plain = taken(emptied_and_filled, 20)
    check_methods(asked, plain)
    assert emptied_and_filled.retain(before=T + 21).removed
    with pytest.raises(StoreError, match="ask again"):
        asked.get(NODES)


def test_while_vertices_are_behind_the_log_answers(open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that should have brought them up to date did not, as if it had died there."""
    store = open_store(transactional=False)
    filled(store, random.Random(4))
    before, plain = taken(store, None)
    monkeypatch.setattr(commit.Committer, "_apply_elements", lambda *_: None)
    apply(store, (NODES[0], LAST + 1, node(Name="new", Type="veth")))
    now = store.moment()
    assert isinstance(now, Listed)
    assert [one.state for one in now.get([NODES[0]])] == [node(Name="new", Type="veth")]
    assert before.walk([VETHS]) is None
    check_whole(before, plain)


def test_a_graph_that_an_earlier_version_began_is_read_whole(store: JanusGraphStore) -> None:
    store._connections.run(lambda g: g.V().has("system", "head").properties("odd").drop().iterate())
    apply(store, (NODES[0], 1, node(Name="a")))
    assert read_head_of(store).odd is None
    asked = store.moment()
    assert isinstance(asked, Listed)
    assert [one.state for one in asked.nodes()] == [node(Name="a")]


def test_a_moment_is_whole_while_others_write(open_store: OpenStore) -> None:
    """Each batch moves a name and an edge from one node to another: at no moment two have them, or none."""
    writer = open_store(transactional=False)
    reader = open_store(transactional=False, also=True)
    apply(writer, (NODES[0], 1, node(Name="it")), (NODES[1], 1, node(Name="no")), (NODES[2], 1, node(Name="end")))
    apply(writer, (EDGES[0], 1, edge(NODES[0], NODES[2], RelationType="layer2")))
    failures: list[StoreError] = []

    def write() -> None:
        try:
            for turn in range(2, 32):
                old, new = NODES[turn % 2], NODES[(turn + 1) % 2]
                moved = (
                    (EDGES[turn % 2], turn, None),
                    (EDGES[(turn + 1) % 2], turn, edge(new, NODES[2], RelationType="layer2")),
                )
                apply(writer, (old, turn, node(Name="no")), (new, turn, node(Name="it")), *moved)
        except StoreError as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    answered = 0
    while thread.is_alive() or not answered:
        asked = reader.moment()
        walked = asked.walk([Nodes((Compare("Name", "eq", ("it",)),)), Hop(OUT, ("layer2",))])
        if walked is not None:
            answered += 1
            assert isinstance(walked.found, list)
            assert [(one.id, many) for one, many in walked.found] == [(NODES[2], 1)]
        names = [one.state.metadata["Name"] for one in asked.get(NODES[:2]) if one.state]
        assert sorted(names) == ["it", "no"]
        assert len(asked.edges_to(NODES[2])) == 1
    thread.join()
    assert failures == []


NAMED = Nodes((Compare("Name", "eq", ("new",)),))
LAST_WRITTEN: list[tuple[Callable[[Moment], Any], State]] = [
    (lambda asked: [one.id for one, _ in asked.walk([NAMED]).found], node(Name="new")),  # type: ignore[union-attr]
    (lambda asked: [one.id for one in asked.nodes() if one.state == node(Name="new")], node(Name="new")),
    (lambda asked: [one.id for one in asked.get(NODES) if one.state == node(Name="new")], node(Name="new")),
    (lambda asked: asked.having("Name", ["new"]), node(Name="new")),
    (lambda asked: asked.walk([NAMED]) or [NODES[1]], node(Name=["new"])),  # left to others: the key is odd now
]


@pytest.mark.parametrize(("ask", "written"), LAST_WRITTEN)
def test_a_moment_that_begins_with_the_head_as_it_was_sees_what_others_wrote_since(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Moment], Any], written: State
) -> None:
    writer, reader = open_store(), open_store(also=True)
    apply(writer, (NODES[0], 1, node(Name="old")))
    requests = []
    read = reader._connections.read
    monkeypatch.setattr(reader._connections, "read", lambda work: requests.append(work) or read(work))

    def asked() -> int:
        """How many requests a question took."""
        requests.clear()
        assert reader.moment().having("Name", ["old"]) == [NODES[0]]
        return len(requests)

    assert [asked(), asked(), asked()] == [2, 1, 1]
    apply(writer, (NODES[1], 2, written))
    assert ask(reader.moment()) == [NODES[1]]


def test_the_head_as_it_was_is_not_taken_for_what_it_is_where_vertices_are_behind(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = open_store(transactional=False), open_store(transactional=False, also=True)
    apply(writer, (NODES[0], 1, node(Name="old")))
    assert reader.moment().having("Name", ["old"]) == [NODES[0]]
    monkeypatch.setattr(commit.Committer, "_apply_elements", lambda *_: None)
    apply(writer, (NODES[0], 2, node(Name="new")))
    asked = reader.moment()
    assert isinstance(asked, JanusGraphMoment)
    assert asked.having("Name", ["new"]) is None
    assert [one.state for one in asked.get([NODES[0]])] == [node(Name="new")]
