"""Tunnels that only Open vSwitch's database tells of, read as the kernel's are. Pure.

Sources: ovs-vswitchd.conf.db(5), "Tunnel Options"; lib/netdev-vport.c.
"""

from __future__ import annotations

import msgspec

from topology.path.devices import Data, Tunnel

KINDS = {
    "vxlan": "vxlan",
    "geneve": "geneve",
    "gre": "gretap",
    "ip6gre": "ip6gretap",
    "erspan": "erspan",
    "ip6erspan": "ip6erspan",
}
"""Its types → the kernel's kinds of what is on the wire: its GRE carries frames."""

_NUMBERED = frozenset({"vxlan", "geneve"})
"""Kinds whose packets always have a number: 0, where none is given."""

OF_RULES = "flow"
"""In the place of a number, or of an address, that rules of OpenFlow give to each packet."""

_FLAGS = {"gretap": ("csum", "seq"), "ip6gretap": ("csum", "seq")}
"""What a kind's header grows by where the option of that name is set."""


class _Ovs(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    options: dict[str, str]


class Node(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """What the node of such a tunnel says."""

    name: str
    type: str
    ovs: _Ovs
    of_port: int = 0


def tunnel_data(node: Node) -> Data:
    """A tunnel's end as an interface without a number."""
    kind = KINDS[node.type]
    options = node.ovs.options
    inward, outward = (options.get(name, options.get("key", "")) for name in ("in_key", "out_key"))
    always = 0 if kind in _NUMBERED else None
    ikey, okey = (None if text == OF_RULES else _number(text, always) for text in (inward, outward))
    numbered = kind in _NUMBERED and ikey is not None and ikey == okey
    with_key = kind not in _NUMBERED and (okey is not None or outward == OF_RULES)
    flags = [*(["key"] if with_key else []), *(flag for flag in _FLAGS.get(kind, ()) if options.get(flag) == "true")]
    tunnel = Tunnel(
        id=ikey if numbered else None,
        local=options.get("local_ip", ""),
        remote=options.get("remote_ip", ""),
        port=_number(options.get("dst_port", ""), None) or 0,
        ikey=None if numbered else ikey,
        okey=None if numbered else okey,
        o_flags=tuple(flags),
        in_of_rules=inward == OF_RULES,
        out_of_rules=outward == OF_RULES,
    )
    return Data(name=node.name, type=kind, if_index=0, of_port=node.of_port, tunnel=tunnel)


def _number(text: str, otherwise: int | None) -> int | None:
    """As Open vSwitch reads it, in decimal or as 0x…; what it is where it is not set, or no number."""
    try:
        return int(text, 0)
    except ValueError:
        return otherwise
