"""What happens to processes, to the management network, to clocks and disks; each is undone after a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from support.chaos.laboratory import NODES, Chaos, Hub, Part

HALF_AN_HOUR = 1800.0
_DROPPED = 30  # of 100 packets
_SLOW = "rate 200kbit burst 4kb latency 3s"

Undo = Callable[[], None]


@dataclass(frozen=True)
class Begun:
    """A fault that is there.

    Attributes:
        what: in words.
        undo: ends it.
    """

    what: str
    undo: Undo


Begin = Callable[[Chaos, str, random.Random], Begun]
"""Begins it at a target."""


def _again(part: Part, shift: float = 0.0) -> None:
    part.start(shift)
    part.wait_ready()


def _part(chaos: Chaos, target: str) -> Part:
    return next(part for part in chaos.parts if part.name == target)


def _kill(chaos: Chaos, target: str, _: random.Random) -> Begun:
    part = _part(chaos, target)
    part.kill()
    return Begun(f"kill -9 of {target}", lambda: _again(part))


def _stop(chaos: Chaos, target: str, _: random.Random) -> Begun:
    part = _part(chaos, target)
    part.stop()
    return Begun(f"{target} ended in order", lambda: _again(part))


def _pause(chaos: Chaos, target: str, _: random.Random) -> Begun:
    part = _part(chaos, target)
    part.pause()
    return Begun(f"{target} paused", part.resume)


def _clock(chaos: Chaos, target: str, rng: random.Random) -> Begun:
    """Across a restart, and back across another one."""
    part, shift = _part(chaos, target), rng.choice([HALF_AN_HOUR, -HALF_AN_HOUR])
    part.kill()
    _again(part, shift)

    def undo() -> None:
        part.kill()
        _again(part)

    return Begun(f"clock of {target} {shift / 60:+.0f} min", undo)


def _all_again(chaos: Chaos, _: str, rng: random.Random) -> Begun:
    parts = rng.sample(chaos.parts, len(chaos.parts))
    for part in parts:
        (part.kill if rng.random() < 0.7 else part.stop)()
    order = rng.sample(parts, len(parts))

    def undo() -> None:
        for part in order:
            part.start()
            time.sleep(rng.uniform(0, 0.5))
        for part in order:
            part.wait_ready()

    return Begun(f"all ended, started as {', '.join(part.name for part in order)}", undo)


# The management network: ports of its bridge bear the names of nodes, and "machine" is where the hubs are


def _cut(chaos: Chaos, target: str, _: random.Random) -> Begun:
    chaos.in_management(f"ip link set {target} down")
    return Begun(f"network of {target} cut", lambda: chaos.in_management(f"ip link set {target} up"))


def _lossy(chaos: Chaos, target: str, _: random.Random) -> Begun:
    loss = f"'numgen random mod 100 < {_DROPPED} drop'"
    chaos.in_node(
        target,
        "nft add table inet chaos",
        "nft add chain inet chaos in '{ type filter hook input priority 0; }'",
        "nft add chain inet chaos out '{ type filter hook output priority 0; }'",
        f"nft add rule inet chaos in iifname mgmt0 {loss}",
        f"nft add rule inet chaos out oifname mgmt0 {loss}",
    )
    return Begun(
        f"network of {target} loses {_DROPPED} % each way", lambda: chaos.in_node(target, "nft delete table inet chaos")
    )


def _slow(chaos: Chaos, target: str, _: random.Random) -> Begun:
    chaos.in_management(f"tc qdisc add dev {target} root tbf {_SLOW}")
    chaos.in_node(target, f"tc qdisc add dev mgmt0 root tbf {_SLOW}")

    def undo() -> None:
        chaos.in_management(f"tc qdisc del dev {target} root")
        chaos.in_node(target, "tc qdisc del dev mgmt0 root")

    return Begun(f"network of {target} slow", undo)


# Disks and the store


def _hub(chaos: Chaos, target: str) -> Hub:
    return next(hub for hub in chaos.hubs if hub.part.name == target.removeprefix("disk of ").removeprefix("store of "))


def _full(chaos: Chaos, target: str, _: random.Random) -> Begun:
    disk = _hub(chaos, target).disk
    disk.fill()
    return Begun(f"{target} full", disk.empty)


def _store_kill(chaos: Chaos, _: str, __: random.Random) -> Begun:
    server = chaos.server
    assert server
    server.kill()
    return Begun("kill -9 of JanusGraph", server.start)


def _store_cut(chaos: Chaos, target: str, rng: random.Random) -> Begun:
    relay = _hub(chaos, target).relay
    assert relay
    reset = rng.random() < 0.5
    relay.cut(reset=reset)
    return Begun(f"{target} cut off{', connections ended' if reset else ''}", relay.mend)


def _agents(chaos: Chaos) -> list[str]:
    return [part.name for part in chaos.agents.values()]


def _hubs(chaos: Chaos) -> list[str]:
    return [hub.part.name for hub in chaos.hubs]


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        begin: begins it.
        targets: gives what it can happen to; of faults at once each has its own.
        whole: no other fault is there meanwhile.
    """

    begin: Begin
    targets: Callable[[Chaos], list[str]]
    whole: bool = False


KINDS: Mapping[str, Kind] = {
    "hub-kill": Kind(_kill, _hubs),
    "agent-kill": Kind(_kill, _agents),
    "hub-stop": Kind(_stop, _hubs),
    "agent-stop": Kind(_stop, _agents),
    "hub-pause": Kind(_pause, _hubs),
    "agent-pause": Kind(_pause, _agents),
    "clock": Kind(_clock, _agents),
    "restarts": Kind(_all_again, lambda _: [""], whole=True),
    "network-cut": Kind(_cut, lambda _: [*NODES, "machine"]),
    "network-lossy": Kind(_lossy, lambda _: list(NODES)),
    "network-slow": Kind(_slow, lambda _: list(NODES)),
    "disk-full": Kind(_full, lambda chaos: [f"disk of {name}" for name in _hubs(chaos)], whole=True),
}
OF_JANUSGRAPH: Mapping[str, Kind] = {
    "store-kill": Kind(_store_kill, lambda _: ["store"]),
    "store-cut": Kind(_store_cut, lambda chaos: [f"store of {name}" for name in _hubs(chaos)]),
}


def sequence(chaos: Chaos, count: int, rng: random.Random) -> list[str]:
    """So many kinds: all of them, in some order, then all of them again in another one."""
    known = [*KINDS, *(OF_JANUSGRAPH if chaos.server else ())]
    found: list[str] = []
    while len(found) < count:
        found += rng.sample(known, len(known))
    return found[:count]
