"""Processes are known by pid and start time: another one with the pid is left alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.netlab import until

from skytrail.lab.processes import end, only_child, read_record, start_recorded


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_recorded_is_what_runs_and_it_can_be_ended(tmp_path: Path, lock: int) -> None:
    record = tmp_path / "pid"
    process = start_recorded(record, ["sleep", "300"], lock=lock, log=tmp_path / "log")
    pid = until(lambda: read_record(record))
    assert pid == process.pid
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")  # the lock is given away

    assert end([record]) == 1
    assert process.wait() == -9
    assert read_record(record) is None
    assert end([record]) == 0


def test_another_process_with_the_pid_is_left_alone(tmp_path: Path) -> None:
    record = tmp_path / "pid"
    other = subprocess.Popen(["sleep", "300"])
    try:
        record.write_text(f"{other.pid} 1")
        assert end([record]) == 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_record_that_is_not_one(tmp_path: Path) -> None:
    assert read_record(tmp_path / "none") is None
    (tmp_path / "cut").write_text("12")
    assert read_record(tmp_path / "cut") is None


def test_only_child() -> None:
    process = subprocess.Popen(["sh", "-c", "sleep 300 & wait"])
    try:
        child = until(lambda: only_child(process.pid))
        assert Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1] == str(process.pid)
        os.kill(child, 9)
    finally:
        process.kill()
        process.wait()
    assert only_child(process.pid) is None
