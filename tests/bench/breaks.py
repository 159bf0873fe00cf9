"""Every kind of fault with every seed, in a fabric: ``PYTHONPATH=.:tests python tests/bench/breaks.py [KIND…]``."""

from __future__ import annotations

import sys
import time

from support.breaking import check_fault

from skytrail.errors import RunError
from skytrail.lab.breaks.kinds import KINDS
from skytrail.lab.build import build, plan_of, remove
from skytrail.lab.state import locked

_NAME = "breaks"
_SEEDS = range(20)


def main(kinds: list[str]) -> int:
    """Say how each went; 1 if one did not go as it should."""
    with locked(_NAME) as lock:
        lab = build(_NAME, "fabric", lock, print)
    plan, wrong = plan_of(lab), 0
    try:
        for kind in kinds or KINDS:
            for seed in _SEEDS:
                begun = time.monotonic()
                try:
                    fault = check_fault(lab, plan, kind, seed).fault
                except (AssertionError, RunError) as error:
                    wrong += 1
                    print(f"WRONG {kind} {seed}: {' '.join(str(error).split())[:1500]}")
                else:
                    victim = fault.victim
                    whom = f"{victim.source}→{victim.destination} {victim.proto} IPv{victim.family} {fault.direction}"
                    print(
                        f"{kind} {seed:2} {time.monotonic() - begun:5.1f} s {fault.place!s:10} {whom}: {fault.why}", flush=True
                    )
    finally:
        with locked(_NAME):
            remove(_NAME)
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
