"""The store of the history: bounded, joined, forgotten, damaged, killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.netlab import until

from exporters.history import store
from exporters.history.packing import Packed, Table, joined, pack
from exporters.history.store import Gap, History
from skytrail.metrics import Histogram

SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND
KIND = "counts"


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


def opened(folder: Path, clock: Clock, *, size: int = 64 << 20, age: float = 3600.0) -> History:
    """A store that writes only when it is told to."""
    made = History(folder, size, age, {KIND: {"number"}}, clock)
    made.write()
    return made


def add(history: History, numbers: Sequence[int], at: int, noise: int = 0) -> None:
    draw = np.random.default_rng(numbers[0])
    columns = {"number": np.array(numbers, np.int64), "noise": draw.integers(0, 255, (len(numbers), noise), np.uint8)}
    history.add(KIND, Table(columns, {}), at, at)


def numbers(history: History, begin: int = 0, end: int = 2**62) -> list[int]:
    with history.reading(KIND, begin, end) as tables:
        first = [number for table in tables() for number in table.column("number").tolist()]
        assert first == [number for table in tables() for number in table.column("number").tolist()]
    return first


def told(history: History) -> dict[tuple[str, ...], float | Histogram]:
    return {(family.metric.name, *labels): value for family in history.families() for labels, value in family.samples}


def test_what_waits_what_is_small_and_what_is_joined_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_LARGE", 50)
    clock = Clock()
    history = opened(tmp_path, clock)
    for number in range(100):
        clock.now += SECOND
        add(history, [number], clock.now)
        if number % 3:
            history.write()
    assert numbers(history) == list(range(100))
    assert told(history)["skytrail_history_records", KIND] == 100
    assert numbers(history, START + 99 * SECOND, START + 99 * SECOND)[-1] == 98
    history.stop()
    again = opened(tmp_path, clock)
    assert numbers(again) == list(range(100))
    with again.reading(KIND, 0, 2**62) as tables:
        assert len(list(tables())) < 60  # joined


def test_an_answer_sees_one_moment_whatever_is_written_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_LARGE", 2)
    history = opened(tmp_path, Clock())
    for number in range(5):
        add(history, [number], START + number)
    history.write()
    add(history, [5], START + 5)
    with history.reading(KIND, 0, 2**62) as tables:
        add(history, [6], START + 6)
        history.write()
        add(history, [7], START + 7)
        history.write()
        assert [number for table in tables() for number in table.column("number").tolist()] == list(range(6))
    assert numbers(history) == list(range(8))


def test_bytes_are_bounded_and_the_oldest_leave_first(tmp_path: Path) -> None:
    clock, size = Clock(), 2 << 20
    history = opened(tmp_path, clock, size=size)
    for number in range(600):
        clock.now += SECOND
        add(history, range(number * 100, number * 100 + 100), clock.now, noise=300)  # 30 kB that cannot be made smaller
        history.write()
        assert (tmp_path / "history.sqlite").stat().st_size <= size * 1.1
        assert (tmp_path / "history.sqlite-wal").stat().st_size <= 12 << 20
    kept = numbers(history)
    assert kept == list(range(kept[0], 60_000))
    assert 0.5 * size < told(history)["skytrail_history_bytes",] <= size
    assert len(kept) > 0.6 * size / 300
    forgotten = START + SECOND * (kept[0] // 100)
    assert history.since(KIND) == forgotten
    history.stop()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= size * 1.1
    assert opened(tmp_path, clock).since(KIND) == forgotten


def test_a_folder_may_be_called_anything(tmp_path: Path) -> None:
    clock = Clock()
    history = opened(tmp_path / "a%20b?c#d", clock)
    add(history, [1], clock.now)
    history.write()
    assert numbers(history) == [1]


def test_metrics_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    clock = Clock()
    history = opened(tmp_path, clock)
    add(history, [1, 2, 3], clock.now)
    history.write()
    before = told(history)
    asked: list[dict[tuple[str, ...], float | Histogram]] = []
    with history._writing:  # a disk that hangs
        add(history, [4], clock.now)
        who = threading.Thread(target=lambda: asked.append(told(history)), daemon=True)
        who.start()
        who.join(60)
    records = "skytrail_history_records", KIND
    assert (before[records], asked[0][records]) == (3, 4)
    assert asked[0]["skytrail_history_bytes",] == before["skytrail_history_bytes",]


def test_what_is_old_is_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    history = opened(tmp_path, clock, age=60)
    add(history, [1], clock.now)
    history.write()
    clock.now += 61 * SECOND
    add(history, [2], clock.now)
    history.write()
    assert numbers(history) == [2]
    assert history.since(KIND) == START


def test_what_cannot_be_written_for_long_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_MOST_WAITING", 10)
    clock = Clock()
    (tmp_path / "file").write_text("")
    history = opened(tmp_path / "file", clock)  # no folder can be there
    assert history.failure is not None
    for number in range(25):
        add(history, [number], START + number)
    assert numbers(history) == list(range(15, 25))
    assert told(history)["skytrail_history_dropped_records_total", KIND] == 15
    assert history.since(KIND) == START + 14


def test_damaged_file_is_made_anew(tmp_path: Path) -> None:
    clock = Clock()
    history = opened(tmp_path, clock)
    add(history, [1], clock.now)
    history.stop()
    file = tmp_path / "history.sqlite"
    file.write_bytes(b"nonsense" * 1000)
    again = opened(tmp_path, clock)
    add(again, [2], clock.now)
    again.write()
    assert (numbers(again), again.failure) == ([2], None)


def test_file_that_is_damaged_while_it_is_written_is_made_anew(tmp_path: Path) -> None:
    clock = Clock()
    history = opened(tmp_path, clock)
    add(history, [1], clock.now)
    history.stop()
    file = tmp_path / "history.sqlite"
    data = bytearray(file.read_bytes())
    data[2 * 4096 : 5 * 4096] = bytes(3 * 4096)  # indexes, into which nobody looks when it is opened
    file.write_bytes(data)
    clock.now += SECOND
    again = opened(tmp_path, clock)
    assert again.failure == "the history cannot be kept: database disk image is malformed"
    for number in (100, 101):
        add(again, [number], clock.now)
        again.write()
    assert (numbers(again), again.failure, again.since(KIND)) == ([100, 101], None, clock.now)


def test_what_comes_is_written_without_waiting_for_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PAUSE", 3600.0)
    history = History(tmp_path, 64 << 20, 3600.0, {KIND: {"number"}}, Clock())
    history.start()
    add(history, [1], START)
    until(lambda: history.failure is None and told(history)["skytrail_history_written_records_total", KIND] == 1)
    history.stop()


def test_gaps_between_runs_are_known_and_told_apart(tmp_path: Path) -> None:
    clock = Clock()
    history = opened(tmp_path, clock)
    clock.now += 5 * SECOND
    history.write()
    clock.now += SECOND  # killed here
    again = opened(tmp_path, clock)
    assert again.gaps == [Gap(START + 5 * SECOND, START + 6 * SECOND, stopped=False)]
    clock.now += SECOND
    again.stop()
    clock.now += 10 * SECOND
    third = opened(tmp_path, clock)
    killed, stopped = third.gaps
    assert (killed.stopped, stopped) == (False, Gap(START + 7 * SECOND, START + 17 * SECOND, stopped=True))
    assert third.gaps_within(START + 8 * SECOND, START + 9 * SECOND) == [stopped]
    assert third.gaps_within(START + 6 * SECOND + 1, START + 6 * SECOND + 2) == []
    names = ("killed", "stopped")
    assert [told(third)["skytrail_history_gap_seconds", name] for name in names] == [1.0, 10.0]


@pytest.mark.parametrize("taken_over", [False, True])
def test_a_gap_is_from_the_last_drain_of_who_was_killed_until_all_is_counted_again(tmp_path: Path, *, taken_over: bool) -> None:
    clock = Clock()
    history = opened(tmp_path, clock)
    clock.now += 5 * SECOND
    history.write()
    made = History(tmp_path, 64 << 20, 3600, {KIND: {"number"}}, clock)
    made.counted(START + 4 * SECOND)
    if taken_over:
        made.write()
    clock.now += 3 * SECOND  # it attaches
    made.start()
    try:
        assert made.gaps == [Gap(START + 4 * SECOND, START + 8 * SECOND, stopped=False)]
        clock.now += SECOND
        made.ending()
        clock.now += 2 * SECOND  # what was counted is read and written
    finally:
        made.stop()
    third = opened(tmp_path, clock)
    assert third.gaps[0] == Gap(START + 4 * SECOND, START + 8 * SECOND, stopped=False)
    assert third.gaps[1:] == [Gap(START + 9 * SECOND, START + 11 * SECOND, stopped=True)]


def test_who_ended_in_order_has_counted_to_its_end(tmp_path: Path) -> None:
    clock = Clock()
    opened(tmp_path, clock).stop()
    made = History(tmp_path, 64 << 20, 3600, {KIND: {"number"}}, clock)
    made.counted(START - SECOND)
    made.write()
    assert made.gaps == [Gap(START, START, stopped=True)]


_WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from exporters.history import store
from exporters.history.packing import Table
store._PAUSE, store._LARGE = 0.01, 40
history = store.History(Path(sys.argv[1]), 1 << 20, 3600, {"counts": {"number"}})
history.start()
number = int(sys.argv[2])
while True:
    history.add("counts", Table({"number": np.array([number])}), time.time_ns(), time.time_ns())
    print(number, time.time(), flush=True)
    number += 1
    time.sleep(0.001)
"""


def test_a_writer_that_is_killed_at_any_moment_leaves_a_whole_store(tmp_path: Path) -> None:
    draw, number = random.Random(3), 0
    kept: list[int] = []
    for _ in range(8):
        command = [sys.executable, "-c", _WRITER, tmp_path, str(number)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        written = [writer.stdout.readline()]
        time.sleep(draw.uniform(0.1, 0.6))
        writer.send_signal(signal.SIGKILL)
        killed = time.time()
        written += writer.stdout.readlines()
        writer.wait()
        written = [line for line in written if line.endswith("\n")]
        told = [int(line.split()[0]) for line in written]
        old = [int(line.split()[0]) for line in written if float(line.split()[1]) < killed - 1.0]
        history = opened(tmp_path, Clock())
        kept_before, kept = kept, numbers(history)
        history.stop()
        assert kept[: len(kept_before)] == kept_before
        new = kept[len(kept_before) :]
        assert new == list(range(told[0], told[0] + len(new)))  # nothing is missing before the last that is there
        assert set(old) <= set(new)
        number = told[-1] + 1
    assert len(kept) > 100


@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_packed_columns_are_the_same(rows: int) -> None:
    draw = np.random.default_rng(rows)
    columns: dict[str, NDArray[np.generic]] = {
        "grows": np.cumsum(draw.integers(-5, 1000, rows)).astype(np.int64),
        "large": draw.integers(0, 2**64, (rows, 2), np.uint64),
        "ports": draw.integers(0, 65535, (rows, 2)).astype(">u2"),
        "octets": draw.integers(0, 255, (rows, 2, 16), np.uint8),
        "truth": draw.integers(0, 2, rows).astype(bool),
        "same": np.full((rows, 3), 7, np.uint32),
        "code": draw.integers(0, 2, rows).astype(np.uint32),
    }
    table = Table(columns, {"code": [b'"a"', '"ß"'.encode()]})
    packed = Packed(pack(table, {"grows", "large"}))
    assert (len(packed), dict(packed.words)) == (rows, dict(table.words))
    for name, column in columns.items():
        assert packed.column(name).dtype == column.dtype
        np.testing.assert_array_equal(packed.column(name), column)


def test_joined_tables_keep_their_words() -> None:
    left = Table({"code": np.array([0, 1, 0], np.uint32)}, {"code": [b"1", b"2"]})
    right = Table({"code": np.array([1, 0], np.uint32)}, {"code": [b"3", b"2"]})
    both = joined([left, right])
    assert [both.words["code"][code] for code in both.column("code")] == [b"1", b"2", b"1", b"2", b"3"]
