"""What the kernel says of a link (network interface), decoded from RTM_NEWLINK and RTM_DELLINK.

Pure: bytes to values. Only the attributes that somebody uses are read. Sources: linux/if_link.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field

from skytrail.kernel.netlink import NetlinkDecodeError, attributes, integer, integer_attribute

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RTM_GETADDR = 22

IFF_UP = 0x1
ARPHRD_ETHER = 1
ARPHRD_LOOPBACK = 772

_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_MASTER = 10
_IFLA_WIRELESS = 11
_IFLA_OPERSTATE = 16
_IFLA_LINKINFO = 18
_IFLA_EXT_MASK = 29
_IFLA_LINK_NETNSID = 37
_IFLA_NUM_VF = 21
_IFLA_PHYS_PORT_NAME = 38
_IFLA_XDP = 43
_IFLA_NEW_NETNSID = 45
_IFLA_TARGET_NETNSID = 46
_IFLA_NEW_IFINDEX = 49
_IFLA_PERM_ADDRESS = 54
_IFLA_PARENT_DEV_NAME = 56
_IFLA_PARENT_DEV_BUS_NAME = 57
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_IFLA_XDP_ATTACHED = 2
_RTEXT_FILTER_VF = 1
_RTEXT_FILTER_SKIP_STATS = 8

_LINK_ATTRIBUTES = frozenset(
    {
        _IFLA_ADDRESS,
        _IFLA_IFNAME,
        _IFLA_MTU,
        _IFLA_LINK,
        _IFLA_MASTER,
        _IFLA_WIRELESS,
        _IFLA_OPERSTATE,
        _IFLA_LINKINFO,
        _IFLA_LINK_NETNSID,
        _IFLA_NUM_VF,
        _IFLA_PHYS_PORT_NAME,
        _IFLA_XDP,
        _IFLA_PERM_ADDRESS,
        _IFLA_PARENT_DEV_NAME,
        _IFLA_PARENT_DEV_BUS_NAME,
    }
)
_DEPARTURE_ATTRIBUTES = frozenset({_IFLA_NEW_NETNSID, _IFLA_NEW_IFINDEX})
_INFO_ATTRIBUTES = frozenset({_IFLA_INFO_KIND, _IFLA_INFO_DATA})

_TUNNEL_PORT = {"vxlan": 15, "geneve": 5}
"""Kind → the attribute in its INFO_DATA with the UDP port, big-endian (IFLA_VXLAN_PORT, IFLA_GENEVE_PORT)."""

_IFINFOMSG = struct.Struct("=BxHiII")  # family, ARPHRD type, index, flags, change
_PORT = struct.Struct("!H")
_IFADDRMSG = bytes(8)  # struct ifaddrmsg: all families, all links
_IFA_TARGET_NETNSID = 10

Buffer = bytes | bytearray
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface at one moment.

    Attributes:
        cookie: of the namespace it is in.
        ifindex: its number there.
        name: its name there; bytes that are no UTF-8 are kept as surrogates (os.fsdecode).
        kind: ``veth``, ``bridge`` …; empty for a physical device and for ``lo``.
        arphrd: ARPHRD_*: 1 Ethernet, 772 loopback, 65534 none (tun) …
        flags: IFF_*.
        mac: its link-layer address; empty if it has none.
        perm_mac: the permanent one; empty for all but physical devices.
        bus: "pci/0000:01:00.0": bus and device that it belongs to; empty for a virtual one.
        phys_port: the port of that device, where several share it ("p0", "pf0vf1"); else empty.
        mtu: in bytes.
        operstate: RFC 2863 as IF_OPER_*: 0 unknown, 2 down, 6 up …
        xdp: whether an XDP program sees the packets first.
        tunnel_port: UDP port of a vxlan or geneve device.
        master: ifindex of the bridge, bond … that it is a port of.
        link: ifindex of its peer (veth) or lower device (vlan, macvlan); None if it has none.
        link_nsid: the namespace of ``link`` as our own namespace numbers it; None: the same namespace as this link's,
            or one that has no number here.
        functions: how many virtual functions it has (SR-IOV); None: not told, as an event never does.
        raw: the whole message, for who decodes more; empty unless it is asked for.
    """

    cookie: int
    ifindex: int
    name: str
    kind: str = ""
    arphrd: int = ARPHRD_ETHER
    flags: int = 0
    mac: bytes = b""
    perm_mac: bytes = b""
    bus: str = ""
    phys_port: str = ""
    mtu: int = 0
    operstate: int = 0
    xdp: bool = False
    tunnel_port: int | None = None
    master: int | None = None
    link: int | None = None
    link_nsid: int | None = None
    functions: int | None = None
    raw: bytes = field(default=b"", repr=False)

    @property
    def label(self) -> str:
        """Its name as metrics and flows have it, in UTF-8 whatever the kernel was told."""
        return os.fsencode(self.name).decode(errors="backslashreplace")

    @property
    def up(self) -> bool:
        """Whether it is administratively up."""
        return bool(self.flags & IFF_UP)


@dataclass(frozen=True, slots=True)
class Departure:
    """A link left its namespace: it is gone, or it moved.

    Attributes:
        ifindex: its number where it was.
        nsid: where it went, as numbered by the namespace that it left; None if it is gone.
        new_ifindex: its number there; the same if the kernel does not say.
    """

    ifindex: int
    nsid: int | None
    new_ifindex: int


def dump_request(nsid: int | None, *, functions: bool = False) -> bytes:
    """The body of RTM_GETLINK for all links, without statistics, of the namespace with that number; None: our own.

    ``functions``: with virtual functions (SR-IOV).
    """
    mask = _RTEXT_FILTER_SKIP_STATS | (_RTEXT_FILTER_VF if functions else 0)
    body = _IFINFOMSG.pack(0, 0, 0, 0, 0) + integer_attribute(_IFLA_EXT_MASK, mask)
    return body if nsid is None else body + integer_attribute(_IFLA_TARGET_NETNSID, nsid)


def address_dump_request(nsid: int | None) -> bytes:
    """The body of RTM_GETADDR for all addresses of the namespace with that number; None: our own."""
    return _IFADDRMSG if nsid is None else _IFADDRMSG + integer_attribute(_IFA_TARGET_NETNSID, nsid)


def decode_link(buffer: Buffer, start: int, end: int, cookie: int, *, raw: bool = False) -> Link | None:
    """Decode RTM_NEWLINK's payload ``buffer[start:end]``; with ``raw`` the payload itself is kept too.

    ``link_nsid`` is as in the message: a dump numbers as our own namespace does, an event as the link's namespace does.

    Returns:
        None for a message that describes no whole link: a bridge port's (AF_BRIDGE) or a wireless event.

    Raises:
        NetlinkDecodeError: malformed.
    """
    family, arphrd, ifindex, flags = _header(buffer, start, end)
    found = attributes(buffer, start + _IFINFOMSG.size, end, _LINK_ATTRIBUTES)
    if family or _IFLA_WIRELESS in found or _IFLA_IFNAME not in found:
        return None
    kind, tunnel_port = _link_info(buffer, found.get(_IFLA_LINKINFO))
    bus = _text(buffer, found.get(_IFLA_PARENT_DEV_BUS_NAME))
    device = _text(buffer, found.get(_IFLA_PARENT_DEV_NAME))
    return Link(
        cookie=cookie,
        ifindex=ifindex,
        name=_text(buffer, found[_IFLA_IFNAME]),
        kind=kind,
        arphrd=arphrd,
        flags=flags,
        mac=_bytes(buffer, found.get(_IFLA_ADDRESS)),
        perm_mac=_bytes(buffer, found.get(_IFLA_PERM_ADDRESS)),
        bus=f"{bus}/{device}" if device else "",
        phys_port=_text(buffer, found.get(_IFLA_PHYS_PORT_NAME)),
        mtu=_number(buffer, found.get(_IFLA_MTU)) or 0,
        operstate=next(iter(_bytes(buffer, found.get(_IFLA_OPERSTATE))), 0),
        xdp=_xdp_attached(buffer, found.get(_IFLA_XDP)),
        tunnel_port=tunnel_port,
        master=_number(buffer, found.get(_IFLA_MASTER)) or None,
        link=_number(buffer, found.get(_IFLA_LINK)) or None,
        link_nsid=_number(buffer, found.get(_IFLA_LINK_NETNSID)),
        functions=_number(buffer, found.get(_IFLA_NUM_VF)),
        raw=bytes(buffer[start:end]) if raw else b"",
    )


def decode_departure(buffer: Buffer, start: int, end: int) -> Departure | None:
    """Decode RTM_DELLINK's payload ``buffer[start:end]``.

    Returns:
        None if the link stays: a bridge says so of a port that left it (AF_BRIDGE).

    Raises:
        NetlinkDecodeError: malformed.
    """
    family, _, ifindex, _ = _header(buffer, start, end)
    if family:
        return None
    found = attributes(buffer, start + _IFINFOMSG.size, end, _DEPARTURE_ATTRIBUTES)
    new_ifindex = _number(buffer, found.get(_IFLA_NEW_IFINDEX))
    return Departure(ifindex, _number(buffer, found.get(_IFLA_NEW_NETNSID)), new_ifindex or ifindex)


def _header(buffer: Buffer, start: int, end: int) -> tuple[int, int, int, int]:
    if end - start < _IFINFOMSG.size:
        raise NetlinkDecodeError(f"link message has {end - start} bytes, its header alone {_IFINFOMSG.size}")
    family, arphrd, ifindex, flags, _ = _IFINFOMSG.unpack_from(buffer, start)
    return family, arphrd, ifindex, flags


def _link_info(buffer: Buffer, span: Span | None) -> tuple[str, int | None]:
    """The kind, and the UDP port if it is a tunnel over UDP."""
    if span is None:
        return "", None
    info = attributes(buffer, *span, _INFO_ATTRIBUTES)
    kind = _text(buffer, info.get(_IFLA_INFO_KIND))
    port = _TUNNEL_PORT.get(kind)
    data = info.get(_IFLA_INFO_DATA)
    if port is None or data is None:
        return kind, None
    value = _bytes(buffer, attributes(buffer, *data, {port}).get(port))
    return kind, int(_PORT.unpack_from(value)[0]) if len(value) >= _PORT.size else None


def _xdp_attached(buffer: Buffer, span: Span | None) -> bool:
    if span is None:
        return False
    attached = attributes(buffer, *span, {_IFLA_XDP_ATTACHED}).get(_IFLA_XDP_ATTACHED)
    return any(_bytes(buffer, attached))  # XDP_ATTACHED_NONE is 0


def _text(buffer: Buffer, span: Span | None) -> str:
    return os.fsdecode(_bytes(buffer, span).partition(b"\0")[0])


def _bytes(buffer: Buffer, span: Span | None) -> bytes:
    return b"" if span is None else bytes(buffer[span[0] : span[1]])


def _number(buffer: Buffer, span: Span | None) -> int | None:
    return None if span is None else integer(buffer, span)
