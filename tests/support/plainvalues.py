"""Values in a form in which they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from gremlin_api.language.syntax import EnumValue
from gremlin_api.numbers import integer_type
from gremlin_api.values import BulkSet, Element, Map, OrderedSet, Value, hashable


def plain(value: Value) -> Any:
    """All that a value holds, its elements' properties too, with the types of its numbers: to be compared."""
    if isinstance(value, list | tuple):
        return list(map(plain, value))
    if isinstance(value, OrderedSet):
        return OrderedSet, sorted((plain(one) for one in value), key=repr)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, Map):
        return type(value), [(plain(key), plain(one)) for key, one in value.items()]
    if isinstance(value, BulkSet):
        return BulkSet, plain(value.counts)
    if isinstance(value, Element):
        names = ("id", "label", "value", "out", "into", "properties")
        return type(value), [plain(getattr(value, name)) for name in names if hasattr(value, name)]
    if is_dataclass(value) and not isinstance(value, EnumValue):
        return type(value), [plain(getattr(value, one.name)) for one in fields(value)]
    number = isinstance(value, int) and not isinstance(value, bool)
    return (integer_type(value), int(value)) if number else hashable(value)
