"""Processes that have sockets: read once, remembered when they are gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.netlab import until

from exporters.bpf.sockets import OWNER
from exporters.sockets.processes import NOBODY, Processes
from skytrail.runtimes.cgroups import group_of_process


def owner(pid: int, started: int, comm: bytes) -> NDArray[Any]:
    made = np.zeros(1, OWNER)
    made["pid"], made["started"], made["comm"] = pid, started, comm
    return made


def test_a_process_is_told_of_with_its_executable_while_it_lives_and_after() -> None:
    child = subprocess.Popen(["sleep", "60"])
    until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
    processes = Processes()
    rows = np.concatenate([owner(child.pid, 5, b"sleep"), owner(0, 0, b""), owner(child.pid, 5, b"sleep")])
    found, which = processes.of(rows)
    child.kill()
    child.wait()
    told = [found[number] for number in which]
    assert told == [told[0], NOBODY, told[0]]
    assert (told[0].pid, told[0].name) == (child.pid, "sleep")
    assert Path(told[0].executable).samefile(subprocess.check_output(["which", "sleep"], text=True).strip())
    assert told[0].cgroup == group_of_process(Path("/proc/self/cgroup").read_text())
    assert processes.of(owner(child.pid, 5, b"sleep"))[0] == [told[0]]
    [other], _ = processes.of(owner(child.pid, 6, b"sleep"))  # another one by the same number, gone before it was read
    assert (other.pid, other.executable) == (child.pid, "")


def test_a_process_that_begins_another_program_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text("0::/a\n")
    (tmp_path / "7" / "exe").symlink_to("/bin/first")
    processes = Processes(tmp_path)
    assert [one.executable for one in processes.of(owner(7, 1, b"first"))[0]] == ["/bin/first"]
    (tmp_path / "7" / "exe").unlink()
    (tmp_path / "7" / "exe").symlink_to("/bin/second (deleted)")
    assert [one.executable for one in processes.of(owner(7, 1, b"first"))[0]] == ["/bin/first"]
    assert [one.executable for one in processes.of(owner(7, 1, b"second"))[0]] == ["/bin/second"]


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.sockets.processes._MOST", 100)
    now = [0.0]
    processes = Processes(tmp_path, lambda: now[0])
    for number in range(1, 1000):
        now[0] += 1
        processes.of(owner(number, number, b"x"))
        assert len(processes._known) <= 100


def test_processes_that_start_at_once_are_told_apart() -> None:
    rows = np.concatenate([owner(pid, sys.maxsize // 3, f"p{pid}".encode()) for pid in range(1, 300)])
    found, which = Processes(Path("/nowhere")).of(rows)
    assert [found[number].pid for number in which] == list(range(1, 300))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("0::/system.slice/a.service\n", "/system.slice/a.service"),
        ("12:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc/x\n0::/\n", "/docker/abc/x"),
        ("3:cpu:/\n0::/user.slice:odd\n", "/user.slice:odd"),
        ("0::/\n", "/"), ("", ""), ("nonsense\n", ""),
    ],
)  # fmt: skip
def test_which_cgroup_says_most(text: str, path: str) -> None:
    assert group_of_process(text) == path
