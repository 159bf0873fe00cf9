"""GraphSON without types: values → JSON. Pure.

Source: what a Gremlin Server 3.7.3 answers. Its untyped GraphSON 3 is the untyped GraphSON 2, for
``GraphSONUntypedMessageSerializerV3`` extends ``AbstractGraphSONMessageSerializerV2``; GraphSON 1: ``GraphSONSerializersV1``.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from gremlin_api.language.syntax import EnumValue
from gremlin_api.values import Edge, Path, Presence, Tree, Value, Vertex, VertexProperty
from gremlin_api.wire.graphson import Json
from gremlin_api.wire.graphson2 import STRUCTURES, Form, key_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def untyped(value: Value) -> Json:
    """A value as GraphSON 2 and 3 have it without types; a BigDecimal's is a ``Decimal``, to be written as a number.

    Raises:
        TypeError: it has no form.
    """
    return _SECOND(value)


def untyped1(value: Value) -> Json:
    """A value as GraphSON 1 has it without types; a BigDecimal's is a ``Decimal``, to be written as a number.

    Raises:
        TypeError: it has no form.
    """
    return _FIRST(value)


def _float(value: float) -> Json:
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


_SCALARS: dict[type, Callable[[Value], Json]] = {
    type(None): lambda one: one,
    str: lambda one: one,
    bool: lambda one: one,
    int: int,
    float: _float,
    Decimal: lambda one: one,
    EnumValue: lambda one: one.name,
    datetime: lambda one: (one - _EPOCH) // _MILLISECOND,
    uuid.UUID: str,
    Presence: lambda one: {"empty": not one.present, "present": one.present},
}


def _scalar(value: Value) -> Json:
    written = next((_SCALARS[base] for base in type(value).__mro__ if base in _SCALARS), None)
    if written is None:
        raise TypeError(f"{type(value).__name__} has no form in GraphSON")
    return written(value)


def _vertex(value: Vertex, form: Form) -> Json:
    several = (value.properties or {}).items()
    properties = {key: [_property_of_vertex(one, form) for one in values] for key, values in several}
    return {"id": form(value.id), "label": value.label, "type": "vertex", "properties": properties}


def _property_of_vertex(value: VertexProperty, form: Form) -> dict[str, Json]:
    told = {"id": form(value.id), "value": form(value.value)}
    if value.properties:
        told["properties"] = {key: form(one) for key, one in value.properties.items()}
    return told


def _vertex_property(value: VertexProperty, form: Form) -> Json:
    return {**_property_of_vertex(value, form), "label": value.label}


def _edge(value: Edge, form: Form) -> Json:
    told = {
        "id": form(value.id),
        "label": value.label,
        "type": "edge",
        "inVLabel": value.into.label,
        "outVLabel": value.out.label,
        "inV": form(value.into.id),
        "outV": form(value.out.id),
    }
    if value.properties:
        told["properties"] = {key: form(one) for key, one in value.properties.items()}
    return told


def _path(value: Path, form: Form) -> Json:
    return {"labels": [sorted(several) for several in value.labels], "objects": [form(one) for one in value.objects]}


def _tree(value: Tree, form: Form) -> Json:
    return {key_text(key): {"key": form(key), "value": form(below)} for key, below in value.items()}


def _bare(_name: str, told: Json) -> Json:
    return told


_SECOND = Form(STRUCTURES, _scalar, _bare)
_FIRST = Form(
    {**STRUCTURES, Vertex: _vertex, VertexProperty: _vertex_property, Edge: _edge, Path: _path, Tree: _tree}, _scalar, _bare
)
