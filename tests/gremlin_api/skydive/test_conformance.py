"""Skydive's own queries give what its tests say.

Source: graffiti/graph/traversal/traversal_test.go of Skydive, whose graph this is.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.skydivegraphs import answer, edge, ids, node

from skytrail.errors import SkytrailError

GRAPH = [
    node("n1", {"Value": 1, "Type": "intf", "Bytes": 1024, "List": ["111", "222"], "Map": {"a": 1}}),
    node("n2", {"Value": 2, "Type": "intf", "Bytes": 2024, "IPV4": ["10.0.0.1", "10.0.1.2"]}),
    node("n3", {"Value": 3, "IPV4": "192.168.0.34/24", "Map": {}, "MTU": 1500}),
    node("n4", {"Value": 4, "Name": "Node4", "Bytes": 4024, "IPV4": "192.168.1.34", "Indexes": [5, 6]}),
    edge("e1", "n1", "n2", {"Direction": "Left", "Name": "e1"}),
    edge("e2", "n2", "n3", {"Direction": "Left", "Name": "e2"}),
    edge("e3", "n3", "n4", {"Name": "e3"}),
    edge("e4", "n1", "n4", {"Name": "e4"}),
    edge("e5", "n1", "n3", {"Mode": "Direct", "Name": "e5"}),
]
TO_DEDUP = [
    node("n1", {"Name": "aaa", "Type": "intf", "Value": "v1"}),
    node("n2", {"Name": "bbb", "Type": "intf", "Value": "v1"}),
    node("n3", {"Name": "aaa", "Type": "veth"}),
    node("n4", {"Name": "aaa", "Type": "intf"}),
]

COUNTS = [
    ('G.V().Has("Type", "intf")', 2),
    ('G.V().HasEither("Type", "intf", "Name", "Node4")', 3),
    ('G.V().HasEither("Bytes", 1024, "Bytes", 2024)', 2),
    ('G.V().Has("Value", 1).Out().Has("Name", "Node4")', 1),
    ('G.V().Has("Type")', 2),
    ('G.V().Out().Has("Value", 4)', 2),
    ('G.V().Out().Has("Value", 4).Dedup()', 1),
    ('G.E().Dedup("Direction")', 4),
    ('G.V().Dedup("Type")', 3),
    ('G.V().Has("Value", Within(1, 2, 4))', 3),
    ('G.V().Has("Value", Within(1.0, 2, 4))', 3),
    ('G.V("n1")', 1),
    ('G.V().Has("MTU", Ne(1200))', 1),
    ('G.V().Has("Value", 2).Both()', 2),
    ('G.E().Has("Name", "e3").BothV()', 2),
    ('G.V().Has("Name", Regex(".*ode.*"))', 1),
    ('G.V().Has("Name", Regex("ode5"))', 0),
    ('G.V().Values("Type")', 2),
    ('G.V().Values("Map")', 1),
    ('G.E().Has("Direction", "Left").SubGraph().V()', 3),
    ('G.V().Has("Type", "intf").SubGraph().V()', 2),
    ('G.V().Has("Value", 2).ShortestPathTo(Metadata("Value", 4)).SubGraph().V()', 3),
    ('G.V().Has("IPV4", Ipv4Range("192.168.0.0/24"))', 1),
    ('G.V().Has("IPV4", Ipv4Range("192.168.0.0/16"))', 2),
    ('G.V().Has("IPV4", Ipv4Range("192.168.0.0/26"))', 1),
    ('G.V().Has("Value", NE("ZZZ")).Limit(1)', 1),
    ('G.V().HasNot("ZZZ").Limit(1)', 1),
    ('G.V().HasKey("Value").Limit(1)', 1),
    *((f"G.V().{step}().Limit(1)", 1) for step in ("Out", "In", "Both", "Dedup", "OutE", "InE", "BothE")),
    ("G.V().BothE().InV().Limit(1)", 1),
    ("G.V().BothE().OutV().Limit(1)", 1),
    ('G.V().Has("List", "111")', 1),
    ('G.V().Has("Indexes", 6)', 1),
    ('G.V().Has("Value", 3).BothE()', 3),
    ('G.V().Has("Value", 1).OutE().Has("Mode", "Slow").OutV()', 0),
    ('G.V().Has("Value", Without(1, 3))', 2),
    ('G.V().Has("Value", LT(3))', 2),
    ('G.V().Has("Value", GT(3))', 1),
    ('G.V().Has("Value", LTE(3))', 3),
    ('G.V().Has("Value", GTE(3))', 2),
    ('G.V().Has("Value", Inside(1, 4))', 2),
    ('G.V().Has("Value", Between(1, 4))', 3),
    ('G.V().Has("Value", Ne(1))', 3),
    ('G.V().Has("MTU", Ne(""))', 1),
    ('G.V().Has("MTU", Ne(1500))', 0),
    ('G.V().Has("aaaaaaaaaaa", Ne(""))', 0),
    ('G.V().Has("Value", Nee(1))', 3),
    ('G.V().Has("MTU", Nee(1200))', 4),
    ('G.V().Has("MTU", Nee(""))', 4),
    ('G.V().Has("MTU", Nee(1500))', 3),
    ('G.V().Has("aaaaaaaaaaa", Nee(""))', 4),
    ('G.V().HasKey("Name")', 1),
    ('G.V().HasKey("Unknown")', 0),
    ('G.V().HasNot("Name")', 3),
    ("G.V().Keys()", 16),
]


@pytest.mark.parametrize(("query", "count"), COUNTS)
def test_so_many_are_found(query: str, count: int) -> None:
    assert len(answer(GRAPH, query) or []) == count


@pytest.mark.parametrize(("query", "count"), [one for one in COUNTS if "Keys" not in one[0]])
def test_they_can_be_counted(query: str, count: int) -> None:
    assert answer(GRAPH, f"{query}.Count()") == count


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('G.V().Has("Value", 1).Out().Has("Value", 2).OutE().Has("Direction", "Left").OutV().Out()', ["n4"]),
        ('G.V().Has("Value", 1).OutE().Has("Mode", "Direct").OutV()', ["n3"]),
        ('G.V().Has("Value", 1).OutE("Mode", "Direct").OutV()', ["n3"]),
        ('G.V().Has("Value", 1).OutE("Mode", "Direct").InV()', ["n1"]),
    ],
)
def test_these_are_found(query: str, found: list[str]) -> None:
    assert ids(answer(GRAPH, query)) == found


def test_numbers_are_given_bare() -> None:
    assert answer(GRAPH, "G.V().Count()") == 4
    assert answer(GRAPH, 'G.V().Sum("Bytes")') == 7072
    assert answer(GRAPH, 'G.V().Sum("None")') == 0


def test_the_shortest_path_by_an_edge_filter() -> None:
    query = 'G.V().Has("Value", 1).ShortestPathTo(Metadata("Value", 3), Metadata("Direction", "Left"))'
    assert [ids(path) for path in answer(GRAPH, query)] == [["n1", "n2", "n3"]]


@pytest.mark.parametrize(
    ("query", "count"),
    [('G.V().Dedup("Name")', 2), ('G.V().Dedup("Name", "Type")', 3),
     ('G.V().Dedup("Value")', 3), ('G.V().Dedup("Misc", "Value")', 3)],
)  # fmt: skip
def test_what_has_none_of_the_keys_is_different_from_all(query: str, count: int) -> None:
    assert len(answer(TO_DEDUP, query)) == count


@pytest.mark.parametrize("query", ['G.V().Has("Type", "intf", "badparams")', "G.V().Neighbors('a')", "G.V().Limit('x')"])
def test_wrong_arguments_are_told_with_their_place(query: str) -> None:
    with pytest.raises(SkytrailError, match=r"^line 1, column 7: "):
        answer(GRAPH, query)


def _routed(routes: list[dict[str, Any]]) -> list[Any]:
    neighbours = [{"IP": "10.16.0.2", "MAC": "fa:16:3e:c1:e8:d1"}, {"IP": "10.16.0.4", "MAC": "fa:16:3e:96:2c:1b"}]
    tables = [{"ID": 254, "Src": "10.16.0.1", "Routes": routes}]
    return [
        node("n1", {"Name": "a", "Type": "device", "RoutingTables": tables, "Neighbors": neighbours}),
        node("n2", {"Name": "b"}),
    ]


@pytest.mark.parametrize(
    ("routes", "address", "hop"),
    [
        (
            [{"Prefix": "192.168.0.0/24", "NextHops": [{"IP": "10.16.0.2", "Priority": 0}]}],
            "192.168.0.5",
            {"IP": "10.16.0.2", "MAC": "fa:16:3e:c1:e8:d1", "Priority": 0},
        ),
        ([{"Prefix": "0.0.0.0/0", "NextHops": [{"IP": "10.16.0.12"}]}], "8.8.8.8", {"IP": "10.16.0.12"}),
        (
            [
                {"Prefix": "0.0.0.0/0", "NextHops": [{"IP": "10.16.0.12"}]},
                {"Prefix": "10.16.0.0/24", "NextHops": [{"IP": "192.64.0.1"}]},
            ],
            "10.16.0.3",
            {"IP": "192.64.0.1"},
        ),
        ([{"Prefix": "10.60.0.0/24", "NextHops": [{"IfIndex": 5}]}], "10.60.0.5", {"IfIndex": 5}),
        (
            [{"Prefix": "10.60.0.0/24", "NextHops": [{"IfIndex": 5, "Priority": 600}, {"IfIndex": 6, "Priority": 100}]}],
            "10.60.0.5",
            {"IfIndex": 6, "Priority": 100},
        ),
        ([{"Prefix": "::/0", "NextHops": [{"IP": "fe80::1"}]}], "2001:db8::1", {"IP": "fe80::1"}),
    ],
)
def test_the_next_hop_is_that_of_the_longest_prefix(routes: list[dict[str, Any]], address: str, hop: dict[str, Any]) -> None:
    assert answer(_routed(routes), f"g.v().NextHop('{address}')") == [{"n1": hop}]


def test_no_route_is_no_next_hop() -> None:
    assert answer(_routed([]), "G.V().NextHop('10.0.0.1')") == []
