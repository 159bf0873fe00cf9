"""Rules that drop: all packets of an exchange in one direction, or some of them."""

from __future__ import annotations

from collections.abc import Iterator

from skytrail.lab.breaks.fault import Direction, Fault, Leg, legs
from skytrail.lab.plan import Acts, Command, Plan

_HOOKS = {
    "input": "inet {table}; add chain inet {table} check {{ type filter hook input priority 0; }}; add rule inet {table} check",
    "output": "inet {table}; add chain inet {table} check {{ type filter hook output priority 0; }}; add rule inet {table} check",
    "forward": "inet {table}; add chain inet {table} check {{ type filter hook forward priority 0; }}; add rule inet {table} check",
    "prerouting": "inet {table}; add chain inet {table} check {{ type filter hook prerouting priority -300; }}; "
    "add rule inet {table} check",
    "bridge": "bridge {table}; add chain bridge {table} check {{ type filter hook forward priority 0; }}; "
    "add rule bridge {table} check",
    "ingress": "netdev {table}; add chain netdev {table} check {{ type filter hook ingress device {device} priority 0; }}; "
    "add rule netdev {table} check",
}
_FAMILY_OF = {"bridge": "bridge", "ingress": "netdev"}
_TABLES = ("filter", "site", "hardening")
_SHARES = (30, 60)  # %


def drop_rules(plan: Plan) -> Iterator[Fault]:
    """A rule that drops what an exchange says in one direction; inside a tunnel, all that its endpoints say so."""
    for leg in legs(plan):
        for hook in _hooks(leg):
            for table in _TABLES:
                yield _rule("drop-rule", leg, hook, table, "", "")


def losses(plan: Plan) -> Iterator[Fault]:
    """One-way loss: some packets by chance, or all by a queue that takes none."""
    for leg in legs(plan):
        for hook in _hooks(leg):
            for share in _SHARES:
                yield _rule("one-way-loss", leg, hook, "shaping", f"numgen random mod 100 < {share}", f"{share} % of ")
        if leg.hop.out and leg.hop.acts in (Acts.END, Acts.ROUTE, Acts.TUNNEL) and not leg.hop.out.startswith(("br", "vxlan")):
            device, place = leg.hop.out, leg.hop.place
            yield Fault(
                "one-way-loss",
                place,
                device,
                leg.direction,
                leg.exchange,
                "dead",
                f"the queue of {device} takes no packet",
                (Command(place, f"tc qdisc replace dev {device} root blackhole"),),
                (Command(place, f"tc qdisc del dev {device} root"),),
            )


def _hooks(leg: Leg) -> tuple[str, ...]:
    """Where a packet can be dropped on this hop, knowing it by the addresses of the exchange."""
    hop = leg.hop
    if hop.acts is Acts.END:
        return ("input",) if hop.into else ("output",)
    if hop.acts is Acts.BRIDGE:
        # what a router behind the bridge takes, the bridge does not forward; Open vSwitch sees packets before this hook does
        return ("ingress",) if "br0" in (hop.into, hop.out) else ("bridge", "ingress")
    if hop.acts is Acts.TUNNEL:
        return ("input", "prerouting", "ingress") if hop.into == "eth0" else ("output",)
    if hop.acts is Acts.ROUTE and leg.way.translated and not hop.outer:
        return ("forward",)  # the one place where addresses are those of the exchange
    return ("forward", "prerouting", "ingress") if hop.acts is Acts.ROUTE else ()


def _rule(kind: str, leg: Leg, hook: str, table: str, share: str, part: str) -> Fault:
    hop, family = leg.hop, _FAMILY_OF.get(hook, "inet")
    head = _HOOKS[hook].format(table=table, device=hop.into)
    place = hop.place
    device = hop.into if hook == "ingress" else ""
    return Fault(
        kind,
        place,
        device,
        leg.direction,
        leg.exchange,
        "lossy" if share else "dead",
        f"a rule of nftables ({family} {hook}) drops {part}packets {'of the tunnel ' if hop.outer else ''}"
        f"from {' to '.join(leg.addresses)}",
        (Command(place, f"nft '{f'add table {head} {selector(leg)} {share}'.strip()} counter drop'"),),
        (Command(place, f"nft delete table {family} {table}"),),
    )


def selector(leg: Leg) -> str:
    """What of nftables matches the packets of a leg."""
    source, destination = leg.addresses
    layer = "ip" if leg.family == 4 else "ip6"
    words = f"{layer} saddr {source} {layer} daddr {destination}"
    if leg.hop.outer and leg.way.tunnel:
        return f"{words} udp dport {leg.way.tunnel.port}"
    if leg.exchange.proto == "icmp":
        kind: Direction = leg.direction
        return f"{words} icmp{'v6' if leg.family == 6 else ''} type echo-{'request' if kind == 'there' else 'reply'}"
    return f"{words} {leg.exchange.proto} {'dport' if leg.direction == 'there' else 'sport'} {leg.exchange.port}"
