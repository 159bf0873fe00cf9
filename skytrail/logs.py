"""Logs: structured events on standard error, as JSON lines or for people.

``structlog.get_logger(__name__).info("attached", interface="eth0")`` costs a comparison when its level is off; nothing
is rendered before the handler writes. Records of libraries that use :mod:`logging` take the same way. One event of one
logger is written :data:`BURST` times a :data:`PERIOD`; what is beyond is counted, and told with the next one. Values
under names that sound secret are masked, long ones cut, control characters escaped.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import structlog

BURST = 20
"""How often one event is written in a period."""
PERIOD = 10.0
"""Seconds."""
LONGEST = 2048
"""Characters of a value; a traceback may have eight times as many."""

_EVENTS = 1024  # distinct events remembered for the limit; beyond, all start afresh
_ITEMS = 64  # of a list or mapping
_MASK = "***"
_SECRET = re.compile(r"token|passw|secret|authorization|cookie|credential|api_?key|headers", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_Event = MutableMapping[str, Any]


def configure(level: str = "info", fmt: str = "auto") -> None:
    """Send every record of ``level`` (debug, info, warning, error) and above to standard error.

    ``fmt`` is json, console, or auto: console on a terminal, JSON elsewhere. A later call replaces an earlier one.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # else its core writes lines of its own, as many as strangers make it
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Limiter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                clean,
                _renderer(fmt, terminal=sys.stderr.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,  # level and stream belong to logging's handler: a cached logger follows them
    )


@contextlib.contextmanager
def held(lines: int = 200) -> Iterator[Callable[[], str]]:
    """Keep what is logged meanwhile, the last so many lines, and write it afterwards: the terminal shows something else.

    Gives a function that tells the last line so far.
    """
    stream = _Held(lines)
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.StreamHandler)]
    before = [handler.setStream(stream) for handler in handlers]
    try:
        yield lambda: stream.lines[-1].rstrip() if stream.lines else ""
    finally:
        for handler, original in zip(handlers, before, strict=True):
            if original is not None:
                handler.setStream(original)
        sys.stderr.writelines(stream.lines)


class _Held(io.TextIOBase):
    """A stream that keeps the last lines."""

    def __init__(self, lines: int) -> None:
        self.lines: deque[str] = deque(maxlen=lines)

    def write(self, text: str, /) -> int:
        self.lines.append(text)
        return len(text)


def _renderer(fmt: str, *, terminal: bool) -> Callable[[Any, str, _Event], str | bytes]:
    if fmt == "console" or (fmt == "auto" and terminal):
        # rich's tracebacks would show local variables, and those may be secret.
        return structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer()


class Limiter(logging.Filter):
    """Lets an event of a logger through ``burst`` times in ``period`` seconds, then counts.

    The first one that passes afterwards tells the count as ``suppressed``. Filters run outside the handler's lock,
    hence one of its own.
    """

    def __init__(self, burst: int = BURST, period: float = PERIOD, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._burst = burst
        self._period = period
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether ``record`` is written."""
        event = record.msg.get("event", "") if isinstance(record.msg, dict) else record.msg
        key, now = (record.name, str(event)[:LONGEST]), self._clock()
        with self._lock:
            if len(self._windows) >= _EVENTS:
                self._windows.clear()
            start, count = self._windows.get(key, (now, 0))
            suppressed = 0
            if now - start >= self._period:
                suppressed = max(0, count - self._burst)
                start, count = now, 0
            self._windows[key] = (start, count + 1)
        if suppressed and isinstance(record.msg, dict):
            record.msg["suppressed"] = suppressed
        elif suppressed:
            record.suppressed = suppressed
        return count < self._burst


def clean(_logger: object, _method: str, event: _Event) -> _Event:
    """Return ``event`` with what sounds secret masked, and every value short and free of control characters."""
    cleaned = {name: _clean_value(name, value, LONGEST) for name, value in event.items() if name != "exception"}
    if "exception" in event:
        lines = str(event["exception"])[-8 * LONGEST :].split("\n")
        cleaned["exception"] = "\n".join(_clean_text(line, LONGEST) for line in lines)
    return cleaned


def _clean_value(name: str, value: object, room: int) -> object:
    """Clean one value; each level of nesting has a quarter of the room of the one above."""
    if _SECRET.search(name) and not isinstance(value, bool | int | float | None):
        return _MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping) and room >= _ITEMS:
        items = list(value.items())[:_ITEMS]
        return {_clean_text(str(key), room): _clean_value(str(key), item, room // 4) for key, item in items}
    if isinstance(value, list | tuple | set | frozenset) and room >= _ITEMS:
        return [_clean_value(name, item, room // 4) for item in list(value)[:_ITEMS]]
    return _clean_text(value if isinstance(value, str) else str(value), room)


def _clean_text(text: str, room: int) -> str:
    if len(text) > room:
        text = f"{text[:room]}… ({len(text)} characters)"
    text = _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return _USERINFO.sub(f"{_MASK}@", text)
