"""Columns of spans → bytes of an ``ExportTraceServiceRequest``.

Field numbers: opentelemetry/proto/trace/v1/trace.proto, common.proto and trace_service.proto (opentelemetry-proto 1.x).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from exporters.outputs.otlp.columns import Bools, Column, LinkColumn, SpanColumns, ValueKind
from exporters.outputs.otlp.rows import (
    FIXED32,
    FIXED64,
    LENGTH_DELIMITED,
    VARINT,
    Fixed,
    Literal,
    Part,
    encode_varint,
    fixed64,
    integers,
    join,
    key,
    message,
    octets,
    scalar,
    text,
)

BLOCK_ROWS = 2048
"""Spans encoded at once: enough to spread numpy's cost of a call, few enough for the matrix to stay in the cache."""
BLOCK_BYTES = 8 << 20
"""A block whose matrix would be larger (very long strings) is halved."""


def encode_spans(batch: SpanColumns, resource: bytes, scope: bytes) -> bytes:
    """A serialised ``ExportTraceServiceRequest`` of all spans of ``batch``.

    Args:
        batch: n spans; attributes and links keep their order.
        resource: a serialised ``Resource``.
        scope: a serialised ``InstrumentationScope``.
    """
    spans: list[bytes] = []
    for start in range(0, len(batch), BLOCK_ROWS):
        _encode_block(batch.rows(start, start + BLOCK_ROWS), spans)
    head = key(1, LENGTH_DELIMITED) + encode_varint(len(scope)) + scope
    scope_spans = key(2, LENGTH_DELIMITED) + encode_varint(len(head) + sum(map(len, spans))) + head
    head = key(1, LENGTH_DELIMITED) + encode_varint(len(resource)) + resource + scope_spans
    length = len(head) + sum(map(len, spans))
    return b"".join([key(1, LENGTH_DELIMITED), encode_varint(length), head, *spans])


def _encode_block(batch: SpanColumns, out: list[bytes]) -> None:
    row = message(2, _span(batch))  # ScopeSpans.spans
    n = len(batch)
    if n > 1 and n * row.width > BLOCK_BYTES:
        _encode_block(batch.rows(0, n // 2), out)
        _encode_block(batch.rows(n // 2, n), out)
    else:
        out.append(join(row, n))


def _span(batch: SpanColumns) -> list[Part]:
    """The fields of ``Span``, by number."""
    parts = [octets(1, batch.trace_id), octets(2, batch.span_id)]
    if batch.parent_span_id is not None:
        parts.append(octets(4, batch.parent_span_id, (batch.parent_span_id != 0).any(axis=1)))
    if not isinstance(batch.name, str):
        parts.append(text(5, batch.name, batch.name != b""))
    elif batch.name:
        parts.append(text(5, batch.name))
    parts.append(_kind(batch.kind))
    parts.append(scalar(7, FIXED64, fixed64(batch.start, "<u8")))
    parts.append(scalar(8, FIXED64, fixed64(batch.end, "<u8")))
    parts += [_attribute(9, column) for column in batch.attributes]
    parts += [_link(link) for link in batch.links]
    parts.append(_flags(16, batch.flags))
    return parts


def _kind(kind: int | npt.NDArray[np.integer[Any]]) -> Part:
    if not isinstance(kind, int):
        return scalar(6, VARINT, integers(kind), kind != 0)
    return Literal(key(6, VARINT) + encode_varint(kind) if kind else b"")


def _link(link: LinkColumn) -> Part:
    attributes = [_key_value(4, name, text(1, value)) for name, value in link.attributes]
    parts = [octets(1, link.trace_id), octets(2, link.span_id), *attributes, _flags(6, link.flags)]
    return message(13, parts, link.present)


def _flags(field: int, flags: int) -> Part:
    return Literal(key(field, FIXED32) + flags.to_bytes(4, "little") if flags else b"")


def _attribute(field: int, column: Column) -> Part:
    return _key_value(field, column.key, _any_value(column), column.present)


def _key_value(field: int, name: str, value: Part, present: Bools | None = None) -> Part:
    return message(field, [text(1, name), message(2, [value])], present)


def _any_value(column: Column) -> Part:
    """The one field of ``AnyValue`` that the column's kind sets."""
    values = column.values
    match column.kind:
        case ValueKind.STR if values.ndim == 1:
            return text(1, values)
        case ValueKind.STR:
            places = [values[:, place] for place in range(values.shape[1])]
            return message(5, [message(1, [text(1, place)], place != b"") for place in places])
        case ValueKind.BOOL:
            return scalar(2, VARINT, Fixed(values.astype(np.bool_).view(np.uint8).reshape(-1, 1)))
        case ValueKind.INT:
            return scalar(3, VARINT, integers(values))
        case ValueKind.DOUBLE:
            return scalar(4, FIXED64, fixed64(values, "<f8"))
