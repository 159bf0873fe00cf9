"""What Skydive's documentation says of its steps, and its defects mended."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from support.skydivegraphs import NOW, FixedGraphs, answer, edge, ids, node

from gremlin_api.errors import TraversalError
from gremlin_api.interpreter.run import Allowance, TimedOutError, TooMuchError
from gremlin_api.language.errors import QueryError
from gremlin_api.skydive.answering import SkydiveAnswerer

OWNS, LINKS = {"RelationType": "ownership"}, {"RelationType": "layer2"}

SOCKETS = [{"Protocol": "UDP", "LocalPort": 53}, {"Protocol": "TCP", "LocalPort": 22}]
HOST = [
    node("host", {"Name": "h1", "Type": "host", "Sockets": SOCKETS}),
    node("eth0", {"Name": "eth0", "Type": "device", "MTU": 1500, "IPV4": ["10.0.0.1/24"], "Up": True}),
    node("br0", {"Name": "br0", "Type": "bridge", "MTU": 9000, "Container": {"Labels": {"a.b.c": "123", "a~b/c@d": "456"}}}),
    node("ns1", {"Name": "ns1", "Type": "netns"}),
    node("veth1", {"Name": "veth1", "Type": "veth", "MTU": 1400}),
    node("veth0", {"Name": "veth0", "Type": "veth", "MTU": 1400}),
    *(edge(f"o-{one}", "host", one, OWNS) for one in ("eth0", "br0", "ns1", "veth0")),
    edge("o-veth1", "ns1", "veth1", OWNS),
    edge("l-1", "br0", "eth0", LINKS), edge("l-2", "br0", "veth0", LINKS),
    edge("l-3", "veth0", "veth1", LINKS | {"Type": "veth"}),
]  # fmt: skip


def test_g_is_the_whole_graph() -> None:
    [graph] = answer(HOST, "G")
    assert (len(graph["Nodes"]), len(graph["Edges"])) == (6, 8)
    assert graph["Edges"][0].keys() == {
        "ID", "Metadata", "Host", "Origin", "CreatedAt", "UpdatedAt", "DeletedAt", "Revision", "Parent", "Child",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("G.V('host').Descendants()", {"host", "eth0", "br0", "ns1", "veth0"}),
        ("G.V('host').Descendants(2)", {"host", "eth0", "br0", "ns1", "veth0", "veth1"}),
        ("G.V('host').Descendants(0)", {"host", "eth0", "br0", "ns1", "veth0", "veth1"}),
        ("G.V('host').Descendants().Descendants()", {"host", "eth0", "br0", "ns1", "veth0", "veth1"}),
        ("G.V('br0').Descendants('RelationType', 'layer2', 0)", {"br0", "eth0", "veth0", "veth1"}),
        ("G.V('br0').Descendants('RelationType', 'layer2', 'Type', 'veth')", {"br0", "eth0", "veth0"}),
        ("G.V('veth1').Ascendants()", {"veth1", "ns1"}),
        ("G.V('veth1').Ascendants(0)", {"veth1", "ns1", "host"}),
        ("G.V('ns1').Neighbors()", {"ns1", "host", "veth1"}),
        ("G.V('ns1').Neighbors(0)", {"ns1"}),
        ("G.V('veth0').Neighbors('RelationType', 'layer2')", {"veth0", "br0", "veth1"}),
        ("G.V('ns1').InE().InV()", {"host"}),
        ("G.V('ns1').InE().OutV()", {"ns1"}),
        ("G.V().HasEither('Type', 'host', 'Type', 'netns').OutE('RelationType', 'layer2').BothV()", set()),
        ("G.V().Has('Container.Labels.a.b.c', '123', 'Container.Labels.a~b/c@d', '456')", {"br0"}),
        ("G.V().Has('Metadata.Name', 'br0')", {"br0"}),
        ("G.V().Has('@ID', Within('br0', 'ns1', 'none'))", {"br0", "ns1"}),
        ("G.V().Has('@Host', 'host1', 'Type', 'veth')", {"veth0", "veth1"}),
        ("G.V().Has('Host', 'host1')", set()),
        ("G.V().Has('MTU', '1500')", set()),
        ("G.V().Has('MTU', 1500.0)", {"eth0"}),
        ("G.V().Has('Up', TRUE)", {"eth0"}),
        ("G.V().Has('Up', 1)", set()),
        ("G.V().Has('MTU', Outside(1400, 1500))", {"br0"}),
        ("G.V().HasNot('@DeleteAt').Dedup()", {"host", "eth0", "br0", "ns1", "veth0", "veth1"}),
        ("G.V().Has('Type', 'netns').As('a').G.V().Has('Type', 'bridge').As('b').Select('a', 'b')", {"ns1", "br0"}),
        ("G.V().Has('Type', 'netns').As('a').Out().As('b').Select('b', 'a', 'b')", {"ns1", "veth1"}),
        ("G.V().Has('Name', Regex('veth[0-9]'))", {"veth0", "veth1"}),
        ("G.E('l-3').BothV()", {"veth0", "veth1"}),
        ("G.E().Has('@Parent', 'veth0').OutV()", {"veth1"}),
    ],
)
def test_these_are_found(query: str, found: set[str]) -> None:
    got = ids(answer(HOST, query))
    assert set(got) == found
    assert len(got) == len(found)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("G.V().Sort('Name').Values('Name')", ["br0", "eth0", "h1", "ns1", "veth0", "veth1"]),
        ("G.V().Sort(DESC, 'Name').Limit(2).Values('Name')", ["veth1", "veth0"]),
        ("G.V().Sort(DESC, 'MTU').Values('Name')", ["br0", "eth0", "veth1", "veth0", "h1", "ns1"]),
        ("G.V().Sort('Name').Range(1, 3).Values('Name')", ["eth0", "h1"]),
        ("G.V().Values('IPV4')", [["10.0.0.1/24"]]),
        ("G.V().Values('None')", None),
        ("G.V().Has('Type', 'none').Keys()", None),
        ("G.V().Has('MTU').Sort('Name').ValueMap('Name', 'MTU', 'None')",
         [{"Name": "br0", "MTU": 9000}, {"Name": "eth0", "MTU": 1500},
          {"Name": "veth0", "MTU": 1400}, {"Name": "veth1", "MTU": 1400}]),
        ("G.V().Values('MTU').Dedup().Sort()", [1400, 1500, 9000]),
        ("G.V().Values('MTU').Sum()", 13300),
        ("G.V().Has('Type', 'none')", []),
        ("G.V('host').Sockets()", [{"host": SOCKETS}]),
        ("G.V().Sockets().Has('Protocol', 'UDP')", [{"host": [{"Protocol": "UDP", "LocalPort": 53}]}]),
        ("G.V().Sockets().Values('LocalPort')", [53, 22]),
        ("G.V('eth0').Sockets()", []),
        ("G.V('br0').Keys()", ["@CreatedAt", "@DeletedAt", "@Host", "@ID", "@Origin", "@Revision", "@UpdatedAt",
                               "Container.Labels.a.b.c", "Container.Labels.a~b/c@d", "MTU", "Name", "Type"]),
        ("G.V('host').Keys().Limit(1)", ["@CreatedAt"]),
    ],
)  # fmt: skip
def test_values_have_their_shape(query: str, found: Any) -> None:
    assert answer(HOST, query) == found


def test_the_shortest_path_keeps_to_the_edges_asked_for() -> None:
    query = "G.V('eth0').ShortestPathTo(Metadata('Name', 'veth1'), Metadata('RelationType', 'layer2'))"
    assert [ids(path) for path in answer(HOST, query)] == [["eth0", "br0", "veth0", "veth1"]]
    assert ids(answer(HOST, f"{query}.V()")) == ["eth0", "br0", "veth0", "veth1"]
    assert answer(HOST, f"{query}.Count()") == 1
    [part] = answer(HOST, f"{query}.SubGraph('RelationType', 'layer2')")
    assert sorted(ids(part["Edges"])) == ["l-1", "l-2", "l-3"]
    assert answer(HOST, "G.V('eth0').ShortestPathTo(Metadata('Name', 'nowhere'))") == []


def test_descendants_end_in_a_ring() -> None:
    ring = [node(f"n{at}", {"Name": f"n{at}"}) for at in range(3)]
    ring += [edge(f"e{at}", f"n{at}", f"n{(at + 1) % 3}", OWNS) for at in range(3)]
    assert sorted(ids(answer(ring, "G.V('n0').Descendants(0)"))) == ["n0", "n1", "n2"]


def test_a_subgraph_has_the_edges_between() -> None:
    [part] = answer(HOST, "G.V().Has('Type', Within('bridge', 'veth')).SubGraph()")
    assert sorted(ids(part["Nodes"])) == ["br0", "veth0", "veth1"]
    assert sorted(ids(part["Edges"])) == ["l-2", "l-3"]
    [part] = answer(HOST, "G.E().Has('RelationType', 'layer2').SubGraph('Type', 'veth')")
    assert (sorted(ids(part["Nodes"])), ids(part["Edges"])) == (["veth0", "veth1"], ["l-3"])
    assert ids(answer(HOST, "G.V().Has('Type', 'veth').SubGraph().E()")) == ["l-3"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("G.V().Count().Out()", r"^line 1, column 15: Out\(\) cannot follow what gives a number: it takes flows, nodes$"),
        ("G.V().At(NOW)", r"^line 1, column 7: At\(\) cannot follow what gives nodes: it takes the graph$"),
        ("G.V().Has('Name', Regex('^a'))", r"^line 1, column 7: a Regex stands for the whole text by itself"),
        ("G.V().Has('Name', Regex('('))", r"^line 1, column 7: '\(' is no regular expression: missing"),
        ("G.V().Has('IPV4', IPV4Range('x'))", r"IPV4Range takes a range of addresses as '10\.0\.0\.0/8', not 'x'$"),
        ("G.V().NextHop('x')", r"^line 1, column 7: NextHop takes an address as '10\.0\.0\.1', not 'x'$"),
        ("G.At('soon').V()", r"^line 1, column 3: 'soon' is no moment"),
        ("G.At('1x').V()", r"^line 1, column 3: '1x' is no moment"),
        ("G.At('+-5m').V()", r"^line 1, column 3: '\+-5m' is no moment"),
        ("G.At(NOW, 'long').V()", r"^line 1, column 3: expected a duration"),
        ("G.At(NOW, 10).V().Metrics().Aggregates(0)", r"slices of 1 s or longer$"),
        ("G.V().Range(3, 1)", r"^line 1, column 7: from 3 to 1 is no range"),
        ("G.V().As('a').Select('b')", r"nothing is kept as 'b': As\(\) has kept a$"),
        ("G.V().As('a').G.E().As('b').Select('a', 'b')", r"Select\(\) takes what is of one kind"),
        ("G.V().Sum()", r"Sum\(\) takes the key whose values are added$"),
        ("G.V().Has('MTU', LT(TRUE))", r"a number or a text is compared"),
        ("G.V().Has('MTU', Within(LT(1)))", r"values are listed here, not predicates$"),
        ("G.Flows()", r"^line 1, column 3: Flows\(\) asks the flow tables of agents: a hub answers that, at /api/topology$"),
        ("G.V().Workflow('x')", r"^line 1, column 7: Workflow\(\) is refused"),
        ("G.V().Descendants(-1)", r"Descendants\(\) goes -1 far: give 0 or more$"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(query: str, reason: str) -> None:
    with pytest.raises(QueryError, match=reason):
        answer(HOST, query)


@pytest.mark.parametrize(
    ("query", "reason"),
    [("G.V('none')", "^Node 'none' does not exist$"), ("G.E('none').InV()", "^Edge 'none' does not exist$"),
     ("G.V().Sum('Name')", "^Name: only numbers can be added, not 'h1'$")],
)  # fmt: skip
def test_what_is_not_there_is_told(query: str, reason: str) -> None:
    with pytest.raises(TraversalError, match=reason):
        answer(HOST, query)


# Over time

LATER = NOW - 10_000
HISTORY = [
    node("ns", {"Name": "ns1", "Type": "netns"}, begin=NOW - 60_000),
    node("lo", {"Name": "lo", "State": "DOWN"}, begin=NOW - 60_000, end=LATER),
    node("lo", {"Name": "lo", "State": "UP"}, begin=LATER, number=2),
    node("gone", {"Name": "gone", "Type": "veth"}, begin=NOW - 60_000, end=NOW - 30_000),
    edge("e1", "ns", "lo", OWNS, begin=NOW - 60_000),
    edge("e2", "ns", "gone", OWNS, begin=NOW - 60_000, end=NOW - 30_000),
]


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("G.V('lo').Values('State')", ["UP"]),
        ("G.At('-20s').V('lo').Values('State')", ["DOWN"]),
        ("G.Context('-1s').V('lo').Values('State')", ["UP"]),
        (f"G.At({(NOW - 20_000) // 1000}).V('lo').Values('State')", ["DOWN"]),
        ("G.At(NOW, 30).V().Has('Name', 'ns1').Out().Has('Name', 'lo').Values('State')", ["UP", "DOWN"]),
        ("G.Context('NOW', '30s').V('lo').Values('State')", ["UP", "DOWN"]),
        ("G.At('-20s', 20).V('lo').Values('State')", ["DOWN"]),
        ("G.At(NOW, FOREVER).V('lo').Dedup().Values('State')", ["UP"]),
        ("G.At('Mon, 12 Jan 1970 13:46:20 GMT').V('lo').Values('State')", ["DOWN"]),
        ("G.At('-20s').V('lo').As('a').G.At(NOW).V('lo').As('b').Select('a', 'b').Values('State')", ["DOWN", "UP"]),
        ("G.At(NOW, 30).V('lo').In().Values('Name')", ["ns1", "ns1"]),
        ("G.At(NOW, 30).E('e1').OutV().Values('State')", ["UP", "DOWN"]),
        ("G.At(NOW, 30).V().Has('Name', 'gone').Values('Name')", None),
        ("G.At(NOW, 31).V().Has('Name', 'gone').In().Values('Name')", ["ns1"]),
        ("G.At('1h').V('lo').Values('State')", ["UP"]),  # what is to come is what is there now
        ("G.At('+1h30m').V('lo').Values('State')", ["UP"]),
        ("G.At('-.3m').V('lo').Values('State')", ["DOWN"]),
        ("G.At('1h', '1h30s').V('lo').Values('State')", ["UP", "DOWN"]),
        (f"G.At('{'9' * 400}h', 3).V('lo').Values('State')", ["UP"]),
        (f"G.At(NOW, '{'9' * 400}h').V('lo').Dedup().Values('State')", ["UP"]),
    ],
)  # fmt: skip
def test_a_query_is_asked_of_any_time(query: str, states: list[str] | None) -> None:
    assert answer(HISTORY, query) == states


def test_the_graph_of_a_range_has_all_revisions() -> None:
    [graph] = answer(HISTORY, "G.At(NOW, FOREVER)")
    assert sorted(ids(graph["Nodes"])) == ["gone", "lo", "lo", "ns"]
    assert [one["ArchivedAt"] for one in graph["Nodes"] if one["Metadata"].get("State") == "DOWN"] == [LATER]


def _metrics(*values: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"RxBytes": count, "Start": NOW + start, "Last": NOW + last} for start, last, count in values]


def test_metrics_are_shared_out_by_time() -> None:
    def over(*metrics: tuple[int, int, int]) -> Any:
        graph = [node("n1", {"Name": "n1", "LastUpdateMetric": _metrics(*metrics)})]
        return answer(graph, "G.At(NOW, 10).V().Metrics().Aggregates()")

    slice_ = {"Start": NOW - 10_000, "Last": NOW}
    assert over((-10_000, 0, 1000)) == [{"Aggregated": [{"RxBytes": 1000, **slice_}]}]
    assert over((-10_000, 10_000, 1000)) == [{"Aggregated": [{"RxBytes": 500, **slice_}]}]
    assert over((-30_000, -20_000, 1000)) == []


def test_metrics_of_a_moment_are_shared_out_over_their_own_time() -> None:
    metrics = {"a": _metrics((-10_000, 0, 100))[0], "b": _metrics((-40_000, -5_000, 35))[0], "c": {"RxBytes": 7}}
    graph = [node(id_, {"Name": id_, "SFlow": {"LastUpdateMetric": one}}) for id_, one in metrics.items()]
    asked = "G.V().Has('Name', Within('a', 'b')).Metrics('SFlow.LastUpdateMetric')"
    for at in ("", "At('-1s').", "At(NOW, FOREVER)."):
        assert answer(graph, f"{asked.replace('G.', f'G.{at}')}.Aggregates()") == [{"Aggregated": [
            {"RxBytes": 30, "Start": NOW - 40_000, "Last": NOW - 10_000},
            {"RxBytes": 105, "Start": NOW - 10_000, "Last": NOW},
        ]}]  # fmt: skip
    assert answer(graph, f"{asked}.Aggregates(60)") == [{"Aggregated": [{"RxBytes": 135, "Start": NOW - 40_000, "Last": NOW}]}]
    assert answer(graph, "G.V('c').Metrics('SFlow.LastUpdateMetric').Aggregates().Sum()")["RxBytes"] == 7  # it says no time
    for at in ("", "At(NOW, FOREVER)."):
        assert answer(graph, f"G.{at}V().Metrics('None').Aggregates()") == []


def test_metrics_of_several_nodes() -> None:
    graph = [
        node(
            "n1", {"Name": "n1", "LastUpdateMetric": _metrics((-10_000, -5_000, 100))[0]}, begin=NOW - 20_000, end=NOW - 5_000
        ),
        node("n1", {"LastUpdateMetric": _metrics((-5_000, 0, 31))[0]}, begin=NOW - 5_000, number=2),
        node("n2", {"Name": "n2", "LastUpdateMetric": _metrics((-8_000, -2_000, 60))[0]}),
        node("n3", {"Name": "n3"}),
    ]
    assert answer(graph, "G.V().Metrics()") == [{"n1": _metrics((-5_000, 0, 31)), "n2": _metrics((-8_000, -2_000, 60))}]
    assert answer(graph, "G.At(NOW, 10).V('n1').Metrics()") == [{"n1": _metrics((-10_000, -5_000, 100), (-5_000, 0, 31))}]
    assert answer(graph, "G.At(NOW, 10).V().Metrics().Sum()") == {"RxBytes": 191, "Start": NOW - 10_000, "Last": NOW}
    [found] = answer(graph, "G.At(NOW, 10).V().Metrics().Aggregates(5)")
    assert found == {"Aggregated": [
        {"RxBytes": 100 + 30, "Start": NOW - 10_000, "Last": NOW - 5_000},
        {"RxBytes": 31 + 30, "Start": NOW - 5_000, "Last": NOW},
    ]}  # fmt: skip
    assert answer(graph, "G.V('n3').Metrics()") == []
    assert answer(graph, "G.At(NOW, 10).V().Metrics().Aggregates(5).Sum()")["RxBytes"] == 191


def test_equal_metrics_of_two_nodes_are_two_and_odd_ones_hurt_nobody() -> None:
    metric = {"RxBytes": 5, "Start": 1, "Last": 2}
    graph = [node(one, {"Metric": metric}) for one in "ab"]
    assert answer(graph, "G.V().Metrics('Metric').Sum()") == {"RxBytes": 10, "Start": 1, "Last": 2}
    odd = [node("a", {"Metric": {"RxBytes": [1], "Start": "x", "Last": None, "Sub": {"a": 1}}}), node("b", {"Metric": 7})]
    assert answer(odd, "G.V().Metrics('Metric')") == [{"a": [odd[0].state.metadata["Metric"]]}]
    assert answer(odd, "G.V().Metrics('Metric').Sum()") == {}
    assert answer(odd, "G.At(NOW, 10).V().Metrics('Metric').Aggregates()") == []
    large = [node(one, {"n": 1e308, "Metric": {"RxBytes": 2**63 - 1}}) for one in "ab"]
    assert answer(large, "G.V().Metrics('Metric').Sum()") == {"RxBytes": float(2**64 - 2)}
    for query in ("G.V().Sum('n')", "G.V().Values('n').Sum()"):
        with pytest.raises(TraversalError, match="beyond what a double holds"):
            answer(large, query)


# Limits


def test_a_query_stops_at_its_limits() -> None:
    ring = [node(f"n{at}", {"Name": f"n{at}"}) for at in range(50)]
    ring += [edge(f"e{at}", f"n{at}", f"n{(at + 1) % 50}", OWNS) for at in range(50)]

    def ask(query: str, **limits: Any) -> object:
        return SkydiveAnswerer(FixedGraphs(ring), Allowance(**limits)).answer(query, threading.Event())

    with pytest.raises(TooMuchError, match="more than 10 answers"):
        ask("G.V()", results=10)
    with pytest.raises(TooMuchError, match="holds more than 20 things"):
        ask("G.V('n0').Descendants(0)", held=20)
    with pytest.raises(TimedOutError):
        ask("G.V()" + ".Both()" * 20, seconds=0.2)
    with pytest.raises(TooMuchError, match="holds more than 20 things"):
        ask("G.At(NOW, 10).V().Count()", held=20)


def test_the_aggregates_of_long_metrics_end_in_time() -> None:
    graph = [node(f"n{at}", {"Metric": {"RxBytes": 1, "Start": 0, "Last": NOW}}) for at in range(300)]
    answerer = SkydiveAnswerer(FixedGraphs(graph), Allowance(seconds=0.3))
    with pytest.raises(TimedOutError):
        answerer.answer("G.At(NOW, 10000).V().Metrics('Metric').Aggregates(1)", threading.Event())


def test_limit_looks_at_no_more_than_it_needs() -> None:
    ring = [node(f"n{at}", {"Name": f"n{at}"}) for at in range(50)]
    ring += [edge(f"e{at}", f"n{at}", f"n{(at + 1) % 50}", OWNS) for at in range(50)]
    assert len(answer(ring, "G.V()" + ".Both()" * 30 + ".Limit(1)")) == 1
