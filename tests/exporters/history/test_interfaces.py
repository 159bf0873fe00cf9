"""What went through interfaces: real counters of a real veth, and counters as they may come."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.netlab import NETNS, Net, in_netns

from exporters.history.interfaces import GROWS, KIND, InterfaceHistory
from exporters.history.store import History
from exporters.interfaces import tables
from exporters.interfaces.source import read_counters
from skytrail.asking.questions import InterfacesQuestion, Range
from skytrail.errors import UsageError
from skytrail.kernel.linkcounters import LINK_COUNTERS
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import Answer
from skytrail.kernel.worker import NamespaceWorker, current_cookie

SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND


class Scene:
    """A history whose counters the test sets."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        self.counters: dict[int, dict[str, int]] = {}
        self.tids = {1: "one", 2: "two"}
        monkeypatch.setattr(tables, "counters", lambda _: self._rows())
        self.store = History(folder, 1 << 20, 3600, {KIND: GROWS}, lambda: self.now)
        self.store.write()
        self.history = InterfaceHistory(
            self.store, lambda _: Answer(), lambda: [Namespace(7, 1, 1)], lambda _: self.tids, 30, lambda: self.now
        )

    def _rows(self) -> tuple[Any, Any]:
        rows = [[of_one.get(name, 0) for name in LINK_COUNTERS] for of_one in self.counters.values()]
        return np.array(list(self.counters), np.int64), np.array(rows, np.uint64)

    def sample(self, seconds: int, **counters: int) -> None:
        self.now = START + seconds * SECOND
        self.counters[1] = counters
        self.history.sample()

    def ask(
        self, begin: int | None = None, end: int = 0, nodes: tuple[str, ...] | None = None, *, fresh: bool = False
    ) -> dict[str, list[Any]]:
        when = None if begin is None else Range(START // 1_000_000 + begin * 1000, START // 1_000_000 + end * 1000)
        found = [one for part in self.history.answer(InterfacesQuestion(when, nodes, fresh)) for one in part]
        assert len({one["TID"] for one in found}) == len(found)
        return {
            one["TID"]: [
                {key: value - START // 1_000_000 if key in ("Start", "Last") else value for key, value in metric.items()}
                for metric in one["Metrics"]
            ]
            for one in found
        }


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_what_grew_while_nobody_could_read_is_told_with_the_next(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.sample(0, RxPackets=100)
    with monkeypatch.context() as patch:
        patch.setattr(scene.history, "_read", failing)
        scene.sample(30, RxPackets=200)
    scene.sample(60, RxPackets=300)
    assert scene.ask(-100, 100) == {"one": [{"RxPackets": 200, "Start": 0, "Last": 60_000}]}


def failing(_: Namespace) -> Answer:
    raise OSError("busy")


def test_growth_between_samples_without_what_is_nothing(scene: Scene) -> None:
    scene.sample(0, RxPackets=5, RxBytes=500)
    assert scene.ask() == {}  # nothing to compare with
    scene.sample(30, RxPackets=7, RxBytes=700, TxDropped=1)
    first = {"RxPackets": 2, "RxBytes": 200, "TxDropped": 1, "Start": 0, "Last": 30_000}
    assert scene.ask() == {"one": [first]}
    scene.sample(60, RxPackets=7, RxBytes=700, TxDropped=1)
    assert scene.ask() == {}
    scene.sample(90, RxPackets=2**63 + 6, RxBytes=700, TxDropped=1)
    last = {"RxPackets": 2**63 - 1, "Start": 60_000, "Last": 90_000}
    assert scene.ask(-100, 100) == {"one": [first, last]}
    scene.store.write()
    assert scene.ask(-100, 100) == {"one": [first, last]}
    assert scene.ask(31, 59) == {}
    assert scene.ask(15, 16) == {"one": [first]}
    assert scene.ask(-100, 100, ("two",)) == {}


def test_what_came_since_the_last_sample_is_read_when_it_is_asked_for(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.sample(0, RxPackets=1)
    scene.sample(30, RxPackets=3)
    scene.now += 5 * SECOND
    scene.counters = {1: {"RxPackets": 4, "RxDropped": 2}, 2: {"RxPackets": 9}}
    kept = {"RxPackets": 2, "Start": 0, "Last": 30_000}
    so_far = {"RxPackets": 1, "RxDropped": 2, "Start": 30_000, "Last": 35_000}
    assert scene.ask(0, 100) == {"one": [kept]}
    assert scene.ask(0, 100, ("one", "two"), fresh=True) == {"one": [kept, so_far]}
    assert scene.ask(31, 100, ("one",), fresh=True) == {"one": [so_far]}
    assert scene.ask(0, 100, ("two",), fresh=True) == {}

    fresh = scene.history._fresh

    def meanwhile(*given: Any) -> Any:
        told = fresh(*given)
        scene.sample(60, RxPackets=7, RxDropped=2)
        return told

    monkeypatch.setattr(scene.history, "_fresh", meanwhile)
    assert scene.ask(0, 100, ("one",), fresh=True) == {"one": [kept, so_far]}


def test_counters_that_fall_are_no_negative_growth(scene: Scene) -> None:
    scene.sample(0, RxPackets=100, TxPackets=5)
    scene.sample(30, RxPackets=3, TxPackets=6)
    scene.sample(60, RxPackets=4, TxPackets=6)
    assert scene.ask(0, 60) == {
        "one": [
            {"TxPackets": 1, "Start": 0, "Last": 30_000},
            {"RxPackets": 1, "Start": 30_000, "Last": 60_000},
        ]
    }


def test_a_counter_that_falls_below_nothing_has_not_grown(scene: Scene) -> None:
    scene.sample(0, RxPackets=5, TxDropped=1)
    scene.sample(30, RxPackets=6, TxDropped=2**64 - 1)
    scene.sample(60, RxPackets=6, TxDropped=1)
    scene.sample(90, RxPackets=6, TxDropped=2**64 - 1)
    assert scene.ask(0, 90) == {"one": [{"RxPackets": 1, "Start": 0, "Last": 30_000}]}


def test_more_samples_than_an_answer_may_have_are_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.history.interfaces._MOST", 9)
    scene.counters[2] = {"RxPackets": 0}
    for number in range(11):
        scene.sample(30 * number, RxPackets=number)
        scene.counters[2] = {"RxPackets": number}
        scene.store.write()
    assert len(scene.ask(0, 260, ("one",))["one"]) == 9
    for nodes, end in ((None, 260), (("one",), 330)):
        with pytest.raises(UsageError, match="more than 9 samples of interfaces: ask for a shorter time, or"):
            scene.ask(0, end, nodes)
    assert {name: len(found) for name, found in scene.ask(0, 100).items()} == {"one": 4, "two": 3}


def test_interfaces_that_come_go_and_have_no_identity_yet(scene: Scene) -> None:
    scene.counters[2] = {"RxPackets": 9}
    scene.counters[3] = {"RxPackets": 1}  # the registry does not know it
    scene.sample(0, RxPackets=1)
    scene.counters[2] = {"RxPackets": 10}
    scene.sample(30, RxPackets=2)
    del scene.counters[2], scene.counters[3]
    scene.sample(60, RxPackets=3)
    scene.counters[2] = {"RxPackets": 50}
    scene.sample(90, RxPackets=3)
    found = scene.ask(0, 90)
    assert [metric["RxPackets"] for metric in found["one"]] == [1, 1]
    assert found["two"] == [{"RxPackets": 1, "Start": 0, "Last": 30_000}]
    assert found.keys() == {"one", "two"}


@pytest.mark.kernel
def test_samples_are_what_ip_says(tmp_path: Path, net: Net) -> None:
    left, right = net.pair()
    status = (NETNS / left.netns).stat()
    cookie = in_netns(left.netns, current_cookie)
    namespace = Namespace(cookie, status.st_ino, status.st_dev, left.netns, path=str(NETNS / left.netns))
    index = int(net.link(left.netns, left.interface)["ifindex"])
    worker = NamespaceWorker()
    store = History(tmp_path, 1 << 20, 3600, {KIND: GROWS})
    history = InterfaceHistory(
        store,
        lambda one: worker.run(one, read_counters),
        lambda: [namespace],
        lambda of: {index: "tid"} if of == cookie else {},
    )
    try:
        net.ping(left.netns, right.ip4, count=3)
        history.sample()
        before = net.packets(left)
        net.ping(left.netns, right.ip4, count=5)
        history.sample()
        grown = [after - then for after, then in zip(net.packets(left), before, strict=True)]
    finally:
        worker.close()
    now = time.time_ns() // 1_000_000
    [[found]] = history.answer(InterfacesQuestion(Range(now - 60_000, now)))
    [metric] = found["Metrics"]
    assert found["TID"] == "tid"
    assert [metric["RxPackets"], metric["TxPackets"]] == grown
    assert metric["RxBytes"] >= 5 * 98
    assert now - 60_000 < metric["Start"] < metric["Last"] <= now
