"""Checks a fault of the laboratory by ordinary tools: it works before, suffers meanwhile, works after, nothing is left."""

from __future__ import annotations

import re
from collections.abc import Callable

from skytrail.lab.breaks.breaking import Answer, break_it, mend
from skytrail.lab.breaks.fault import Exchange, Fault
from skytrail.lab.breaks.kinds import choose
from skytrail.lab.places import run
from skytrail.lab.plan import Place, Plan
from skytrail.lab.state import Lab
from skytrail.lab.traffic import LARGE, ask
from support.netlab import until

_STATE = """
nft list ruleset; ip route; ip -6 route; tc qdisc | sed 's/ [0-9a-f]*: / /'
ip -o -d link | sed 's/^[0-9]*: //' | grep -o -e '^[^@:]*' -e 'mtu [0-9]*' -e 'vxlan id [0-9]*' -e 'master [^ ]*'
bridge fdb show | grep 00:00:00:00:00:00 | sort; sysctl -a -r '\\.rp_filter'
! pidof ovs-vswitchd >/dev/null || ovs-vsctl --columns=name,tag list port | sort
ss -Hltun | awk '{print $1, $2, $5}' | sort
"""
_TRIES = 40


def state(lab: Lab, plan: Plan, node: str) -> str:
    """All that faults change on a node and in its workloads."""
    places = [Place(node), *(one.place for one in plan.workloads if one.node == node and one.netns)]
    return "\n".join(f"-- {place}\n{_lines(run(lab, place, ['sh', '-c', _STATE])[1])}" for place in places)


def _lines(text: str) -> str:
    """``ip -d link`` says things in an order of its own when a device was made anew."""
    return "\n".join(sorted(text.splitlines()))


def works(lab: Lab, plan: Plan, exchange: Exchange, size: int | None) -> bool:
    """Whether a question is answered."""
    return ask(lab, plan, exchange, size) == 1


def counted(lab: Lab, fault: Fault) -> int:
    """Packets that the fault's own rule has dropped."""
    _, said = run(lab, fault.place, ["nft", "list", "ruleset"])
    found = re.findall(r"numgen random mod 100 < \d+ counter packets (\d+)", said)
    assert len(found) == 1, said
    return int(found[0])


def suffers(lab: Lab, plan: Plan, fault: Fault) -> None:
    """The victim suffers as it should."""
    if fault.effect == "dead":
        assert not works(lab, plan, fault.victim, None), fault
    elif fault.effect == "large":
        assert not works(lab, plan, fault.victim, LARGE[fault.victim.proto]), fault
        assert works(lab, plan, fault.victim, None), fault
    else:
        answered = asked = 0
        while not (counted(lab, fault) and answered):
            assert asked < _TRIES, (answered, fault)
            answered, asked = answered + ask(lab, plan, fault.victim, None), asked + 1


def check_fault(lab: Lab, plan: Plan, kind: str, seed: int, meanwhile: Callable[[Fault], None] = lambda _: None) -> Answer:
    """Break, look, mend, look; gives what was broken. ``meanwhile`` is called while it is."""
    fault = choose(plan, kind, seed)
    size = LARGE[fault.victim.proto] if fault.effect == "large" else None
    until(lambda: works(lab, plan, fault.victim, size), 10)
    before = state(lab, plan, fault.place.node)
    answer = break_it(lab, plan, kind, seed)
    try:
        suffers(lab, plan, fault)
        assert works(lab, plan, answer.control, size), answer
        meanwhile(fault)
    finally:
        mend(lab)
    until(lambda: works(lab, plan, fault.victim, size), 10)
    assert state(lab, plan, fault.place.node) == before, fault
    return answer
