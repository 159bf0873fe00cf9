from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from skytrail import logs

Written = Callable[[], str]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Give what was written to standard error since the last call; leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_event_becomes_one_json_line(written: Written) -> None:
    logs.configure("info", "json")
    structlog.get_logger("exporters.flows").info("attached", interface="eth0", packets=3)
    (line,) = lines(written())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "attached",
        "interface": "eth0",
        "packets": 3,
        "level": "info",
        "logger": "exporters.flows",
    }


def test_records_of_libraries_take_the_same_way(written: Written) -> None:
    logs.configure("warning", "json")
    logging.getLogger("uvicorn.error").warning("port %d", 8081, extra={"tries": 2})
    logging.getLogger("uvicorn.error").info("not this")
    (line,) = lines(written())
    assert (line["event"], line["tries"], line["logger"]) == ("port 8081", 2, "uvicorn.error")


def test_what_is_below_the_level_is_not_even_rendered(written: Written) -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError("rendered")

        __repr__ = __str__

    logs.configure("warning", "json")
    structlog.get_logger("a").info("costly", value=Costly())
    logging.getLogger("a").info("costly %s", Costly())
    assert written() == ""


def test_console_is_for_people_and_auto_is_json_where_nobody_reads(written: Written) -> None:
    logs.configure("info", "console")
    structlog.get_logger("a").info("attached", interface="eth0")
    text = written()
    assert "attached" in text
    assert "interface=eth0" in text
    logs.configure("info", "auto")
    structlog.get_logger("a").info("attached")
    assert lines(written())[0]["event"] == "attached"


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_secrets_never_reach_a_line(written: Written, fmt: str) -> None:
    logs.configure("info", fmt)
    structlog.get_logger("a").info(
        "connecting",
        token="hunter2",
        headers={"authorization": "hunter2"},
        settings={"otlp": {"api_key": "hunter2"}},
        url="http://user:hunter2@c:4317/x",
    )
    text = written()
    assert "connecting" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_exception_is_one_event_without_local_variables(written: Written, fmt: str) -> None:
    logs.configure("info", fmt)

    def fail(hidden: str) -> int:
        return len(hidden) // 0

    try:
        fail("hunter" + "2")
    except ZeroDivisionError:
        structlog.get_logger("a").exception("failed")
    text = written()
    assert "ZeroDivisionError" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_value_cannot_forge_a_line_or_reach_the_terminal(written: Written, fmt: str) -> None:
    logs.configure("info", fmt)
    structlog.get_logger("a").info("seen\nerror: forged", name="eth0\n\x1b[31mred\u2028")
    text = written()
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text


def test_value_is_cut_when_long(written: Written) -> None:
    logs.configure("info", "json")
    deep: dict[str, Any] = {}
    deep["again"] = deep
    structlog.get_logger("a").info("long", value="x" * 100_000, many=list(range(10_000)), deep=deep)
    text = written()
    assert len(text) < 4 * logs.LONGEST
    assert "(100000 characters)" in lines(text)[0]["value"]


def test_event_that_repeats_is_limited_and_the_rest_counted() -> None:
    now = [0.0]
    limiter = logs.Limiter(burst=2, period=10.0, clock=lambda: now[0])

    def record(event: str) -> logging.LogRecord:
        return logging.LogRecord("a", logging.INFO, "", 0, {"event": event}, None, None)

    assert [limiter.filter(record("flood")) for _ in range(5)] == [True, True, False, False, False]
    assert limiter.filter(record("other"))
    now[0] = 10.0
    again = record("flood")
    assert limiter.filter(again)
    assert again.msg == {"event": "flood", "suppressed": 3}


def test_flood_of_distinct_events_does_not_grow_memory() -> None:
    limiter = logs.Limiter()
    for number in range(5000):
        limiter.filter(logging.LogRecord("a", logging.INFO, "", 0, f"event {number}", None, None))
    assert len(limiter._windows) <= 1024
