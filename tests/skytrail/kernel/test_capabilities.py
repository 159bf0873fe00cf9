"""The thread that has more than the others while a process starts. In a process of its own: what is given up is gone."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
from threading import current_thread
from skytrail.kernel.capabilities import Starter, effective, while_starting

starter = Starter(effective(), ())
name = lambda: current_thread().name
print(while_starting(name)(), starter.run(lambda: starter.run(name)))
starter.end()
print(while_starting(name)(), starter.run(name))
"""


def test_who_comes_as_it_ends_does_not_wait_for_ever() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines() == ["starter starter", "MainThread MainThread"], done.stderr
