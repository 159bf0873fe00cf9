"""Routes that are missing or wrong, cables that are too narrow, filters of reverse paths."""

from __future__ import annotations

from collections.abc import Iterator

from skytrail.lab.breaks.fault import Direction, Fault, Leg, legs
from skytrail.lab.plan import Acts, Command, Plan

_REFUSALS = {
    "blackhole": "takes packets and drops them",
    "unreachable": "says that it cannot be reached",
    "prohibit": "says that it must not be reached",
}
_NARROW = 1400


def no_routes(plan: Plan) -> Iterator[Fault]:
    """No route to where packets go: it is gone, or one that refuses is in front of it."""
    for leg in legs(plan):
        if not _routes(leg):
            continue
        place, destination = leg.hop.place, leg.addresses[1]
        ip, length = ("ip", 32) if leg.family == 4 else ("ip -6", 128)
        for refusal, what in _REFUSALS.items():
            line = f"{refusal} {destination}/{length}"
            yield _routed(leg, f"the route to {destination} {what}", f"{ip} route add {line}", f"{ip} route del {line}")
        for route in (route for route in plan.routes.get(place, ()) if route.leads_to(destination)):
            yield _routed(
                leg, f"the route {route.line} is missing", f"{ip} route del {route.line}", f"{ip} route add {route.line}"
            )


def _routes(leg: Leg) -> bool:
    """Whether packets are routed here; not by who asks: it would send none."""
    hop = leg.hop
    if hop.acts is Acts.END:
        return not hop.into and leg.direction == "back"
    return hop.acts is Acts.ROUTE or (hop.acts is Acts.TUNNEL and hop.out == "eth0")


def _routed(leg: Leg, why: str, do: str, undo: str) -> Fault:
    place = leg.hop.place
    commands = (Command(place, do),), (Command(place, undo),)
    return Fault("no-route", place, "", leg.direction, leg.exchange, "dead", why, *commands)


def narrow_cables(plan: Plan) -> Iterator[Fault]:
    """An interface takes, or a bridge forwards, less than what is sent: nobody is told."""
    for leg in legs(plan):
        device = _narrowed(plan, leg)
        if not device:
            continue
        place, is_port = leg.hop.place, leg.hop.acts is Acts.BRIDGE
        cable = next((cable for cable in plan.cables if (place.node, device) in (cable.left, cable.right)), None)
        way: Direction = leg.direction
        why = f"{device} takes {_NARROW} bytes at most, though the other end of the cable sends more"
        if is_port:
            why = f"the bridge forwards {_NARROW} bytes at most to {device}"
            way = way if device.startswith("vxlan") else "both"  # nor does a veth port take more from its other end
        yield Fault(
            "mtu",
            place,
            device,
            way,
            leg.exchange,
            "large",
            why,
            (Command(place, f"ip link set dev {device} mtu {_NARROW}"),),
            (Command(place, f"ip link set dev {device} mtu {cable.mtu if cable else 1500}"),),
        )


def _narrowed(plan: Plan, leg: Leg) -> str:
    """The interface that takes too little here; empty: none, or one whose narrowness would be told to who sends."""
    hop, tcp = leg.hop, leg.exchange.proto == "tcp"
    if tcp and leg.direction == "there":
        return ""  # what asks for much is small
    if hop.acts is Acts.BRIDGE:
        return "" if hop.out.startswith("br") else hop.out
    if hop.acts not in (Acts.ROUTE, Acts.TUNNEL) or hop.into.startswith(("br", "vxlan")):
        return ""
    if hop.outer:  # what leaves by it, the other way, is fragmented by IPv4 alone
        return hop.into if leg.family == 4 or (hop.place, hop.into) in plan.one_way else ""
    return hop.into if tcp or leg.direction == "there" else ""


def reverse_paths(plan: Plan) -> Iterator[Fault]:
    """A strict filter of reverse paths, where the way back is another one."""
    for leg in legs(plan):
        hop = leg.hop
        if leg.family != 4 or (hop.place, hop.into) not in plan.one_way:
            continue
        key = f"net.ipv4.conf.{hop.into}.rp_filter"
        yield Fault(
            "rp-filter",
            hop.place,
            hop.into,
            leg.direction,
            leg.exchange,
            "dead",
            f"rp_filter on {hop.into}: the way back to {leg.addresses[0]} is by another interface",
            (Command(hop.place, f"sysctl -qw {key}=1"),),
            (Command(hop.place, f"sysctl -qw {key}=0"),),
        )
