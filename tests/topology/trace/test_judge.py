"""What is said of a conversation, from records and a graph: above all, that what is not known to be lost is not called lost."""

from __future__ import annotations

from typing import Any

import pytest
from support.pathgraph import Graph, via

from topology.path.network import Network
from topology.trace.collect import Evidence
from topology.trace.graph import TracedGraph
from topology.trace.judge import judged
from topology.trace.result import Trace
from topology.trace.sightings import orientations

Json = dict[str, Any]
CLIENT, SERVER = "10.0.1.1", "10.0.2.1"
NAMES = ("h1", "r", "h2", "h9")


def graph(*, without: tuple[str, ...] = ()) -> TracedGraph:
    """Two hosts and a router; on the second one a container, and its end of the pair."""
    made = Graph()
    made.device(made.host("h1"), "eth0", "device", f"{CLIENT}/24", routes=[via("0.0.0.0/0", "10.0.1.254")])
    made.device(made.host("r"), "arm", "device", "10.0.1.254/24")
    second = made.host("h2")
    made.device(second, "eth9", "device", f"{SERVER}/24", routes=[via("0.0.0.0/0", "10.0.2.254")])
    inner = made.device(made.netns(second, "web"), "eth0", "veth", "172.17.0.2/16")
    made.pair(made.device(second, "veth1", "veth"), inner)
    gone = {f"host/{name}" for name in without}
    revisions = [one for one in made.revisions if one.state is None or one.state.tid not in gone]
    return TracedGraph(Network(revisions))


def seen(
    host: str,
    device: str,
    hook: str,
    packets: tuple[int, int] = (5, 4),
    *,
    ttl: tuple[int, int] = (64, 64),
    to: str = SERVER,
    proto: str = "TCP",
    **more: Any,
) -> tuple[str, Json]:
    """A record at an interface: ``hook`` is that of packets to the server."""
    other = {"ingress": "egress", "egress": "ingress", "both": "both"}[hook]
    record = {
        "UUID": f"{host}-{device}",
        "TrackingID": "t",
        "NodeTID": f"host/{host}/link/{device}",
        "Interface": device,
        "Namespace": "",
        "Start": 1000,
        "Last": 900_000,
        "FirstMonotonic": {"eth9": 1, "veth1": 2}.get(device, 1),
        "FinishType": "NOT_FINISHED",
        "Seen": {"AB": hook, "BA": other},
        "Metric": {"ABPackets": packets[0], "ABBytes": 100, "BAPackets": packets[1], "BABytes": 100},
        "Network": {"A": CLIENT, "B": to, "ATTL": ttl[0], "BTTL": ttl[1]},
        "Transport": {"Protocol": proto, "A": 40000, "B": 80},
        **({"Initiator": "A"} if packets[1] else {}),
        **more,
    }
    return f"host/{host}", record


def trace(flows: list[tuple[str, Json]], of: TracedGraph | None = None, **evidence: Any) -> Trace:
    told = Evidence(flows=flows, hosts={f"host/{name}": name for name in NAMES}, **evidence)
    told.turned = orientations([flow for _, flow in flows])
    return judged("t", told, of or graph())


def verdict(flows: list[tuple[str, Json]], of: TracedGraph | None = None, **evidence: Any) -> tuple[str, str]:
    said = trace(flows, of, **evidence).verdict
    return said.kind, said.text


BETWEEN = [seen("h1", "eth0", "egress", (100, 90)), seen("h2", "eth9", "ingress", (40, 90), ttl=(63, 64))]


def test_fewer_packets_further_on_are_lost() -> None:
    assert verdict(BETWEEN) == ("lost", "60 packets forth lost between h1 eth0 and h2 eth9: the kernels say no reason")


def test_what_arrives_is_well() -> None:
    flows = [seen("h1", "eth0", "egress"), seen("h2", "eth9", "ingress", ttl=(63, 64))]
    assert verdict(flows) == ("well", "every packet arrived, both ways")


def test_a_router_with_one_arm_counts_twice() -> None:
    flows = [
        seen("h1", "eth0", "egress", ttl=(64, 63)),
        seen("r", "arm", "both", (10, 8), ttl=(63, 63)),
        seen("h2", "eth9", "ingress", ttl=(63, 64)),
    ]
    assert verdict(flows)[0] == "well"


@pytest.mark.parametrize(
    "evidence",
    [
        {"gaps": {"h2": {(700_000, 799_000)}}},  # its agent was killed, and counts since
        {"since": {"h2": 799_000}},  # it began later
        {"until": 930_000},  # the last updates before a moment are not of one time
    ],
    ids=["gap", "since", "past"],
)
def test_counts_of_different_times_are_not_compared(evidence: Json) -> None:
    kind, text = verdict(BETWEEN, **evidence)
    assert (kind, "not every point counted" in text) == ("well", True)


def test_what_was_over_by_then_is_compared_in_the_past_too() -> None:
    assert verdict(BETWEEN, until=960_001)[0] == "lost"


def test_counts_of_samples_are_not_compared() -> None:
    assert verdict([(host, {**flow, "Sampling": 10}) for host, flow in BETWEEN])[0] == "well"


def test_who_did_not_see_the_handshake_counted_less() -> None:
    first = BETWEEN[0][1] | {"TCPMetric": {"ABFlags": "SYN|ACK|PSH"}}
    assert verdict([("host/h1", first), BETWEEN[1]])[0] == "well"


def test_what_is_given_to_a_namespace_that_is_not_looked_at_is_not_lost() -> None:
    flows = [
        seen("h1", "eth0", "egress", to="172.17.0.2"),
        seen("h2", "eth9", "ingress", to="172.17.0.2"),
        seen("h2", "veth1", "egress", to="172.17.0.2", ttl=(63, 64)),
    ]
    assert verdict(flows) == ("well", "no loss is seen; an end lies where no agent looks")


def test_what_leaves_for_an_address_that_nobody_has_is_not_lost() -> None:
    out = [seen("h1", "eth0", "egress", to="203.0.113.2"), seen("r", "arm", "egress", to="203.0.113.2", ttl=(63, 64))]
    assert verdict(out) == ("well", "no loss is seen; an end lies where no agent looks")
    into = [out[0], seen("r", "arm", "ingress", to="203.0.113.2")]
    assert verdict(into)[1].startswith("5 packets forth lost after r arm")


def test_what_ends_before_the_namespace_is_lost() -> None:
    flows = [seen("h1", "eth0", "egress", to="172.17.0.2"), seen("h2", "eth9", "ingress", to="172.17.0.2")]
    assert verdict(flows)[1] == "5 packets forth lost after h2 eth9: the kernels say no reason"


@pytest.mark.parametrize("end", ["h1/link/eth0", "h2/link/eth9"])
def test_an_end_that_the_graph_has_no_more_lost_nothing(end: str) -> None:
    flows = [seen("h1", "eth0", "egress"), seen("h2", "eth9", "ingress", ttl=(63, 64))]
    assert verdict(flows, graph(without=(end,)))[0] == "well"


def test_who_could_not_be_asked_may_have_seen_it() -> None:
    flows = [seen("h1", "eth0", "egress"), seen("r", "arm", "egress", ttl=(63, 64))]
    assert verdict(flows)[0] == "lost"
    assert verdict(flows, missing={"h2": "did not answer within 5 s"})[0] == "well"


@pytest.mark.parametrize(
    ("to", "proto", "more"),
    [
        ("10.0.2.255", "UDP", {}),
        ("224.0.0.5", "OSPF", {}),
        (SERVER, "ICMPv6", {"Transport": None, "ICMP": {"Type": "NEIGHBOR"}}),
    ],
    ids=["broadcast", "multicast", "one-way"],
)
def test_what_nobody_answers_is_not_unanswered(to: str, proto: str, more: Json) -> None:
    flows = [seen("h1", "eth0", "egress", (5, 0), to=to, proto=proto, **more)]
    flows += [seen("h2", "eth9", "ingress", (5, 0), to=to, proto=proto, **more)]
    assert verdict(flows) == ("well", "no loss is seen up to h2 eth9; to such packets there is no answer")


def test_a_question_without_an_answer_is_unanswered() -> None:
    flows = [seen("h1", "eth0", "egress", (5, 0), proto="UDP"), seen("h2", "eth9", "ingress", (5, 0), proto="UDP")]
    assert verdict(flows) == ("unanswered", "packets arrive at h2 eth9, and nothing comes back")


def drop(host: str, reason: str, to: str = SERVER) -> tuple[str, Json]:
    told = {"What": "Drop", "Reason": reason, "TrackingID": "t", "Network": {"A": CLIENT, "B": to}, "Namespace": ""}
    return f"host/{host}", {**told, "Transport": {"A": 40000, "B": 80}, "Interface": "eth0", "AB": 5, "BA": 0, "Last": 2000}


def listener(host: str) -> tuple[str, Json]:
    queue = {"ReceiveQueue": 129, "SendQueue": 128}
    return f"host/{host}", {
        "State": "LISTEN",
        "LocalAddress": "0.0.0.0",
        "LocalPort": 80,
        "Namespace": "",
        "Name": "nginx",
        **queue,
    }


def test_a_full_queue_is_that_of_whom_the_packets_are_for() -> None:
    flows = [seen("h1", "eth0", "egress", (5, 0)), seen("h2", "eth9", "ingress", (5, 0), ttl=(63, 64))]
    assert trace(flows, sockets=[listener("h2")]).verdict.reason == "ACCEPT_QUEUE_FULL"
    dropped = trace(flows[:1], drops=[drop("h1", "NETFILTER_DROP")], sockets=[listener("h9")]).verdict
    assert (dropped.host, dropped.reason) == ("h1", "NETFILTER_DROP")


def test_who_does_not_listen_to_a_broadcast_refuses_nothing() -> None:
    flows = [seen("h1", "eth0", "egress", (5, 0), to="10.0.2.255", proto="UDP")]
    flows += [
        seen(host, name, "ingress", (5, 0), to="10.0.2.255", proto="UDP") for host, name in (("h2", "eth9"), ("r", "arm"))
    ]
    assert verdict(flows, drops=[drop("r", "NO_SOCKET", "10.0.2.255")])[0] == "well"


def test_time_between_points_is_that_of_one_packet() -> None:
    first, second = seen("h2", "eth9", "ingress"), seen("h2", "veth1", "egress", FirstMonotonic=1_000_000_001)
    assert [point.since for point in trace([first, second]).forth.points] == [None, 1_000_000_000]
    fewer = second[1] | {"Metric": {"ABPackets": 4, "ABBytes": 100, "BAPackets": 4, "BABytes": 100}}
    assert [point.since for point in trace([first, ("host/h2", fewer)]).forth.points] == [None, None]


def test_a_round_trip_that_grows_towards_its_end_tells_no_latency() -> None:
    def round_trips(there: int, here: int) -> list[list[int | None]]:
        flows = [seen("h1", "eth0", "egress", ttl=(64, 63)), seen("h2", "eth9", "ingress", ttl=(63, 64))]
        for (_, flow), rtt in zip(flows, (there, here), strict=True):
            flow["Metric"]["RTT"] = rtt
        said = trace(flows)
        return [[point.round_trip for point in way.points] for way in (said.forth, said.back)]

    assert round_trips(900, 500) == [[None, 400], [None, 400]]
    assert round_trips(500, 900) == [[None, None], [None, None]]


def neighbours(*, rival: bool = False) -> TracedGraph:
    """Two hosts on one link; where wanted, a third one with the address of the second."""
    made = Graph()
    made.device(made.host("h1"), "eth0", "device", "10.0.1.1/24", MAC="02:00:00:00:00:01")
    made.device(made.host("h2"), "eth9", "device", "10.0.1.2/24", MAC="02:00:00:00:00:02")
    if rival:
        made.device(made.host("h9"), "eth0", "device", "10.0.1.2/24", MAC="02:00:00:00:00:09")
    return TracedGraph(Network(made.revisions))


def framed(host: str, device: str, hook: str, packets: tuple[int, int], to: str, **more: Any) -> tuple[str, Json]:
    return seen(host, device, hook, packets, to="10.0.1.2", Link={"A": "02:00:00:00:00:01", "B": to}, **more)


@pytest.mark.parametrize(
    ("mac", "words"),
    [
        ("02:00:00:00:00:02", ""),
        ("02:00:00:00:00:77", "sent to 02:00:00:00:00:77, which no interface of the graph has; eth9 in h2 has 10.0.1.2"),
    ],
)
def test_frames_for_another_mac_go_astray(mac: str, words: str) -> None:
    flows = [framed(*place, (5, 0), mac) for place in (("h1", "eth0", "egress"), ("h2", "eth9", "ingress"))]
    said = trace(flows, neighbours()).verdict
    assert (said.kind, said.reason, said.host) == (("lost", "WRONG_MAC", "h1") if words else ("unanswered", "NO_ANSWER", "h2"))
    assert words in said.text


def test_an_address_that_two_neighbours_have_is_told_where_something_is_wrong() -> None:
    def told(packets: tuple[int, int], **more: Any) -> str:
        flows = [
            framed(*place, packets, "02:00:00:00:00:02") for place in (("h1", "eth0", "egress"), ("h2", "eth9", "ingress"))
        ]
        return trace(flows, neighbours(rival=True), **more).verdict.text

    refused = told((1, 1), drops=[drop("h2", "NO_SOCKET", "10.0.1.2")])
    assert refused.endswith("; 10.0.1.2 is also that of eth0 in h9")
    assert told((5, 4)) == "every packet arrived, both ways"


@pytest.mark.parametrize(
    ("flags", "count", "kind"),
    [("SYN", 3, "unanswered"), ("SYN", 1, "well"), ("SYN|ACK", 3, "well")],
    ids=["never", "yet", "taken"],
)
def test_answers_to_a_syn_that_are_not_taken(flags: str, count: int, kind: str) -> None:
    tcp = {"TCPMetric": {"ABFlags": flags, "BAFlags": "SYN|ACK"}}
    flows = [
        seen("h1", "eth0", "egress", (1, count), ttl=(64, 63), **tcp),
        seen("h2", "eth9", "ingress", (1, count), ttl=(63, 64), **tcp),
    ]
    assert verdict(flows)[0] == kind


def test_a_window_that_was_closed_is_told_and_is_no_loss() -> None:
    tcp = {"TCPMetric": {"ABFlags": "SYN|ACK", "BAFlags": "SYN|ACK", "BAZeroWindows": 2}}
    flows = [seen("h1", "eth0", "egress", ttl=(64, 63), **tcp), seen("h2", "eth9", "ingress", ttl=(63, 64), **tcp)]
    said = trace(flows).verdict
    assert (said.kind, said.reason, said.host) == ("well", "ZERO_WINDOW", "h2")
    assert said.text.startswith("every packet arrived, both ways; 10.0.2.1 said 2 times that it has no room")


def test_what_a_tunnel_brings_for_another_namespace_is_not_lost() -> None:
    def opened(namespace: bool) -> str:
        made = Graph()
        host = made.host("h2")
        made.device(host, "eth9", "device", f"{SERVER}/24")
        inside = made.netns(host, "overlay", **({} if namespace else {"Name": "other"}))
        data = {"VXLAN": {"ID": 7, "Local": SERVER}, **({"LinkNetNsID": 0} if namespace else {})}
        made.device(inside if namespace else host, "vx7", "vxlan", **data)
        made.device(inside, "eth1", "veth", "10.9.9.9/24")
        carrier = {
            "UUID": "outer", "TrackingID": "o", "LayersPath": "Ethernet/IPv4/UDP/VXLAN",
            "Network": {"A": CLIENT, "B": SERVER, "ID": 7}, "Seen": {"AB": "ingress"},
        }  # fmt: skip
        flow = seen("h2", "eth9", "ingress", (5, 4), to="10.9.9.9", ParentUUID="outer")
        return verdict([flow], TracedGraph(Network(made.revisions)), carriers={"outer": ("host/h2", carrier)})[0]

    assert opened(namespace=False) == "lost"
    assert opened(namespace=True) == "well"


def cable(hook: str = "egress", bare: int = 66, **more: Any) -> list[tuple[str, Json]]:
    """A client's data that goes to where nobody looks, through a router whose interface there takes less than the other."""
    metric = {"ABPackets": 5, "ABBytes": 500, "BAPackets": 4, "BABytes": 4 * bare}
    return [
        seen("r", "near", "ingress", to="203.0.113.1", ttl=(64, 63), Metric=metric, TCPMetric={"ABFlags": "SYN|ACK"}),
        seen("r", "far", hook, to="203.0.113.1", ttl=(63, 64), Metric=metric, TCPMetric={"ABFlags": "SYN|ACK"}, **more),
    ]


def edge(mtu: int = 1400) -> TracedGraph:
    made = Graph()
    router = made.host("r")
    made.device(router, "near", "device", "10.0.1.254/24")
    made.device(router, "far", "device", "203.0.113.254/24", MTU=mtu)
    return TracedGraph(Network(made.revisions))


def test_an_interface_that_refuses_what_is_too_long_is_named_though_nobody_saw_it() -> None:
    refused = {"host/r/link/far": 3}
    kind, text = verdict(cable(), edge(), refused=refused)
    assert kind == "lost"
    assert "MTU in r far" in text
    assert verdict(cable(), edge())[0] == "well"  # it refused nothing
    assert verdict(cable(), edge(1500), refused=refused)[0] == "well"  # but not for its length
    assert verdict(cable(bare=600), edge(), refused=refused)[0] == "well"  # data came


def test_what_a_tunnel_gave_to_its_host_is_dropped_with_the_host_s_reason() -> None:
    made = Graph()
    host = made.host("h1")
    made.device(host, "eth0", "device", "192.0.2.1/24")
    made.device(host, "vxlan10", "vxlan", VXLAN={"ID": 10, "Local": "192.0.2.1", "Port": 4789})
    made.device(made.host("h2"), "eth9", "device", f"{SERVER}/24")
    of = TracedGraph(Network(made.revisions))

    def outer(number: int, a: str, b: str) -> tuple[str, Json]:
        network = {"A": a, "B": b, "ID": number}
        return "host/h1", {
            "What": "Drop", "Reason": "NETFILTER_DROP", "TrackingID": "o", "Network": network, "AB": 0, "BA": 5, "Last": 2000,
            "Transport": {"Protocol": "UDP", "A": 0, "B": 4789}, "Namespace": "", "Interface": "eth0",
        }  # fmt: skip

    flows = [seen("h1", "vxlan10", "egress", (5, 0))]
    assert trace(flows, of, outer=[outer(10, "192.0.2.0", "192.0.2.1")]).verdict.reason == "NETFILTER_DROP"
    assert trace(flows, of, outer=[outer(11, "192.0.2.0", "192.0.2.1")]).verdict.reason != "NETFILTER_DROP"
    assert trace(flows, of, outer=[outer(10, "192.0.2.0", "192.0.2.7")]).verdict.reason != "NETFILTER_DROP"
