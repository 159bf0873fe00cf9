"""Past flows that agents could not name: asked for by owner, they are found as if they had been named when seen."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
import pytest
from support.addressgraph import H1, Graph, host, interface, k8s, netns

from skytrail.asking.asker import Answers
from skytrail.asking.questions import FlowsQuestion, Part, Question, Range
from skytrail.asking.terms import OPERATORS, Compare, Either, Every, Not, Term, compiled
from topology.addresses import conditions, naming
from topology.addresses.naming import NamingAsker
from topology.store.interface import StoreError

Flow = dict[str, Any]
SECOND = 1_000_000
WHEN = Range(1_000, 100_000)
EVERY_HOST = [H1]


class Agent:
    """Has flows, and answers as an agent does: by the question's condition, order, limit and fields."""

    def __init__(self, flows: list[Flow]) -> None:
        self.flows = flows
        self.asked: list[FlowsQuestion] = []
        self.told = 0

    def hosts(self) -> Mapping[str, str]:
        return {H1: "one"}

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:
        assert isinstance(question, FlowsQuestion)
        assert hosts == EVERY_HOST
        self.asked.append(question)
        test = compiled(question.term) if question.term else lambda _: True
        found = [flow for flow in self.flows if test(flow)]
        if question.sort == "Start":
            found.sort(key=lambda flow: flow["Start"], reverse=question.descending)
        found = found[: question.limit or None]
        self.told = len(found)
        fields = question.fields
        shown = [flow if fields is None else {key: flow[key] for key in fields if key in flow} for flow in found]
        return Answers([(H1, Part(msgspec.json.decode(msgspec.json.encode(shown))))])


@pytest.fixture
def named(graph: Graph) -> Graph:
    """10.1.0.1 to .4 have owners; .1 another one from the 50th second on."""
    graph.tell(host(H1, "one"), *netns(f"{H1}/netns/a", "a"), *interface(f"{H1}/netns/a", "eth0", "10.1.0.2/24"), at=SECOND)
    graph.tell(*(pod(name, at) for name, at in (("web-1", 1), ("web-3", 3))), at=SECOND)
    graph.tell(k8s("service", "web", ClusterIP="10.1.0.4"), at=SECOND)
    graph.tell(gone=(pod("web-1", 1),), at=50 * SECOND)
    graph.tell(pod("new", 1), at=50 * SECOND)
    graph.now = 200 * SECOND
    return graph


def pod(name: str, at: int) -> Any:
    return k8s("pod", name, IP=f"10.1.0.{at}", Node="one", Status="Running")


def drawn(count: int, seed: int) -> list[Flow]:
    """Flows of which an agent named some ends."""
    chance, flows = random.Random(seed), []
    for number in range(count):
        flow: Flow = {"UUID": f"{number:032x}", "Start": chance.randint(2_000, 99_000), "Namespace": chance.choice(("", "a"))}
        if chance.random() < 0.9:
            flow["Network"] = {side: f"10.1.0.{chance.randint(1, 6)}" for side in "AB"}
            told = {side: {"Kind": "pod", "Name": chance.choice(("web-1", "else"))} for side in "AB" if chance.random() < 0.3}
            flow |= {"Owner": told} if told else {}
        flows.append(flow)
    return flows


def ask(asker: NamingAsker, **words: Any) -> list[Flow]:
    answers = asker.ask(FlowsQuestion(**{"when": WHEN, **words}), EVERY_HOST)
    return [flow for _, part in answers.parts for flow in part.found]


def terms(seed: int) -> Iterator[Term]:
    chance = random.Random(seed)
    values = {
        "Owner.A.Kind": ("pod", "service"),
        "Owner.B.Name": ("web-1", "new"),
        "Owner.B.Namespace": ("shop",),
        "Owner.A.Host": ("one", "h"),
        "Owner.A": ("pod",),
        "Owner": ("pod",),
        "Owner.C.Kind": ("pod",),
        "Network.B": ("10.1.0.2", "10.1.0.5"),
    }

    def one(depth: int) -> Term:
        kind = chance.choice(("compare", "compare", "every", "either", "not") if depth else ("compare",))
        if kind == "not":
            return Not(one(depth - 1))
        if kind != "compare":
            parts = tuple(one(depth - 1) for _ in range(chance.randrange(4)))
            return Every(parts) if kind == "every" else Either(parts)
        key, operator = chance.choice(sorted(values)), chance.choice(sorted(OPERATORS))
        takes = OPERATORS[operator][0]
        given = ("10.0.0.0/8",) if operator == "range" else values[key]
        return Compare(key, operator, given if takes is None else tuple(given[:takes]))

    for _ in range(150):
        yield one(3)


@pytest.mark.parametrize("seed", range(4))
def test_by_any_condition_those_are_found_whose_names_meet_it(named: Graph, seed: int) -> None:
    agent = Agent(drawn(80, seed))
    asker = NamingAsker(agent, named.store)
    every = ask(asker)
    assert sum("Owner" in flow for flow in agent.flows) + 20 < sum("Owner" in flow for flow in every)
    chosen = 0
    for term in terms(seed):
        expected = [flow for flow in every if compiled(term)(flow)]
        assert ask(asker, term=term) == expected, term
        chosen += 0 < len(expected) < len(every)
    assert chosen > 30


def test_only_flows_of_who_is_asked_for_come_from_the_agent(named: Graph) -> None:
    agent = Agent([{**flow, "Owner": {}} for flow in drawn(200, 9)])
    asker = NamingAsker(agent, named.store)
    found = ask(asker, term=Compare("Owner.B.Name", "within", ("new",)), fields=("UUID",))
    assert all(flow.keys() == {"UUID"} for flow in found)
    of_address = [flow for flow in agent.flows if "Network" in flow and flow["Network"]["B"] == "10.1.0.1"]
    assert {flow["UUID"] for flow in found} == {flow["UUID"] for flow in of_address if flow["Start"] >= 50_000}
    assert 0 < len(found) < agent.told == len(of_address)


def test_a_flow_that_began_before_the_time_asked_for_is_named_as_it_was_then(named: Graph) -> None:
    """Whoever has the address by then; found by either name."""
    flows = [{"UUID": f"{start:032x}", "Start": start, "Network": {"A": "10.1.0.1"}} for start in (2_000, 45_000, 70_000)]
    asker, when = NamingAsker(Agent(flows), named.store), Range(60_000, 80_000)
    expected = ["web-1", "web-1", "new"]
    assert [flow["Owner"]["A"]["Name"] for flow in ask(asker, when=when)] == expected
    for name in ("web-1", "new"):
        found = ask(asker, when=when, term=Compare("Owner.A.Name", "within", (name,)), fields=("Start",))
        assert [flow["Start"] for flow in found] == [
            flow["Start"] for flow, of in zip(flows, expected, strict=True) if of == name
        ]


def test_what_began_before_the_graph_can_be_read_is_named_by_nobody(named: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    flows = [{"UUID": f"{start:032x}", "Start": start, "Network": {"A": "10.1.0.1"}} for start in (2_000, 70_000)]
    read = naming._revisions

    def of_late(store: Any, begin: int, end: int) -> Any:
        if begin < 60 * SECOND:
            raise StoreError("it is too much")
        return read(store, begin, end)

    monkeypatch.setattr(naming, "_revisions", of_late)
    found = ask(NamingAsker(Agent(flows), named.store), when=Range(60_000, 80_000))
    assert [flow.get("Owner", {}).get("A", {}).get("Name") for flow in found] == [None, "new"]


def test_of_the_first_few_in_an_order_none_is_missed(named: Graph) -> None:
    agent = Agent([{**flow, "Owner": {}} for flow in drawn(200, 9)])
    asker = NamingAsker(agent, named.store)
    term = Compare("Owner.B.Name", "within", ("new",))
    every = ask(asker, term=term)
    some = ask(asker, term=term, sort="Start", limit=3)
    assert sorted(every, key=lambda flow: flow["Start"])[:3] == sorted(some, key=lambda flow: flow["Start"])[:3]
    assert len(ask(asker, sort="Start", limit=3)) == 3  # who it was does not matter: each agent tells its first
    ask(asker, sort="Owner.B.Name", limit=3)
    assert agent.told == 200


def test_of_many_addresses_all_flows_without_names_come(named: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent([{**flow, "Owner": {}} for flow in drawn(200, 9)])
    asker = NamingAsker(agent, named.store)
    few = ask(asker, term=Compare("Owner.B.Kind", "within", ("pod",)))
    monkeypatch.setattr(conditions, "_MOST", 1)
    assert ask(asker, term=Compare("Owner.B.Kind", "within", ("pod",))) == few
    assert agent.told == 200


def test_without_a_graph_of_then_agents_answer_as_far_as_they_knew(named: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(drawn(80, 3))
    term = Compare("Owner.B.Name", "within", ("web-1",))
    expected = [flow for flow in agent.flows if compiled(term)(flow)]

    def away(*_: object) -> Any:
        raise StoreError("it is away")

    monkeypatch.setattr(naming, "_revisions", away)
    assert (
        ask(NamingAsker(agent, named.store), term=term, sort="Start", limit=5)
        == sorted(expected, key=lambda flow: flow["Start"])[:5]
    )
    assert (agent.asked[-1].term, agent.asked[-1].limit) == (term, 5)


def test_of_now_agents_are_asked_as_they_are(named: Graph) -> None:
    agent = Agent(drawn(80, 3))
    term = Compare("Owner.B.Name", "within", ("web-1",))
    ask(NamingAsker(agent, named.store), when=None, term=term)
    assert agent.asked[-1] == FlowsQuestion(term=term)
