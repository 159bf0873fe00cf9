from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from exporters.outputs.otlp.columns import Column, LinkColumn, SpanColumns, ValueKind


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"trace_id": np.zeros((4, 8), np.uint8)}, "trace_id"),
        ({"start": np.zeros(3, np.uint64)}, "start"),
        ({"name": np.array([b"a"])}, "name"),
        ({"attributes": [Column("k", ValueKind.INT, np.zeros(5, np.int64))]}, "k"),
        ({"attributes": [Column("k", ValueKind.INT, np.zeros((4, 2), np.int64))]}, "k"),
        ({"attributes": [Column("k", ValueKind.STR, np.array(["a"] * 4))]}, "UTF-8"),
        ({"attributes": [Column("k", ValueKind.INT, np.zeros(4, np.int64), np.ones(1, np.bool_))]}, "present"),
        ({"links": [LinkColumn(np.zeros((4, 16), np.uint8), np.zeros((4, 16), np.uint8))]}, "span_id"),
    ],
)
def test_columns_that_do_not_fit_together_are_refused_by_name(
    make_spans: Callable[[int], SpanColumns], change: dict[str, object], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        replace(make_spans(4), **change)  # type: ignore[arg-type] # wrong on purpose


def test_rows_cut_every_column(make_spans: Callable[[int], SpanColumns]) -> None:
    batch = make_spans(10)
    link = LinkColumn(batch.trace_id, batch.span_id, np.arange(10) > 4)
    whole = replace(batch, parent_span_id=batch.span_id, kind=np.arange(10), links=[link])
    part = whole.rows(4, 7)
    assert len(part) == 3
    assert part.links[0].present is not None
    assert part.links[0].present.tolist() == [False, True, True]
    assert part.attributes[1].values.tolist() == [4, 5, 6]
    assert part.parent_span_id is not None
    assert part.parent_span_id.tolist() == batch.span_id[4:7].tolist()
