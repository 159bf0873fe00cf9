"""Answers of agents, made and read."""

from __future__ import annotations

from skytrail.asking.asker import Answer, Answers
from skytrail.asking.questions import Part


def flows(*numbers: int) -> Part:
    """Flows of these UUIDs."""
    return Part([{"UUID": str(number)} for number in numbers])


def saying(*parts: Part) -> Answer:
    """What always answers so."""
    return lambda _: iter(parts)


def uuids(answers: Answers) -> dict[str, list[str]]:
    """The UUIDs of the flows that each agent answered with."""
    found: dict[str, list[str]] = {}
    for tid, part in answers.parts:
        found.setdefault(tid, []).extend(one["UUID"] for one in part.found)
    return found
