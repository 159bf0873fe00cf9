"""Questions and answers between hosts whose clocks are apart: on the wire all times are by the clock of one hub. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

import msgspec

from skytrail.asking.asker import Answer
from skytrail.asking.questions import Part, Question, Range
from skytrail.asking.terms import Compare, Either, Every, Not, Scalar, Term

Time = TypeVar("Time", int, float)

_BOTH = ("Start", "Last")
_TIMES: Mapping[str, tuple[str, ...]] = {
    "": _BOTH,
    **dict.fromkeys(("Metric", "LastUpdateMetric", "Metrics"), _BOTH),
    "TCPMetric": tuple(f"{way}{what}Start" for way in ("AB", "BA") for what in ("Syn", "Fin", "Rst")),
}
"""Where times stand in what is found, ms since the epoch: by the key of the first level, or at it."""
_FIRST, _LAST = -(1 << 63), (1 << 63) - 1
_KEYS = frozenset(f"{name}.{key}".removeprefix(".") for name, keys in _TIMES.items() for key in keys)


def by_clock_of_hub(answer: Answer, ahead: Callable[[], int]) -> Answer:
    """An agent's side, asked and answered in times of its hub's clock.

    Args:
        answer: in times of ours; what it finds is nobody else's.
        ahead: ms that the hub's clock is ahead of ours.
    """

    def answered(question: Question) -> Iterator[Part]:
        by = ahead()
        if not by:
            yield from answer(question)
            return
        for part in answer(question_shifted(question, -by)):
            yield part_shifted(part, by)

    return answered


def question_shifted(question: Question, by: int) -> Question:
    """The same question by a clock that is so many ms ahead."""
    when, term = getattr(question, "when", None), getattr(question, "term", None)
    changes = {} if when is None else {"when": _range(when, by)}
    return msgspec.structs.replace(question, **changes, **({} if term is None else {"term": _term(term, by)}))


def _range(when: Range, by: int) -> Range:
    return Range(_later(when.begin, by), _later(when.end, by))


def _later(time: Time, by: int) -> Time:
    """A time by the other clock; those at the ends of 64 bits, which are none, stay among them."""
    return min(max(time + by, _FIRST), _LAST)


def _term(term: Term, by: int) -> Term:
    match term:
        case Compare() if term.key in _KEYS:
            return Compare(term.key, term.operator, tuple(_value(one, by) for one in term.values))
        case Compare():
            return term
        case Every() | Either():
            return type(term)(tuple(_term(one, by) for one in term.terms))
        case Not():
            return Not(_term(term.term, by))


def _value(value: Scalar, by: int) -> Scalar:
    return value if isinstance(value, str | bool) else value + by


def part_shifted(part: Part, by: int) -> Part:
    """The same part by a clock that is so many ms ahead; what was found is changed."""
    for one in part.found:
        for name, keys in _TIMES.items():
            of_name = one if not name else one.get(name)
            for times in of_name if isinstance(of_name, list) else (of_name,):
                if isinstance(times, MutableMapping):
                    _shift(times, keys, by)
    since = None if part.since is None else _later(part.since, by)
    return Part(part.found, since, [_range(gap, by) for gap in part.gaps])


def _shift(times: MutableMapping[str, Any], keys: tuple[str, ...], by: int) -> None:
    for key in keys:
        if isinstance(time := times.get(key), int | float):
            times[key] = _later(time, by)
