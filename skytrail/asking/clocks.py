"""Times of questions and answers by the clock of who asks, where a host's own is wrong. Pure.

Only a difference of a second and more is corrected: so the times of a flow are the same whoever is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from skytrail.asking.asker import Answer
from skytrail.asking.questions import DropsQuestion, Part, Question, Range
from skytrail.asking.terms import Compare, Either, Every, Not, Scalar, Term

_MATTERS = 1_000  # ms
_TIMES = ("Start", "Last")
_WITHIN = ("Metric", "LastUpdateMetric", "Metrics")
"""Where there are more such times: in a map, or in the maps of a list."""
_KEYS = frozenset({*_TIMES, *(f"{of}.{name}" for of in _WITHIN for name in _TIMES)})
_DEEPEST = 32  # conditions that are nested deeper are refused


def by_clock_of_asker(answer: Answer, ahead: Callable[[], int]) -> Answer:
    """An agent's side, to whom times are those of who asks.

    Args:
        answer: by the host's own clock.
        ahead: gives µs that the clock of who asks is ahead of it.
    """

    def answered(question: Question) -> Iterator[Part]:
        offset = int(ahead() / 1_000)
        if abs(offset) < _MATTERS:
            yield from answer(question)
            return
        for part in answer(_asked(question, -offset)):
            yield _told(part, offset)

    return answered


def _asked(question: Question, offset: int) -> Question:
    if not isinstance(question, DropsQuestion) and question.when:
        question = replace(question, when=_moved(question.when, offset))
    term = getattr(question, "term", None)
    return replace(question, term=_of_term(term, offset, 0)) if term else question


def _moved(when: Range, offset: int) -> Range:
    return Range(when.begin + offset, when.end + offset)


def _of_term(term: Term, offset: int, depth: int) -> Term:
    if depth > _DEEPEST:
        return term
    match term:
        case Compare() if term.key in _KEYS:
            return replace(term, values=tuple(_of_value(value, offset) for value in term.values))
        case Every() | Either():
            return replace(term, terms=tuple(_of_term(one, offset, depth + 1) for one in term.terms))
        case Not():
            return replace(term, term=_of_term(term.term, offset, depth + 1))
        case _:
            return term


def _of_value(value: Scalar, offset: int) -> Scalar:
    return value + offset if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _told(part: Part, offset: int) -> Part:
    since = None if part.since is None else part.since + offset
    found = [_of_row(row, offset) for row in part.found]
    return replace(part, found=found, since=since, gaps=[_moved(gap, offset) for gap in part.gaps])


def _of_row(row: dict[str, Any], offset: int) -> dict[str, Any]:
    made = _of_map(row, offset)
    for name in _WITHIN:
        inner = made.get(name)
        if isinstance(inner, dict):
            made[name] = _of_map(inner, offset)
        elif isinstance(inner, list):
            made[name] = [_of_map(one, offset) for one in inner]
    return made


def _of_map(told: dict[str, Any], offset: int) -> dict[str, Any]:
    return {**told, **{name: told[name] + offset for name in _TIMES if isinstance(told.get(name), int)}}
