"""Links and namespaces of a host that come, change and go all the time; what was done is remembered.

No name is given twice, so that an element is known by its names, whoever tells of it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from skytrail.lab.plan import Place
from skytrail.lab.state import Lab
from support.chaos.shell import Shell

_MOST_LINKS, _MOST_NAMESPACES = 12, 3
Span = tuple[int, int]
"""Before and after a command; ns since the epoch."""


@dataclass
class Element:
    """What a script made.

    Attributes:
        kind: ``netns``, or a link's.
        names: in order.
        where: name of its namespace; empty: the host's own.
        made: when.
        removed: when; None: it is there.
        partner: the other end of a pair.
        ported: it may be a bridge's port; of a pair only one end ever is, so that packets do not run in circles.
    """

    kind: str
    names: list[str]
    where: str
    made: Span
    removed: Span | None = None
    partner: Element | None = field(default=None, repr=False)
    ported: bool = False

    @property
    def name(self) -> str:
        return self.names[-1]


class Churn:
    """Of one host, on a thread of its own.

    Args:
        lab: where.
        node: its host.
        seed: what is done, though not when, follows from it.
        rate: commands a second, about.
    """

    def __init__(self, lab: Lab, node: str, seed: int, rate: float) -> None:
        self.node, self._rate = node, rate
        self._shell = Shell(lab, Place(node))
        self._random = random.Random(f"{seed} {node}")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._count = 0
        self.commands = 0
        self.failure: Exception | None = None
        self.elements: list[Element] = []
        self._operations: list[tuple[int, Callable[[], bool]]] = [
            (6, self._add_veth),
            (3, self._add_bridge),
            (3, self._add_ifb),
            (3, self._add_vxlan),
            (6, self._delete),
            (4, self._rename),
            (3, self._mtu),
            (8, self._up_or_down),
            (5, self._enslave),
            (6, self._address),
            (4, self._move),
            (2, self._add_namespace),
            (1, self._delete_namespace),
        ]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Change no more; what is there stays. Raises RuntimeError: a command failed."""
        self._stopping.set()
        self._thread.join()
        self._shell.close()
        if self.failure:
            raise self.failure

    def _run(self) -> None:
        weights = [weight for weight, _ in self._operations]
        try:
            while not self._stopping.wait(self._random.expovariate(self._rate)):
                while not self._random.choices(self._operations, weights)[0][1]():
                    pass
                self.commands += 1
        except Exception as error:  # noqa: BLE001 - told by stop()
            self.failure = error

    # What there is to choose from

    def _name(self, letter: str) -> str:
        self._count += 1
        return f"{self.node}{letter}{self._count}"

    def _there(self, *kinds: str, where: str | None = None) -> list[Element]:
        found = [one for one in self.elements if one.removed is None and one.kind in kinds]
        return found if where is None else [one for one in found if one.where == where]

    def _links(self, where: str | None = None) -> list[Element]:
        return self._there("veth", "bridge", "ifb", "vxlan", where=where)

    def _somewhere(self) -> str:
        return self._random.choice(["", *(one.name for one in self._there("netns"))])

    def _ip(self, where: str, words: str) -> Span:
        before = time.time_ns()
        self._shell.do(f"ip {f'-n {where} ' if where else ''}{words}")
        return before, time.time_ns()

    # Operations: whether they were possible

    def _add(self, kind: str, words: Callable[[str], str]) -> bool:
        if len(self._links()) >= _MOST_LINKS:
            return False
        where, name = self._somewhere(), self._name(kind[0])
        self.elements.append(Element(kind, [name], where, self._ip(where, f"link add {name} type {kind} {words(name)}")))
        return True

    def _add_veth(self) -> bool:
        if len(self._links()) >= _MOST_LINKS - 1:
            return False
        here, there = self._somewhere(), self._somewhere()
        first, second = self._name("v"), self._name("w")
        netns = f" netns {there or 1}" if here != there else ""
        made = self._ip(here, f"link add {first} type veth peer name {second}{netns}")
        pair = Element("veth", [first], here, made), Element("veth", [second], there, made)
        pair[0].partner, pair[1].partner = pair[1], pair[0]
        self.elements += pair
        return True

    def _add_bridge(self) -> bool:
        return self._add("bridge", lambda _: "")

    def _add_ifb(self) -> bool:
        return self._add("ifb", lambda _: "")

    def _add_vxlan(self) -> bool:
        return self._add("vxlan", lambda _: f"id {self._count} dstport {20_000 + self._count % 20_000}")

    def _delete(self) -> bool:
        if len(links := self._links()) < _MOST_LINKS // 3:
            return False
        one = self._random.choice(links)
        self._gone([one], self._ip(one.where, f"link del {one.name}"))
        return True

    @staticmethod
    def _gone(elements: list[Element], when: Span) -> None:
        for one in elements:
            for of_pair in (one, one.partner):
                if of_pair is not None and of_pair.removed is None:
                    of_pair.removed = when

    def _set(self, words: Callable[[Element], str]) -> Element | None:
        if not (links := self._links()):
            return None
        one = self._random.choice(links)
        self._ip(one.where, f"link set {one.name} {words(one)}")
        return one

    def _rename(self) -> bool:
        name = self._name("r")
        one = self._set(lambda _: f"name {name}")
        if one is not None:
            one.names.append(name)
        return one is not None

    def _mtu(self) -> bool:
        return self._set(lambda _: f"mtu {self._random.randrange(1300, 1500)}") is not None

    def _up_or_down(self) -> bool:
        return self._set(lambda _: "up" if self._random.random() < 0.6 else "down") is not None

    def _enslave(self) -> bool:
        bridges = self._there("bridge")
        if not bridges:
            return False
        bridge = self._random.choice(bridges)
        ports = [one for one in self._there("veth", "vxlan", where=bridge.where) if not (one.partner and one.partner.ported)]
        if not ports:
            return False
        port = self._random.choice(ports)
        port.ported = True
        way = f"master {bridge.name}" if self._random.random() < 0.7 else "nomaster"
        self._ip(bridge.where, f"link set {port.name} {way}")
        return True

    def _address(self) -> bool:
        if not (links := self._links()):
            return False
        one, number = self._random.choice(links), self._random.randrange(1, 250)
        address = self._random.choice([f"10.7.{number}.1/24", f"10.8.0.{number}/16", f"2001:db8:7::{number:x}/64"])
        self._ip(one.where, f"addr replace {address} dev {one.name}")
        return True

    def _move(self) -> bool:
        links = self._there("veth", "ifb")  # a vxlan goes with the namespace that it was made in, wherever it is
        if not links:
            return False
        one, there = self._random.choice(links), self._somewhere()
        if one.where == there:
            return False
        self._ip(one.where, f"link set {one.name} netns {there or 1}")
        one.where = there
        return True

    def _add_namespace(self) -> bool:
        if len(self._there("netns")) >= _MOST_NAMESPACES:
            return False
        name = self._name("n")
        self.elements.append(Element("netns", [name], "", self._ip("", f"netns add {name}")))
        return True

    def _delete_namespace(self) -> bool:
        namespaces = self._there("netns")
        if len(namespaces) < 2:
            return False
        one = self._random.choice(namespaces)
        when = self._ip("", f"netns del {one.name}")
        one.removed = when
        self._gone(self._links(one.name), when)
        return True
