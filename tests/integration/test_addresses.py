"""The address book, from a real hub to a real agent: both ends of flows are named, as they were when each began."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from support.agentlab import Agent, Flow, StartAgent
from support.hublab import Hub
from support.netlab import End, Net, until

from skytrail.addresses.book import Book
from skytrail.asking.questions import Part
from topology.remote.outbox import Clocks, Outbox
from topology.remote.sender import Identity, Sender

_QUICK = {"flow__update": "500ms", "flow__drain": "100ms"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub", command="hub")
    made.start()
    yield made
    made.close()


def named(flow: Flow) -> tuple[Any, Any]:
    """Kind and name of the owners of both ends."""
    owners = flow.get("Owner", {})
    return tuple((owner["Kind"], owner["Name"]) if (owner := owners.get(side)) else None for side in "AB")


def pings(agent: Agent, identifier: int) -> list[Flow]:
    return [flow for flow in agent.flows("icmp") if flow["ICMP"]["ID"] == identifier]


def all_named(agent: Agent, identifier: int, expected: tuple[Any, Any]) -> None:
    def equal() -> bool:
        flows = pings(agent, identifier)
        assert flows
        assert {named(flow) for flow in flows} == {expected}
        return True

    until(equal, 15)


def past(hub: Hub, begin: float, end: float) -> list[Flow]:
    """The flows of a time, of whoever tells the hub of them."""
    query = f"G.At({int(end * 1000)}, {int(end - begin) + 1}).Flows()"
    found: list[Flow] = json.loads(hub.post("/api/topology", {"GremlinQuery": query}))
    return found


def start(start_agent: StartAgent, hub: Hub, **settings: str) -> Agent:
    agent = start_agent(agent__hubs=f"127.0.0.1:{hub.wire}", **_QUICK, **settings)
    until(lambda: reached(agent), 20)
    return agent


def pair(net: Net) -> tuple[End, End]:
    """Two ends of a cable, with addresses that nobody else on this machine has."""
    network = ".".join(map(str, (10, *secrets.token_bytes(2))))
    left, right = (End(net.netns(one), net.name(f"{one}0"), f"{network}.{at}") for at, one in enumerate("ab", 1))
    net.veth(left, right)
    return left, right


def reached(agent: Agent) -> bool:
    told = agent.status()["hub"]["failure"]
    assert told is None, told
    return True


def moved(net: Net, end: End, to: str) -> End:
    """The same interface and address in another namespace."""
    net.ip(f"link set {end.interface} netns {to}", netns=end.netns)
    net.ip(f"address add {end.ip4}/24 dev {end.interface}", netns=to)
    net.ip(f"link set {end.interface} up", netns=to)
    return End(to, end.interface, end.ip4)


def test_both_ends_are_named_as_they_were_when_the_flow_began(net: Net, hub: Hub, start_agent: StartAgent) -> None:
    agent = start(start_agent, hub, prometheus__peers="100")
    left, right = pair(net)
    agent.wait_point(left.netns, left.interface, 10)
    agent.wait_point(right.netns, right.interface, 10)
    before = ("netns", left.netns), ("netns", right.netns)
    net.ping(left.netns, right.ip4, identifier=1)
    all_named(agent, 1, before)
    sent = {"source": left.netns, "destination": right.netns, "device": left.interface}
    until(lambda: agent.metrics().value("skytrail_peer_packets_total", **sent) == 3)
    until(lambda: agent.metrics().value("skytrail_addresses_known") >= 2)

    other = moved(net, right, net.netns("c"))
    agent.wait_point(other.netns, other.interface, 10)
    identifiers = itertools.count(10)

    def told(owner: str) -> bool:
        identifier = next(identifiers)  # another flow each time: one that began before keeps its names
        net.ping(left.netns, right.ip4, identifier=identifier, count=1)
        assert {named(flow) for flow in pings(agent, identifier)} == {(("netns", left.netns), ("netns", owner))}
        return True

    until(lambda: told(other.netns), 20, 0.5)
    all_named(agent, 1, before)  # it began before: whoever has the address now

    hub.kill()  # the agent goes by what it was told last
    net.ping(left.netns, right.ip4, identifier=3)
    all_named(agent, 3, (("netns", left.netns), ("netns", other.netns)))
    hub.start()
    third = moved(net, other, net.netns("d"))
    agent.wait_point(third.netns, third.interface, 10)
    until(lambda: told(third.netns), 30, 0.5)


def test_yesterdays_flows_have_yesterdays_owners(net: Net, hub: Hub, start_agent: StartAgent) -> None:
    """Of an agent that kept their names, and of one that knows none: the hub's graph has them."""
    agent = start(start_agent, hub)
    unknowing = start_agent(
        agent__hubs=f"127.0.0.1:{hub.wire}", host_id="another", flow__names="false", flow__attach="socket", **_QUICK
    )
    left, right = pair(net)
    for one in (agent, unknowing):
        one.wait_point(left.netns, left.interface, 10)
        one.wait_point(right.netns, right.interface, 10)
    time.sleep(1)
    begin = time.time()
    net.ping(left.netns, right.ip4, identifier=1)
    time.sleep(1)
    end = time.time()
    assert {named(flow) for flow in pings(unknowing, 1)} == {(None, None)}
    other = moved(net, right, net.netns("c"))
    until(lambda: [one for one in hub.graph()["Nodes"] if one["Metadata"].get("Name") == other.netns], 10)
    time.sleep(3)  # longer than between two writings of what is remembered

    def told() -> bool:
        flows = [flow for flow in past(hub, begin, end) if flow.get("ICMP", {}).get("ID") == 1]
        assert len(flows) == 4
        assert {named(flow) for flow in flows} == {(("netns", left.netns), ("netns", right.netns))}
        return True

    until(told, 10, 0.5)


def test_within_a_tunnel_both_ends_are_named_by_its_network(net: Net, hub: Hub, start_agent: StartAgent) -> None:
    """Two tenants with the same addresses, in VXLANs of 42 and 43 over one cable, by bridges on either side of it."""
    sides = pair(net)
    for vni in (42, 43):
        for number, (side, other) in enumerate((sides, sides[::-1]), 1):
            inner = End(net.netns(f"{vni}{'ab'[number - 1]}"), net.name(f"i{vni}{number}"), f"10.77.0.{number}")
            outer = End(side.netns, net.name(f"o{vni}{number}"), "")
            net.veth(inner, outer)
            bridge, tunnel = net.name(f"b{vni}{number}"), net.name(f"t{vni}{number}")
            vxlan = f"id {vni} local {side.ip4} remote {other.ip4} dstport 4789"
            net.ip(f"link add {tunnel} type vxlan", vxlan, netns=side.netns)
            net.ip(f"link add {bridge} type bridge", netns=side.netns)
            for one in (tunnel, outer.interface):
                net.ip(f"link set {one} master {bridge} up", netns=side.netns)
            net.ip(f"link set {bridge} up", netns=side.netns)
    agent = start(start_agent, hub, flow__interfaces=json.dumps([sides[0].interface]))
    agent.wait_point(sides[0].netns, sides[0].interface, 10)
    for vni in (42, 43):
        net.ping(net.name(f"{vni}a"), "10.77.0.2", identifier=vni)

    def told(flows: list[Flow]) -> bool:
        inner = [flow for flow in flows if flow.get("ICMP", {}).get("ID") in (42, 43)]
        found = {(flow["ICMP"]["ID"], flow["Tunnel"]["Type"], flow["Tunnel"]["ID"], named(flow)) for flow in inner}
        assert found == {
            (vni, "vxlan", vni, (("netns", net.name(f"{vni}a")), ("netns", net.name(f"{vni}b")))) for vni in (42, 43)
        }
        return True

    until(lambda: told(agent.flows("icmp")), 15, 0.2)
    assert told(agent.flows(f"Tunnel.ID=42 or Owner.B.Name={net.name('43b')}"))


def test_who_may_make_a_namespace_names_no_addresses_for_other_hosts(
    net: Net, hub: Hub, start_agent: StartAgent, tmp_path: Path
) -> None:
    """A user without privileges gives a namespace of his a host's address, and one that nobody has."""
    start(start_agent, hub, host_id="one", flow__attach="socket")
    number = ".".join(map(str, (10, *secrets.token_bytes(2))))
    hosts, nobodys, inside = f"{number}.1", f"{number}.7", net.netns("a")
    net.ip(f"link add {net.name('own')} type veth peer name {net.name('in')} netns {inside}")
    net.ip(f"address add {hosts}/24 dev {net.name('own')}")
    book, outbox = Book(), Outbox(tmp_path / "outbox", 1 << 20, Clocks.of_machine("b"))
    dialled, identity = [f"127.0.0.1:{hub.wire}"], Identity("elsewhere", "elsewhere")
    sender = Sender(dialled, outbox, identity, lambda: time.time_ns() // 1000, lambda _: iter((Part(),)), book=book)

    def of(address: str, host: str) -> str | None:
        owner = book.find(ip_address(address).packed, "", host, time.time_ns() // 1000)
        return owner and owner.kind

    sender.start()
    try:
        until(lambda: of(hosts, "elsewhere") == "host", 20)
        address = "; ".join(f"ip address add {each}/32 dev lo" for each in (hosts, nobodys))
        made = ("unshare", "--map-root-user", "-n", "sh", "-c", f"ip link set lo up; {address}; exec sleep 300")
        net.spawn("", "setpriv", "--reuid=61234", "--regid=61234", "--clear-groups", *made)
        until(lambda: of(nobodys, "host/one") == "netns", 20)  # on his host they are his, where nobody else's
        assert (of(hosts, "host/one"), of(hosts, "elsewhere"), of(nobodys, "elsewhere")) == ("host", "host", None)
    finally:
        sender.stop()
