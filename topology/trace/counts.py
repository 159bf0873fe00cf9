"""Whether the counts of two capture points can be held against each other. Pure.

They cannot where a point counted only a part of the conversation, or packets twice: then fewer packets further on are no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

from topology.trace.sightings import BACK, FORTH, Flow, Sighting

Comparable: TypeAlias = Callable[[Sighting, Sighting], bool]
"""Whether what the second counted of what the first did tells what is missing."""

_LIVES = "NOT_FINISHED"
_UPDATE = 60_000  # ms between two updates of a living flow, as agents have it
_TWICE = "both"


def comparable(way: int, late: Collection[str], until: int | None) -> Comparable:
    """What says so of two points of a way.

    Args:
        way: which.
        late: TIDs of hosts whose agent did not run during all of the conversation.
        until: ms: records are those of each agent's last update before that, of living flows each of another time; None: as of
            now.
    """

    def tells(one: Sighting, other: Sighting) -> bool:
        if one.host != other.host and (one.host in late or other.host in late):
            return False
        if _TWICE in (one.hooks[way], other.hooks[way]):  # by one interface in and out again
            return False
        records = *one.records, *other.records
        if any(int(record.get("Sampling", 1)) > 1 for record in records):
            return False
        if until is not None and any(_lived(record, until) for record in records):
            return False
        return _saw_begin(one) == _saw_begin(other)

    return tells


def _lived(record: Flow, until: int) -> bool:
    """Whether more of it may have come after the last update."""
    return record.get("FinishType") == _LIVES and until - int(record["Last"]) < _UPDATE


def _saw_begin(one: Sighting) -> bool:
    """Whether it saw TCP's first packets."""
    return "SYN" in one.flags(FORTH) | one.flags(BACK)
