"""Faults at random, and what is left: ``PYTHONPATH=.:tests python tests/bench/chaos.py --faults 100 --seed 1``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

_SHOWN = 20  # lines of each kind of what is wrong


def main() -> int:
    """Say what happened and what was seen; 1 if something is not as it should be."""
    sys.path[:] = [one for one in sys.path if one != str(Path(__file__).parent)]  # where topology is another one
    from support.chaos.laboratory import chaos
    from support.chaos.storm import Storm, weather

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=["embedded", "janusgraph"], default="embedded")
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, chaos(Path(folder), given.store) as made:
        outcome = weather(made, Storm(given.faults, given.seed), lambda text: print(text, flush=True))
    print(", ".join(f"{kind} {count}" for kind, count in sorted(outcome.kinds.items())))
    print("\n".join(outcome.seen))
    for what, lines in outcome.wrong.items():
        for line in lines[:_SHOWN]:
            print(f"WRONG {what}: {line}")
        if len(lines) > _SHOWN:
            print(f"WRONG {what}: … {len(lines) - _SHOWN} more")
    words = [
        f"{what} {'differs' if lines else 'equal' if what in ('graph', 'history', 'totals') else 'as it should be'}"
        for what, lines in outcome.wrong.items()
    ]
    print(f"{given.faults} faults, {given.store}, seed {given.seed}, {time.monotonic() - began:.0f} s: {', '.join(words)}")
    return 1 if any(outcome.wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
