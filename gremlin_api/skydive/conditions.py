"""What ``Has`` and its kin ask of an element: keys and what is there. Pure.

Source: Skydive's graffiti/filters; numbers are compared as numbers, texts as texts, and truth values with truth values only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gremlin_api.graphs.topology import TopologyEdge, TopologyVertex
from gremlin_api.interpreter.conditions import Condition, tell_apart
from gremlin_api.language.syntax import Argument, Predicate
from gremlin_api.skydive.seen import Seen
from gremlin_api.values import Value
from skytrail.asking.regular import compile_re2
from skytrail.asking.terms import in_network, same_as
from skytrail.errors import UsageError
from topology.elements import FOREVER, Revision
from topology.store.traversal import Scalar, value_at

Item: TypeAlias = "TopologyVertex | TopologyEdge"
Test: TypeAlias = Callable[[Any], bool]

_PREFIX = "Metadata."


def _milliseconds(when: int) -> int | None:
    return None if when == FOREVER else when // 1000


def _end(revision: Revision, name: str) -> str | None:
    return getattr(revision.state, name) or None


ATTRIBUTES: dict[str, Callable[[Revision], Any]] = {
    "@ID": lambda one: one.id,
    "@Host": lambda one: one.state.host if one.state else None,
    "@Origin": lambda one: one.state.origin if one.state else None,
    "@CreatedAt": lambda one: _milliseconds(one.created_at),
    "@UpdatedAt": lambda one: _milliseconds(one.updated_at),
    "@DeletedAt": lambda one: _milliseconds(one.archived_at) if one.deleted else None,
    "@Revision": lambda one: one.number,
}
"""What an element has beside its metadata."""

EDGE_ATTRIBUTES: dict[str, Callable[[Revision], Any]] = {
    "@Parent": lambda one: _end(one, "parent"),
    "@Child": lambda one: _end(one, "child"),
}
"""What an edge has beside it."""

_ALL = ATTRIBUTES | EDGE_ATTRIBUTES


def value_of(item: Value, key: str) -> Any:  # noqa: ANN401 - a value of JSON
    """What an element, a flow, or a map, has at a key; None: nothing. An empty map is nothing."""
    if isinstance(item, Seen):
        return item.at(key)
    if isinstance(item, TopologyVertex | TopologyEdge):
        attribute = _ALL.get(key)
        found = attribute(item.revision) if attribute else value_at(item.metadata, key.removeprefix(_PREFIX))
    else:
        found = value_at(item, key) if isinstance(item, Mapping) else None
    return None if found == {} else found


def values_of(item: Value, key: str) -> list[Any]:
    """The same, the items of a list one by one."""
    found = value_of(item, key)
    return [] if found is None else found if isinstance(found, list) else [found]


@dataclass(frozen=True, slots=True)
class KeyCondition(Condition):
    """What the values at a key must be.

    Attributes:
        meets: whether all that is there, which may be nothing, is as it must be.
    """

    meets: Callable[[Sequence[Any]], bool] = any

    def test(self, element: Value) -> bool:
        """Whether an element, or a map, is such a one."""
        return self.meets(values_of(element, self.key or ""))


def conditions(arguments: Sequence[Argument]) -> list[KeyCondition]:
    """The conditions that pairs of a key and a value, or a predicate, say. Raises UsageError."""
    return [_condition(str(key), value) for key, value in zip(arguments[::2], arguments[1::2], strict=True)]


def has_key(key: str) -> KeyCondition:
    """That there is something at a key."""
    return KeyCondition(_plain(key), "", Predicate("HasKey", ()), lambda _: True, meets=bool)


def has_not(key: str) -> KeyCondition:
    """That there is nothing at a key."""
    return KeyCondition(_plain(key), "", Predicate("HasNot", ()), lambda _: False, meets=lambda found: not found)


def either(one_of: Sequence[Condition]) -> KeyCondition:
    """That one of these is met."""
    return _Either(None, "", Predicate("HasEither", ()), lambda _: True, one_of=tuple(one_of))


@dataclass(frozen=True, slots=True)
class _Either(KeyCondition):
    one_of: tuple[Condition, ...] = ()

    def test(self, element: Value) -> bool:
        return any(one.test(element) for one in self.one_of)


def _plain(key: str) -> str:
    return key.removeprefix(_PREFIX)


def _condition(key: str, value: Argument) -> KeyCondition:
    predicate = value if isinstance(value, Predicate) else Predicate("Within", (value,))
    name, arguments = predicate.name, predicate.arguments
    made = _OF_ONE.get(name)
    if made is not None:
        passes = made(*arguments)
        exact = name == "Within" and tell_apart(arguments)
        equal, compared = (frozenset(arguments), ("within", _scalars(arguments))) if exact else (None, None)
        return KeyCondition(
            _plain(key), "", predicate, passes, equal_to=equal, of_scalars=True, compared=compared, meets=_any(passes)
        )
    absent = _OF_ALL[name]
    same = _within(*arguments)
    return KeyCondition(
        _plain(key), "", predicate, lambda _: True, meets=lambda found: (absent or bool(found)) and not any(map(same, found))
    )


def _scalars(values: Sequence[Argument]) -> tuple[Scalar, ...]:
    return tuple(one for one in values if isinstance(one, str | int | float))


def _any(passes: Test) -> Callable[[Sequence[Any]], bool]:
    return lambda found: any(map(passes, found))


def _within(*wanted: Argument) -> Test:
    if any(isinstance(one, Predicate) for one in wanted):
        raise UsageError("values are listed here, not predicates")
    return same_as(wanted)


def _comparable(value: Any, other: Argument) -> bool:  # noqa: ANN401
    if isinstance(value, bool) or isinstance(other, bool):
        return False
    return isinstance(value, str) if isinstance(other, str) else isinstance(value, int | float)


def _ordered(*limits: Argument, holds: Callable[..., bool]) -> Test:
    for one in limits:
        if isinstance(one, bool | Predicate):
            raise UsageError("a number or a text is compared, not TRUE, FALSE or a predicate")
    return lambda value: all(_comparable(value, one) for one in limits) and holds(value, *limits)


def _regex(expression: str) -> Test:
    if expression.startswith("^") or expression.endswith("$"):
        raise UsageError("a Regex stands for the whole text by itself: leave ^ and $ away")
    try:
        matches = compile_re2(expression).fullmatch
    except ValueError as error:
        raise UsageError(f"'{expression}' is no regular expression: {error}") from error
    return lambda value: isinstance(value, str) and matches(value.encode("utf-8", "surrogatepass")) is not None


def _address_range(text: str) -> Test:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"IPV4Range takes a range of addresses as '10.0.0.0/8', not '{text}'") from error
    return in_network(network)


_OF_ONE: dict[str, Callable[..., Test]] = {
    "Within": _within,
    "LT": lambda limit: _ordered(limit, holds=lambda value, one: value < one),
    "LTE": lambda limit: _ordered(limit, holds=lambda value, one: value <= one),
    "GT": lambda limit: _ordered(limit, holds=lambda value, one: value > one),
    "GTE": lambda limit: _ordered(limit, holds=lambda value, one: value >= one),
    "Inside": lambda low, high: _ordered(low, high, holds=lambda value, one, other: one < value < other),
    "Between": lambda low, high: _ordered(low, high, holds=lambda value, one, other: one <= value < other),
    "Outside": lambda low, high: _ordered(low, high, holds=lambda value, one, other: value < one or value > other),
    "Regex": _regex,
    "IPV4Range": _address_range,
}
"""Predicates that one of the values must pass."""

_OF_ALL = {"NE": False, "Without": False, "NEE": True}
"""Predicates that none of the values may be equal to; whether there may be none."""
