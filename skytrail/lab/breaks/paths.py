"""Routes that are missing or wrong, cables that are too narrow, filters of reverse paths."""

from __future__ import annotations

from collections.abc import Iterator

from skytrail.lab.breaks.fault import Fault, Leg, legs
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
        if leg.exchange.proto == "tcp" and leg.direction == "there":
            continue  # what is asked for is small
        hop, place = leg.hop, leg.hop.place
        device = ""
        if hop.acts is Acts.BRIDGE and not hop.out.startswith("br"):
            device, why = hop.out, "the bridge does not forward more than {mtu} bytes to {device}"
        elif hop.acts in (Acts.ROUTE, Acts.TUNNEL) and hop.into and not hop.into.startswith(("br", "vxlan")):
            device, why = hop.into, "{device} does not take more than {mtu} bytes, though the other end of the cable sends more"
        if device:
            was = next((cable.mtu for cable in plan.cables if (place.node, device) in (cable.left, cable.right)), 1500)
            yield Fault(
                "mtu",
                place,
                device,
                leg.direction,
                leg.exchange,
                "large",
                why.format(mtu=_NARROW, device=device),
                (Command(place, f"ip link set dev {device} mtu {_NARROW}"),),
                (Command(place, f"ip link set dev {device} mtu {was}"),),
            )


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
