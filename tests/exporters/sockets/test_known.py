"""What is known of sockets by their cookies, and for how long."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.bpf import sockets
from exporters.bpf.sockets import EVENT, RECORD
from exporters.sockets.known import Known, Sockets
from exporters.sockets.processes import NOBODY, Process

RESET = {"error": errno.ECONNRESET, "state": 1}
REFUSED = {"latency": 9, "error": errno.ECONNREFUSED, "state": 2}
CURL, NGINX = Process(7, "curl", "/usr/bin/curl"), Process(8, "nginx")


def events(*told: tuple[int, int, dict[str, int]]) -> NDArray[Any]:
    """Rows of cookie, kind and what else there is."""
    rows = np.zeros(len(told), EVENT)
    for row, (cookie, kind, more) in zip(rows, told, strict=True):
        row["cookie"], row["kind"] = cookie, kind
        for key, value in more.items():
            (row["ends"] if key == "state" else row["tcp"] if key == "retransmits" else row)[key] = value
    return rows


def test_events_of_a_socket_add_to_each_other() -> None:
    known = Sockets(lambda: 0.0)
    known.happened(events((1, sockets.CONNECTED, {"latency": 5}), (2, sockets.ACCEPTED, {})), ([CURL, NGINX], np.array([0, 1])))
    assert known.of(np.array([1, 2, 3, 0], "u8")) == {1: Known(CURL, 5, None, 0), 2: Known(NGINX, None, None, 0)}
    known.happened(
        events((2, sockets.CLOSED, {"state": 9, "retransmits": 3}), (1, sockets.CLOSED, RESET)),
        ([NOBODY], np.array([0, 0])),
    )
    assert known.of(np.array([1, 2], "u8")) == {1: Known(CURL, 5, "reset", 0), 2: Known(NGINX, None, "closed", 3)}


def test_what_never_connected_says_why() -> None:
    known = Sockets(lambda: 0.0)
    known.happened(events((1, sockets.FAILED, REFUSED)), ([CURL], np.array([0])))
    assert known.of(np.array([1], "u8")) == {1: Known(CURL, 9, "refused", 0)}


def test_sockets_of_passes_are_known_for_a_minute_however_many_ask() -> None:
    now = [0.0]
    known = Sockets(lambda: now[0])
    rows = np.zeros(2, RECORD)
    rows["cookie"], rows["tcp"]["retransmits"] = [5, 4], [2, 0]
    known.live(rows, ([CURL, NGINX], np.array([1, 0])))
    assert known.of(np.array([4, 5], "u8")) == {4: Known(CURL, None, None, 0), 5: Known(NGINX, None, None, 2)}
    size = known.memory()
    for second in range(1, 60):  # somebody asks each second
        now[0] = float(second)
        known.live(rows[:1], ([CURL], np.array([0])))
        assert known.of(np.array([4, 5], "u8")) == {4: Known(CURL, None, None, 0), 5: Known(CURL, None, None, 2)}
        assert [process.name for process in known.whose(np.array([4], "u8"))[0]] == [CURL.name]
        assert known.memory() <= 14 * size
    for second in (66, 72):
        now[0] = float(second)
        known.live(rows[:1], ([CURL], np.array([0])))
    assert known.of(np.array([4, 5], "u8")) == {5: Known(CURL, None, None, 2)}


def test_a_datagram_socket_has_no_retransmits() -> None:
    known = Sockets(lambda: 0.0)
    known.happened(events((1, sockets.CREATED, {})), ([CURL], np.array([0])))
    assert known.of(np.array([1], "u8")) == {1: Known(CURL)}


def test_events_are_known_for_a_minute() -> None:
    now = [0.0]
    known = Sockets(lambda: now[0])
    for second in range(200):
        now[0] = float(second)
        known.happened(events((second + 1, sockets.CREATED, {})), ([CURL], np.array([0])))
        found = known.of(np.arange(1, 300, dtype="u8"))
        assert found.keys() >= set(range(max(1, second - 53), second + 2))
        assert min(found) >= second - 63


def test_whose_sockets_are_is_the_same_without_a_step_for_each() -> None:
    """Some 1,000 events of 50 sockets, of some of which nobody is told, over several slices, beside a pass."""
    chance = np.random.default_rng(3)
    now = [0.0]
    known = Sockets(lambda: now[0])
    people = [NOBODY, CURL, NGINX, Process(9, "wget")]
    rows = np.zeros(20, RECORD)
    rows["cookie"] = np.arange(5, 25)
    known.live(rows, (people, chance.integers(0, 4, 20)))
    every = np.arange(60, dtype="u8")
    for second in range(40):
        now[0] = float(second)
        told = events(*((int(cookie), sockets.CLOSED, {}) for cookie in chance.integers(1, 50, 25)))
        known.happened(told, (people, chance.integers(0, 4, 25)))
        chance.shuffle(every)
        processes, which = known.whose(every)
        of = known.of(every)
        assert [processes[number] for number in which] == [
            of[cookie].process if cookie in of else NOBODY for cookie in every.tolist()
        ]
    assert len({processes[number] for number in which}) == len(people)


def test_the_oldest_leave_for_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.sockets.known._MOST", 10)
    now = [0.0]
    known = Sockets(lambda: now[0])
    for part in range(4):
        now[0] = 6.0 * part
        told = events(*((part * 4 + number + 1, sockets.CREATED, {}) for number in range(4)))
        known.happened(told, ([CURL], np.zeros(4, int)))
    assert sorted(known.of(np.arange(1, 100, dtype="u8"))) == list(range(9, 17))
    assert known.dropped == 0


def test_what_finds_no_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.sockets.known._MOST", 10)
    known = Sockets(lambda: 0.0)
    for part in range(3):
        told = events(*((part * 6 + number + 1, sockets.CREATED, {}) for number in range(6)))
        known.happened(told, ([CURL], np.zeros(6, int)))
    assert len(known.of(np.arange(1, 100, dtype="u8"))) == 10
    assert known.dropped == 8
