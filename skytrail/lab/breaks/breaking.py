"""Breaks a laboratory, and mends it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from skytrail.errors import RunError
from skytrail.lab.breaks.fault import Exchange, Fault, control
from skytrail.lab.breaks.kinds import choose
from skytrail.lab.places import run_commands
from skytrail.lab.plan import Plan
from skytrail.lab.state import Lab


class Answer(msgspec.Struct, frozen=True):
    """What was broken: written for those who look at it, never read by Skytrail.

    Attributes:
        seed: that it was chosen by.
        fault: what was done.
        control: an exchange that works meanwhile.
    """

    seed: int
    fault: Fault
    control: Exchange


def _file(lab: Lab) -> Path:
    return lab.folder / "break.json"


def broken(lab: Lab) -> Answer | None:
    """What is broken; None: nothing."""
    try:
        return msgspec.json.decode(_file(lab).read_bytes(), type=Answer)
    except FileNotFoundError:
        return None


def break_it(lab: Lab, plan: Plan, kind: str, seed: int) -> Answer:
    """Make the fault of a kind that a seed stands for.

    Raises:
        UsageError: this laboratory has no such faults.
        RunError: something is broken already, or cannot be.
    """
    if (before := broken(lab)) is not None:
        raise RunError(f"laboratory {lab.name!r} is broken already ({before.fault.kind}): 'skytrail lab mend' first")
    fault = choose(plan, kind, seed)
    answer = Answer(seed, fault, control(plan, fault))
    _file(lab).write_bytes(msgspec.json.encode(answer))  # first: what is half broken can be mended too
    run_commands(lab, fault.do)
    return answer


def mend(lab: Lab) -> Answer | None:
    """Undo what was broken; None: nothing was.

    Raises:
        RunError: something of it could not be undone, as where it was broken only in part. It is not tried again.
    """
    answer = broken(lab)
    if answer is None:
        return None
    failures = []
    for command in answer.fault.undo:
        try:
            run_commands(lab, [command])
        except RunError as error:
            failures.append(str(error))
    _file(lab).unlink()
    if failures:
        raise RunError(f"{'; '.join(failures)}: if that was not broken all is well, else 'skytrail lab down' and 'lab up'")
    return answer


def truth(answer: Answer) -> dict[str, object]:
    """All of it as JSON shows it."""
    fault, victim = answer.fault, answer.fault.victim
    return {
        "kind": fault.kind,
        "seed": answer.seed,
        "host": fault.place.node,
        "namespace": fault.place.netns,
        "interface": fault.interface,
        "direction": fault.direction,
        "effect": fault.effect,
        "why": fault.why,
        "source": victim.source,
        "destination": victim.destination,
        "protocol": victim.proto,
        "port": victim.port,
        "family": victim.family,
        "works": {"source": answer.control.source, "destination": answer.control.destination},
        "commands": [f"{command.place}: {command.line}" for command in fault.do],
    }
