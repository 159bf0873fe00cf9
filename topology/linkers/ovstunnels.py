"""Tunnels that only Open vSwitch's database tells of, read as the kernel's are. Pure.

Sources: ovs-vswitchd.conf.db(5), "Tunnel Options"; lib/netdev-vport.c.
"""

from __future__ import annotations

import msgspec

from topology.elements import State
from topology.path.devices import Data, Tunnel
from topology.path.network import read_state

_KINDS = {
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

_OF_RULES = "flow"


class _Ovs(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    options: dict[str, str]


class _Node(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    name: str
    type: str
    ovs: _Ovs


def read_tunnel(type_: str, state: State) -> Data | None:
    """A tunnel's end as an interface without a number; None: the node is something else."""
    kind = _KINDS.get(type_)
    node = read_state(state, _Node) if kind is not None else None
    if kind is None or node is None:
        return None
    options = node.ovs.options
    inward, outward = (options.get(name, options.get("key", "")) for name in ("in_key", "out_key"))
    of_rules = _OF_RULES in (inward, outward)
    ikey, okey = (None, None) if of_rules else (_number(inward), _number(outward))
    numbered = kind in _NUMBERED and (ikey or 0) == (okey or 0)
    tunnel = Tunnel(
        id=(ikey or 0) if numbered and not of_rules else None,
        local=options.get("local_ip", ""),
        remote=options.get("remote_ip", ""),
        port=_number(options.get("dst_port", "")) or 0,
        ikey=None if numbered else ikey,
        okey=None if numbered else okey,
        of_rules=of_rules,
    )
    return Data(name=node.name, type=kind, if_index=0, tunnel=tunnel)


def _number(text: str) -> int | None:
    """As Open vSwitch reads it, in decimal or as 0x…; None: it is not set, or no number."""
    try:
        return int(text, 0)
    except ValueError:
        return None
