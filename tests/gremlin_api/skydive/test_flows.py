"""Flow steps on what real agents told: Skydive's own queries (reference 79 to 155), its quirks mended, who did not answer.

The recording's traffic (``support.recording``): pings of 15 packets with IDs 123 (plain) and 789 (in VXLAN 77), 3 tagged ones
with ID 456 in VLAN 8, a TCP connection 10.0.0.1:40000 to 10.0.0.2:5001, UDP 10.0.0.1:40001 to 8989; each seen at four
interfaces, and at the bridge where it is broadcast.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.tables import TIDS, Tables, ask, last_time, recorded, tables, told

from gremlin_api.language.errors import QueryError
from skytrail.asking.questions import FlowsQuestion
from skytrail.errors import SkytrailError

END = last_time()
LATEST = {one["UUID"]: one for one in recorded("flows")}
PLACES = {one["Metadata"]["TID"]: one for one in recorded("nodes") if "IfIndex" in one["Metadata"]}
EVERY_HOST = f"G.Context({END}, 60)"

PING = "Has('ICMP.ID', 123)"
[CLIENT] = [tid for tid in PLACES if tid.endswith("client/link/veth/eth")]
[FIRST] = [one for one in LATEST.values() if one.get("ICMP", {}).get("ID") == 123 and one["NodeTID"] == CLIENT]
N = FIRST["Metric"]["ABBytes"]
PATH = (
    f"V().Has('TID', '{CLIENT}').ShortestPathTo(Metadata('TID', '{CLIENT.replace('client', 'server')}'), "
    "Metadata('RelationType', 'layer2'))"
)
ICMP = f"Flows().Has('LayersPath', 'Ethernet/IPv4/ICMPv4', 'NodeTID', '{CLIENT}')"


def names(query: str) -> list[str]:
    return [f"{one['Host']}/{one['Metadata']['Name']}" for one in told(query)]


@pytest.mark.parametrize("context", ["G", EVERY_HOST, f"G.At({END - 1})"])
@pytest.mark.parametrize(
    ("query", "count"),
    [
        (f"Flows().Has('NodeTID', '{CLIENT}', 'LayersPath', 'Ethernet/IPv4/ICMPv4')", 2),
        (f"Flows('NodeTID', '{CLIENT}', 'LayersPath', 'Ethernet/IPv4/ICMPv4')", 2),
        (ICMP, 2),
        (f"{ICMP}.{PING}", 1),
        ("Flows().Has('ICMP.ID', 123)", 4),
        ("Flows().Has('ICMP.ID', NE(555))", 14),
        ("Flows().Has('ICMP.ID', NE(555)).Limit(1)", 1),
        ("Flows().HasEither('ICMP.ID', 123, 'ICMP.ID', 789)", 10),
        ("Flows().HasEither('ICMP.ID', 123, 'ICMP.ID', 789).Has('ICMP.ID', 123)", 4),
        ("Flows().Limit(1)", 1),
        ("Flows().Limit(0)", 0),
        ("Flows().Has('ICMP.ID', 123).Dedup()", 1),
        ("Flows().Has('ICMP.ID').Dedup('ICMP.ID')", 3),
        ("Flows().Dedup('NodeTID')", 7),
        ("V().Has('Name', 'br0', 'Type', 'bridge').Flows()", 1),  # a broadcast
        ("V().Has('Name', 'p1').Flows().Has('LayersPath', Regex('.*ICMPv4.*'))", 3),
        ("Flows().Has('LayersPath', 'Ethernet/Dot1Q/IPv4/ICMPv4', 'Link.ID', 8).Dedup()", 1),
        ("Flows().Has('Application', 'VXLAN', 'Network.ID', 77).Dedup()", 1),
        ("V().Has('Name', 'vx').Flows().Has('Application', 'ICMPv4').Dedup()", 1),
        ("Flows().Has('LayersPath', 'Ethernet/IPv4/ICMPv4', 'ICMP.Type', 'ECHO')", 10),
        ("Flows().Has('Network', '10.0.9.2').Dedup()", 1),
        ("Flows().Has('Network', IPV4Range('10.0.9.0/24')).Dedup()", 1),
        ("Flows().Has('Application', 'UDP', 'Transport', 8989).Dedup()", 1),
        ("Flows().Has('Transport', 40001, 'Transport.Protocol', 'UDP').Dedup()", 1),
        ("Flows().Has('Transport', NE(8989)).Dedup()", 2),  # TCP's and VXLAN's: neither end is it
        ("Flows().HasNot('Network').Has('Application', NE('ARP'))", 0),
        ("Flows().Has('Link', Within('02:00:00:00:00:01')).Dedup()", 1),
        ("Flows().Has('LayersPath', 'Ethernet/IPv4/TCP').Has('Transport.B', 5001).Sort()", 4),
        (f"{PATH}.Flows().Has('ICMP.ID', 123)", 4),
        (f"{PATH}.V().Flows().Has('ICMP.ID', 123).Dedup()", 1),
        ("V().Has('Type', 'host', 'Name', 'h1').Flows().Has('ICMP.ID', 123)", 1),
        ("V().Has('Type', 'netns').Flows().Has('ICMP.ID', 123)", 4),
        ("V().Flows().Has('ICMP.ID', 123)", 4),
        ("V().Has('Type', 'none').Flows()", 0),
        ("Flows().Has('Nowhere', 1)", 0),
        ("Flows().Has('CaptureID', 'x').Dedup()", 0),
    ],
)  # fmt: skip
def test_so_many_flows_are_found(context: str, query: str, count: int) -> None:
    assert len(told(f"{context}.{query}")) == count
    assert told(f"{context}.{query}.Count()") == count


@pytest.mark.parametrize(
    ("predicate", "count"),
    [(f"Gt({N})", 0), (f"Gte({N})", 1), (f"Gte({N + 1})", 0), (f"Lt({N + 1})", 1), (f"Lt({N})", 0), (f"Lte({N})", 1),
     (f"Lte({N - 1})", 0), (f"Inside({N - 1}, {N + 1})", 1), (f"Inside({N}, {N + 1})", 0), (f"Between({N}, {N + 1})", 1),
     (f"Between({N}, {N})", 0), (f"Outside({N}, {N})", 0), (f"Outside({N + 1}, {N + 2})", 1), (f"Without({N})", 0),
     (f"NE({N})", 0), (f"NEE({N})", 0), (f"{N}.0", 1), (f"'{N}'", 0)],
)  # fmt: skip
def test_predicates_of_numbers(predicate: str, count: int) -> None:
    assert told(f"G.{ICMP}.{PING}.Has('Metric.ABBytes', {predicate}).Count()") == count


def test_flows_are_told_as_the_agent_told_them() -> None:
    assert told(f"G.{ICMP}.{PING}") == [FIRST]
    assert {"ABPackets": 15, "BAPackets": 15}.items() <= FIRST["Metric"].items()
    assert FIRST["ParentUUID"] == ""
    assert told(f"G.{ICMP}.{PING}.Has('Metric.RTT', Gt(0)).Count()") == 1


def test_one_conversation_is_one_after_dedup_wherever_it_was_seen() -> None:
    found = told("G.Flows().Has('ICMP.ID', 123)")
    assert len({one["TrackingID"] for one in found}) == 1
    assert len({one["UUID"] for one in found}) == 4
    assert {PLACES[one["NodeTID"]]["Host"] for one in found} == {"h1", "h2", "h3"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"{ICMP}.{PING}.In()", ["h1/eth"]),
        (f"{ICMP}.{PING}.Out()", ["h2/eth"]),
        (f"{ICMP}.{PING}.Both('@Host', 'h2')", ["h2/eth"]),
        (f"{ICMP}.{PING}.Both()", ["h1/eth", "h2/eth"]),
        (f"{ICMP}.{PING}.Nodes()", ["h1/eth", "h2/eth"]),
        (f"{ICMP}.{PING}.Hops()", ["h1/eth"]),
        ("V().Has('Name', 'p1').Flows().Has('ICMP.ID', 123).Nodes()", ["h1/eth", "h2/eth", "h3/p1"]),
        ("V().Has('Name', 'p1').Flows().Has('ICMP.ID', 123).Hops()", ["h3/p1"]),
        ("V().Has('Name', 'p1').Flows().Has('ICMP.ID', 123).CaptureNode()", ["h3/p1"]),
        ("V().Has('Name', 'p1').Flows().Has('ICMP.ID', 123).Node()", ["h3/p1"]),
        ("Flows().Has('ICMP.ID', 123).Both().Dedup().Sort('@Host')", ["h1/eth", "h2/eth"]),
        ("Flows().Has('Link.A', '02:00:00:00:00:01').In()", []),  # nobody has that MAC
        ("Flows().Has('ICMP.ID', 123).Sort('NodeTID').CaptureNode()", ["h1/eth", "h2/eth", "h3/p1", "h3/p2"]),
        ("Flows().Has('ICMP.ID', 123).In().Limit(1)", ["h1/eth"]),
        ("Flows().Has('ICMP.ID', 123).Out().Flows().Has('ICMP.ID', 789).CaptureNode()", ["h2/eth"]),
    ],
)
def test_nodes_of_flows(query: str, found: list[str]) -> None:
    assert names(f"G.{query}") == found
    assert told(f"G.{query}.Count()") == len(found)


def test_a_sort_is_by_what_is_asked_for_and_a_range_is_of_it() -> None:
    last = sorted(one["Last"] for one in LATEST.values())
    assert told("G.Flows().Sort().Values('Last')") == last
    assert told("G.Flows().Sort(DESC).Values('Last')") == last[::-1]
    assert (
        told("G.Flows().Sort(DESC, 'Start').Limit(3).Values('Start')")
        == sorted((one["Start"] for one in LATEST.values()), reverse=True)[:3]
    )
    assert told("G.Flows().Sort().Range(5, 9).Values('Last')") == last[5:9]
    packets = told('G.Flows().Sort(DESC, "Metric.ABPackets").Values("Metric.ABPackets")')
    assert packets == sorted(packets, reverse=True)
    ports = [one.get("Transport", {}).get("A") for one in told("G.Flows().Sort('Transport.A')")]
    assert ports == sorted(one for one in ports if one is not None) + [None] * ports.count(None)


def test_values_of_flows() -> None:
    assert set(told("G.Flows().Has('Network.A', '10.0.0.1').Values('Application')")) == {"TCP", "UDP", "ICMPv4", "VXLAN"}
    assert told("G.Flows().Values('Nowhere')") is None
    assert told(f"G.{ICMP}.{PING}.ValueMap('Application', 'Network.B', 'Nowhere')") == [
        {"Application": "ICMPv4", "Network.B": "10.0.0.2"}
    ]
    assert {"Network.A", "Metric.ABPackets", "Transport.Protocol", "UUID"} <= set(told("G.Flows().Limit(40).Keys()"))
    assert told("G.Flows().Has('ICMP.ID', 123).Dedup().Sum('Metric.ABPackets')") == 15
    assert told("G.Flows().Has('ICMP.ID', 123).Sum('Metric.ABPackets')") == 60
    assert told("G.Flows().Values('Transport.B').Dedup().Sort()") == [4789, 5001, 8989]


def test_groups() -> None:
    [groups] = told("G.Flows().Has('ICMP.ID').Group()")
    assert {key: len(found) for key, found in groups.items()} == {
        one["TrackingID"]: 4 if one["ICMP"]["ID"] == 123 or one["ICMP"]["ID"] == 456 else 6
        for one in LATEST.values() if "ICMP" in one
    }  # fmt: skip
    [groups] = told("G.Flows().Has('Transport').Group('Transport.B')")
    assert {key: len(found) for key, found in groups.items()} == {"5001": 4, "8989": 4, "4789": 4}
    [groups] = told("G.Flows().Has('ICMP.ID').Group().MoreThan(4)")
    assert [{one["ICMP"]["ID"] for one in found} for found in groups.values()] == [{789}]
    assert told("G.Flows().Has('ICMP.ID').Group().MoreThan(6)") == []


def test_metrics_of_flows_now_are_those_of_the_last_update_or_all_since_the_beginning() -> None:
    [metrics] = told(f"G.{ICMP}.{PING}.Metrics()")
    assert metrics == {FIRST["UUID"]: [FIRST["LastUpdateMetric"]]}
    [metrics] = told("G.Flows().Metrics()")
    assert metrics == {id_: [one["LastUpdateMetric"] or one["Metric"]] for id_, one in LATEST.items()}


def test_metrics_of_flows_over_a_time_are_all_that_were_reported() -> None:
    query = f"{EVERY_HOST}.V().Has('Name', 'eth', '@Host', 'h1').Flows().Has('ICMP.ID', 123).Dedup().Metrics()"
    total = told(f"{query}.Sum()")
    assert (total["ABPackets"], total["BAPackets"]) == (15, 15)
    assert total["ABBytes"] == total["BABytes"] == 15 * (14 + 20 + 8 + 1024)
    tcp = query.replace("Has('ICMP.ID', 123)", "Has('Transport', 5001)")
    [[told_metrics]] = [list(one.values()) for one in told(tcp)]
    assert len(told_metrics) > 3
    assert [one["Start"] for one in told_metrics] == sorted(one["Start"] for one in told_metrics)
    whole = told(f"{tcp}.Sum()")
    [sliced] = told(f"{tcp}.Aggregates(3)")
    for way in ("ABPackets", "ABBytes", "BAPackets", "BABytes"):
        assert sum(one[way] for one in sliced["Aggregated"]) == whole[way] == sum(one[way] for one in told_metrics)
    assert len(sliced["Aggregated"]) > 3
    assert whole["RTT"] == max(one["RTT"] for one in told_metrics)  # a time is not added up
    assert {one["RTT"] for one in sliced["Aggregated"]} == {whole["RTT"]}


def test_sockets_between_whose_ends_flows_ran() -> None:
    [found] = told("G.Flows().Has('Transport', 5001).Sockets()")
    tcp = {id_ for id_, one in LATEST.items() if one.get("Transport", {}).get("B") == 5001}
    assert found.keys() == tcp
    for sockets in found.values():
        assert {(one["Namespace"], one["LocalPort"]) for one in sockets} == {("client", 40000), ("server", 5001)}
    assert told("G.Flows().Has('LayersPath', 'Ethernet/IPv4/TCP').Sockets().Has('Namespace', 'server').Count()") == 4
    assert told("G.Flows().Has('LayersPath', 'Ethernet/IPv4/TCP').Sockets().Values('Name').Dedup()") == ["python"]
    assert told("G.Flows().Has('Transport', NE('')).Sockets().Values('LocalPort').Dedup().Sort()") == [5001, 40000, 40001]
    assert told("G.Flows().Has('ICMP.ID').Sockets()") == []


def test_sockets_of_hosts_and_namespaces() -> None:
    by_space: dict[str, list[Any]] = {}
    for one in recorded("sockets"):
        by_space.setdefault(one["Namespace"], []).append(one)
    assert told("G.V().Has('Type', 'host', 'Name', 'h1').Sockets()") == [{"h1": by_space["client"]}]
    [server] = told("G.V().Has('Type', 'netns', 'Name', 'server').Sockets()")
    assert list(server.values()) == [by_space["server"]]
    assert told("G.V().Has('Name', 'h2').Sockets().Has('Protocol', 'UDP').Values('LocalPort')") == [8989]
    assert told("G.V().Has('Type', 'host').Sockets().Has('RemotePort', 5001).Count()") == 1
    assert told("G.V().Has('Name', 'eth').Sockets()") == []
    both = told("G.V().Has('Type', Within('host', 'netns')).Sockets().Count()")
    assert both == 2 * len(recorded("sockets"))


def test_packets_are_there_when_captures_are() -> None:
    assert told("G.Flows().RawPackets()") == []
    assert told('G.Flows().RawPackets().BPF("icmp[icmptype] == 0")') == []
    assert told("G.Flows().RawPackets().Count()") == 0


def series() -> Tables:
    samples = [
        {"RxPackets": n, "RxBytes": 100 * n, "Start": END - 60_000 + 10_000 * n, "Last": END - 50_000 + 10_000 * n}
        for n in range(6)
    ]
    return Tables({}, {}, {"host/h1": {CLIENT: samples}})


def test_metrics_of_interfaces_over_a_time_are_the_agents() -> None:
    query = f"G.Context({END}, 30).V().Has('Name', 'eth').Metrics()"
    asker = series()
    [found] = told(query, asker)
    assert [one["RxPackets"] for one in found.pop(PLACES[CLIENT]["ID"])] == [2, 3, 4, 5]
    assert found == {}
    assert [hosts for _, hosts in asker.asked] == [["host/h1", "host/h2"]]
    [sliced] = told(f"{query}.Aggregates(10)", asker)
    assert [one["RxPackets"] for one in sliced["Aggregated"]] == [3, 4, 5]
    assert told(f"{query}.Sum()", asker)["RxBytes"] == 1400


def test_who_did_not_answer_is_told() -> None:
    asker = tables(missing={"h7": "not connected since 09:00", "h8": "did not answer within 5 s"})
    answer = ask("G.Flows()", asker)
    assert len(answer.values) == len(LATEST)
    assert answer.notes.missing == {"h7": "not connected since 09:00", "h8": "did not answer within 5 s"}
    assert ask("G.V().Has('Name', 'p1').Flows()", asker).notes.missing == {}  # it is on another host
    assert ask("G.V()", asker).notes.missing == {}
    nobody = Tables({}, {}, missing=dict.fromkeys(TIDS.values(), "away"))
    assert ask("G.Flows()", nobody).notes.missing == dict.fromkeys(TIDS.values(), "away")
    assert told("G.Flows()", nobody) == []


def test_since_when_is_remembered_is_told_where_it_is_later_than_what_was_asked() -> None:
    asker = tables(since=END - 30_000)
    assert ask(f"G.Context({END}, 60).Flows()", asker).notes.since == dict.fromkeys(TIDS.values(), END - 30_000)
    assert ask(f"G.Context({END}, 10).Flows()", asker).notes.since == {}
    assert ask("G.Flows()", asker).notes.since == {}
    assert ask(f"G.At({END - 10_000}).Flows()", asker).notes.since == {}  # what was before it is not of interest
    assert ask(f"G.At({END - 31_000}).Flows()", asker).notes.since == dict.fromkeys(TIDS.values(), END - 30_000)


def test_flows_of_a_moment_are_as_they_were() -> None:
    begin = FIRST["Start"]
    assert told(f"G.At({begin - 60_000}).Flows()") == []
    early = told(f"G.At({END - 6_000}).Flows().Has('Transport', 5001).Values('Metric.ABPackets')")
    assert len(early) == 4
    assert max(early) < min(told("G.Flows().Has('Transport', 5001).Values('Metric.ABPackets')"))


@pytest.mark.parametrize(
    ("finish", "last", "reported", "there"),
    [
        ("NOT_FINISHED", -300_000, -200_000, True),  # idle
        ("TIMEOUT", -300_000, -10, False),  # gone by then
        ("TIMEOUT", -300_000, 10, True),  # was so later
        ("TCP_FIN", -20, -10, False),
        ("TCP_FIN", -20, 10, True),  # and stayed in the table that long
        ("TCP_FIN", 20, 10, True),
        ("NOT_FINISHED", -700_000, -650_000, False),
    ],
)
def test_flows_of_a_moment_are_those_that_the_table_had(finish: str, last: int, reported: int, there: bool) -> None:
    now = END - 5_000
    flow = {**FIRST, "FinishType": finish, "Start": now - 900_000, "Last": now + last}
    flow["LastUpdateMetric"] = {"Start": now - 900_000, "Last": now + reported}
    asker = Tables({"host/h1": [flow]}, {})
    assert told(f"G.At({now}).Flows().Count()", asker) == there
    assert told(f"G.At({now}).Flows().Count()", asker, pushes=False) == there


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("G.Flows().Sum('Application')", r"^Application: only numbers can be added, not '"),
        ("G.Flows().Sum()", r"^line 1, column 11: Sum\(\) takes the key whose values are added$"),
        ("G.Flows().Has('Network.A', Regex('('))", r"^line 1, column 11: Network.A: '\(' is no regular expression"),
        ("G.Flows().Has('Network', Regex('^a'))", r"column 11: a Regex stands for the whole text by itself"),
        ("G.Flows().Has('Network', IPV4Range('x'))", r"column 11: Network.A: a range of addresses is as '10.0.0.0/8', not 'x'"),
        ("G.Flows().Has('Last', LT(TRUE))", r"column 11: Last: a number or a text is compared, not true or false"),
        ("G.Flows().Has('Last', Within(LT(1)))", r"column 11: values are listed here, not predicates"),
        ("G.Flows().Metrics('SFlow')", r"column 11: Metrics\(\) of flows gives LastUpdateMetric or Metric, not 'SFlow'"),
        ("G.Flows().Range(3, 1)", r"column 11: from 3 to 1 is no range"),
        ("G.Flows().Flows()", r"column 11: Flows\(\) cannot follow what gives flows: it takes nodes, paths, the graph$"),
        ("G.V().Group()", r"column 7: Group\(\) cannot follow what gives nodes: it takes flows$"),
        ("G.Flows().Descendants()", r"column 11: Descendants\(\) cannot follow what gives flows"),
    ],
)
def test_what_cannot_be_is_told(query: str, reason: str) -> None:
    with pytest.raises(SkytrailError, match=reason):
        told(query)


def test_a_mistake_is_told_before_anybody_is_asked() -> None:
    asker = tables()
    with pytest.raises(QueryError):
        told("G.Flows().Has('Network.A', Regex('('))", asker)
    assert asker.asked == []


def test_where_there_are_very_many_capture_points_agents_are_asked_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gremlin_api.skydive.flowsource._MOST_NODES", 1)
    asker = tables()
    few = told("G.V().Has('Name', 'eth').Flows().Sort().Limit(3)", asker)
    [(question, hosts)] = asker.asked
    assert isinstance(question, FlowsQuestion)
    assert (question.nodes, question.limit, hosts) == (None, 0, ["host/h1", "host/h2"])
    monkeypatch.undo()
    assert few == told("G.V().Has('Name', 'eth').Flows().Sort().Limit(3)")


def test_updates_of_very_many_flows_are_asked_for_in_several_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    query = f"{EVERY_HOST}.Flows().Metrics().Sum()"
    whole = told(query)
    monkeypatch.setattr("gremlin_api.skydive.updates._AT_ONCE", 10)
    asker = tables()
    assert told(query, asker) == whole
    assert len(asker.asked) == 1 + 5
