"""Inside a virtual machine with one of Debian's stock kernels (tests/lab/vm/run.sh; `make kernels`).

Names with ``short`` belong to `make test`, those with ``long`` to `make kernels` alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import communityid
import pytest
from support.netlab import Net
from support.ovs import Switch

pytestmark = pytest.mark.skipif(
    os.environ.get("SKYTRAIL_KERNEL_VM") != "1", reason="runs inside the virtual machines of `make kernels`"
)

A, B = "10.50.0.1", "10.50.0.2"
PORT = 18081
TCX_SINCE = (6, 6)

Flow = dict[str, Any]


def kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int(minor)


def sh(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


def until(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces, ka and kb, joined by a veth pair va-vb with addresses of 10.50.0.0/24."""
    for name in ("ka", "kb"):
        sh("ip", "netns", "add", name)
    sh("ip", "link", "add", "va", "netns", "ka", "type", "veth", "peer", "name", "vb", "netns", "kb")
    for name, device, address in (("ka", "va", A), ("kb", "vb", B)):
        sh("ip", "-n", name, "addr", "add", f"{address}/24", "dev", device)
        sh("ip", "-n", name, "link", "set", device, "up")
    yield "ka", "kb"
    for name in ("ka", "kb"):
        sh("ip", "netns", "del", name)


class Agent:
    """A real agent process in all namespaces."""

    def __init__(self, attach: str, state_dir: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "skytrail",
            "agent",
            "--netns",
            "all",
            "--attach",
            attach,
            "--listen",
            f"127.0.0.1:{PORT}",
        ]
        self.process = subprocess.Popen([*command, "--set", f"state_dir={state_dir}"], stderr=subprocess.PIPE, text=True)
        until(self._ready, "the agent is ready", 90)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.process.stderr.read() if self.process.stderr else ""
        try:
            return bool(self.get("/readyz")["ready"])
        except OSError:
            return False

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=20) as answer:
            return json.load(answer)

    def attached(self, interface: str) -> str | None:
        points = self.get("/api/status")["capture_points"]
        return next((point["attach"] for point in points if point["interface"] == interface), None)

    def points(self, interface: str) -> int:
        return sum(point["interface"] == interface for point in self.get("/api/status")["capture_points"])

    def flows(self, interface: str, application: str) -> list[Flow]:
        found: list[Flow] = self.get("/api/v1/flows")
        return [flow for flow in found if (flow["Interface"], flow["Application"]) == (interface, application)]


@contextmanager
def agent(attach: str, state_dir: Path) -> Iterator[Agent]:
    running = Agent(attach, state_dir)
    try:
        yield running
    finally:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(30)


def ping(namespace: str, address: str, *options: str) -> None:
    sh("ip", "netns", "exec", namespace, "ping", "-c", "3", "-i", "0.2", "-W", "5", *options, address)


def echo_community_id(a: str, b: str) -> str:
    """Of the echo request from a to b, by the public implementation."""
    return str(communityid.CommunityID().calc(communityid.FlowTuple.make_icmp(a, b, 8, 0)))


@pytest.mark.parametrize("attach", ["auto", "tc", "socket"])
def test_short_ping_is_one_flow_at_both_ends(attach: str, hosts: tuple[str, str], tmp_path: Path) -> None:
    with agent(attach, tmp_path) as running:
        kind = until(lambda: running.attached("va"), "va is captured")
        ping("ka", B)
        ends = [until(lambda end=end: running.flows(end, "ICMPv4"), f"the ping at {end}")[0] for end in ("va", "vb")]

    assert kind == (attach if attach != "auto" else "tcx" if kernel() >= TCX_SINCE else "tc")
    assert ends[0]["TrackingID"] == ends[1]["TrackingID"]
    for flow in ends:
        assert (flow["Metric"]["ABPackets"], flow["Metric"]["BAPackets"]) == (3, 3)
        assert flow["Metric"]["ABBytes"] == 3 * (14 + 84)
        assert flow["CommunityID"] == echo_community_id(A, B)
        assert flow["Metric"]["RTT"] > 0


def test_short_vlan_tag_stripped_by_the_kernel_is_in_the_parents_flow(hosts: tuple[str, str], tmp_path: Path) -> None:
    for name, device, address in (("ka", "va", "10.51.0.1"), ("kb", "vb", "10.51.0.2")):
        sh("ip", "-n", name, "link", "add", "link", device, "name", "vlan7", "type", "vlan", "id", "7")
        sh("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "vlan7")
        sh("ip", "-n", name, "link", "set", "vlan7", "up")
    with agent("auto", tmp_path) as running:
        until(lambda: running.attached("vlan7"), "vlan7 is captured")
        ping("ka", "10.51.0.2")
        below = until(lambda: running.flows("vb", "ICMPv4"), "the tagged ping")[0]
        above = until(lambda: running.flows("vlan7", "ICMPv4"), "the untagged ping")[0]

    assert (below["Link"]["ID"], below["LayersPath"]) == (7, "Ethernet/Dot1Q/IPv4/ICMPv4")
    assert (above["Link"]["ID"], above["LayersPath"]) == (0, "Ethernet/IPv4/ICMPv4")
    assert below["TrackingID"] == above["TrackingID"]
    assert below["Metric"]["ABBytes"] == 3 * (14 + 4 + 84)


TUNNELS = {
    "gre": (["type", "gre", "local", "{a}", "remote", "{b}", "key", "7"], "GRE", 7),
    "gretap": (["type", "gretap", "local", "{a}", "remote", "{b}"], "GRE", 0),
    # its key is the session of ERSPAN's own header: GRE's has none
    "erspan": (["type", "erspan", "local", "{a}", "remote", "{b}", "key", "9", "seq", "erspan", "1"], "ERSPANII", 0),
    "ipip": (["type", "ipip", "local", "{a}", "remote", "{b}"], "IPv4", 0),
    "geneve": (["type", "geneve", "id", "11", "remote", "{b}"], "Geneve", 11),
    "vxlan": (["type", "vxlan", "id", "13", "remote", "{b}", "dstport", "4789"], "VXLAN", 13),
}


def _tunnel(kind: str, state_dir: Path) -> None:
    options, layer, number = TUNNELS[kind]
    for name, a, b, inner in (("ka", A, B, "10.52.0.1"), ("kb", B, A, "10.52.0.2")):
        words = [option.format(a=a, b=b) for option in options]
        sh("ip", "-n", name, "link", "add", "tun7", *words)
        sh("ip", "-n", name, "addr", "add", f"{inner}/24", "dev", "tun7")
        sh("ip", "-n", name, "link", "set", "tun7", "up")
    with agent("auto", state_dir) as running:
        until(lambda: running.attached("tun7"), "the tunnel is captured")
        ping("ka", "10.52.0.2")
        inside = until(
            lambda: [f for f in running.flows("va", "ICMPv4") if f["Network"]["A"].startswith("10.52.")], "the inner flow"
        )[0]
        above = until(lambda: running.flows("tun7", "ICMPv4"), "the flow on the tunnel device")[0]
        every = running.get("/api/v1/flows")
    outer = next(flow for flow in every if flow["UUID"] == inside["ParentUUID"])

    assert inside["TrackingID"] == above["TrackingID"]
    assert inside["CommunityID"] == echo_community_id("10.52.0.1", "10.52.0.2")
    assert outer["LayersPath"].rsplit("/", 1)[-1] == layer
    assert {outer["Network"]["A"], outer["Network"]["B"]} == {A, B}
    assert outer["Network"]["ID"] == number
    assert (above["Metric"]["ABPackets"], inside["Metric"]["ABPackets"]) == (3, 3)


def test_short_gre_is_an_outer_and_an_inner_flow(hosts: tuple[str, str], tmp_path: Path) -> None:
    _tunnel("gre", tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in TUNNELS if kind != "gre"])
def test_long_tunnel_is_an_outer_and_an_inner_flow(kind: str, hosts: tuple[str, str], tmp_path: Path) -> None:
    _tunnel(kind, tmp_path)


@pytest.mark.parametrize(
    ("words", "inner", "layers"),
    [
        ((f"type sit local {A} remote {B}", f"type sit local {B} remote {A}"), "IPv6", "Ethernet/IPv4"),
        (
            ("type ip6tnl mode ipip6 local fd50::1 remote fd50::2", "type ip6tnl mode ipip6 local fd50::2 remote fd50::1"),
            "IPv4",
            "Ethernet/IPv6/IPv6Destination",  # with its encapsulation limit, RFC 2473 §4.1.1
        ),
        (
            ("type ip6gre local fd50::1 remote fd50::2", "type ip6gre local fd50::2 remote fd50::1"),
            "IPv4",
            "Ethernet/IPv6/IPv6Destination/GRE",
        ),
    ],
    ids=["sit", "ip6tnl", "ip6gre"],
)
def test_long_tunnel_of_the_other_ip_version(
    words: tuple[str, str], inner: str, layers: str, hosts: tuple[str, str], tmp_path: Path
) -> None:
    addresses = ("fd52::1", "fd52::2") if inner == "IPv6" else ("10.52.0.1", "10.52.0.2")
    length = 64 if inner == "IPv6" else 24
    for number, (name, device) in enumerate((("ka", "va"), ("kb", "vb"))):
        sh("ip", "-n", name, "addr", "add", f"fd50::{number + 1}/64", "dev", device, "nodad")
        sh("ip", "-n", name, "link", "add", "tun7", *words[number].split())
        sh("ip", "-n", name, "addr", "add", f"{addresses[number]}/{length}", "dev", "tun7", *(["nodad"] * (inner == "IPv6")))
        sh("ip", "-n", name, "link", "set", "tun7", "up")
    path = "ICMPv6Echo" if inner == "IPv6" else "ICMPv4"

    def echoes(running: Agent, interface: str) -> list[Flow]:
        return [
            flow
            for flow in running.flows(interface, path)
            if flow["Network"]["A"] == addresses[0] and flow["ICMP"]["Type"] == "ECHO"
        ]

    with agent("auto", tmp_path) as running:
        until(lambda: running.attached("tun7"), "the tunnel is captured")
        ping("ka", addresses[1])
        inside = until(lambda: echoes(running, "va"), "the inner flow")[0]
        above = until(lambda: echoes(running, "tun7"), "the flow on the tunnel device")[0]
        every = running.get("/api/v1/flows")
    outer = next(flow for flow in every if flow["UUID"] == inside["ParentUUID"])

    assert inside["TrackingID"] == above["TrackingID"]
    assert outer["LayersPath"] == layers
    assert (above["Metric"]["ABPackets"], inside["Metric"]["ABPackets"]) == (3, 3)


def test_long_two_vlan_tags_are_in_the_flow(hosts: tuple[str, str], tmp_path: Path) -> None:
    for name, device, address in (("ka", "va", "10.53.0.1"), ("kb", "vb", "10.53.0.2")):
        sh("ip", "-n", name, "link", "add", "link", device, "name", "s20", "type", "vlan", "proto", "802.1ad", "id", "20")
        sh("ip", "-n", name, "link", "add", "link", "s20", "name", "c10", "type", "vlan", "id", "10")
        sh("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "c10")
        for link in ("s20", "c10"):
            sh("ip", "-n", name, "link", "set", link, "up")
    with agent("auto", tmp_path) as running:
        until(lambda: running.attached("c10"), "c10 is captured")
        ping("ka", "10.53.0.2")
        ids = {}
        for interface in ("va", "vb", "s20", "c10"):
            flow = until(lambda at=interface: running.flows(at, "ICMPv4"), f"the ping on {interface}")[0]
            ids[interface] = flow["Link"]["ID"]
            assert (flow["Metric"]["ABPackets"], flow["Metric"]["BAPackets"]) == (3, 3)

    assert ids == {"va": 20 | 10 << 12, "vb": 20 | 10 << 12, "s20": 10, "c10": 0}


def test_long_bond_and_its_members_each_count(hosts: tuple[str, str], tmp_path: Path) -> None:
    sh("ip", "link", "add", "va2", "netns", "ka", "type", "veth", "peer", "name", "vb2", "netns", "kb")
    for name, members, address in (("ka", ("va", "va2"), "10.54.0.1"), ("kb", ("vb", "vb2"), "10.54.0.2")):
        sh("ip", "-n", name, "link", "add", "bond7", "type", "bond", "mode", "balance-rr", "miimon", "50")
        for member in members:
            sh("ip", "-n", name, "addr", "flush", "dev", member)
            sh("ip", "-n", name, "link", "set", member, "down")
            sh("ip", "-n", name, "link", "set", member, "master", "bond7")
            sh("ip", "-n", name, "link", "set", member, "up")
        sh("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "bond7")
        sh("ip", "-n", name, "link", "set", "bond7", "up")
    with agent("auto", tmp_path) as running:
        until(lambda: running.attached("bond7"), "bond7 is captured")
        ping("ka", "10.54.0.2")
        whole = until(lambda: running.flows("bond7", "ICMPv4"), "the ping on the bond")
        parts = [flow for member in ("va", "va2") for flow in running.flows(member, "ICMPv4")]

    assert {flow["TrackingID"] for flow in (*whole, *parts)} == {whole[0]["TrackingID"]}
    for flow in whole:  # one at each end
        assert (flow["Metric"]["ABPackets"], flow["Metric"]["BAPackets"]) == (3, 3)
    # the round-robin of the two ends decides which member sees a reply first, and so which end is its A
    requests = [flow["Metric"]["ABPackets" if flow["Network"]["A"] == "10.54.0.1" else "BAPackets"] for flow in parts]
    assert (len(parts), sum(requests)) == (2, 3)


@pytest.mark.parametrize(
    ("kind", "device", "layer"),
    [("geneve", "genev_sys_6081", "Geneve"), ("gre", "gre_sys", "GRE"), ("vxlan", "vxlan_sys_4789", "VXLAN")],
)
def test_long_open_vswitch_in_the_kernel(
    kind: str, device: str, layer: str, hosts: tuple[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    sh("modprobe", f"vport-{kind}")
    # ovs-vswitchd 3.1 counts the CPUs 10 s after boot; started before, it has no thread that handles the first packets
    until(lambda: float(Path("/proc/uptime").read_text().split()[0]) > 11, "the machine is up for 11 s")
    net = Net()
    request.addfinalizer(net.close)
    for number, (host, remote) in enumerate(zip(hosts, (B, A), strict=True), 1):
        tenant, port = net.netns(f"t{number}"), f"port{number}"
        switch = Switch(net, host, Path("/run") / f"{net.prefix}{number}")
        switch.vsctl("add-br br-int -- add-port br-int tun0 -- set interface tun0", f"type={kind}")
        switch.vsctl(f"set interface tun0 options:remote_ip={remote} options:key=7")
        assert switch.vsctl("get bridge br-int datapath_type").strip() in ('""', "system")
        net.ip(f"link add eth0 netns {tenant} type veth peer name {port} netns {host}")
        net.ip(f"address add 10.55.0.{number}/24 dev eth0", netns=tenant)
        net.ip("link set eth0 mtu 1400 up", netns=tenant)
        net.ip(f"link set {port} up", netns=host)
        switch.vsctl(f"add-port br-int {port}")
    with agent("auto", tmp_path) as running:
        for interface in (device, "eth0"):
            until(lambda name=interface: running.points(name) == 2, f"{interface} is captured on both hosts")
        net.ping(net.name("t1"), "10.55.0.2")
        places = ("eth0", "port1", device, "va", "vb", "port2")
        seen = {at: until(lambda at=at: running.flows(at, "ICMPv4"), f"the ping on {at}") for at in places}
        every = running.get("/api/v1/flows")

    flows = [flow for found in seen.values() for flow in found]
    assert {flow["TrackingID"] for flow in flows} == {flows[0]["TrackingID"]}
    assert {flow["CommunityID"] for flow in flows} == {echo_community_id("10.55.0.1", "10.55.0.2")}
    assert {(flow["Metric"]["ABPackets"], flow["Metric"]["BAPackets"]) for flow in flows} == {(3, 3)}
    assert len(seen["eth0"]) == len(seen[device]) == 2  # one on each host
    for inner in (*seen["va"], *seen["vb"]):
        outer = next(flow for flow in every if flow["UUID"] == inner["ParentUUID"])
        assert outer["LayersPath"].rsplit("/", 1)[-1] == layer
        assert ({outer["Network"]["A"], outer["Network"]["B"]}, outer["Network"]["ID"]) == ({A, B}, 7)


def test_short_nothing_is_left_by_a_killed_agent(hosts: tuple[str, str], tmp_path: Path) -> None:
    with agent("tc", tmp_path) as running:
        until(lambda: running.attached("va"), "va is captured")
        assert "skytrail_flows" in sh("ip", "netns", "exec", "ka", "tc", "filter", "show", "dev", "va", "ingress")
        running.process.kill()
        until(
            lambda: "clsact" not in sh("ip", "netns", "exec", "ka", "tc", "qdisc", "show", "dev", "va"),
            "the guard cleans up",
            30,
        )


def test_long_fragments_are_on_their_first_ones_flow(hosts: tuple[str, str], tmp_path: Path) -> None:
    with agent("auto", tmp_path) as running:
        until(lambda: running.attached("va"), "va is captured")
        ping("ka", B, "-s", "4000")
        flow = until(lambda: running.flows("vb", "ICMPv4"), "the ping")[0]

    assert (flow["Metric"]["ABPackets"], flow["Metric"]["BAPackets"]) == (9, 9)
    assert flow["IPMetric"]["Fragments"] == 18
