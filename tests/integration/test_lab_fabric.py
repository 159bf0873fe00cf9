"""The fabric: one tracking ID at every hop that the plan names, and every kind of fault, found by ordinary tools."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from support.breaking import check_fault, works
from support.labs import ask_agent, laboratory
from support.netlab import until
from support.tracing import trace_of, traced

from skytrail.lab.breaks.fault import FAMILIES, Exchange, Proto
from skytrail.lab.breaks.kinds import KINDS
from skytrail.lab.places import run
from skytrail.lab.plan import Place, Plan
from skytrail.lab.state import Lab

pytestmark = pytest.mark.timeout(240)

Built = tuple[Lab, Plan]
_SEEDS = (5,)  # all twenty: tests/bench/traces.py


@pytest.fixture(scope="module")
def fabric() -> Iterator[Built]:
    with laboratory("fabric") as built:
        yield built


@pytest.mark.parametrize(("source", "destination"), [("red1", "red3"), ("blue3", "blue2")])
def test_one_tracking_id_at_every_hop(fabric: Built, source: str, destination: str) -> None:
    lab, plan = fabric
    there, back = plan.way(source, destination), plan.way(destination, source)
    address = there.destination.address[4]
    status, said = run(lab, there.source.place, ["ping", "-n", "-c", "3", "-i", "0.1", "-e", "4321", address])
    assert status == 0, said
    hops = [hop for way in (there, back) for hop in way.hops]
    wanted = {(hop.place, name) for hop in hops for name in (hop.into, hop.out) if name}

    def seen() -> dict[tuple[str, str, str], str]:
        found = {}
        for node in {place.node for place, _ in wanted}:
            for flow in ask_agent(lab, node, f"/api/v1/flows?filter=icmp+and+host+{address}&limit=10000"):
                if there.source.address[4] in (flow["Network"]["A"], flow["Network"]["B"]):  # A: who was seen first here
                    found[node, flow["Namespace"], flow["Interface"]] = flow["TrackingID"]
        return found

    until(lambda: {(place.node, place.netns, name) for place, name in wanted} <= seen().keys(), 20)
    assert len(set(seen().values())) == 1


def test_drops_in_a_tunnel_are_told_of_by_the_host_alone_where_they_are(fabric: Built) -> None:
    lab, plan = fabric
    spine = Place("spine")
    rule = (
        "add table inet t; add chain inet t c { type filter hook forward priority 0; }; add rule inet t c udp dport 4789 drop"
    )
    place = plan.workload("red1").place
    run(lab, place, ["ping", "-c1", "-W2", "172.16.10.3"])
    assert run(lab, spine, ["nft", rule]) == (0, "")
    try:
        assert run(lab, place, ["ping", "-c3", "-i0.1", "-W1", "172.16.10.3"])[0] == 1
        path = "/api/v1/flows?filter=udp+port+4789&limit=10000"

        def dropped(node: str) -> list[str]:
            return [at["Reason"] for flow in ask_agent(lab, node, path) for at in flow.get("DropsAt", [])]

        until(lambda: "NETFILTER_DROP" in dropped("spine"), 20)
        assert "NETFILTER_DROP" not in dropped("leaf1") + dropped("h3")
    finally:
        run(lab, spine, ["nft", "delete table inet t"])


@pytest.mark.parametrize("seed", _SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_traced_and_mended(fabric: Built, kind: str, seed: int) -> None:
    assert check_fault(*fabric, kind, seed, lambda fault: traced(*fabric, fault)).fault.kind == kind


@pytest.mark.parametrize(
    ("source", "destination", "proto"),
    [("red1", "red3", "tcp"), ("blue3", "blue2", "udp"), ("red2", "outside", "tcp"), ("blue1", "blue3", "icmp")],
)
def test_a_healthy_exchange_is_followed_through_every_node_in_order(
    fabric: Built, source: str, destination: str, proto: Proto
) -> None:
    lab, plan = fabric
    for family in FAMILIES:
        exchange = Exchange(source, destination, proto, family)
        until(lambda exchange=exchange: works(lab, plan, exchange, None), 20)
        trace = trace_of(lab, plan, exchange)
        verdict = trace["Verdict"]
        assert verdict["Kind"] == "well", verdict
        for name, way in (("Forth", plan.way(source, destination)), ("Back", plan.way(destination, source))):
            nodes = dict.fromkeys(hop.place.node for hop in way.hops if plan.node(hop.place.node).agent)
            points = trace[name]["Points"]
            assert list(dict.fromkeys(point["Host"] for point in points)) == list(nodes)
            assert len({point["Packets"] for point in points}) == 1
        interfaces = {(point["Host"], point["Namespace"], point["Interface"]) for point in trace["Forth"]["Points"]}
        hops = plan.way(source, destination).hops
        named = {(hop.place.node, hop.place.netns, one) for hop in hops for one in (hop.into, hop.out) if one}
        assert {one for one in named if plan.node(one[0]).agent} <= interfaces


def test_a_trace_of_the_past_and_on_the_terminal(fabric: Built) -> None:
    lab, plan = fabric
    exchange = Exchange("red1", "red3", "tcp", 4)
    until(lambda: works(lab, plan, exchange, None), 20)
    trace = trace_of(lab, plan, exchange)
    command = [sys.executable, "-m", "skytrail", "trace", "--hub", lab.hub, trace["TrackingID"]]

    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert f"TCP {trace['Source']} → {trace['Destination']}" in said
    assert "✓ every packet arrived, both ways" in said
    assert "┌ VXLAN 10  10.1.1.2 → 10.2.1.2" in said
    assert "\x1b" not in said
    time.sleep(1)
    then = f"{(trace['Last'] + 500) / 1000:.3f}"
    told = subprocess.run([*command, "--at", then, "--json"], capture_output=True, text=True, check=True).stdout
    past = json.loads(told)
    assert [one["TID"] for one in past["Forth"]["Points"]] == [one["TID"] for one in trace["Forth"]["Points"]]
    assert past["Verdict"]["Kind"] == "well"


def test_what_cannot_be_traced_is_said(fabric: Built) -> None:
    lab, _ = fabric
    for words, status, told in (
        (["f" * 32], 4, "? no agent has seen such a conversation"),
        (["prot", "tcp"], 2, "'prot' is not known (did you mean 'proto'?)"),
        (["--last", "1y", "tcp"], 2, "duration: "),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "skytrail", "trace", "--hub", lab.hub, *words], capture_output=True, text=True
        )
        assert (done.returncode, told in done.stdout + done.stderr) == (status, True), done


class Broken(NamedTuple):
    """What is broken by hand, how it is mended, what is asked then, and what its trace must say.

    Attributes:
        place: of the commands.
        line: that breaks.
        mend: that mends; empty: it ends by itself.
        ask: a command of red1.
        filter: of the trace.
        verdict: kind, reason, host, namespace.
        words: a part of its text.
    """

    place: Place
    line: str
    mend: str
    verdict: tuple[str, str, str, str]
    words: str = ""
    ask: str = "curl -4 -s -m 2 -o /dev/null http://red3/"
    filter: str = "host 172.16.10.1 and host 172.16.10.3 and tcp port 80"


_RED1, _RED3, _H1, _H3, _SPINE = Place("h1", "red1"), Place("h3", "red3"), Place("h1"), Place("h3"), Place("spine")
_STALLED = "import socket, time; s = socket.create_server(('', {port})); c = s.accept()[0]; time.sleep(9)"
_DEAF = (
    "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
    "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2000); s.bind(('', {port})); time.sleep(9)"
)
_POUR = "import socket; s = socket.create_connection(('172.16.10.3', {port})); s.settimeout(2); s.sendall(bytes(20_000_000))"
_SPRAY = (
    "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); [s.sendto(bytes(900), ('172.16.10.3', {port}))"
    " for _ in range(30)]"
)


def _python(program: str, port: int, *, behind: bool = False) -> str:
    text = f'{sys.executable} -I -c "{program.format(port=port)}"'
    return f"({text} >/dev/null 2>&1 &) ; sleep 1" if behind else f"{text} 2>/dev/null"


BY_HAND = {
    "a neighbour entry with nobody's MAC": Broken(
        _RED1,
        "ip neigh replace 172.16.10.3 lladdr 02:de:ad:00:00:01 dev eth0 nud permanent",
        "ip neigh del 172.16.10.3 dev eth0; ping -c1 -W2 172.16.10.3",
        ("lost", "WRONG_MAC", "h1", "red1"),
        "is sent to 02:de:ad:00:00:01, which no interface of the graph has; eth0 in red3 on h3 has 172.16.10.3",
    ),
    "a tunnel's sender that drops": Broken(
        _H1,
        "nft 'add table inet t; add chain inet t c { type filter hook output priority 0; };"
        " add rule inet t c udp dport 4789 drop'",
        "nft delete table inet t",
        ("lost", "NETFILTER_DROP", "h1", ""),
    ),
    "forwarding off": Broken(
        _SPINE,
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv4.ip_forward=1",
        ("lost", "NO_WAY", "spine", ""),
        "IPv4 forwarding is off",
    ),
    "isolated ports": Broken(
        _H1,
        "bridge link set dev p10 isolated on; bridge link set dev vxlan10 isolated on",
        "bridge link set dev p10 isolated off; bridge link set dev vxlan10 isolated off",
        ("lost", "NO_WAY", "h1", ""),
        "both bridge ports are isolated",
    ),
    "a port that is down": Broken(
        _H3, "ip link set red3 down", "ip link set red3 up", ("lost", "NO_WAY", "h3", ""), "red3: is down"
    ),
    "a loop": Broken(
        _SPINE,
        "ip route replace 10.2.0.0/16 via 10.9.11.2",
        "ip route replace 10.2.0.0/16 via 10.9.22.2",
        ("lost", "NO_WAY", "spine", ""),
        "goes round in a loop",
    ),
    "an address that nobody has": Broken(
        _RED1,
        "true",
        "",
        ("lost", "NO_NEIGHBOUR", "h1", "red1"),
        "no interface of the graph has 172.16.10.99",
        "ping -c 4 -W 1 172.16.10.99",
        "host 172.16.10.99",
    ),
    "a listener on loopback": Broken(
        _RED3,
        f"(timeout 9 {sys.executable} -m http.server --bind 127.0.0.1 8099 >/dev/null 2>&1 &) ; sleep 1",
        "",
        ("refused", "NO_SOCKET", "h3", "red3"),
        "listens on 127.0.0.1:8099 only",
        "curl -4 -s -m 2 http://red3:8099/",
        "tcp port 8099",
    ),
    "a program that does not read datagrams": Broken(
        _RED3,
        _python(_DEAF, 7701, behind=True),
        "",
        ("lost", "SOCKET_RCVBUFF", "h3", "red3"),
        ask=_python(_SPRAY, 7701),
        filter="udp port 7701",
    ),
    "a program that does not read": Broken(
        _RED3,
        _python(_STALLED, 7702, behind=True),
        "",
        ("well", "ZERO_WINDOW", "h3", "red3"),
        "its program reads too slowly",
        _python(_POUR, 7702),
        "tcp port 7702",
    ),
}
_STATUSES = {"well": 0, "lost": 3, "refused": 3}


@pytest.mark.parametrize("what", BY_HAND)
def test_what_is_broken_by_hand_is_told(fabric: Built, what: str) -> None:
    lab, plan = fabric
    broken = BY_HAND[what]
    until(lambda: works(lab, plan, Exchange("red1", "red3", "tcp", 4), None), 20)
    assert run(lab, broken.place, ["sh", "-c", broken.line]) == (0, "")

    def told() -> subprocess.CompletedProcess[str]:
        run(lab, _RED1, ["sh", "-c", broken.ask])
        command = [sys.executable, "-m", "skytrail", "trace", "--hub", lab.hub, "--json", "--last", "10s", broken.filter]
        done = subprocess.run(command, capture_output=True, text=True)
        verdict = json.loads(done.stdout)["Verdict"]
        place = verdict["Host"], verdict["Namespace"] or ""
        assert (verdict["Kind"], verdict["Reason"], *place) == broken.verdict, verdict
        assert broken.words in verdict["Text"]
        return done

    try:
        assert until(told, 30).returncode == _STATUSES[broken.verdict[0]]
    finally:
        if broken.mend:
            assert run(lab, broken.place, ["sh", "-c", broken.mend])[0] == 0


def test_exit_statuses_of_paths(fabric: Built) -> None:
    lab, _ = fabric
    command = [sys.executable, "-m", "skytrail", "path", "--hub", lab.hub]
    for words, status in ((["red1", "red3"], 0), (["red1", "203.0.113.2"], 4), (["red1", "nobody"], 2)):
        assert subprocess.run([*command, *words], capture_output=True, text=True).returncode == status, words
    assert run(lab, _SPINE, ["ip", "route", "add", "blackhole", "10.2.1.2/32"]) == (0, "")
    try:
        until(lambda: subprocess.run([*command, "red1", "red3"], capture_output=True).returncode == 3, 10)
    finally:
        run(lab, _SPINE, ["ip", "route", "del", "blackhole", "10.2.1.2/32"])
