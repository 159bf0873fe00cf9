"""What ``Has`` and its kin ask of what agents know, as conditions that are sent to them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gremlin_api.language.syntax import Argument, Predicate
from skytrail.asking.terms import Compare, Either, Every, Scalar, Term, compiled
from skytrail.errors import UsageError

ENDS = ("Link", "Network", "Transport")
"""Keys that stand for both ends: ``Network`` for ``Network.A`` and ``Network.B``."""


def term_of(step: str, arguments: Sequence[Argument]) -> Term:
    """The condition that a filter says. Raises UsageError: it says none."""
    term = _TERMS[step](arguments)
    compiled(term)  # what cannot be is told before anybody is asked
    return term


def every(terms: Sequence[Term]) -> Term | None:
    """All of them in one; None: there are none."""
    return None if not terms else terms[0] if len(terms) == 1 else Every(tuple(terms))


def _pairs(arguments: Sequence[Argument]) -> tuple[Term, ...]:
    return tuple(_pair(str(key), value) for key, value in zip(arguments[::2], arguments[1::2], strict=True))


def _pair(key: str, value: Argument) -> Term:
    predicate = value if isinstance(value, Predicate) else Predicate("Within", (value,))
    if key not in ENDS:
        return _condition(key, predicate)
    # that one end is such; or, where it is said what is not, that none is
    join = Every if predicate.name in _NEGATIONS else Either
    return join(tuple(_condition(f"{key}.{end}", predicate) for end in ("A", "B")))


def _condition(key: str, predicate: Predicate) -> Term:
    values = _scalars(predicate.arguments)
    if predicate.name == "Regex" and (str(values[0]).startswith("^") or str(values[0]).endswith("$")):
        raise UsageError("a Regex stands for the whole text by itself: leave ^ and $ away")
    return _PREDICATES[predicate.name](key, values)


def _scalars(arguments: Sequence[Argument]) -> tuple[Scalar, ...]:
    if not all(isinstance(one, str | int | float) for one in arguments):
        raise UsageError("values are listed here, not predicates")
    return tuple(one for one in arguments if isinstance(one, str | int | float))


Made = Callable[[str, tuple[Scalar, ...]], Term]


def _one(operator: str) -> Made:
    return lambda key, values: Compare(key, operator, values)


def _two(join: type[Every | Either], low: str, high: str) -> Made:
    return lambda key, values: join((Compare(key, low, values[:1]), Compare(key, high, values[1:])))


_PREDICATES: dict[str, Made] = {
    "Within": _one("within"),
    "Without": _one("without"),
    "NE": _one("without"),
    "NEE": _one("unlike"),
    "LT": _one("lt"),
    "LTE": _one("lte"),
    "GT": _one("gt"),
    "GTE": _one("gte"),
    "Inside": _two(Every, "gt", "lt"),
    "Between": _two(Every, "gte", "lt"),
    "Outside": _two(Either, "lt", "gt"),
    "Regex": _one("regex"),
    "IPV4Range": _one("range"),
}
_NEGATIONS = ("Without", "NE", "NEE")


_TERMS: dict[str, Callable[[Sequence[Argument]], Term]] = {
    "Has": lambda arguments: Every(_pairs(arguments)) if len(arguments) > 1 else Compare(str(arguments[0]), "there"),
    "HasEither": lambda arguments: Either(_pairs(arguments)),
    "HasKey": lambda arguments: Compare(str(arguments[0]), "there"),
    "HasNot": lambda arguments: Compare(str(arguments[0]), "missing"),
}
