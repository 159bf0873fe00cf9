"""``has`` and its kin: what an element or a property must be. Source: HasContainer of TinkerPop 3.7.3."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from gremlin_api.language.grammar import TEXT_PREDICATES
from gremlin_api.language.syntax import Argument, EnumValue, Predicate
from gremlin_api.numbers import Long
from gremlin_api.values import Edge, Element, OrderedSet, Property, Value, Vertex, VertexProperty
from topology.store.traversal import Scalar

TOKENS = {"~id": "id", "~label": "label", "~key": "key", "~value": "value"}
"""What TinkerPop calls the tokens where a key may stand."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition.

    Attributes:
        key: of a property; None: no property has it.
        about: ``id``, ``label``, ``key`` or ``value`` instead; empty: it is about a property.
        predicate: what its value must be, as it was said.
        passes: the same as a function.
        by_text: IDs are compared as texts, for the predicate's are texts.
        equal_to: the texts, whole numbers and truth values of which it must be one; None: that is not what it says.
        of_scalars: whether only texts, numbers and truth values can pass.
        compared: the same as stores say it: an operator of theirs and its values. None: they do not.
    """

    key: str | None
    about: str
    predicate: Predicate
    passes: Callable[[Value], bool]
    by_text: bool = False
    equal_to: frozenset[Value] | None = None
    of_scalars: bool = False
    compared: tuple[str, tuple[Scalar, ...]] | None = None

    def test(self, element: Value) -> bool:
        """Whether an element or a property is such a one."""
        if isinstance(element, Property):
            return self.about in ("key", "value") and self.passes(element.key if self.about == "key" else element.value)
        if self.about:
            return self._test_token(element)
        return any(map(self.passes, values(element, self.key)))

    def _test_token(self, element: Element) -> bool:
        if self.about == "id":
            return self.passes(str(element.id) if self.by_text else element.id)
        if self.about == "label":
            return self.passes(element.label)
        if not isinstance(element, VertexProperty):
            return False
        return self.passes(element.label if self.about == "key" else element.value)


def values(element: Element, key: str | None) -> list[Value]:
    """All values of a key."""
    if isinstance(element, Vertex):
        return [one.value for one in (element.properties or {}).get(key or "", ())]
    assert isinstance(element, Edge | VertexProperty)
    properties = element.properties or {}
    return [properties[key]] if key is not None and key in properties else []


def condition(
    key: Argument,
    predicate: Predicate,
    compiled: Callable[[Predicate], Callable[[Value], bool]],
    value_of: Callable[[Argument], Value],
) -> Condition:
    """The condition that a key, or a token, is such."""
    if isinstance(key, EnumValue):
        name, about = None, key.name
    else:
        assert key is None or isinstance(key, str)
        name, about = key, TOKENS.get(key or "", "")
    arguments = _unpacked([value_of(one) for one in predicate.arguments if not isinstance(one, Predicate)])
    by_text = (
        about == "id" and bool(arguments) and all(one is None or isinstance(one, str) for one in arguments) and any(arguments)
    )
    exact = predicate.name in ("eq", "within") and all(type(one) in _EXACT for one in arguments) and tell_apart(arguments)
    equal_to = frozenset(arguments) if exact else None
    scalars = _is_of_scalars(predicate, value_of)
    compared = (predicate.name, _plain(arguments)) if predicate.name in _COMPARED and _are_plain(arguments) else None
    return Condition(None if about else name, about, predicate, compiled(predicate), by_text, equal_to, scalars, compared)


_COMPARED = frozenset({
    "eq", "neq", "within", "without", "gt", "gte", "lt", "lte", "between", "inside", "outside", "startingWith", "endingWith",
    "containing",
})  # fmt: skip
"""Predicates that mean the same to :class:`topology.store.traversal.Compare`."""


def _are_plain(arguments: Sequence[Value]) -> bool:
    return all(isinstance(one, str | int) or (isinstance(one, float) and math.isfinite(one)) for one in arguments)


def _plain(arguments: Sequence[Value]) -> tuple[Scalar, ...]:
    """Numbers of Gremlin's types as Python's own."""
    return tuple(one if isinstance(one, str | bool) else int(one) if isinstance(one, int) else float(one) for one in arguments)


_EXACT = (str, int, bool, Long)
"""Types whose values are equal where Python says so: a Double and a BigDecimal may be equal for TinkerPop only."""

_SCALAR = frozenset({"eq", "gt", "gte", "lt", "lte", "inside", "outside", "between", "within"}) | {
    name for name in TEXT_PREDICATES if not name.startswith("not")
}


def _is_of_scalars(predicate: Predicate, value_of: Callable[[Argument], Value]) -> bool:
    if predicate.name in ("and", "or"):
        return all(_is_of_scalars(one, value_of) for one in predicate.arguments if isinstance(one, Predicate))
    arguments = _unpacked([value_of(one) for one in predicate.arguments if not isinstance(one, Predicate)])
    return predicate.name in _SCALAR and all(isinstance(one, str | int | float | Decimal) for one in arguments)


def tell_apart(values: Sequence[Value]) -> bool:
    """Whether values are different for Python where they are for Gremlin: it takes 1 and True as one."""
    return len({isinstance(one, bool) for one in values}) <= 1


def _unpacked(arguments: list[Value]) -> list[Value]:
    """With a list that stands alone as its items."""
    return list(arguments[0]) if len(arguments) == 1 and isinstance(arguments[0], list | OrderedSet) else arguments
