"""Chains of real namespaces joined by links of all kinds, and which interfaces really saw a packet, in which order."""

from __future__ import annotations

import json
import random
import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.netlab import Net, in_netns
from support.probelab import ProbeLab
from topology.elements import Revision

_ETH_P_ALL = 3
_PACKET_OUTGOING, _PACKET_OTHERHOST = 4, 3
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("=qq")
_PORT = 7007
_QUIET = 0.3  # seconds in which a packet passes a chain
_ERRORS = (3, 5, 11)  # ICMP types that quote what they are about

Seen = tuple[str, str, str]
"""Namespace, interface, ``in`` or ``out``."""


@dataclass
class Joint:
    """How two namespaces are joined: the interfaces that have the addresses, and what else is on the way."""

    left: str
    right: str
    mtu: int = 1500


@dataclass
class Chain:
    """Namespaces in a row; packets go from the first to the last.

    Attributes:
        members: the routers and the two ends.
        others: switches and routers of underlays.
        target: the last one's address.
        source: the first one's.
        kinds: of the joints.
    """

    net: Net
    members: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    joints: list[Joint] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    @property
    def source(self) -> str:
        return "10.100.0.1"

    @property
    def target(self) -> str:
        return f"10.100.{len(self.joints) - 1}.2"

    @property
    def namespaces(self) -> list[str]:
        return [*self.members, *self.others]

    def ip(self, netns: str, *lines: str) -> None:
        for line in lines:
            self.net.ip(line, netns=netns)

    def middle(self) -> str:
        """One more namespace between two others."""
        self.others.append(self.net.netns(f"s{len(self.others)}"))
        return self.others[-1]


def _veth(chain: Chain, left: str, right: str, number: int, tag: str = "") -> tuple[str, str]:
    one, other = f"{tag}r{number}", f"{tag}l{number}"
    chain.net.ip(f"link add {one} netns {left} type veth peer name {other} netns {right}")
    chain.ip(left, f"link set {one} up")
    chain.ip(right, f"link set {other} up")
    return one, other


def veth(chain: Chain, left: str, right: str, number: int) -> Joint:
    return Joint(*_veth(chain, left, right, number))


def vlan(chain: Chain, left: str, right: str, number: int) -> Joint:
    for netns, lower in zip((left, right), _veth(chain, left, right, number), strict=True):
        chain.ip(netns, f"link add {lower}.7 link {lower} type vlan id 7", f"link set {lower}.7 up")
    return Joint(f"r{number}.7", f"l{number}.7")


def qinq(chain: Chain, left: str, right: str, number: int) -> Joint:
    for netns, lower in zip((left, right), _veth(chain, left, right, number), strict=True):
        chain.ip(netns, f"link add {lower}.7 link {lower} type vlan proto 802.1ad id 7", f"link set {lower}.7 up")
        chain.ip(netns, f"link add {lower}.7.8 link {lower}.7 type vlan id 8", f"link set {lower}.7.8 up")
    return Joint(f"r{number}.7.8", f"l{number}.7.8")


def switch(chain: Chain, left: str, right: str, number: int, words: str = "") -> Joint:
    """Both are at a bridge between them."""
    middle = chain.middle()
    chain.ip(middle, f"link add sw type bridge {words}", "link set sw up")
    one, port1 = _veth(chain, left, middle, number, "a")
    port2, other = _veth(chain, middle, right, number, "b")
    chain.ip(middle, f"link set {port1} master sw", f"link set {port2} master sw")
    return Joint(one, other)


def vlan_switch(chain: Chain, left: str, right: str, number: int) -> Joint:
    """Access port on the left, trunk on the right."""
    joint = switch(chain, left, right, number, "vlan_filtering 1")
    middle = chain.others[-1]
    chain.net.run(middle, "bridge", "vlan", "add", "dev", f"al{number}", "vid", "30", "pvid", "untagged")
    chain.net.run(middle, "bridge", "vlan", "add", "dev", f"br{number}", "vid", "30")
    chain.ip(right, f"link add {joint.right}.30 link {joint.right} type vlan id 30", f"link set {joint.right}.30 up")
    return Joint(joint.left, f"{joint.right}.30")


def own_bridge(chain: Chain, left: str, right: str, number: int) -> Joint:
    """The right one has its address on a bridge of its own."""
    one, other = _veth(chain, left, right, number)
    chain.ip(right, f"link add br{number} type bridge", f"link set {other} master br{number}", f"link set br{number} up")
    return Joint(one, f"br{number}")


def bond(chain: Chain, left: str, right: str, number: int) -> Joint:
    for netns in (left, right):
        chain.ip(netns, f"link add bond{number} type bond mode active-backup miimon 100")
    for tag in ("p", "q"):
        one, other = f"{tag}r{number}", f"{tag}l{number}"
        chain.net.ip(f"link add {one} netns {left} type veth peer name {other} netns {right}")
        chain.ip(left, f"link set {one} master bond{number}")
        chain.ip(right, f"link set {other} master bond{number}")
    for netns in (left, right):
        chain.ip(netns, f"link set bond{number} up")
    return Joint(f"bond{number}", f"bond{number}")


def macvlan(chain: Chain, left: str, right: str, number: int) -> Joint:
    one, other = _veth(chain, left, right, number)
    chain.ip(right, f"link add mv{number} link {other} type macvlan mode bridge", f"link set mv{number} up")
    return Joint(one, f"mv{number}")


def ipvlan(chain: Chain, left: str, right: str, number: int) -> Joint:
    one, other = _veth(chain, left, right, number)
    chain.ip(right, f"link add iv{number} link {other} type ipvlan mode l2", f"link set iv{number} up")
    return Joint(one, f"iv{number}")


def _underlay(chain: Chain, left: str, right: str, number: int) -> tuple[str, str]:
    """Addresses that reach each other by a router in between."""
    middle = chain.middle()
    one, near = _veth(chain, left, middle, number, "u")
    far, other = _veth(chain, middle, right, number, "w")
    first, last = f"192.168.{10 + number}", f"192.168.{50 + number}"
    for netns, device, address in (
        (left, one, f"{first}.1"),
        (middle, near, f"{first}.254"),
        (middle, far, f"{last}.254"),
        (right, other, f"{last}.1"),
    ):
        chain.ip(netns, f"address add {address}/24 dev {device}")
    chain.net.run(middle, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    chain.ip(left, f"route add {last}.0/24 via {first}.254")
    chain.ip(right, f"route add {first}.0/24 via {last}.254")
    return f"{first}.1", f"{last}.1"


def _tunnel(kind: str, words: str, mtu: int) -> Callable[[Chain, str, str, int], Joint]:
    def made(chain: Chain, left: str, right: str, number: int) -> Joint:
        one, other = _underlay(chain, left, right, number)
        for netns, local, remote in ((left, one, other), (right, other, one)):
            more = words.format(local=local, remote=remote, number=number)
            chain.ip(netns, f"link add t{number} type {kind} {more}", f"link set t{number} mtu {mtu} up")
        return Joint(f"t{number}", f"t{number}", mtu)

    return made


def vxlan_fdb(chain: Chain, left: str, right: str, number: int) -> Joint:
    """VXLAN devices under bridges, that know each other by default forwarding entries."""
    one, other = _underlay(chain, left, right, number)
    for netns, local, remote in ((left, one, other), (right, other, one)):
        chain.ip(
            netns,
            f"link add x{number} type vxlan id {900 + number} local {local} dstport 4789",
            f"link add vb{number} type bridge",
            f"link set x{number} master vb{number} up",
            f"link set vb{number} mtu 1450 up",
        )
        chain.net.run(netns, "bridge", "fdb", "append", "00:00:00:00:00:00", "dev", f"x{number}", "dst", remote)
    return Joint(f"vb{number}", f"vb{number}", 1450)


HERE: dict[str, Callable[[Chain, str, str, int], Joint]] = {
    "veth": veth,
    "switch": switch,
    "own_bridge": own_bridge,
    "macvlan": macvlan,
    "vxlan": _tunnel("vxlan", "id 70{number} local {local} remote {remote} dstport 4789", 1450),
    "vxlan_fdb": vxlan_fdb,
}
"""Ways to join two namespaces that also small kernels have."""

ELSEWHERE: dict[str, Callable[[Chain, str, str, int], Joint]] = {
    "vlan": vlan,
    "qinq": qinq,
    "vlan_switch": vlan_switch,
    "bond": bond,
    "ipvlan": ipvlan,
    "geneve": _tunnel("geneve", "id 70{number} remote {remote}", 1450),
    "gre": _tunnel("gre", "local {local} remote {remote} key {number}", 1472),
    "gretap": _tunnel("gretap", "local {local} remote {remote} key {number}", 1458),
    "ipip": _tunnel("ipip", "local {local} remote {remote}", 1480),
}
"""Those of a distribution's kernel."""

KINDS = HERE | ELSEWHERE

BETWEEN = frozenset({"switch", "vlan_switch", "vxlan", "vxlan_fdb", "geneve", "gre", "gretap", "ipip"})
"""Those with a namespace in between."""


def build(net: Net, kinds: list[str]) -> Chain:
    """A chain with these joints, which packets pass both ways."""
    chain = Chain(net, kinds=kinds)
    chain.members = [net.netns(f"m{number}") for number in range(len(kinds) + 1)]
    for number, kind in enumerate(kinds):
        left, right = chain.members[number : number + 2]
        joint = KINDS[kind](chain, left, right, number)
        chain.joints.append(joint)
        for netns, device, last in ((left, joint.left, 1), (right, joint.right, 2)):
            chain.ip(netns, f"address add 10.100.{number}.{last}/24 dev {device}")
    for number, netns in enumerate(chain.members):
        net.run(netns, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for other in range(len(kinds)):
            if other > number:
                chain.ip(netns, f"route add 10.100.{other}.0/24 via 10.100.{number}.2")
            elif other < number - 1:
                chain.ip(netns, f"route add 10.100.{other}.0/24 via 10.100.{number - 1}.1")
    return chain


@dataclass(frozen=True)
class Fault:
    """What stops packets.

    Attributes:
        name: for messages.
        reason: a part of what a path must say of it.
        where: namespace in which packets end.
    """

    name: str
    reason: str
    where: str


def break_it(chain: Chain, name: str, seed: int) -> Fault:
    """Break something on the way with an ordinary command."""
    return FAULTS[name](chain, random.Random(seed))


def _router(chain: Chain, chooser: random.Random) -> tuple[int, str]:
    """One of those that forward; the first where there is none."""
    number = chooser.randrange(1, len(chain.members) - 1) if len(chain.members) > 2 else 0
    return number, chain.members[number]


def _forwarding_off(chain: Chain, chooser: random.Random) -> Fault:
    number, netns = _router(chain, chooser)
    if number == 0:
        return _no_route(chain, chooser)
    chain.net.run(netns, "sysctl", "-qw", "net.ipv4.ip_forward=0")
    return Fault("forwarding off", "forwarding is off", netns)


def _no_route(chain: Chain, chooser: random.Random) -> Fault:
    number, netns = _router(chain, chooser)
    last = len(chain.joints) - 1
    chain.ip(netns, f"route del 10.100.{last}.0/24")
    return Fault(f"no route in {number}", "no route to", netns)


def _blackhole(chain: Chain, chooser: random.Random) -> Fault:
    _, netns = _router(chain, chooser)
    chain.ip(netns, f"route add blackhole {chain.target}/32")
    return Fault("blackhole", f"route blackhole {chain.target}/32", netns)


def _prohibited(chain: Chain, chooser: random.Random) -> Fault:
    _, netns = _router(chain, chooser)
    chain.ip(
        netns, f"rule add priority 5 to {chain.target} prohibit", "rule add priority 6 lookup local", "rule del priority 0"
    )
    return Fault("prohibited", "rule 5 says prohibit", netns) if netns != chain.members[-1] else Fault("", "", "")


def _link_down(chain: Chain, chooser: random.Random) -> Fault:
    """The sender's side: its routes go with it."""
    number = chooser.randrange(len(chain.joints))
    chain.ip(chain.members[number], f"link set {chain.joints[number].left} down")
    return Fault(f"{chain.joints[number].left} down", "no route to", chain.members[number])


def _peer_down(chain: Chain, chooser: random.Random) -> Fault:
    """The receiver's side; not a macvlan: its lower device answers for it, too."""
    number = chooser.choice([number for number, kind in enumerate(chain.kinds) if kind != "macvlan"])
    chain.ip(chain.members[number + 1], f"link set {chain.joints[number].right} down")
    return Fault(f"{chain.joints[number].right} down", "", "")


def _no_way_back(chain: Chain, chooser: random.Random) -> Fault:
    number = chooser.randrange(1, len(chain.members))
    netns = chain.members[number]
    chain.net.run(netns, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    chain.ip(netns, "route add 10.100.0.1/32 dev lo")
    return Fault("rp_filter", "rp_filter is strict", netns)


def _address_gone(chain: Chain, chooser: random.Random) -> Fault:
    netns, joint = chain.members[-1], chain.joints[-1]
    chain.ip(netns, f"address del {chain.target}/24 dev {joint.right}")
    return Fault("address gone", "", netns)


def _wrong_vni(chain: Chain, chooser: random.Random) -> Fault:
    number = chain.kinds.index("vxlan")
    netns, name = chain.members[number + 1], f"t{number}"
    details = json.loads(chain.net.ip(f"-d -j link show {name}", netns=netns))[0]
    data = details["linkinfo"]["info_data"]
    chain.ip(
        netns,
        f"link del {name}",
        f"link add {name} address {details['address']} type vxlan id 5555 local {data['local']} remote {data['remote']}"
        " dstport 4789",
        f"link set {name} up",
    )
    return Fault("wrong VNI", f"nothing takes vxlan VNI 70{number} port 4789", netns)


def _port_released(chain: Chain, chooser: random.Random) -> Fault:
    number = chain.kinds.index("switch")
    chain.ip(_switch_of(chain, number), f"link set br{number} nomaster")
    return Fault("port released", "", _switch_of(chain, number))


def _ports_isolated(chain: Chain, chooser: random.Random) -> Fault:
    number = chain.kinds.index("switch")
    netns = _switch_of(chain, number)
    for port in (f"al{number}", f"br{number}"):
        chain.net.run(netns, "bridge", "link", "set", "dev", port, "isolated", "on")
    return Fault("isolated", "both bridge ports are isolated", netns)


def _switch_of(chain: Chain, number: int) -> str:
    """The namespace of a joint's switch: each joint with something in between has one."""
    return chain.others[sum(kind in BETWEEN for kind in chain.kinds[:number])]


FAULTS: dict[str, Callable[[Chain, random.Random], Fault]] = {
    "forwarding off": _forwarding_off,
    "no route": _no_route,
    "blackhole": _blackhole,
    "prohibited": _prohibited,
    "link down": _link_down,
    "peer down": _peer_down,
    "no way back": _no_way_back,
    "address gone": _address_gone,
    "wrong VNI": _wrong_vni,
    "port released": _port_released,
    "ports isolated": _ports_isolated,
}
"""By name, what breaks something of a chain that has a switch, a tunnel of kind vxlan, and a router."""

BREAKABLE = ("switch", "vxlan", "macvlan")


class Sniffers:
    """Packet sockets at all interfaces of some namespaces, since before a packet was sent."""

    def __init__(self, net: Net, namespaces: list[str]) -> None:
        self._closers = ExitStack()
        self._sockets: list[tuple[str, str, socket.socket]] = []
        for netns in namespaces:
            self._sockets += in_netns(netns, lambda netns=netns: list(self._open(netns)))  # type: ignore[misc]
        _ = net

    def _open(self, netns: str) -> Iterator[tuple[str, str, socket.socket]]:
        for _, name in socket.if_nameindex():
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL))
            self._closers.callback(opened.close)
            opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            opened.bind((name, _ETH_P_ALL))
            yield netns, name, opened

    def seen(self, magic: bytes) -> list[tuple[int, Seen]]:
        """Who saw a packet with that in it, and when (ns)."""
        found = []
        for netns, name, opened in self._sockets:
            while True:
                try:
                    data, ancillary, _, address = opened.recvmsg(2048, 64)
                except BlockingIOError:
                    break
                except OSError:  # the interface went down: what it saw before is there still
                    continue
                if _is_it(data, magic):
                    [(_, _, stamp)] = ancillary
                    seconds, nanoseconds = _TIMESPEC.unpack(stamp)
                    direction = "out" if address[2] == _PACKET_OUTGOING else "in"
                    found.append((seconds * 10**9 + nanoseconds, (netns, name, direction)))
        return sorted(found)

    def close(self) -> None:
        self._closers.close()


def _is_it(data: bytes, magic: bytes) -> bool:
    """Whether it is the packet, not an ICMP error that quotes it, or what carries it."""
    at = data.find(magic)
    if at < 0:
        return False
    headers = (14, 0, at - 28 - 8 - 20)  # of the outermost packet behind Ethernet, or not; of one that quotes the packet itself
    return not any(_is_error(data, at) for at in headers)


def _is_error(data: bytes, at: int) -> bool:
    """Whether there is an IPv4 packet with an ICMP error."""
    return at >= 0 and data[at : at + 1] == b"\x45" and data[at + 9] == socket.IPPROTO_ICMP and data[at + 20] in _ERRORS


def send(netns: str, address: str, payload: bytes) -> None:
    """One UDP packet."""

    def once() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            try:
                opened.sendto(payload, (address, _PORT))
            except OSError:
                return

    in_netns(netns, once)


@contextmanager
def listening(netns: str) -> Iterator[None]:
    """Somebody takes the packets: nobody sends an error back."""
    opened = in_netns(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with opened:
        opened.bind(("", _PORT))
        yield


def passage(chain: Chain) -> list[tuple[int, Seen]]:
    """Send one packet from the first to the last, and say who saw it when."""
    magic = secrets.token_bytes(16)
    sniffers = Sniffers(chain.net, chain.namespaces)
    try:
        with listening(chain.members[-1]):
            send(chain.members[0], chain.target, magic)
            time.sleep(_QUIET)
            return sniffers.seen(magic)
    finally:
        sniffers.close()


def warm_up(chain: Chain) -> None:
    """Let bridges and neighbours learn. Every answer must come."""
    for _ in range(50):
        if " 0% packet loss" in chain.net.run(
            chain.members[0], "ping", "-nc1", "-W1", "-I", chain.source, chain.target, check=False
        ):
            return
    raise AssertionError(f"{chain.kinds}: no ping passes")


def graph(net: Net, folder: Path) -> list[Revision]:
    """The graph as the probes see it now."""
    lab = ProbeLab(net, folder)
    try:
        return _ours(list(lab.store.current()), net.prefix)
    finally:
        lab.close()


def _ours(revisions: list[Revision], prefix: str) -> list[Revision]:
    """Our namespaces and what is in them: others run beside us, with the same addresses."""
    states = {one.id: one.state for one in revisions if one.state}
    ours = {id_ for id_, state in states.items() if not state.parent and state.metadata.get("Name", "").startswith(prefix)}
    ours |= {state.child for state in states.values() if state.parent in ours}
    return [one for one in revisions if one.state and (one.id in ours or {one.state.parent, one.state.child} <= ours)]


def random_kinds(seed: int, kinds: Iterable[str]) -> list[str]:
    """One to four joints."""
    chooser = random.Random(seed)
    return chooser.choices(sorted(kinds), k=chooser.randrange(1, 5))
