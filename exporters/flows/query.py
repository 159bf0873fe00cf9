"""What ``skytrail flows`` asks: which flows, in what order, how many."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from exporters.flows.filters import Filter, parse
from exporters.flows.records import SORT_KEYS
from skytrail.errors import UsageError

MOST = 100_000
LONGEST_WAIT = 30


@dataclass(frozen=True, slots=True)
class Query:
    """A filter, an order (largest first), at most so many; ``limit`` 0: all."""

    filter: Filter | None = None
    sort: str = "bytes"
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Wait:
    """Answer when other than ``begun`` flows have begun since the agent's start, or after so many seconds."""

    begun: int
    seconds: float


def read_wait(begun: str | None, seconds: str | None) -> Wait | None:
    """A wait from the words of a URL; None where none is asked for. Raises UsageError."""
    if seconds is None:
        if begun is not None:
            raise UsageError("begun: goes with wait, the seconds to wait for another flow")
        return None
    if not _up_to(LONGEST_WAIT, seconds):
        raise UsageError(f"wait: '{seconds}' is not a number of seconds from 0 to {LONGEST_WAIT}")
    if begun is None or not _up_to(2**63, begun):
        raise UsageError("begun: give the number that the last answer's header Skytrail-Flows-Begun gave, at first 0")
    return Wait(int(begun), int(seconds))


def read_query(text: str | None, sort: str | None, limit: str | None) -> Query:
    """A query from the words of a URL or a command line. Raises UsageError, FilterError."""
    if sort is not None and sort not in SORT_KEYS:
        raise UsageError(f"sort: '{sort}' is not known: use one of {', '.join(SORT_KEYS)}")
    if limit is not None and not _up_to(MOST, limit):
        raise UsageError(f"limit: '{limit}' is not a number from 0 (all) to {MOST}")
    return Query(parse(text) if text else None, sort or "bytes", int(limit or 0))


def largest(found: Iterable[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
    """Of flows' JSON what a query asks for, in its order; with a limit at most so many stand in memory."""
    of_key = {
        "bytes": lambda flow: flow["Metric"]["ABBytes"] + flow["Metric"]["BABytes"],
        "packets": lambda flow: flow["Metric"]["ABPackets"] + flow["Metric"]["BAPackets"],
        "last": lambda flow: flow["Last"],
        "start": lambda flow: flow["Start"],
        "rtt": lambda flow: flow["Metric"].get("RTT", 0),
    }[query.sort]
    matching = (flow for flow in found if query.filter is None or query.filter.matches(flow))
    return heapq.nlargest(query.limit, matching, of_key) if query.limit else sorted(matching, key=of_key, reverse=True)


def _up_to(most: int, text: str) -> bool:
    """Whether a text is a whole number from 0 to ``most``; one far too long is not even read."""
    return text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most
