"""The kinds of faults, and the choice of one by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

from skytrail.errors import UsageError
from skytrail.lab.breaks.fault import Fault
from skytrail.lab.breaks.paths import narrow_cables, no_routes, reverse_paths
from skytrail.lab.breaks.rules import drop_rules, losses
from skytrail.lab.breaks.segments import wrong_vlans, wrong_vnis
from skytrail.lab.breaks.servers import closed_ports, full_backlogs
from skytrail.lab.breaks.translation import no_returns
from skytrail.lab.plan import Plan

KINDS: Mapping[str, Callable[[Plan], Iterator[Fault]]] = {
    "drop-rule": drop_rules,
    "mtu": narrow_cables,
    "no-route": no_routes,
    "wrong-vlan": wrong_vlans,
    "wrong-vni": wrong_vnis,
    "closed-port": closed_ports,
    "backlog": full_backlogs,
    "rp-filter": reverse_paths,
    "one-way-loss": losses,
    "nat": no_returns,
}


def choose(plan: Plan, kind: str, seed: int) -> Fault:
    """The fault of a kind that a seed stands for: places first, so that those with few faults are as likely as others.

    Raises:
        UsageError: this laboratory has no such faults.
    """
    faults = list(KINDS[kind](plan))
    if not faults:
        able = ", ".join(name for name, possible in KINDS.items() if next(possible(plan), None) is not None)
        raise UsageError(f"a laboratory {plan.topology} has no {kind}: it can have {able}")
    chance = random.Random(f"{kind} {seed}")  # noqa: S311 - a choice that can be repeated
    place = chance.choice(sorted({fault.place for fault in faults}))
    return chance.choice([fault for fault in faults if fault.place == place])
