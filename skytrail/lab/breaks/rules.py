"""Rules that drop: all packets of an exchange in one direction, or some of them."""

from __future__ import annotations

from collections.abc import Iterator

from skytrail.lab.breaks.fault import Direction, Fault, Leg, legs
from skytrail.lab.plan import Acts, Command, Plan

_CHAINS = {
    "input": ("inet", "hook input priority 0"),
    "output": ("inet", "hook output priority 0"),
    "forward": ("inet", "hook forward priority 0"),
    "prerouting": ("inet", "hook prerouting priority -300"),
    "bridge": ("bridge", "hook forward priority 0"),
    "ingress": ("netdev", "hook ingress device {device} priority 0"),
}
"""Family of nftables and where its chain hangs, by what is broken."""
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
    hop, (family, where) = leg.hop, _CHAINS[hook]
    place = hop.place
    chain = f"{family} {table} check"
    made = f"add table {family} {table}; add chain {chain} {{ type filter {where.format(device=hop.into)}; }}"
    rule = " ".join(filter(None, (f"add rule {chain}", selector(leg), share, "counter drop")))
    return Fault(
        kind,
        place,
        hop.into if hook == "ingress" else "",
        leg.direction,
        leg.exchange,
        "lossy" if share else "dead",
        f"a rule of nftables ({family} {hook}) drops {part}packets {'of the tunnel ' if hop.outer else ''}"
        f"from {' to '.join(leg.addresses)}",
        (Command(place, f"nft '{made}; {rule}'"),),
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
