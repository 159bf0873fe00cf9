"""The flow table's records in a file: what a killed agent leaves, and what is nobody's to take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.flowrows import NOW, SECOND, UPTIME, points, random_rows

from exporters.flows.table import ROW, Batch, Rows, turn_window, whole
from exporters.history import rescue
from exporters.history.flows import GROWS, KIND, FlowRecorder, Kept
from exporters.history.rescue import Rescue
from exporters.history.store import History

DRAINED = 1_795_000_000_123_456_789


def filled(folder: Path) -> tuple[Rescue, Rows, Rows]:
    """One whose table has records; those, and the table."""
    made = Rescue(folder, points(), 7)
    assert made.left() is None
    rows = random_rows(50, 3)
    rows["reported"][10:20] = rows["flow"]["dir"][10:20]  # nothing new
    table = made.allocate(64)
    assert not whole(table).view(np.uint8).any()
    whole(table)[5:55] = whole(rows)
    made.drained(DRAINED)
    return made, rows, table


def killed(made: Rescue) -> None:
    """The kernel closes its files, and nothing else happens."""
    assert made._lock is not None
    os.close(made._lock)


def test_what_had_grown_is_left_as_a_last_record(tmp_path: Path) -> None:
    made, rows, table = filled(tmp_path)
    killed(made)
    found = Rescue(tmp_path, points(), 8).left()
    assert found
    run, known, batch, _, drained = found
    grown = rows[(rows["flow"]["dir"] != rows["reported"]).any(axis=1)]
    assert (run, known.all, len(table), drained) == (7, points().all, 64, DRAINED)
    assert 0 < len(grown) < 50
    assert batch.rows["id"].tolist() == grown["id"].tolist()
    assert (batch.rows["uuid"] == grown["uuid"]).all()
    assert (batch.rows["reported"] == batch.rows["flow"]["dir"]).all()
    assert (batch.rows["previous"] == grown["reported"]).all()
    assert (batch.rows["previous_at"] == grown["reported_at"]).all()
    assert batch.ended.tolist() == (grown["flow"]["ended"] > 0).tolist()


@pytest.mark.parametrize("written", [False, True])
def test_what_was_reported_but_not_written_is_kept_once(tmp_path: Path, written: bool) -> None:
    """Updates of living flows are handed on, and the process is killed before, or after, they are on disk."""
    made, rows, table = filled(tmp_path)
    reported = rows[:8].copy()
    turn_window(reported, np.full(8, NOW))
    whole(table)[5:13] = whole(reported)
    reported["flow"]["dir"]["packets"] += np.uint64(1)  # some grew on after that
    reported["flow"]["last"] = UPTIME + SECOND
    whole(table)[5:9] = whole(reported[:4])
    history = History(tmp_path / "history", 1 << 24, 3600, {KIND: GROWS}, lambda: NOW)
    FlowRecorder(history, points(), run=7).take(Batch(rows[20:30], np.ones(10, np.bool_), NOW))
    history.write()
    FlowRecorder(history, points(), run=7).take(Batch(reported, np.zeros(8, np.bool_), NOW))
    if written:
        history.write()
    killed(made)

    again = History(tmp_path / "history", 1 << 24, 3600, {KIND: GROWS}, lambda: NOW + 1)
    again.write()
    found = Rescue(tmp_path, points(), 8).left()
    assert found
    recorder = FlowRecorder(again, found.points, run=found.run)
    recorder.take_missing(found.told)
    recorder.take(found.batch)
    with again.reading(KIND, 0, 2**62) as tables:
        kept = [Kept(one) for one in tables()]
        told = [pair for one in kept for pair in zip(one("id").tolist(), one("reported_at").tolist(), strict=True)]
        counted = {
            id_: now for one in kept for id_, now in zip(one("id").tolist(), one("reported.packets").tolist(), strict=True)
        }
    assert len(set(told)) == len(told)
    assert {(id_, NOW) for id_ in reported["id"].tolist()} <= set(told)
    for row in reported[:4]:
        assert counted[int(row["id"])] == row["flow"]["dir"]["packets"].tolist()


def test_it_is_left_once(tmp_path: Path) -> None:
    made, _, _ = filled(tmp_path)
    killed(made)
    assert Rescue(tmp_path, points(), 8).left()
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}


def test_an_agent_that_stops_leaves_nothing(tmp_path: Path) -> None:
    made, _, _ = filled(tmp_path)
    made.close()
    assert Rescue(tmp_path, points(), 8).left() is None


def test_what_a_living_agent_has_is_its_own(tmp_path: Path) -> None:
    made, _, _ = filled(tmp_path)
    other = Rescue(tmp_path, points(), 8)
    assert other.left() is None
    assert len(other.allocate(3)) == 3  # in memory
    other.close()
    killed(made)
    assert Rescue(tmp_path, points(), 9).left()


def test_another_release_s_records_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = filled(tmp_path)
    killed(made)
    monkeypatch.setattr(rescue, "_LAYOUT", "another")
    assert Rescue(tmp_path, points(), 8).left() is None


def test_a_table_that_has_grown_counts_from_its_first_drain_on(tmp_path: Path) -> None:
    made, rows, _ = filled(tmp_path)
    whole(made.allocate(128))[:] = np.void(bytes(ROW.itemsize))
    killed(made)
    found = Rescue(tmp_path, points(), 8).left()
    assert found
    assert (len(found.batch.rows), found.drained) == (
        np.count_nonzero((rows["flow"]["dir"] != rows["reported"]).any(axis=1)),
        DRAINED,
    )


def test_before_the_first_flow_it_is_known_that_there_was_none(tmp_path: Path) -> None:
    made = Rescue(tmp_path, points(), 7)
    assert made.left() is None
    made.drained(DRAINED)
    killed(made)
    found = Rescue(tmp_path, points(), 8).left()
    assert found
    assert (len(found.batch.rows), found.drained) == (0, DRAINED)


@pytest.mark.parametrize("damage", [None, b"", b"1234567", bytes(8)])
def test_records_are_left_though_the_time_of_the_last_drain_is_not(tmp_path: Path, damage: bytes | None) -> None:
    made, _, _ = filled(tmp_path)
    killed(made)
    (tmp_path / "drained").unlink()
    if damage is not None:
        (tmp_path / "drained").write_bytes(damage)
    found = Rescue(tmp_path, points(), 8).left()
    assert found
    assert found.drained is None


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"run":1'])
def test_damaged_notes_are_passed_over(tmp_path: Path, damage: bytes) -> None:
    made, _, _ = filled(tmp_path)
    killed(made)
    (tmp_path / "about.json").write_bytes(damage)
    assert Rescue(tmp_path, points(), 8).left() is None
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}


def test_records_that_were_cut_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    made, _, _ = filled(tmp_path)
    killed(made)
    os.truncate(tmp_path / "flows", ROW.itemsize * 20 + 7)
    found = Rescue(tmp_path, points(), 8).left()
    assert found
    assert 0 < len(found[2].rows) <= 15


@pytest.mark.kernel
def test_where_there_is_no_room_records_are_in_memory(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True)
    try:
        made = Rescue(tmp_path, points(), 7)
        assert made.left() is None
        table = made.allocate(1_000)
        whole(table)[:] = whole(random_rows(1_000))  # writing to a page without room would be a SIGBUS
        assert table["id"].all()
        assert {path.name for path in tmp_path.iterdir()} == {"lock"}
        made.close()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_growing_table_keeps_its_records_through_sigkill(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from support.flowrows import points, random_rows
from exporters.flows.table import whole
from exporters.history.rescue import Rescue
made = Rescue(Path(sys.argv[1]), points(), 7)
made.left()
table = made.allocate(10)
rows = random_rows(40)
whole(table)[:] = whole(rows)[:10]
larger = made.allocate(40)
whole(larger)[:10] = whole(table)
whole(larger)[10:] = whole(rows)[10:]
made.drained(17)
made.drained(18)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == -9
    found = Rescue(tmp_path, points(), 8).left()
    assert found
    rows = random_rows(40)
    assert found.drained == 18
    assert found[2].rows["id"].tolist() == rows["id"][(rows["flow"]["dir"] != rows["reported"]).any(axis=1)].tolist()
