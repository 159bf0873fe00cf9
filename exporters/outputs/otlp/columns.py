"""Spans as columns: what a collector hands to the OTLP output, one numpy array for each field of all spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Octets = npt.NDArray[np.uint8]
Texts = npt.NDArray[np.bytes_]


class ValueKind(Enum):
    """The type of an attribute's values."""

    STR = "str"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"


@dataclass(frozen=True, slots=True)
class Column:
    """One attribute of all spans.

    Attributes:
        key: the attribute's name.
        kind: the type of its values.
        values: shape [n]. STR: UTF-8 in dtype ``S`` (which cannot hold NULs at the end; what is not UTF-8 is replaced
            by U+FFFD, for a receiver may refuse a whole request for it), or of shape [n, k] for an array of strings,
            where an empty string is an unused place. INT: any integer type, beyond 2^63-1 it saturates. DOUBLE: any
            float type. BOOL: bool.
        present: shape [n], False where a span lacks the attribute; None: all have it.
    """

    key: str
    kind: ValueKind
    values: npt.NDArray[Any]
    present: Bools | None = None


@dataclass(frozen=True, slots=True)
class LinkColumn:
    """One link of all spans.

    Attributes:
        trace_id: uint8 [n, 16].
        span_id: uint8 [n, 8].
        present: shape [n], False where a span lacks the link; None: all have it.
        attributes: the same for all links of the column.
        flags: the W3C trace flags and OTLP's bits 8 and 9 of all links of the column.
    """

    trace_id: Octets
    span_id: Octets
    present: Bools | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    flags: int = 0


@dataclass(frozen=True, slots=True)
class SpanColumns:
    """n spans.

    Attributes:
        trace_id: uint8 [n, 16].
        span_id: uint8 [n, 8].
        name: one name for all, or dtype ``S`` [n], UTF-8.
        start: ns since the epoch, uint64 [n].
        end: ns since the epoch, uint64 [n].
        kind: ``Span.SpanKind`` for all (1 is INTERNAL), or integers [n].
        parent_span_id: uint8 [n, 8] or None; a row of zeros is a span without a parent.
        attributes: in the order in which they are sent.
        links: in the order in which they are sent.
        flags: the W3C trace flags and OTLP's bits 8 and 9 of all spans.

    Raises:
        ValueError: a column has another length or width than said here.
    """

    trace_id: Octets
    span_id: Octets
    name: str | Texts
    start: npt.NDArray[np.uint64]
    end: npt.NDArray[np.uint64]
    kind: int | npt.NDArray[np.integer[Any]] = 1
    parent_span_id: Octets | None = None
    attributes: Sequence[Column] = ()
    links: Sequence[LinkColumn] = ()
    flags: int = 0

    def __post_init__(self) -> None:
        n = len(self.span_id)
        for name, values, shape in self._shapes(n):
            if values is not None and values.shape != shape:
                raise ValueError(f"{name} has the shape {values.shape}, expected {shape}: all columns describe the same spans")
        for column in self.attributes:
            if len(column.values) != n or column.values.ndim > (2 if column.kind is ValueKind.STR else 1):
                raise ValueError(f"{column.key} has the shape {column.values.shape}, expected one value for each of {n} spans")
            if column.kind is ValueKind.STR and column.values.dtype.kind != "S":
                raise ValueError(f"{column.key} holds {column.values.dtype}, expected UTF-8 in dtype S")

    def _shapes(self, n: int) -> Iterator[tuple[str, npt.NDArray[Any] | None, tuple[int, ...]]]:
        yield "trace_id", self.trace_id, (n, 16)
        yield "span_id", self.span_id, (n, 8)
        yield "parent_span_id", self.parent_span_id, (n, 8)
        yield "start", self.start, (n,)
        yield "end", self.end, (n,)
        yield "name", None if isinstance(self.name, str) else self.name, (n,)
        yield "kind", None if isinstance(self.kind, int) else self.kind, (n,)
        for column in self.attributes:
            yield f"{column.key} (present)", column.present, (n,)
        for link in self.links:
            yield "a link's trace_id", link.trace_id, (n, 16)
            yield "a link's span_id", link.span_id, (n, 8)
            yield "a link's present", link.present, (n,)

    def __len__(self) -> int:
        return len(self.span_id)

    def rows(self, start: int, stop: int) -> SpanColumns:
        """The spans [start, stop), as views."""
        part = slice(start, stop)
        return SpanColumns(
            trace_id=self.trace_id[part],
            span_id=self.span_id[part],
            name=self.name if isinstance(self.name, str) else self.name[part],
            start=self.start[part],
            end=self.end[part],
            kind=self.kind if isinstance(self.kind, int) else self.kind[part],
            parent_span_id=None if self.parent_span_id is None else self.parent_span_id[part],
            attributes=[replace(c, values=c.values[part], present=_rows(c.present, part)) for c in self.attributes],
            links=[
                replace(k, trace_id=k.trace_id[part], span_id=k.span_id[part], present=_rows(k.present, part))
                for k in self.links
            ],
            flags=self.flags,
        )


def _rows(present: Bools | None, part: slice) -> Bools | None:
    return None if present is None else present[part]
