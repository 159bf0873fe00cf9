"""Conditions on what agents know (flows, sockets), as JSON that a hub sends and an agent checks: one meaning for both. Pure.

A value is compared with values of its own kind only: numbers with numbers, texts with texts, truth values with truth values.
What is a list at a key is each of its items; an empty map is nothing. Source: Skydive's graffiti/filters.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from skytrail.asking.regular import compile_re2
from skytrail.errors import UsageError

Scalar: TypeAlias = "str | int | float | bool"
Test: TypeAlias = Callable[[Mapping[str, Any]], bool]

_DEEPEST = 32


class Compare(msgspec.Struct, frozen=True, tag="compare"):
    """What is at a key stands in a relation to values.

    Attributes:
        key: dotted (``Network.A``).
        operator: one of :data:`OPERATORS`.
        values: ``within``, ``without`` and ``unlike`` take any number; ``there`` and ``missing`` none; others one.
    """

    key: str
    operator: str
    values: tuple[Scalar, ...] = ()


class Every(msgspec.Struct, frozen=True, tag="every"):
    """All are met; of none: always."""

    terms: tuple[Term, ...]


class Either(msgspec.Struct, frozen=True, tag="either"):
    """One is met; of none: never."""

    terms: tuple[Term, ...]


class Not(msgspec.Struct, frozen=True, tag="not"):
    """It is not met."""

    term: Term


Term: TypeAlias = Compare | Every | Either | Not


def value_at(item: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - a value of JSON
    """What is at a dotted key; None: nothing."""
    found: Any = item
    for name in key.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return None if found == {} else found


def keys_of(term: Term | None) -> Iterator[str]:
    """The keys that a term asks for."""
    match term:
        case Compare():
            yield term.key
        case Every() | Either():
            for one in term.terms:
                yield from keys_of(one)
        case Not():
            yield from keys_of(term.term)


def compiled(term: Term) -> Test:
    """The test that a term says. Raises UsageError: it says what cannot be; names the key."""
    return _compiled(term, 0)


def _compiled(term: Term, depth: int) -> Test:
    if depth > _DEEPEST:
        raise UsageError(f"conditions are nested more than {_DEEPEST} deep")
    match term:
        case Compare():
            return _compare(term)
        case Every():
            every = [_compiled(one, depth + 1) for one in term.terms]
            return lambda item: all(test(item) for test in every)
        case Either():
            either = [_compiled(one, depth + 1) for one in term.terms]
            return lambda item: any(test(item) for test in either)
        case Not():
            inner = _compiled(term.term, depth + 1)
            return lambda item: not inner(item)


def _compare(term: Compare) -> Test:
    made = OPERATORS.get(term.operator)
    if made is None:
        raise UsageError(f"{term.key}: '{term.operator}' is no relation: use one of {', '.join(OPERATORS)}")
    takes, of = made
    if takes is not None and len(term.values) != takes:
        raise UsageError(f"{term.key}: '{term.operator}' takes {takes} values, not {len(term.values)}")
    key = term.key
    try:
        meets = of(term.values)
    except UsageError as error:
        raise UsageError(f"{key}: {error}") from error

    def test(item: Mapping[str, Any]) -> bool:
        found = value_at(item, key)
        return meets(() if found is None else found if isinstance(found, list) else (found,))

    return test


Meets: TypeAlias = Callable[[Sequence[Any]], bool]
"""Whether all that is there, which may be nothing, is as it must be."""


def same_as(values: Sequence[object]) -> Callable[[Any], bool]:
    """Whether a value equals one of these, of its own kind: a truth value is no number."""
    kinds = [(isinstance(one, bool), one) for one in values]
    return lambda value: any(value == one and isinstance(value, bool) is truth for truth, one in kinds)


def _within(values: Sequence[Scalar]) -> Meets:
    same = same_as(values)
    return lambda found: any(map(same, found))


def _without(values: Sequence[Scalar]) -> Meets:
    same = same_as(values)
    return lambda found: bool(found) and not any(map(same, found))


def _unlike(values: Sequence[Scalar]) -> Meets:
    same = same_as(values)
    return lambda found: not any(map(same, found))


def _ordered(holds: Callable[[Any, Any], bool]) -> Callable[[Sequence[Scalar]], Meets]:
    def made(values: Sequence[Scalar]) -> Meets:
        (limit,) = values
        if isinstance(limit, bool):
            raise UsageError("a number or a text is compared, not true or false")
        kind: tuple[type, ...] = (str,) if isinstance(limit, str) else (int, float)
        return lambda found: any(isinstance(one, kind) and not isinstance(one, bool) and holds(one, limit) for one in found)

    return made


def _regex(values: Sequence[Scalar]) -> Meets:
    (text,) = values
    try:
        matches = compile_re2(str(text)).fullmatch
    except ValueError as error:
        raise UsageError(f"'{text}' is no regular expression: {error}") from error
    return lambda found: any(
        isinstance(one, str) and matches(one.encode("utf-8", "surrogatepass")) is not None for one in found
    )


def _address_range(values: Sequence[Scalar]) -> Meets:
    (text,) = values
    try:
        network = ipaddress.ip_network(str(text), strict=False)
    except ValueError as error:
        raise UsageError(f"a range of addresses is as '10.0.0.0/8', not '{text}'") from error

    within = in_network(network)
    return lambda found: any(map(within, found))


def in_network(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Callable[[Any], bool]:
    """Whether a value is an address of a network, by itself or with a prefix length."""

    def within(value: Any) -> bool:  # noqa: ANN401 - a value of JSON
        if not isinstance(value, str):
            return False
        try:
            return ipaddress.ip_address(value.partition("/")[0]) in network
        except ValueError:
            return False

    return within


OPERATORS: dict[str, tuple[int | None, Callable[[Sequence[Scalar]], Meets]]] = {
    "within": (None, _within),  # equal to one of them
    "without": (None, _without),  # there, and equal to none
    "unlike": (None, _unlike),  # missing, or equal to none
    "lt": (1, _ordered(lambda one, limit: bool(one < limit))),
    "lte": (1, _ordered(lambda one, limit: bool(one <= limit))),
    "gt": (1, _ordered(lambda one, limit: bool(one > limit))),
    "gte": (1, _ordered(lambda one, limit: bool(one >= limit))),
    "regex": (1, _regex),  # the whole text, RE2's syntax
    "range": (1, _address_range),  # an address, or one with a prefix length, in a network
    "there": (0, lambda _: bool),
    "missing": (0, lambda _: lambda found: not found),
}
"""Relations: how many values one takes (None: any number), and what it asks."""
