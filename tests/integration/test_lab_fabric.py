"""The fabric: one tracking ID at every hop that the plan names, and every kind of fault, found by ordinary tools."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.breaking import check_fault
from support.labs import ask_agent, laboratory
from support.netlab import until

from skytrail.lab.breaks.kinds import KINDS
from skytrail.lab.places import run
from skytrail.lab.plan import Place, Plan
from skytrail.lab.state import Lab

pytestmark = pytest.mark.timeout(240)

Built = tuple[Lab, Plan]
_SEEDS = (2, 5, 11)


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
                if flow["Network"]["A"] == there.source.address[4]:
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
def test_a_fault_and_its_mending(fabric: Built, kind: str, seed: int) -> None:
    assert check_fault(*fabric, kind, seed).fault.kind == kind
