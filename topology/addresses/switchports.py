"""Ports of Open vSwitch that addresses are known to be behind, kept up to date one revision after the other. No I/O.

What stands behind a port, as a virtual machine, shows its addresses to nobody. Who made the port may have written them down
(``external_ids`` of the interface), or its MAC: then an address of a neighbour on the same host that has that MAC is behind it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from skytrail.addresses.book import SWITCH_PORT, Owner
from skytrail.tid import host_of
from topology.addresses.usable import pack
from topology.elements import Revision, State
from topology.linkers.interfaces import Interface, Interfaces
from topology.path.network import read_state

_ADDRESSES = ("ip_addresses", "ip-address", "ip")
"""``external_ids`` with addresses: of OVN-Kubernetes, Antrea, Kube-OVN."""
_MACS = ("attached-mac", "attached_mac")
_IFACE_ID = "iface-id"
_MACHINES = ("vm-uuid", "vm-id", "xs-vm-uuid")
"""Of OpenStack's Nova, libvirt, XenServer."""
_BETWEEN = re.compile(r"[,\s]+")


class _Node(msgspec.Struct, frozen=True, gc=False):
    name: str = msgspec.field(name="Name")
    ext_id: dict[str, str] = msgspec.field(name="ExtID", default={})


@dataclass(frozen=True, slots=True)
class Port:
    """A port's interface.

    Attributes:
        host: TID of its host.
        owner: it, as it is named.
        mac: of what is behind it; empty: nobody wrote that down.
        given: addresses that were written down.
    """

    host: str
    owner: Owner
    mac: str
    given: frozenset[bytes]

    @property
    def seen(self) -> _Seen:
        """What a neighbour that is behind it has."""
        return self.host, self.mac


_Seen: TypeAlias = "tuple[str, str]"
"""Host, and MAC."""


class SwitchPorts:
    """All of them, by the interface's ID.

    Args:
        interfaces: of the same revisions, taken before.
    """

    def __init__(self, interfaces: Interfaces) -> None:
        self._interfaces = interfaces
        self._ports: dict[str, Port] = {}
        self._by_mac: dict[_Seen, set[str]] = defaultdict(set)
        self._neighbours: dict[str, dict[_Seen, set[bytes]]] = {}  # by interface that has them
        self._behind: dict[_Seen, dict[str, set[bytes]]] = defaultdict(dict)  # the same, by MAC

    def get(self, id_: str) -> Port | None:
        """A port; None: it is none of which anything was written down."""
        return self._ports.get(id_)

    def addresses(self, port: Port) -> frozenset[bytes]:
        """That are behind a port."""
        behind = self._behind.get(port.seen, {}) if port.mac else {}
        return port.given.union(*behind.values())

    def take(self, revision: Revision, interfaces: Iterable[str], *, switched: bool) -> set[str]:
        """Note what an element is now, and the interfaces that are otherwise for that; gives the ports that are.

        Args:
            revision: of the element.
            interfaces: IDs.
            switched: whether it is a switch's interface.
        """
        touched = set[str]()
        for id_ in interfaces:
            touched |= self._learn(id_, self._interfaces.by_id.get(id_))
        return touched | self._put(revision.id, _read(revision.state) if switched and revision.state else None)

    def _learn(self, id_: str, interface: Interface | None) -> set[str]:
        """Which neighbours an interface has; gives the ports that one which is new, or gone, may be behind."""
        before, now = self._neighbours.pop(id_, {}), _neighbours(interface) if interface else {}
        if now:
            self._neighbours[id_] = now
        changed = {seen for seen in before.keys() | now.keys() if before.get(seen) != now.get(seen)}
        for seen in changed:
            if seen in now:
                self._behind[seen][id_] = now[seen]
            else:
                del self._behind[seen][id_]
                if not self._behind[seen]:
                    del self._behind[seen]
        return {port for seen in changed for port in self._by_mac.get(seen, ())}

    def _put(self, id_: str, port: Port | None) -> set[str]:
        before = self._ports.get(id_)
        if port == before:
            return set()
        if before is not None:
            del self._ports[id_]
            self._by_mac[before.seen].discard(id_)
            if not self._by_mac[before.seen]:
                del self._by_mac[before.seen]
        if port is not None:
            self._ports[id_] = port
            self._by_mac[port.seen].add(id_)
        return {id_}


def _read(state: State) -> Port | None:
    node = read_state(state, _Node)
    if node is None:
        return None
    said = node.ext_id
    mac = _first(said, _MACS).lower()
    texts = (text.partition("/")[0] for key in _ADDRESSES for text in _BETWEEN.split(said.get(key, "")))
    given = frozenset(packed for text in texts if (packed := pack(text)) is not None)
    if not (mac or given):
        return None
    owner = Owner(SWITCH_PORT, node.name, "", state.host, said.get(_IFACE_ID, ""), _first(said, _MACHINES))
    return Port(host_of(state.tid), owner, mac, given)


def _first(said: Mapping[str, str], keys: Iterable[str]) -> str:
    return next((said[key] for key in keys if said.get(key)), "")


def _neighbours(interface: Interface) -> dict[_Seen, set[bytes]]:
    found: dict[_Seen, set[bytes]] = {}
    for one in interface.data.neighbors:
        if one.mac and (address := pack(one.ip)) is not None:
            found.setdefault((interface.host, one.mac), set()).add(address)
    return found
