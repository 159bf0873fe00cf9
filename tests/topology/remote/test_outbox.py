"""What waits for a hub: in order, on disk, bounded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from topology.facts import NodeFact, Report, Source
from topology.held import collapse
from topology.remote.codec import decode_report
from topology.remote.outbox import Outbox
from topology.store.interface import StoreError

SOURCE = Source("netlink", "host", tid="host/1")
MUCH = 1 << 30


def report(number: int, name: str = "a", size: int = 0) -> Report:
    return Report(SOURCE, number, (NodeFact(name, {"Name": name, "n": number, "x": "x" * size}),))


def waiting(outbox: Outbox) -> list[Report]:
    return [decode_report(data) for _, data in outbox.after(0, MUCH, 0)]


def test_reports_wait_in_their_order_until_they_are_taken(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", MUCH)
    for number in range(1, 6):
        outbox.put(report(number))
    assert waiting(outbox) == [report(number) for number in range(1, 6)]
    assert [number for number, _ in outbox.after(2, 1, 0)] == [3]  # one at least
    outbox.taken(3)
    assert [one.observed for one in waiting(outbox)] == [4, 5]
    assert outbox.waiting == 2
    outbox.taken(5)
    assert (outbox.waiting, outbox.size) == (0, 0)
    outbox.put(report(6))
    assert [number for number, _ in outbox.after(0, MUCH, 0)] == [6]  # a number is not given twice
    outbox.close()


def test_they_wait_still_after_a_restart_under_the_same_name(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox", MUCH)
    first.put(report(1))
    first.put(report(2))
    first.taken(1)
    first.close()
    second = Outbox(tmp_path / "outbox", MUCH)
    assert (second.name, second.waiting, [one.observed for one in waiting(second)]) == (first.name, 1, [2])
    assert Outbox(tmp_path / "another", MUCH).name != first.name


KILLED = """
import sys
from pathlib import Path
from topology.facts import NodeFact, Report, Source
from topology.remote.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), 1 << 30)
number = 0
while True:
    number += 1
    outbox.put(Report(Source("netlink", "h"), number, (NodeFact("a", {"n": number}),)))
    print(number, flush=True)
"""


def test_what_was_put_survives_sigkill(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "outbox")], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for _ in range(200):
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    rest = process.communicate()[0].split()
    last = int(rest[-1]) if rest and rest[-1].isdigit() else last
    found = [one.observed for one in waiting(Outbox(tmp_path / "outbox", MUCH))]
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= last - 1  # the last line may be cut


def test_beyond_its_bound_each_sources_reports_become_one(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", 20_000)
    said = [report(number, "ab"[number % 2], 100) for number in range(1, 1000)]
    for one in said:
        outbox.put(one)
        assert outbox.size <= 20_000 + 300
    assert outbox.collapsed > 500
    assert collapse(waiting(outbox)) == collapse(said)
    assert outbox.waiting == len(waiting(outbox))
    numbers = [number for number, _ in outbox.after(0, MUCH, 0)]
    assert numbers == sorted(set(numbers))
    outbox.close()


def test_what_is_now_is_kept_though_it_is_more_than_the_bound(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", 1000)
    said = [report(number, f"n{number}", 500) for number in range(1, 50)]
    for one in said:
        outbox.put(one)
    assert {fact.id for one in waiting(outbox) for fact in one.facts} == {one.facts[0].id for one in said}


def test_who_waits_is_told_at_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", MUCH)
    began = time.monotonic()
    threading.Timer(0.1, outbox.put, [report(1)]).start()
    assert [number for number, _ in outbox.after(0, MUCH, 30)] == [1]
    threading.Timer(0.1, outbox.close).start()
    assert outbox.after(1, MUCH, 30) == []
    assert time.monotonic() - began < 20


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"cannot use the outbox .*outbox: file is not a database"):
        Outbox(tmp_path / "outbox", MUCH)
