from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from exporters.outputs.otlp import spans
from exporters.outputs.otlp.columns import Column, LinkColumn, SpanColumns, ValueKind
from exporters.outputs.otlp.rows import Part, join
from exporters.outputs.otlp.spans import encode_spans

RESOURCE = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value="skytrail"))])
SCOPE = InstrumentationScope(name="skytrail", version="1")

# An array of dtype S cannot hold NULs at the end of a string; a surrogate has no UTF-8.
texts = st.text(st.characters(codec="utf-8"), max_size=40).map(lambda text: text.rstrip("\0"))
ints = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 70_000)
VALUES: dict[ValueKind, st.SearchStrategy[Any]] = {
    ValueKind.STR: texts,
    ValueKind.INT: ints,
    ValueKind.DOUBLE: st.floats(allow_nan=False),
    ValueKind.BOOL: st.booleans(),
}


def text_array(values: Sequence[str]) -> np.ndarray[Any, Any]:
    return np.array([value.encode() for value in values], np.bytes_)


def octets(rows: Sequence[bytes]) -> np.ndarray[Any, Any]:
    return np.array([list(row) for row in rows], np.uint8)


def any_value(kind: ValueKind, value: Any) -> AnyValue:
    match kind:
        case ValueKind.STR:
            return AnyValue(string_value=value)
        case ValueKind.INT:
            return AnyValue(int_value=value)
        case ValueKind.DOUBLE:
            return AnyValue(double_value=value)
        case ValueKind.BOOL:
            return AnyValue(bool_value=value)


@st.composite
def batches(draw: st.DrawFn) -> tuple[SpanColumns, list[Span]]:
    """A batch of columns, and the same spans as messages of the protobuf library."""
    n = draw(st.integers(1, 12))

    def rows(strategy: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(strategy, min_size=n, max_size=n))

    def ids(size: int) -> list[bytes]:
        return rows(st.binary(min_size=size, max_size=size))

    def presence() -> list[bool] | None:
        return draw(st.none() | st.lists(st.booleans(), min_size=n, max_size=n))

    trace_id, span_id = ids(16), ids(8)
    parent = draw(st.none() | st.just(ids(8)) | st.just([bytes(8)] * n))
    name = draw(texts) if draw(st.booleans()) else rows(texts)
    kind = draw(st.integers(0, 5)) if draw(st.booleans()) else rows(st.integers(0, 5))
    start, end = rows(st.integers(1, 2**64 - 1)), rows(st.integers(1, 2**64 - 1))
    flags = draw(st.sampled_from([0, 1, 0x101, 2**32 - 1]))
    messages = [
        Span(
            trace_id=trace_id[i],
            span_id=span_id[i],
            parent_span_id=parent[i] if parent and any(parent[i]) else b"",
            name=name if isinstance(name, str) else name[i],
            kind=kind if isinstance(kind, int) else kind[i],  # type: ignore[arg-type] # an open enum
            start_time_unix_nano=start[i],
            end_time_unix_nano=end[i],
            flags=flags,
        )
        for i in range(n)
    ]
    columns = []
    for _ in range(draw(st.integers(0, 5))):
        key, of, present = draw(texts.filter(bool)), draw(st.sampled_from(ValueKind)), presence()
        if of is ValueKind.STR and draw(st.booleans()):
            lists = rows(st.lists(texts.filter(bool), min_size=3, max_size=3) | st.just(["", "b", ""]))
            array: Any = np.stack([text_array([row[k] for row in lists]).astype("S200") for k in range(3)], axis=1)
            values = [AnyValue(array_value=ArrayValue(values=[any_value(of, v) for v in row if v])) for row in lists]
        else:
            plain = rows(VALUES[of])
            dtype = {ValueKind.INT: np.int64, ValueKind.DOUBLE: np.float64, ValueKind.BOOL: np.bool_}.get(of)
            array = text_array(plain) if dtype is None else np.array(plain, dtype)
            values = [any_value(of, value) for value in plain]
        columns.append(Column(key, of, array, None if present is None else np.array(present, np.bool_)))
        for i in range(n):
            if present is None or present[i]:
                messages[i].attributes.append(KeyValue(key=key, value=values[i]))
    links = []
    for _ in range(draw(st.integers(0, 2))):
        to_trace, to_span, present, label = ids(16), ids(8), presence(), draw(texts)
        shown = None if present is None else np.array(present, np.bool_)
        links.append(LinkColumn(octets(to_trace), octets(to_span), shown, (("skytrail.link", label),), flags))
        constant = [KeyValue(key="skytrail.link", value=AnyValue(string_value=label))]
        for i in range(n):
            if present is None or present[i]:
                link = Span.Link(trace_id=to_trace[i], span_id=to_span[i], attributes=constant, flags=flags)
                messages[i].links.append(link)
    batch = SpanColumns(
        octets(trace_id),
        octets(span_id),
        name if isinstance(name, str) else text_array(name),
        np.array(start, np.uint64),
        np.array(end, np.uint64),
        kind if isinstance(kind, int) else np.array(kind, np.uint8),
        None if parent is None else octets(parent),
        columns,
        links,
        flags,
    )
    return batch, messages


def request(messages: Sequence[Span]) -> bytes:
    scope_spans = ScopeSpans(scope=SCOPE, spans=messages)
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=RESOURCE, scope_spans=[scope_spans])]
    ).SerializeToString()


def encoded(batch: SpanColumns) -> bytes:
    return encode_spans(batch, RESOURCE.SerializeToString(), SCOPE.SerializeToString())


def attributes(data: bytes) -> list[list[KeyValue]]:
    parsed = ExportTraceServiceRequest.FromString(data)
    return [list(span.attributes) for rs in parsed.resource_spans for ss in rs.scope_spans for span in ss.spans]


@settings(max_examples=300, deadline=None)
@given(batches())
def test_encoded_columns_are_the_bytes_that_the_protobuf_library_writes(case: tuple[SpanColumns, list[Span]]) -> None:
    batch, messages = case
    assert encoded(batch) == request(messages)


@settings(max_examples=30, deadline=None)
@given(batches(), st.integers(1, 5))
def test_blocks_and_halved_blocks_join_to_the_same_request(case: tuple[SpanColumns, list[Span]], rows: int) -> None:
    batch, messages = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "BLOCK_ROWS", rows)
        assert encoded(batch) == request(messages)
        patch.setattr(spans, "BLOCK_ROWS", 100)
        patch.setattr(spans, "BLOCK_BYTES", 1)
        assert encoded(batch) == request(messages)


def test_one_very_long_string_does_not_widen_the_matrix_of_all_spans(
    make_spans: Callable[[int], SpanColumns], monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 2048
    sizes: list[int] = []

    def measured(row: Part, count: int) -> bytes:
        sizes.append(row.width * count)
        return join(row, count)

    monkeypatch.setattr(spans, "join", measured)
    batch = make_spans(n)
    values = np.full(n, b"short", "S20000")
    values[n // 2] = b"x" * 20_000
    long = SpanColumns(
        batch.trace_id, batch.span_id, "n", batch.start, batch.end, attributes=[Column("k", ValueKind.STR, values)]
    )
    got = [row[0].value.string_value for row in attributes(encoded(long))]
    assert got == [value.decode() for value in values.tolist()]
    assert max(sizes) <= spans.BLOCK_BYTES


def test_no_spans_make_an_empty_scope(make_spans: Callable[[int], SpanColumns]) -> None:
    assert encoded(make_spans(0)) == request([])


@pytest.mark.parametrize(
    ("given_bytes", "sent"),
    [
        (b"caf\xc3", "caf\ufffd"),  # a name cut in the middle of a character
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\x80tail", "\ufffdtail"),  # must not complete the string before it
        ("héé".encode(), "héé"),
    ],
)
def test_bytes_that_are_not_utf8_are_replaced_so_that_no_receiver_refuses_the_request(
    make_spans: Callable[[int], SpanColumns], given_bytes: bytes, sent: str
) -> None:
    batch = make_spans(3)
    values = np.array([b"plain", b"abcd\xc3", given_bytes])  # five bytes wide, without padding
    dirty = SpanColumns(
        batch.trace_id, batch.span_id, "n", batch.start, batch.end, attributes=[Column("k", ValueKind.STR, values)]
    )
    assert [row[0].value.string_value for row in attributes(encoded(dirty))] == ["plain", "abcd\ufffd", sent]


def test_unsigned_integers_beyond_int64_saturate(make_spans: Callable[[int], SpanColumns]) -> None:
    batch = make_spans(2)
    column = Column("k", ValueKind.INT, np.array([2**64 - 1, 5], np.uint64))
    huge = SpanColumns(batch.trace_id, batch.span_id, "n", batch.start, batch.end, attributes=[column])
    assert [row[0].value.int_value for row in attributes(encoded(huge))] == [2**63 - 1, 5]
