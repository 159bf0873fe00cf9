"""Collectors that fail or are slow: the others are told of, and which one it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from structlog.testing import capture_logs

from skytrail.collectors import SECONDS, SUCCESS, Collectors
from skytrail.errors import RunError
from skytrail.metrics import Family, Kind, Metric

ONE = Metric("skytrail_one", "skytrail.one", Kind.GAUGE, "1", "One.")


def good() -> Iterator[Family]:
    yield Family(ONE, [((), 1.0)])


def bad() -> Iterator[Family]:
    yield Family(ONE, [((), 2.0)])
    raise OSError("no")


def told(collectors: Collectors) -> tuple[list[float], dict[str, float]]:
    families = list(collectors.families())
    values = [value for family in families if family.metric is ONE for _, value in family.samples]
    [success] = [family for family in families if family.metric is SUCCESS]
    assert [family.metric for family in families][-2:] == [SECONDS, SUCCESS]
    return values, {labels[0]: value for labels, value in success.samples}  # type: ignore[misc]


def test_one_that_fails_is_left_out_whole_and_said() -> None:
    collectors = Collectors({"good": good, "bad": bad})
    assert told(collectors) == ([1.0], {"good": 1.0, "bad": 0.0})


def test_one_that_is_slow_is_waited_for_no_longer_and_told_of_when_it_is_there() -> None:
    go = threading.Event()
    asked = []

    def slow() -> Iterator[Family]:
        asked.append(1)
        go.wait(10)
        yield Family(ONE, [((), 3.0)])

    collectors = Collectors({"slow": slow, "good": good}, patience=0.05)
    assert told(collectors) == ([1.0], {"slow": 0.0, "good": 1.0})
    assert told(collectors) == ([1.0], {"slow": 0.0, "good": 1.0})
    assert asked == [1]  # none is asked again while it is still at it
    go.set()
    while told(collectors)[1] != {"slow": 1.0, "good": 1.0}:
        pass
    assert told(collectors)[0] == [3.0, 1.0]


def test_who_asks_at_once_gets_the_same() -> None:
    go, asked = threading.Event(), []

    def slow() -> Iterator[Family]:
        asked.append(1)
        go.wait(10)
        yield Family(ONE, [((), 3.0)])

    collectors = Collectors({"slow": slow})
    found: list[list[float]] = []
    threads = [threading.Thread(target=lambda: found.append(told(collectors)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    while not asked:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert found == [[3.0]] * 3
    assert len(asked) <= 3


def test_one_that_times_out_itself_is_no_late_one() -> None:
    def times_out() -> Iterator[Family]:
        raise TimeoutError("the kernel does not answer")
        yield

    def refused() -> Iterator[Family]:
        raise RunError("not on this kernel")
        yield

    collectors = Collectors({"times out": times_out, "refused": refused})
    with capture_logs() as logs:
        for _ in range(3):
            assert told(collectors) == ([], {"times out": 0.0, "refused": 0.0})
    assert [log["event"] for log in logs].count("collector_failed") == 3
    assert [log for log in logs if log["event"] == "collector_late"] == []
    [said] = [log for log in logs if log["event"] == "collector_tells_nothing"]  # once
    assert said["reason"] == "not on this kernel"
