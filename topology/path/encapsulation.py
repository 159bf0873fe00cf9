"""Tunnels: which header each puts around a packet, whom a device sends to, and which device takes it out again. Pure.

Sources: drivers/net/vxlan, drivers/net/geneve.c, net/ipv4/ip_gre.c, ipip.c, net/ipv6/sit.c; RFC 7348, 8926, 2784, 2890.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from topology.path.devices import Address, Device, Tunnel, parse_address
from topology.path.packets import PROTOCOLS, Frame

_UDP, _GRE = PROTOCOLS["udp"], PROTOCOLS["gre"]
_ETHERNET, _UDP_HEADER, _TAG = 14, 8, 4
_IP_HEADERS = {4: 20, 6: 40}
_ANY = "00:00:00:00:00:00"
_OPTION = 4  # of GRE: key, checksum or sequence number
_LIMIT_OPTION = 8  # the tunnel encapsulation limit: a destination option
DEFAULT_PORTS = {"vxlan": 4789, "geneve": 6081}
"""Kind → its usual UDP port."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of tunnel does.

    Attributes:
        proto: IP protocol around it; 0: the other IP version's, or its own, as what is inside.
        header: bytes of its own behind the outer IP header.
        ethernet: whether frames go through it, or packets.
    """

    proto: int
    header: int
    ethernet: bool


KINDS = {
    "vxlan": Kind(_UDP, _UDP_HEADER + 8, ethernet=True),
    "geneve": Kind(_UDP, _UDP_HEADER + 8, ethernet=True),
    "gre": Kind(_GRE, 4, ethernet=False),
    "gretap": Kind(_GRE, 4, ethernet=True),
    "ip6gre": Kind(_GRE, 4, ethernet=False),
    "ip6gretap": Kind(_GRE, 4, ethernet=True),
    "ipip": Kind(PROTOCOLS["ipip"], 0, ethernet=False),
    "sit": Kind(PROTOCOLS["ipv6"], 0, ethernet=False),
    "ip6tnl": Kind(PROTOCOLS["ipv6"], 0, ethernet=False),
}
"""Type of an interface → what it does."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a device sends a frame.

    Attributes:
        address: of the other end.
        label: VNI or key; None: none.
        why: what says so.
        of_rules: rules of OpenFlow give each packet its VNI or key.
    """

    address: Address
    label: int | None
    why: str
    of_rules: bool = False


def label_words(kind: str, label: int | None) -> str:
    """``VNI 100``, ``key 7``, or empty."""
    name = "VNI" if kind in DEFAULT_PORTS else "key"
    return "" if label is None else f"{name} {label}"


def device_label(device: Device) -> str:
    """What a device takes: its VNI and port, or its key, and where it says one, from whom."""
    tunnel = device.tunnel
    assert tunnel is not None, "it is a tunnel's end"
    label = label_words(device.data.type, tunnel.ikey if tunnel.id is None else tunnel.id)
    ports = f"port {port(device, tunnel)}" if port(device, tunnel) else ""
    remote = parse(tunnel.remote)
    return " ".join(word for word in (label, ports, f"from {remote}" if remote else "") if word)


def port(device: Device, tunnel: Tunnel) -> int:
    """The outer destination port; 0: it has none."""
    return tunnel.port or DEFAULT_PORTS.get(device.data.type, 0)


def overhead(device: Device, tunnel: Tunnel, remote: Address, tags: int) -> int:
    """Bytes that it puts around an IP packet that is in a frame with so many VLAN tags."""
    kind = KINDS[device.data.type]
    options = sum(_OPTION for option in ("key", "csum", "seq") if option in tunnel.o_flags)
    limit = _LIMIT_OPTION if remote.version == 6 and tunnel.encap_limit is not None else 0
    inside = _ETHERNET + _TAG * tags if kind.ethernet else 0
    udp = _UDP_HEADER if tunnel.udp_encap else 0
    return _IP_HEADERS[remote.version] + kind.header + options + limit + inside + udp


def remotes(device: Device, tunnel: Tunnel, frame: Frame) -> list[Remote]:
    """Whom it sends a frame to: by its forwarding entries, else to the end that it was made with."""
    own = sent(device, tunnel)
    if device.data.type == "vxlan":
        return list(dict.fromkeys(_forwarded(device, tunnel, frame, own)))
    remote = parse(tunnel.remote)
    return [Remote(remote, own, "its remote end", tunnel.out_of_rules)] if remote is not None else []


def sent(device: Device, tunnel: Tunnel) -> int | None:
    """The VNI or key of its packets, as far as itself says it; None: none."""
    if tunnel.id is not None:
        return tunnel.id
    return tunnel.okey if "key" in tunnel.o_flags or device.data.type in DEFAULT_PORTS else None


def _forwarded(device: Device, tunnel: Tunnel, frame: Frame, own: int | None) -> Iterator[Remote]:
    """A MAC that is not known goes to all of the default entries."""
    entries = [(entry, address) for entry in device.data.fdb if (address := parse(entry.ip)) is not None]
    exact = [(entry, address) for entry, address in entries if entry.mac == frame.mac]
    for entry, address in exact or [(entry, address) for entry, address in entries if entry.mac == _ANY]:
        why = f"FDB entry for {entry.mac}" if exact else "default FDB entry"
        if not address.is_multicast:
            yield Remote(address, own if entry.vni is None else entry.vni, why)
    if not entries and (remote := parse(tunnel.remote)) is not None:
        yield Remote(remote, own, "its remote end", tunnel.out_of_rules)


def group(tunnel: Tunnel) -> Address | None:
    """The multicast group that a VXLAN device floods to."""
    return parse(tunnel.group)


def takes(device: Device, kind: str, remote: Remote, outer_port: int, src: Address | None) -> bool:
    """Whether a device of the namespace that a tunnel's packet arrived in takes it.

    Args:
        device: that may.
        kind: of the device that sent it.
        remote: where it was sent to, and with which VNI or key.
        outer_port: its destination port; 0: none.
        src: where it came from; None: not known.
    """
    tunnel = device.tunnel
    if tunnel is None or device.data.type != kind:
        return False
    local, from_ = parse(tunnel.local), parse(tunnel.remote)
    taken = tunnel.ikey if tunnel.id is None else tunnel.id
    takes_label = tunnel.collect_metadata or tunnel.in_of_rules or remote.of_rules or taken == remote.label
    if kind in DEFAULT_PORTS:
        fits = takes_label and port(device, tunnel) == outer_port
        # a VXLAN socket hears on all addresses; Geneve, and Open vSwitch, know their ends by remote and VNI
        knows_ends = kind == "geneve" or not device.data.if_index
        return fits and (not knows_ends or tunnel.collect_metadata or from_ in (None, src))
    return takes_label and local in (None, remote.address) and from_ in (None, src)


def rank(device: Device) -> tuple[bool, bool, bool]:
    """Of several devices that take the same, the kernel gives it to the first: to one that is up, and knows its ends."""
    tunnel = device.tunnel
    assert tunnel is not None, "it is a tunnel's end"
    return bool(device.failure), parse(tunnel.remote) is None, parse(tunnel.local) is None


def parse(text: str) -> Address | None:
    """An address; None for none, and for an unspecified one."""
    found = parse_address(text)
    return None if found is None or found.is_unspecified else found
