"""What ``skytrail trace`` says of every kind of fault with every seed, in a fabric, and of healthy exchanges.

``PYTHONPATH=.:tests python tests/bench/traces.py [KIND…]``; with ``--seeds 0-3`` only some, ``well`` is the healthy ones.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from support.breaking import works
from support.netlab import until
from support.tracing import judge, suffer, trace_of

from skytrail.errors import RunError
from skytrail.lab.breaks.breaking import break_it, mend
from skytrail.lab.breaks.fault import exchanges
from skytrail.lab.breaks.kinds import KINDS, choose
from skytrail.lab.build import build, plan_of, remove
from skytrail.lab.plan import Plan
from skytrail.lab.state import Lab, locked, read_lab
from skytrail.lab.traffic import LARGE

_NAME = "traces"
_WELL = "well"
_HEALTHY = 50


def broken(lab: Lab, plan: Plan, kind: str, seed: int) -> bool:
    """Whether the trace of a victim is right."""
    fault, begun = choose(plan, kind, seed), time.monotonic()
    size = LARGE[fault.victim.proto] if fault.effect == "large" else None
    until(lambda: works(lab, plan, fault.victim, size), 30)
    break_it(lab, plan, kind, seed)
    try:
        suffer(lab, plan, fault)
        trace = trace_of(lab, plan, fault.victim)
    finally:
        mend(lab)
    wrong = judge(fault, trace)
    victim = fault.victim
    whom = f"{victim.source}→{victim.destination} {victim.proto} IPv{victim.family} {fault.direction}"
    verdict, took = trace["Verdict"], time.monotonic() - begun
    print(f"{'WRONG' if wrong else 'right'} {kind} {seed:2} {took:5.1f} s  {fault.place!s:10} {whom}: {fault.why}")
    print(f"      {wrong}  {verdict['Kind']}: {verdict['Text']}  {trace['TrackingID']}", flush=True)
    return not wrong


def healthy(lab: Lab, plan: Plan, seed: int) -> bool:
    """Whether a healthy exchange's trace names no fault."""
    chance = random.Random(seed)
    exchange = chance.choice(list(exchanges(plan)))
    size = chance.choice([None, LARGE[exchange.proto]])
    until(lambda: works(lab, plan, exchange, size), 30)
    trace = trace_of(lab, plan, exchange)
    verdict = trace["Verdict"]
    right = verdict["Kind"] == "well"
    whom = f"{exchange.source}→{exchange.destination} {exchange.proto} IPv{exchange.family}"
    missing = "" if right else trace["Missing"]
    print(
        f"{'right' if right else 'WRONG'} well {seed:2} {whom}: {verdict['Text']}  {trace['TrackingID']}{missing}", flush=True
    )
    return right


def main() -> int:
    """Say how each went; 1 if one did not go as it should."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=[*KINDS, _WELL])
    parser.add_argument("--seeds", default="0-19")
    parser.add_argument("--name", default=_NAME)
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    with locked(given.name) as lock:
        lab = read_lab(given.name) or build(given.name, "fabric", lock, print)
    plan, results = plan_of(lab), []
    for kind in given.kinds:
        for seed in range(int(first), int(last or first) + 1) if kind != _WELL else range(_HEALTHY):
            try:
                results.append(healthy(lab, plan, seed) if kind == _WELL else broken(lab, plan, kind, seed))
            except (AssertionError, RunError) as error:
                results.append(False)
                print(f"WRONG {kind} {seed}: {' '.join(str(error).split())[:1000]}")
    if given.name == _NAME:
        with locked(given.name):
            remove(given.name)
    print(f"{sum(results)} of {len(results)} right")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
