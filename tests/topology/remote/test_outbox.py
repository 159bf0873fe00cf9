"""What waits for a hub: in order, on disk, bounded."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from topology.facts import NodeFact, Report, Source
from topology.held import collapse
from topology.remote.codec import decode_report, encode_report
from topology.remote.outbox import Clocks, Outbox
from topology.store.interface import StoreError

SOURCE = Source("netlink", "host", tid="host/1")
MUCH = 1 << 30
CLOCKS = Clocks.of_machine("boot")


def report(number: int, name: str = "a", size: int = 0) -> Report:
    return Report(SOURCE, number, (NodeFact(name, {"Name": name, "n": number, "x": "x" * size}),))


def waiting(outbox: Outbox) -> list[Report]:
    return [decode_report(one.data) for one in outbox.after(0, MUCH, 0)]


def test_reports_wait_in_their_order_until_they_are_taken(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", MUCH, CLOCKS)
    for number in range(1, 6):
        outbox.put(report(number))
    assert waiting(outbox) == [report(number) for number in range(1, 6)]
    assert [one.number for one in outbox.after(2, 1, 0)] == [3]  # one at least
    outbox.taken(3)
    assert [one.observed for one in waiting(outbox)] == [4, 5]
    assert outbox.waiting == 2
    outbox.taken(5)
    assert (outbox.waiting, outbox.size) == (0, 0)
    outbox.put(report(6))
    assert [one.number for one in outbox.after(0, MUCH, 0)] == [6]  # a number is not given twice
    outbox.close()


def test_they_wait_still_after_a_restart_under_the_same_name(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "outbox", MUCH, CLOCKS)
    first.put(report(1))
    first.put(report(2))
    first.taken(1)
    first.close()
    second = Outbox(tmp_path / "outbox", MUCH, CLOCKS)
    assert (second.name, second.waiting, [one.observed for one in waiting(second)]) == (first.name, 1, [2])
    assert Outbox(tmp_path / "another", MUCH, CLOCKS).name != first.name


KILLED = """
import sys
from pathlib import Path
from topology.facts import NodeFact, Report, Source
from topology.remote.outbox import Clocks, Outbox
outbox = Outbox(Path(sys.argv[1]), 1 << 30, Clocks.of_machine("b"))
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
    found = [one.observed for one in waiting(Outbox(tmp_path / "outbox", MUCH, CLOCKS))]
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= last - 1  # the last line may be cut


def test_beyond_its_bound_each_sources_reports_become_one(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", 20_000, CLOCKS)
    said = [report(number, "ab"[number % 2], 100) for number in range(1, 1000)]
    for one in said:
        outbox.put(one)
        assert outbox.size <= 20_000 + 300
    assert outbox.collapsed > 500
    assert collapse(waiting(outbox)) == collapse(said)
    assert outbox.waiting == len(waiting(outbox))
    numbers = [one.number for one in outbox.after(0, MUCH, 0)]
    assert numbers == sorted(set(numbers))
    outbox.close()


def test_what_is_now_is_kept_though_it_is_more_than_the_bound(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", 1000, CLOCKS)
    said = [report(number, f"n{number}", 500) for number in range(1, 50)]
    for one in said:
        outbox.put(one)
    assert {fact.id for one in waiting(outbox) for fact in one.facts} == {one.facts[0].id for one in said}


def test_who_waits_is_told_at_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", MUCH, CLOCKS)
    began = time.monotonic()
    threading.Timer(0.1, outbox.put, [report(1)]).start()
    assert [one.number for one in outbox.after(0, MUCH, 30)] == [1]
    threading.Timer(0.1, outbox.close).start()
    assert outbox.after(1, MUCH, 30) == []
    assert time.monotonic() - began < 20


class Watch:
    """Clocks that stand still until a test moves or sets them."""

    def __init__(self, boot: str = "boot", now: int = 10**15, steady: int = 10**9) -> None:
        self.now, self.steady = now, steady
        self.clocks = Clocks(lambda: self.now, lambda: self.steady, boot)

    def later(self, by: int) -> None:
        self.now += by
        self.steady += by


def shifts(outbox: Outbox) -> list[int]:
    return [one.shift for one in outbox.after(0, MUCH, 0)]


def test_by_how_much_the_clock_was_set_since_is_known_also_after_a_restart_but_not_after_a_boot(tmp_path: Path) -> None:
    watch = Watch()
    outbox = Outbox(tmp_path / "outbox", MUCH, watch.clocks)
    outbox.put(report(1))
    watch.later(3_600_000_000)
    watch.now += 9_999  # clocks that are not read at once
    assert shifts(outbox) == [0]
    watch.now += 1_800_000_000
    outbox.put(report(2))
    watch.now -= 60_000_000
    assert shifts(outbox) == [1_740_009_999, -60_000_000]
    outbox.close()
    outbox = Outbox(tmp_path / "outbox", MUCH, watch.clocks)
    assert shifts(outbox) == [1_740_009_999, -60_000_000]
    outbox.close()
    rebooted = Watch("another", now=watch.now + 10**7, steady=5)
    outbox = Outbox(tmp_path / "outbox", MUCH, rebooted.clocks)
    outbox.put(report(3))
    rebooted.now += 5_000_000
    assert shifts(outbox) == [0, 0, 5_000_000]
    outbox.close()


def test_what_becomes_one_report_has_its_time_by_the_clock_as_it_is_then(tmp_path: Path) -> None:
    watch = Watch()
    outbox = Outbox(tmp_path / "outbox", 2000, watch.clocks)
    outbox.put(report(10**15, "a", 1500))
    watch.now += 60_000_000
    outbox.put(report(10**15 + 70_000_000, "a", 1500))
    assert outbox.collapsed == 1
    watch.now += 1_000_000
    assert [(decode_report(one.data).observed, one.shift) for one in outbox.after(0, MUCH, 0)] == [
        (10**15 + 70_000_000, 1_000_000)
    ]
    outbox.close()


def test_connections_are_counted_also_over_restarts(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", MUCH, CLOCKS)
    assert [outbox.connect(), outbox.connect()] == [1, 2]
    outbox.close()
    assert Outbox(tmp_path / "outbox", MUCH, CLOCKS).connect() == 3


OF_VERSION_0 = """
CREATE TABLE outbox (name TEXT NOT NULL);
CREATE TABLE waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, report BLOB NOT NULL);
INSERT INTO outbox VALUES ('kept');
"""


def test_what_an_earlier_release_left_is_taken_over(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "outbox")
    database.executescript(OF_VERSION_0)
    database.execute("INSERT INTO waiting VALUES (7, ?)", (encode_report(report(7)),))
    database.commit()
    database.close()
    outbox = Outbox(tmp_path / "outbox", MUCH, CLOCKS)
    outbox.put(report(8))
    assert (outbox.name, waiting(outbox), shifts(outbox)) == ("kept", [report(7), report(8)], [0, 0])
    first, second = (one.number for one in outbox.after(0, MUCH, 0))
    assert first == 7 < second
    outbox.close()


def test_what_the_power_took_away_costs_nothing_that_comes_after_it(tmp_path: Path) -> None:
    """A hub has taken what is not on the disk any more: its numbers, and that of the connection, are not given once more."""
    outbox = Outbox(tmp_path / "before" / "outbox", MUCH, Watch("boot").clocks)
    outbox.put(report(1))
    shutil.copytree(tmp_path / "before", tmp_path / "after")  # what had reached the disk
    for number in range(2, 33):
        outbox.put(report(number))
    connection = outbox.connect()
    taken = outbox.after(0, MUCH, 0)[-1].number
    outbox.close()
    again = Outbox(tmp_path / "after" / "outbox", MUCH, Watch("next").clocks)
    again.put(report(100))
    assert again.name == outbox.name
    again.taken(taken)  # as the hub greets
    assert [one.observed for one in waiting(again)] == [100]
    assert again.connect() > connection
    again.close()


def test_numbers_after_a_boot_are_others_though_nothing_had_a_number_before(tmp_path: Path) -> None:
    Outbox(tmp_path / "outbox", MUCH, Watch("boot").clocks).close()
    outbox = Outbox(tmp_path / "outbox", MUCH, Watch("next").clocks)
    outbox.put(report(1))
    outbox.taken(1 << 20)
    assert outbox.waiting == 1
    outbox.close()


def test_a_number_that_no_report_has_is_an_error_of_its_own(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", MUCH, CLOCKS)
    with pytest.raises(StoreError, match="too large"):
        outbox.taken((1 << 64) - 1)
    outbox.close()


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"cannot use the outbox .*outbox: file is not a database"):
        Outbox(tmp_path / "outbox", MUCH, CLOCKS)
