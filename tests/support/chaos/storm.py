"""Faults one after the other, some two at once, while the network changes and traffic runs; then quiet, and what is left."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from support.chaos import graphs, history, totals
from support.chaos.churn import Churn
from support.chaos.faults import KINDS, OF_JANUSGRAPH, Begun, sequence
from support.chaos.laboratory import NODES, Chaos
from support.chaos.talk import Talk
from support.netlab import until

_TOGETHER = 0.3  # of all faults, those during which another one is there, too
_AGENT_RSS, _HUB_RSS = 250 << 20, 350 << 20
_TOLD_SECONDS = 90.0


@dataclass(frozen=True)
class Storm:
    """What is to happen.

    Attributes:
        faults: how many.
        seed: of all that is random.
        lasts: seconds of a fault, at least and at most.
        pause: seconds after one, at most.
        churn: changes of the network a second and host.
        rate: packets a second of a conversation.
    """

    faults: int
    seed: int
    lasts: tuple[float, float] = (0.5, 3.5)
    pause: float = 1.0
    churn: float = 3.0
    rate: float = 20.0


@dataclass
class Outcome:
    """What was seen, and what is wrong, a line each."""

    kinds: Counter[str]
    seen: list[str]
    wrong: dict[str, list[str]]


def weather(chaos: Chaos, storm: Storm, say: Callable[[str], None]) -> Outcome:
    """Let it happen, and judge."""
    churns = [Churn(chaos.lab, node, storm.seed, storm.churn) for node in NODES]
    talk = Talk(chaos.lab, chaos.plan, storm.rate, 6.0)
    try:
        for one in churns:
            one.start()
        kinds = _happen(chaos, storm, say)
    finally:
        stopping: list[Callable[[], object]] = [one.stop for one in churns]
        for stop in stopping:
            stop()
        conversations = talk.stop()
    begun = time.monotonic()
    until(lambda: _told(chaos), _TOLD_SECONDS, 0.2)
    wrong = {"graph": graphs.wrong(chaos)}
    settled = time.monotonic() - begun
    for counted in chaos.counters.values():
        counted.stop()
    wrong["totals"], of_totals = totals.wrong(chaos, conversations)
    wrong["processes"], of_processes = _processes(chaos)
    for part in chaos.parts:
        part.stop()
    wrong["left in the kernel"] = graphs.left(chaos)
    wrong["history"], of_history = history.wrong(chaos, churns)
    changes = sum(one.commands for one in churns)
    seen = [f"{changes} changes of the network; all told {settled:.1f} s after the last", of_totals, of_history, of_processes]
    return Outcome(kinds, seen, wrong)


def _happen(chaos: Chaos, storm: Storm, say: Callable[[str], None]) -> Counter[str]:
    rng = random.Random(storm.seed)
    kinds = sequence(chaos, storm.faults, rng)
    table = {**KINDS, **OF_JANUSGRAPH}
    began, number = time.monotonic(), 0
    while number < len(kinds):
        now = [kinds[number]]
        if not table[now[0]].whole and number + 1 < len(kinds) and rng.random() < _TOGETHER:
            now += [kinds[number + 1]] if not table[kinds[number + 1]].whole else []
        taken: set[str] = set()
        begun: list[Begun] = []
        for kind in now:
            targets = [one for one in table[kind].targets(chaos) if one not in taken]
            if not targets:
                now.remove(kind)
                break
            target = rng.choice(targets)
            taken.add(target)
            begun.append(table[kind].begin(chaos, target, rng))
            say(f"{number + len(begun):3} {time.monotonic() - began:6.1f} s {kind:13} {begun[-1].what}")
        time.sleep(rng.uniform(*storm.lasts))
        for one in rng.sample(begun, len(begun)):
            one.undo()
        chaos.check()
        time.sleep(rng.uniform(0, storm.pause))
        number += len(begun)
    return Counter(kinds)


def _told(chaos: Chaos) -> bool:
    """Whether no agent has anything left to tell, to a hub that is well."""
    chaos.check()
    for node in NODES:
        with _as_assertion(f"agent of {node}"):
            status, _ = chaos.ask(node, "/api/status")
            assert status["hub"]["waiting"] == 0 and status["hub"]["failure"] is None, (node, status["hub"])  # noqa: PT018
    for hub in chaos.hubs:
        with _as_assertion(hub.part.name):
            hub.get("/readyz")
    return True


@contextlib.contextmanager
def _as_assertion(who: str) -> Iterator[None]:
    """For a wait: it may answer later."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise AssertionError(f"{who}: {error}") from error


def _processes(chaos: Chaos) -> tuple[list[str], str]:
    sizes = {part.name: part.rss() for part in chaos.parts}
    agents = {part.name for part in chaos.agents.values()}
    wrong = [
        f"{name} takes {size >> 20} MiB" for name, size in sizes.items() if size > (_AGENT_RSS if name in agents else _HUB_RSS)
    ]
    for part in chaos.parts:
        log = part.log.read_text(errors="replace")
        wrong += [f"{part.name}: {line}" for line in log.splitlines() if "Traceback" in line][:5]
    return wrong, "; ".join(f"{name} {size >> 20} MiB" for name, size in sizes.items())
