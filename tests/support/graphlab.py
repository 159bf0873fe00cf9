"""A hub, and namespaces whose graph it is asked for, which the oracle judges; and random things that happen to them."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.graphoracle import HOST, Picture, Place, Seen, expected_graph, namespaces_of, seen_graph
from support.hublab import Hub, now_us
from support.netlab import Net, until

SETTLED_SECONDS = 20.0
"""Far more than the graph needs: the kernel itself takes a second to tell that a carrier came."""


_QUIET_SECONDS = 1.0
_SHOWN = 20
_TABLES = frozenset({"FDB", "Neighbors", "NetConf", "RoutingTables", "Rules"})
_ETHTOOL = frozenset(
    {"AutoNeg", "Channels", "Driver", "DriverVersion", "Duplex", "Features", "LinkDetected", "Port", "Rings", "Speed"}
)
_LATER = _TABLES | _ETHTOOL
"""Keys that are asked for when a link changed, and follow it a little later."""


@dataclass
class GraphLab:
    """What a test has of the machine: all that begins with the prefix of its ``net``, and one hub."""

    net: Net
    hub: Hub

    @property
    def prefix(self) -> str:
        return self.net.prefix

    def seen(self, at: int | None = None) -> Seen:
        """What the hub shows of it, now or at a moment."""
        return seen_graph(self.hub.graph(at), self.prefix)

    def settled(self, seconds: float = SETTLED_SECONDS) -> tuple[int, Seen]:
        """Wait until the graph is what iproute2 says; gives a moment (µs) at which it was so, and what was seen.

        The moment lies between two looks of the oracle that saw the same.
        """

        def equal() -> tuple[int, Seen]:
            expected, seen = expected_graph(self.prefix), self.seen()
            differences = expected.differences(seen.picture)
            assert not differences, f"iproute2 (here) and the graph (there) differ:\n{shortened(differences)}"
            when = now_us()
            assert expected_graph(self.prefix) == expected, "the kernel's state goes on changing"
            return when, seen

        return until(equal, seconds)

    def quiet(self, seconds: float = SETTLED_SECONDS) -> tuple[int, Seen]:
        """As ``settled``, and nothing of ours has been recorded for a second more: tables are read after links."""

        def still() -> tuple[int, Seen]:
            when, seen = self.settled(seconds)
            time.sleep(_QUIET_SECONDS)
            assert self.seen().revisions == seen.revisions, "revisions go on being made"
            return when, seen

        return until(still, seconds)

    def differences(self, begin: int, end: int) -> dict[str, dict[str, Any]]:
        """``diff`` of two moments, by ID: of what was ours at either of them, but for what follows later."""
        ours = self.seen(begin).revisions.keys() | self.seen(end).revisions.keys()
        found = {}
        for one in self.hub.diff(begin, end):
            keys = {key: values for key, values in one.get("Keys", {}).items() if key not in _LATER}
            if one["Element"]["ID"] in ours and (keys or one["Change"] != "changed"):
                found[one["Element"]["ID"]] = {**one, "Keys": keys}
        return found

    def batch(self, *lines: str) -> None:
        """Many commands of ``ip`` as fast as it can."""
        done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def remove_all(self) -> None:
        """Every namespace whose name begins with the prefix; the links on the host are removed with ``net``."""
        for name in namespaces_of(self.prefix):
            self.net.ip("netns del", name, check=False)


def shortened(lines: list[str]) -> str:
    """The first of many."""
    return "\n".join([*lines[:_SHOWN], *([f"… {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])])


@dataclass
class Step:
    """What an operation did.

    Attributes:
        words: of ``ip``, for messages.
        done: whether the kernel did it.
        moved: links that are elsewhere now: place before → namespace and name after.
        renamed: namespaces' names before → after.
    """

    words: str = ""
    done: bool = False
    moved: dict[Place, tuple[str, str]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)


class Happenings:
    """Random operations on links and namespaces, the same for the same seed and the same state.

    Args:
        net: whose prefix all names have.
        seed: of the random numbers.
    """

    def __init__(self, net: Net, seed: int) -> None:
        self._net, self._random = net, random.Random(seed)
        self._count = 0
        self._operations: list[tuple[int, Callable[[Picture], Step]]] = [
            (7, self._add_veth),
            (3, self._add_bridge),
            (3, self._add_vxlan),
            (3, self._add_macvlan),
            (1, self._add_ifb),
            (4, self._delete),
            (4, self._rename),
            (3, self._new_mac),
            (3, self._new_mtu),
            (7, self._up_or_down),
            (6, self._enslave),
            (2, self._release),
            (6, self._add_address),
            (2, self._remove_address),
            (5, self._move),
            (3, self._add_namespace),
            (2, self._delete_namespace),
            (2, self._rename_namespace),
        ]

    def step(self, picture: Picture) -> Step:
        """Do something to what is there; gives what was done."""
        weights = [weight for weight, _ in self._operations]
        for _ in range(100):
            [(_, operation)] = self._random.choices(self._operations, weights)
            step = operation(picture)
            if step.done:
                return step
        raise AssertionError("nothing can be done any more")

    # What there is to choose from

    def _name(self, letter: str) -> str:
        self._count += 1
        return self._net.name(f"{letter}{self._count}")

    def _somewhere(self, picture: Picture) -> str:
        return self._random.choice([HOST, *sorted(name for name, index in picture.nodes if index == 0)])

    def _link(self, picture: Picture, *kinds: str, where: str | None = None) -> tuple[Place, dict[str, Any]] | None:
        found = [
            (place, node)
            for place, node in sorted(picture.nodes.items())
            if place[1] and node["Type"] != "device" and (not kinds or node["Type"] in kinds)
            if where is None or place[0] == where
        ]
        return self._random.choice(found) if found else None

    def _ip(self, where: str, words: str) -> Step:
        done = subprocess.run(["ip", *(["-n", where] if where else []), *words.split()], capture_output=True)
        return Step(f"ip -n '{where}' {words}", done.returncode == 0)

    def _set(self, picture: Picture, *kinds: str, words: Callable[[dict[str, Any]], str]) -> Step:
        found = self._link(picture, *kinds)
        if found is None:
            return Step()
        (where, _), node = found
        return self._ip(where, f"link set {node['Name']} {words(node)}")

    # Links

    def _add_veth(self, picture: Picture) -> Step:
        here, there = self._somewhere(picture), self._somewhere(picture)
        target = there or str(os.getpid())
        return self._ip(here, f"link add {self._name('v')} type veth peer name {self._name('w')} netns {target}")

    def _add_bridge(self, picture: Picture) -> Step:
        return self._ip(self._somewhere(picture), f"link add {self._name('b')} type bridge")

    def _add_ifb(self, picture: Picture) -> Step:
        return self._ip(self._somewhere(picture), f"link add {self._name('i')} type ifb")

    def _add_vxlan(self, picture: Picture) -> Step:
        where, name = self._somewhere(picture), self._name("x")
        lower = self._link(picture, "veth", where=where) if self._random.random() < 0.6 else None
        device = f"dev {lower[1]['Name']} remote 10.9.9.9" if lower else ""
        return self._ip(where, f"link add {name} type vxlan id {self._count} dstport {20_000 + self._count} {device}")

    def _add_macvlan(self, picture: Picture) -> Step:
        found = self._link(picture, "veth")
        if found is None:
            return Step()
        (where, _), node = found
        target = f"netns {other}" if (other := self._somewhere(picture)) and other != where else ""
        return self._ip(where, f"link add {self._name('m')} link {node['Name']} {target} type macvlan mode bridge")

    def _delete(self, picture: Picture) -> Step:
        found = self._link(picture)
        return self._ip(found[0][0], f"link del {found[1]['Name']}") if found else Step()

    def _rename(self, picture: Picture) -> Step:
        name = self._name("r")
        return self._set(picture, words=lambda _: f"name {name}")

    def _new_mac(self, picture: Picture) -> Step:
        tail = ":".join(f"{self._random.randrange(256):02x}" for _ in range(4))
        return self._set(picture, words=lambda _: f"address 02:aa:{tail}")

    def _new_mtu(self, picture: Picture) -> Step:
        mtu = self._random.randrange(1300, 1500)
        return self._set(picture, words=lambda _: f"mtu {mtu}")

    def _up_or_down(self, picture: Picture) -> Step:
        way = "up" if self._random.random() < 0.75 else "down"
        return self._set(picture, words=lambda _: way)

    def _enslave(self, picture: Picture) -> Step:
        bridge = self._link(picture, "bridge")
        port = self._link(picture, "veth", "vxlan", "macvlan", where=bridge[0][0]) if bridge else None
        if bridge is None or port is None:
            return Step()
        return self._ip(bridge[0][0], f"link set {port[1]['Name']} master {bridge[1]['Name']}")

    def _release(self, picture: Picture) -> Step:
        ports = Picture({place: node for place, node in picture.nodes.items() if "MasterIndex" in node})
        return self._set(ports, words=lambda _: "nomaster")

    def _move(self, picture: Picture) -> Step:
        found, there = self._link(picture), self._somewhere(picture)
        if found is None or found[0][0] == there:
            return Step()
        place, node = found
        step = self._ip(place[0], f"link set {node['Name']} netns {there or os.getpid()}")
        step.moved = {place: (there, node["Name"])} if step.done else {}
        return step

    # Addresses

    def _add_address(self, picture: Picture) -> Step:
        found = self._link(picture)
        if found is None:
            return Step()
        number = self._random.randrange(1, 255)
        address = self._random.choice([f"10.7.{number}.1/24", f"10.8.0.{number}/16", f"2001:db8::{number:x}/64"])
        return self._ip(found[0][0], f"addr add {address} dev {found[1]['Name']}")

    def _remove_address(self, picture: Picture) -> Step:
        addressed = Picture({place: node for place, node in picture.nodes.items() if "IPV4" in node or "IPV6" in node})
        found = self._link(addressed)
        if found is None:
            return Step()
        addresses = [*found[1].get("IPV4", ()), *found[1].get("IPV6", ())]
        return self._ip(found[0][0], f"addr del {self._random.choice(addresses)} dev {found[1]['Name']}")

    # Namespaces

    def _namespaces(self, picture: Picture) -> list[str]:
        return sorted(name for name, index in picture.nodes if index == 0)

    def _add_namespace(self, picture: Picture) -> Step:
        if len(self._namespaces(picture)) > 6:
            return Step()
        return self._ip(HOST, f"netns add {self._name('n')}")

    def _delete_namespace(self, picture: Picture) -> Step:
        names = [name for name in self._namespaces(picture) if not name.endswith("hub")]
        return self._ip(HOST, f"netns del {self._random.choice(names)}") if len(names) > 2 else Step()

    def _rename_namespace(self, picture: Picture) -> Step:
        names = [name for name in self._namespaces(picture) if not name.endswith("hub")]
        return rename_namespace(self._random.choice(names), self._name("n")) if names else Step()


def rename_namespace(old: str, new: str) -> Step:
    """Give a namespace another name: iproute2 has no word for it."""
    source, target = (Path("/run/netns") / name for name in (old, new))
    target.touch()
    subprocess.run(["mount", "--bind", source, target], check=True)
    subprocess.run(["ip", "netns", "del", old], check=True)
    return Step(f"rename namespace {old} to {new}", done=True, renamed={old: new})


def where_now(place: Place, step: Step, now: Picture) -> Place | None:
    """Where a thing is after a step, if it is there still."""
    if place in step.moved:
        there, name = step.moved[place]
        return next((one for one, node in now.nodes.items() if one[0] == there and one[1] and node["Name"] == name), None)
    found = (step.renamed.get(place[0], place[0]), place[1])
    return found if found in now.nodes else None
