from __future__ import annotations

import json
import select
import time
from collections.abc import Callable, Iterator

import pytest
from support.netlab import NETNS, Net, in_netns, until

from skytrail.errors import NotSupportedError
from skytrail.kernel.netlink import NsidTable
from topology.probes.ethtool import monitor as monitor_module
from topology.probes.ethtool.monitor import Change, Changes, EthtoolMonitor

pytestmark = pytest.mark.kernel

Open = Callable[..., EthtoolMonitor]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open monitors, in a namespace or at home."""
    made: list[EthtoolMonitor] = []

    def open_monitor(netns: str = "", *, every_namespace: bool = False, receive_buffer: int = 1 << 20) -> EthtoolMonitor:
        def make() -> EthtoolMonitor:
            return EthtoolMonitor(every_namespace=every_namespace, receive_buffer=receive_buffer)

        made.append(in_netns(netns, make) if netns else make())
        return made[-1]

    yield open_monitor
    for one in made:
        one.close()


def ifindex(net: Net, netns: str, interface: str) -> int:
    return int(json.loads(net.ip(f"-j link show dev {interface}", netns=netns))[0]["ifindex"])


def heard(monitor: EthtoolMonitor, seconds: float = 2.0) -> Changes:
    """The first that it hears; nothing, if it hears nothing."""
    ready, _, _ = select.select([monitor], [], [], seconds)
    return monitor.read() if ready else Changes(frozenset(), lost=False)


def test_a_change_is_heard_in_the_namespace_and_nowhere_else(net: Net, opened: Open) -> None:
    here, there = net.netns("a"), net.netns("b")
    for netns in (here, there):
        net.ip("link add v0 type veth peer name v1", netns=netns)
    monitor = opened(here)
    net.run(there, "ethtool", "-K", "v0", "tso", "off")
    net.run(here, "ethtool", "-K", "v1", "tso", "off")
    assert heard(monitor) == Changes(frozenset({Change(None, ifindex(net, here, "v1"))}), lost=False)
    assert heard(monitor, 0.1).interfaces == frozenset()


@pytest.mark.parametrize(
    "command",
    [
        ("ethtool", "-K", "t0", "gro", "off"),
        ("ethtool", "-s", "t0", "speed", "100", "duplex", "full", "autoneg", "off"),
        ("ethtool", "-L", "v0", "rx", "2", "tx", "2"),
    ],
)
def test_each_kind_of_change_is_heard(net: Net, opened: Open, command: tuple[str, ...]) -> None:
    netns = net.netns("a")
    net.ip("link add v0 numrxqueues 4 numtxqueues 4 type veth peer name v1", netns=netns)
    net.ip("tuntap add t0 mode tap", netns=netns)
    monitor = opened(netns)
    net.run(netns, *command)
    assert heard(monitor).interfaces == {Change(None, ifindex(net, netns, command[2]))}


def test_features_that_follow_from_anothers_are_heard(net: Net, opened: Open) -> None:
    netns = net.netns("a")
    net.ip("link add b0 type bridge", netns=netns)
    net.ip("link add v0 type veth peer name v1", netns=netns)
    monitor = opened(netns)
    net.ip("link set v0 master b0", netns=netns)
    assert Change(None, ifindex(net, netns, "b0")) in heard(monitor).interfaces


def test_one_socket_hears_all_namespaces_that_have_a_number(net: Net, opened: Open) -> None:
    home, numbered, unnumbered = net.netns("a"), net.netns("b"), net.netns("c")
    for netns in (home, numbered, unnumbered):
        net.ip("link add v0 type veth peer name v1", netns=netns)
    net.ip("netns set", numbered, "41", netns=home)
    monitor = opened(home, every_namespace=True)
    for netns in (home, numbered, unnumbered):
        net.run(netns, "ethtool", "-K", "v0", "tso", "off")
    expected = {Change(None, ifindex(net, home, "v0")), Change(41, ifindex(net, numbered, "v0"))}
    found: set[Change] = set()

    def all_heard() -> bool:
        found.update(monitor.read().interfaces)
        return len(found) >= len(expected)

    until(all_heard)
    time.sleep(0.1)
    assert found | monitor.read().interfaces == expected


def test_a_namespace_is_heard_from_when_it_has_a_number(net: Net, opened: Open) -> None:
    home, other = net.netns("a"), net.netns("b")
    net.ip("link add v0 type veth peer name v1", netns=other)
    monitor = opened(home, every_namespace=True)
    net.run(other, "ethtool", "-K", "v0", "tso", "off")
    assert heard(monitor, 0.2).interfaces == frozenset()

    def number() -> int:
        table = NsidTable()
        try:
            with (NETNS / other).open() as namespace:
                return table.assigned(namespace.fileno())
        finally:
            table.close()

    nsid = in_netns(home, number)
    net.run(other, "ethtool", "-K", "v0", "tso", "on")
    assert heard(monitor).interfaces == {Change(nsid, ifindex(net, other, "v0"))}


def test_what_does_not_fit_is_said_to_be_lost(net: Net, opened: Open) -> None:
    netns = net.netns("a")
    net.ip("link add v0 type veth peer name v1", netns=netns)
    monitor = opened(netns, receive_buffer=0)  # the kernel's least
    for state in ("off", "on") * 20:
        net.run(netns, "ethtool", "-K", "v0", "tso", state)
    first = monitor.read()
    assert first.lost
    assert first.interfaces == {Change(None, ifindex(net, netns, "v0"))}
    assert monitor.read() == Changes(frozenset(), lost=False)


def test_many_changes_of_one_interface_are_one(net: Net, opened: Open) -> None:
    netns = net.netns("a")
    net.ip("link add v0 type veth peer name v1", netns=netns)
    monitor = opened(netns)
    for state in ("off", "on") * 3:
        net.run(netns, "ethtool", "-K", "v0", "tso", state)
    assert len(monitor.read().interfaces) == 1
    assert monitor.malformed == 0


def test_a_kernel_without_the_group_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "_GROUP", "no such")
    with pytest.raises(NotSupportedError, match=r"5\.7"):
        EthtoolMonitor(every_namespace=False, receive_buffer=4096)
