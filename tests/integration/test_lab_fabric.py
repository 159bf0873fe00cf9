"""The fabric: one tracking ID at every hop that the plan names, and every kind of fault, found by ordinary tools."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

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
        (["f" * 32], 0, "? no agent has seen such a conversation"),
        (["prot", "tcp"], 2, "'prot' is not known (did you mean 'proto'?)"),
        (["--last", "1y", "tcp"], 2, "duration: "),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "skytrail", "trace", "--hub", lab.hub, *words], capture_output=True, text=True
        )
        assert (done.returncode, told in done.stdout + done.stderr) == (status, True), done
