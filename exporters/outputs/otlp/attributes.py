"""Attributes, resource and scope as protobuf messages: what is sent once a request, not once a span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

Value = str | bool | int | float | Sequence[str]


def resource(attributes: Mapping[str, Value]) -> bytes:
    """A serialised ``Resource``."""
    return Resource(attributes=key_values(attributes.items())).SerializeToString()


def scope(name: str, version: str) -> bytes:
    """A serialised ``InstrumentationScope``."""
    return InstrumentationScope(name=name, version=version).SerializeToString()


def key_values(attributes: Iterable[tuple[str, Value]]) -> list[KeyValue]:
    """Attributes as messages, in the order given."""
    return [KeyValue(key=key, value=_any_value(value)) for key, value in attributes]


def _any_value(value: Value) -> AnyValue:
    match value:
        case str():
            return AnyValue(string_value=value)
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case _:
            return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=item) for item in value]))
