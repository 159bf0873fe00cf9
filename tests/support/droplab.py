"""What the tests of drops share: counts of one namespace, and the kernel's own counters to hold against them."""

from __future__ import annotations

import json
from collections import Counter
from ipaddress import ip_address
from typing import NamedTuple

from exporters.bpf import drops
from exporters.bpf.drops import DropPrograms
from exporters.drops.reasons import Reasons
from skytrail.kernel.worker import current_cookie
from support.netlab import End, Net, in_netns

TCP_KINDS = {
    drops.RETRANSMIT: "retransmit",
    drops.SYN_AGAIN: "SYN again",
    drops.SYN_ACK_AGAIN: "SYN-ACK again",
    drops.RESET_SENT: "reset sent",
    drops.RESET_RECEIVED: "reset received",
}


class Conversation(NamedTuple):
    """Endpoints in the order of the key, and how often it happened from the first to the second, and back."""

    what: str
    proto: int
    first: tuple[str, int]
    second: tuple[str, int]
    packets: tuple[int, int]


class Drops:
    """The programs, and the sum of all that they have told."""

    def __init__(self) -> None:
        self.reasons = Reasons.of_kernel()
        self.programs = DropPrograms(self.reasons.ends())
        self._places: Counter[tuple[int, int, str]] = Counter()
        self._flows: dict[int, Counter[tuple[str, int, tuple[str, int], tuple[str, int], int]]] = {}

    def what(self, kind: int, reason: int) -> str:
        """What happened, in words: a reason's name, or a kind."""
        return self.reasons.drop(reason) if kind == drops.PACKET else TCP_KINDS[kind]

    def read(self) -> None:
        """Take in what has come."""
        reading = self.programs.read()
        for place, count in zip(reading.places, reading.counts.tolist(), strict=True):
            key = (int(place["netns"]), int(place["ifindex"]), self.what(int(place["kind"]), int(place["reason"])))
            self._places[key] += count
        for key, flow in zip(reading.keys, reading.flows, strict=True):
            width = 4 if key["family"] == 4 else 16
            first, second = ((str(ip_address(key["addr"][i, :width].tobytes())), int(key["port"][i])) for i in (0, 1))
            into = self._flows.setdefault(int(key["netns"]), Counter())
            for way in (0, 1):
                what = self.what(int(key["kind"]), int(key["reason"]))
                into[what, int(key["proto"]), first, second, way] += int(flow["packets"][way])

    def forget(self) -> None:
        """Begin anew."""
        self.read()
        self._places.clear()
        self._flows.clear()

    def at(self, netns: str, ifindex: int | None = None) -> dict[str, int]:
        """What happened in a namespace (at one device), and how often; after a reading."""
        self.read()
        cookie = cookie_of(netns)
        found: Counter[str] = Counter()
        for (where, device, what), count in self._places.items():
            if where == cookie and ifindex in (None, device):
                found[what] += count
        return dict(found)

    def flows(self, netns: str) -> list[Conversation]:
        """The conversations of a namespace; after a reading."""
        self.read()
        into = self._flows.get(cookie_of(netns), Counter())
        found = {key[:4] for key in into}
        return sorted(Conversation(*key, (into[*key, 0], into[*key, 1])) for key in found)

    def close(self) -> None:
        """Detach."""
        self.programs.close()


def cookie_of(netns: str) -> int:
    """The cookie of a named namespace."""
    return in_netns(netns, current_cookie)


def joined(net: Net, counted: Drops, *, ipv6: bool = False) -> tuple[End, End]:
    """Two namespaces joined by a link that packets pass: before that, the first ones die in its queue, which is none yet."""
    a, b = net.pair(ipv6=ipv6)
    net.ping(a.netns, b.ip4, count=1)
    counted.forget()
    return a, b


def kernel_counter(net: Net, netns: str, name: str) -> int:
    """A counter of the kernel's, since the namespace was made, by nstat."""
    return int(json.loads(net.run(netns, "nstat", "-j", "-a", "-s", "-z", name))["kernel"][name])


def nft_drop(net: Net, netns: str, rule: str, hook: str = "input", verdict: str = "drop") -> None:
    """Drop (or only count) what a rule of nftables says, and count it."""
    text = f"""table inet t{hook} {{
        counter n {{ }}
        chain c {{
            type filter hook {hook} priority 0
            {rule} counter name n {verdict}
        }}
    }}
    """
    net.run(netns, "nft", "-f", "-", stdin=text)


def nft_count(net: Net, netns: str, hook: str = "input") -> int:
    """What its counter says."""
    found = json.loads(net.run(netns, "nft", "-j", "list", "counter", "inet", f"t{hook}", "n"))
    return next(int(item["counter"]["packets"]) for item in found["nftables"] if "counter" in item)
