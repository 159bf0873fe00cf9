"""Workloads in the wrong segment: by the VLAN of a port, by the VNI of a tunnel."""

from __future__ import annotations

from collections.abc import Iterator

from skytrail.lab.breaks.fault import Fault, legs
from skytrail.lab.fabric import tunnel
from skytrail.lab.plan import Acts, Command, Plan

_NOBODYS_VLAN = 99
_NOBODYS_VNI = (11, 4010)


def wrong_vlans(plan: Plan) -> Iterator[Fault]:
    """A port of a switch has the tag of another segment, or of none."""
    for leg in legs(plan):
        if leg.hop.acts is not Acts.SWITCH or not leg.way.tunnel:
            continue
        right = leg.way.tunnel.vni
        others = [segment.vni for segment in plan.segments if segment.vni != right]
        for port in (leg.hop.into, leg.hop.out):
            for wrong in (*others, _NOBODYS_VLAN):
                yield Fault(
                    "wrong-vlan",
                    leg.hop.place,
                    port,
                    "both",
                    leg.exchange,
                    "dead",
                    f"port {port} of br-int has VLAN {wrong}, not {right}",
                    (Command(leg.hop.place, f"ovs-vsctl set port {port} tag={wrong}"),),
                    (Command(leg.hop.place, f"ovs-vsctl set port {port} tag={right}"),),
                )


def wrong_vnis(plan: Plan) -> Iterator[Fault]:
    """A tunnel was made with another network's number."""
    for leg in legs(plan):
        if leg.hop.acts is not Acts.TUNNEL or not leg.way.tunnel:
            continue
        place, right = leg.hop.place, leg.way.tunnel.vni
        segment = next(segment.name for segment in plan.segments if segment.vni == right)
        remove = Command(place, f"ip link del vxlan{right}")
        for wrong in _NOBODYS_VNI:
            yield Fault(
                "wrong-vni",
                place,
                f"vxlan{right}",
                "both",
                leg.exchange,
                "dead",
                f"vxlan{right} has VNI {wrong}, not {right}",
                (remove, *(Command(place, line) for line in tunnel(place.node, segment, wrong))),
                (remove, *(Command(place, line) for line in tunnel(place.node, segment, right))),
            )
