"""Sockets of the past: passes that a test makes, against what each pass showed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.bpf.sockets import RECORD
from exporters.history import sockets
from exporters.history.sockets import GROWS, KIND, SocketHistory
from exporters.history.store import History
from exporters.sockets.processes import NOBODY, Process
from exporters.sockets.shown import socket_json
from skytrail.asking.questions import Range, SocketsQuestion
from skytrail.asking.terms import Compare
from skytrail.errors import UsageError

Found = dict[str, Any]
SECOND = 1_000_000_000
START = 1_795_000_000
_PROCESSES = [NOBODY, Process(7, "näme", "/bin/x", "/pod/a"), Process(8, "other")]
_NAMES = {1: "", 2: "blue"}


def described(cgroup: str) -> dict[str, dict[str, str]]:
    return {"Container": {"Name": "c1"}} if cgroup == "/pod/a" else {}


class Scene:
    """A history, and what every pass showed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, START * SECOND
        self.passes: list[tuple[int, list[Found]]] = []
        self.begin()

    def begin(self) -> None:
        self.store = History(self.folder, 1 << 24, 36_000, {KIND: GROWS}, lambda: self.now)
        self.store.write()
        self.history = SocketHistory(self.store, lambda: _NAMES, described, lambda: self.now)

    def look(self, second: int, rows: NDArray[Any], which: NDArray[Any]) -> None:
        self.now = (START + second) * SECOND
        self.history.watch(rows, (_PROCESSES, which))
        self.passes.append((second, list(socket_json(rows, (_PROCESSES, which), _NAMES, described))))

    def ask(self, begin: int, end: int | None = None, term: Compare | None = None) -> list[Found]:
        when = Range((START + begin) * 1000, (START + (begin if end is None else end)) * 1000)
        return [one for part in self.history.answer(SocketsQuestion(when, term), when) for one in part]


def rows_of(*sockets: tuple[int, int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sockets by cookie, process and state."""
    rows = np.zeros(len(sockets), RECORD)
    for row, (cookie, process, state) in zip(rows, sockets, strict=True):
        row["cookie"], row["inode"], row["fd"] = cookie, cookie + 100, 3
        row["owner"]["pid"], row["owner"]["started"], row["owner"]["uid"] = _PROCESSES[process].pid, process * 77, 33
        ends = row["ends"]
        ends["netns"], ends["inode"], ends["family"], ends["proto"], ends["state"] = 1 + cookie % 3, 4026531840, 4, 6, state
        ends["addr"][:, 0], ends["port"] = 10, (cookie, 80)
        row["tcp"]["mss"], row["tcp"]["rtt"] = 1448, cookie
    return rows, np.array([process for _, process, _ in sockets], np.intp)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def same(found: list[Found], expected: list[Found]) -> None:
    def place(one: Found) -> tuple[int, int]:
        return one["Cookie"], one["Pid"]

    assert sorted(found, key=place) == sorted(expected, key=place)


@pytest.mark.parametrize("written", [False, True])
def test_each_moment_shows_what_the_pass_before_it_saw(scene: Scene, written: bool) -> None:
    """Random comings, goings, changes of state; sockets whose counters never change, so that every pass is exact."""
    draw = random.Random(4)
    for second in range(0, 900, 15):
        there = {cookie: draw.choice([1, 10]) for cookie in range(12) if draw.random() < 0.6}
        scene.look(second, *rows_of(*((cookie, cookie % 3, state) for cookie, state in there.items())))
        if written:
            scene.store.write()
    for second, shown in scene.passes[:-1]:
        same(scene.ask(second + 7), shown)
    same(scene.ask(2_000), scene.passes[-1][1])  # as far as is known they are there still


def test_of_a_range_each_is_shown_as_it_was_last(scene: Scene) -> None:
    scene.look(0, *rows_of((1, 1, 2), (2, 2, 10)))
    scene.look(15, *rows_of((1, 1, 1), (3, 0, 1)))
    scene.look(30, *rows_of((3, 0, 1)))
    found = {one["Cookie"]: one for one in scene.ask(0, 40)}
    assert {cookie: one["State"] for cookie, one in found.items()} == {1: "ESTABLISHED", 2: "LISTEN", 3: "ESTABLISHED"}
    assert found[1]["Container"] == {"Name": "c1"}
    assert (found[1]["Name"], found[1]["Namespace"], found[2]["Namespace"]) == ("näme", "blue", "inode:4026531840")
    found = scene.ask(0, 40, Compare("State", "within", ("LISTEN",)))
    assert [one["Cookie"] for one in found] == [2]
    assert scene.ask(-10, -1) == []


def test_of_a_moment_it_is_told_what_was_noted_next(scene: Scene) -> None:
    for second in range(0, 3_601, 15):
        rows, which = rows_of((1, 1, 1))
        rows["send_queue"] = second
        scene.look(second, rows, which)
        scene.store.write()
    for moment in (10, 700, 1_799, 3_590):
        [found] = scene.ask(moment)
        assert moment <= found["SendQueue"] <= moment + 300


def test_very_many_sockets_are_looked_at_part_by_part_or_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for second in range(0, 1_000, 15):
        scene.look(second, *rows_of(*((cookie, 1, 1) for cookie in range(1, 31))))
        scene.store.write()
    expected = scene.ask(0, 1_000)
    monkeypatch.setattr(sockets, "_MOST", 40)
    assert scene.ask(0, 1_000) == expected
    monkeypatch.setattr(sockets, "_MOST", 20)
    with pytest.raises(UsageError, match="more than 20 sockets: ask for a shorter time"):
        scene.ask(0, 1_000)


def test_a_killed_agent_knows_what_was_noted(scene: Scene) -> None:
    for second in range(0, 400, 15):
        scene.look(second, *rows_of((1, 1, 1)))
    scene.store.write()
    scene.begin()  # killed
    same(scene.ask(200), scene.passes[0][1])
    assert scene.ask(380) == []  # it was noted at 300 s for the last time
    scene.look(420, *rows_of((1, 1, 1)))
    scene.history.stop()
    scene.store.stop()
    scene.begin()
    same(scene.ask(420), scene.passes[0][1])
    assert scene.ask(500) == []
