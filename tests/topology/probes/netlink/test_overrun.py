"""More changes than the socket's queue holds: what the kernel threw away is found again, and nothing hangs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.graphoracle import HOST, Place, Seen
from support.netlab import Net, until
from support.probelab import ProbeLab

pytestmark = pytest.mark.kernel

LEAST = 1
"""Bytes asked for as the queue's size: the kernel makes the least of it that it allows, some 2 KB."""

STORM = 120


@pytest.fixture
def lab(net: Net, tmp_path: Path) -> Iterator[ProbeLab]:
    for suffix in ("p", "q"):
        net.netns(suffix, ipv6=True)
    made = ProbeLab(net, tmp_path, receive_buffer=LEAST)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def left(lab: ProbeLab) -> str:
    return lab.net.name("p")


def overrun(lab: ProbeLab, netns: str, lines: Callable[[int], Iterator[str]]) -> None:
    """Have ``ip`` run the lines, again with other numbers if the queue never overflowed."""
    for turn in range(10):
        before = lab.probe.watcher.counters.resyncs
        text = "\n".join(line for number in range(turn * STORM, (turn + 1) * STORM) for line in lines(number))
        said = lab.net.run("", "ip", "-n", netns, "-batch", "-", stdin=f"{text}\n")
        assert not said
        lab.settled()
        if lab.probe.watcher.counters.resyncs > before:
            return
    raise AssertionError("the queue never overflowed")


def test_links_and_addresses_are_whole_after_an_overrun(lab: ProbeLab, left: str) -> None:
    def lines(number: int) -> Iterator[str]:
        first, second, renamed = (lab.net.name(f"{letter}{number}") for letter in "vwr")
        yield f"link add {first} type veth peer name {second}"
        yield f"addr add 10.{number // 250}.{number % 250}.1/24 dev {second}"
        yield f"addr add 2001:db8:{number:x}::1/64 dev {second} nodad"
        yield f"link set {second} mtu {1300 + number % 100} up"
        yield f"link set {second} down"
        yield f"link set {second} name {renamed}"
        yield f"link set {renamed} netns {lab.net.name('q')}" if number % 3 else f"addr flush dev {renamed}"
        if number % 5:
            yield f"link del {first}"

    overrun(lab, left, lines)

    assert_still_follows(lab, left)
    assert lab.flaws() == []


def test_ports_of_a_bridge_are_whole_after_an_overrun(lab: ProbeLab, left: str) -> None:
    bridge = lab.net.name("br")
    lab.net.ip(f"link add {bridge} up type bridge", netns=left)

    def lines(number: int) -> Iterator[str]:
        first, second = (lab.net.name(f"{letter}{number}") for letter in "vw")
        yield f"link add {first} type veth peer name {second}"
        yield f"link set {first} master {bridge} up"
        yield f"link set {second} up"
        if number % 2:
            yield f"link set {second} down"
        if number % 3 == 0:
            yield f"link set {first} nomaster"
        if number % 5:
            yield f"link del {first}"

    overrun(lab, left, lines)

    ports = [node for node in lab.seen().picture.nodes.values() if "PortState" in node]
    assert {node["PortState"] for node in ports} == {"disabled", "forwarding"}
    assert_still_follows(lab, left)
    assert lab.flaws() == []


def test_routes_and_neighbours_are_whole_after_an_overrun(lab: ProbeLab, left: str) -> None:
    """Told of late, on a thread of its own: it is the telling that there is news that may be lost."""
    name = lab.net.name("a")
    lab.net.ip(f"link add {name} type veth peer name {lab.net.name('b')}", netns=left)
    for end in "ab":
        lab.net.ip(f"link set {lab.net.name(end)} up", netns=left)
    lab.net.ip(f"addr add 10.1.0.1/24 dev {name}", netns=left)

    def lines(number: int) -> Iterator[str]:
        tail = f"{number // 250}.{number % 250}"
        yield f"route add 10.{100 + number // 250}.{number % 250}.0/24 via 10.1.0.254 dev {name}"
        yield f"neigh add 10.1.{tail} lladdr 02:00:00:00:00:01 dev {name} nud permanent"
        if number % 2:
            yield f"route del 10.{100 + number // 250}.{number % 250}.0/24 via 10.1.0.254 dev {name}"
            yield f"neigh del 10.1.{tail} dev {name}"

    overrun(lab, left, lines)

    def equal() -> bool:
        found = tables(lab, left, name)
        assert found == said_tables(lab.net, left, name)
        return all(len(some) >= STORM // 2 for some in found)

    until(equal, 20.0)
    assert_still_follows(lab, left)
    assert lab.flaws() == []


def test_link_that_moved_during_an_overrun_is_the_same(lab: ProbeLab, left: str) -> None:
    right = lab.net.name("q")
    movers = [lab.net.name(f"m{number}") for number in range(8)]
    for name in movers:
        lab.net.ip(f"link add {name} type veth peer name {name}p", netns=left)
    lab.settled()
    before = lab.seen()

    def lines(number: int) -> Iterator[str]:
        first = lab.net.name(f"v{number}")
        yield f"link add {first} type veth peer name {first}p"
        if number % STORM in range(20, 60, 5):
            mover = movers[(number % STORM - 20) // 5]
            yield f"link set {mover} netns {right}"
        yield f"link del {first}"

    resyncs = lab.probe.watcher.counters.resyncs
    for _ in range(10):
        text = "\n".join(line for number in range(STORM) for line in lines(number))
        assert not lab.net.run("", "ip", "-n", left, "-batch", "-", stdin=f"{text}\n")
        lab.settled()
        after = lab.seen()
        if lab.probe.watcher.counters.resyncs > resyncs:
            break
        for name in movers:
            lab.net.ip(f"link set {name} netns {left}", netns=right)
    else:
        raise AssertionError("the queue never overflowed")

    def ids(seen: Seen, netns: str) -> dict[str, str]:
        nodes = seen.picture.nodes
        return {node["Name"]: seen.ids[place] for place, node in nodes.items() if place[0] == netns and node["Name"] in movers}

    assert ids(after, right) == ids(before, left)
    assert lab.flaws() == []


def test_namespaces_are_whole_after_an_overrun(lab: ProbeLab) -> None:
    net, names = lab.net, [lab.net.name(f"n{number}") for number in range(20)]
    for name in names:
        net.ip("netns add", name)
    before = lab.probe.watcher.counters.resyncs
    try:
        lines = [f"link add {net.name('v')}{name[-3:]} type veth peer name {net.name('w')} netns {name}" for name in names]
        lines += [f"netns del {name}" for name in names[::2]]
        said = net.run("", "ip", "-batch", "-", stdin="\n".join(lines) + "\n")
        assert not said
        picture = lab.settled()
        assert sorted(name for name, index in picture.nodes if index == 0 and name in names) == sorted(names[1::2])
        assert lab.probe.watcher.counters.resyncs > before
    finally:
        for name in names:
            net.ip("netns del", name, check=False)
    lab.settled()
    assert lab.flaws() == []


def assert_still_follows(lab: ProbeLab, netns: str) -> None:
    """One change more is told of as ever."""
    lab.net.ip(f"link add {lab.net.name('z')} type ifb", netns=netns)
    picture = lab.settled()
    assert lab.net.name("z") in {node["Name"] for node in picture.nodes.values()}
    assert lab.probe.failure is None
    assert lab.probe.watcher.alive
    assert lab.probe.watcher.counters.sink_errors == lab.probe.malformed == 0


def place_of(lab: ProbeLab, netns: str, name: str) -> Place:
    [place] = [one for one, node in lab.seen().picture.nodes.items() if one[0] == netns != HOST and node["Name"] == name]
    return place


def tables(lab: ProbeLab, netns: str, name: str) -> tuple[set[str], set[str]]:
    """Prefixes of the IPv4 routes by a gateway through an interface, and its neighbours, as the graph has them."""
    id_ = lab.seen().ids[place_of(lab, netns, name)]
    [metadata] = [one.state.metadata for one in lab.store.current() if one.id == id_ and one.state]
    routes = [route for table in metadata.get("RoutingTables", ()) for route in table["Routes"]]
    prefixes = {route["Prefix"] for route in routes if any(hop.get("IP") == "10.1.0.254" for hop in route.get("NextHops", ()))}
    return prefixes, {one["IP"] for one in metadata.get("Neighbors", ()) if one["IP"].startswith("10.1.")}


def said_tables(net: Net, netns: str, name: str) -> tuple[set[str], set[str]]:
    """The same, as ``ip`` has them."""

    def said(*words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(net.ip("-j", *words, netns=netns) or "[]")
        return found

    routes = {route["dst"] for route in said("-4 route show dev", name) if route.get("gateway") == "10.1.0.254"}
    return routes, {one["dst"] for one in said("-4 neigh show dev", name)}
