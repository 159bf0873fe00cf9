"""What is to be said beside an answer: as headers of HTTP, and as Gremlin Server has a place for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from gremlin_api.notes import Notes
from gremlin_api.values import Map, Value
from skytrail.http.guard import Headers

MISSING, HISTORY = "Skytrail-Missing", "Skytrail-History"
"""``host: reason; host: reason``: whose part is not there; ``host: since MOMENT`` and ``host: not MOMENT/MOMENT``: who does
not remember all of the time."""

_MOST = 4_000  # bytes of a header: servers and clients take 8 KB and more
_LONGEST = 1_000  # characters of what is said of one host


def note_headers(notes: Notes) -> Headers:
    """None, where there is nothing to say."""
    missing = (f"{host}: {reason}" for host, reason in notes.missing.items())
    since = [f"{host}: since {_moment(since)}" for host, since in notes.since.items()]
    gaps = [f"{host}: not {_moment(a)}/{_moment(b)}" for host, found in notes.gaps.items() for a, b in found]
    made = ((MISSING, list(map(_plain, missing))), (HISTORY, list(map(_plain, since + gaps))))
    return [(name.lower().encode(), _joined(said)) for name, said in made if said]


def note_attributes(notes: Notes) -> Mapping[str, Value]:
    """The same, all of it, as attributes of a Gremlin Server's answer: ``missing``, ``since`` and ``gaps``, by host."""
    gaps = {host: [list(one) for one in found] for host, found in notes.gaps.items()}
    told: dict[str, Mapping[str, Value]] = {"missing": notes.missing, "since": notes.since, "gaps": gaps}
    return {key: Map(value.items()) for key, value in told.items() if value}


def _moment(when: int) -> str:
    """As ``At()`` takes it; what no year is told of is in ms: agents say it."""
    try:
        return datetime.fromtimestamp(when / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(when)


def _plain(text: str) -> str:
    """On one line, with nothing that parts what is said of hosts or that a header may not have; cut where it is very long."""
    told = " ".join("".join(one if one.isprintable() else " " for one in text.replace(";", ",")).split())
    return told if len(told) <= _LONGEST else f"{told[:_LONGEST]}..."


def _joined(said: Iterable[str]) -> bytes:
    every = [one.encode("ascii", "replace") for one in said]
    kept, length = 0, 0
    while kept < len(every) and length + len(every[kept]) + 2 <= _MOST:
        length += len(every[kept]) + 2
        kept += 1
    more = [b"and %d more" % (len(every) - kept)] if kept < len(every) else []
    return b"; ".join([*every[:kept], *more])
