from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value, StringValue, UInt64Value
from hypothesis import given
from hypothesis import strategies as st

from exporters.outputs.otlp.rows import VARINT, Varint, encode_varint, integers, join, message, scalar, text

EDGES = [edge for bits in range(7, 64, 7) for edge in ((1 << bits) - 1, 1 << bits)] + [0, 2**64 - 1]


@given(st.integers(0, 2**64 - 1) | st.sampled_from(EDGES))
def test_a_varint_is_as_protobuf_writes_it(value: int) -> None:
    plain = UInt64Value(value=value).SerializeToString()[1:] or b"\0"
    assert encode_varint(value) == plain
    assert join(Varint(np.array([value], np.uint64)), 1) == plain


@given(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from(EDGES), min_size=1))
def test_varints_of_all_widths_stand_in_one_column(values: list[int]) -> None:
    assert join(Varint(np.array(values, np.uint64)), len(values)) == b"".join(map(encode_varint, values))


@given(st.lists(st.integers(-(2**63), 2**63 - 1).filter(bool), min_size=1))
def test_signed_integers_are_int64_fields(values: list[int]) -> None:
    rows = scalar(1, VARINT, integers(np.array(values, np.int64)))
    assert join(rows, len(values)) == b"".join(Int64Value(value=v).SerializeToString() for v in values)


@pytest.mark.parametrize("width", [1, 127, 128, 255, 256, 257, 16_383, 16_384])
def test_a_text_of_any_width_has_its_length_before_it(width: int) -> None:
    values = [b"", b"a", b"x" * (width // 2), b"y" * width]
    rows = text(1, np.array(values))
    expected = [b"\x0a\0", *(BytesValue(value=v).SerializeToString() for v in values[1:])]
    if width == 1:
        expected[2] = b"\x0a\0"
    assert join(rows, 4) == b"".join(expected)


def test_a_message_that_no_row_has_takes_no_place() -> None:
    part = message(1, [text(1, np.array([b"a", b"b"]))], np.zeros(2, np.bool_))
    assert part.width == 0
    assert join(part, 2) == b""


def test_a_message_is_left_out_of_the_rows_that_lack_it() -> None:
    values = np.array([b"one", b"two", b"three"])
    rows = text(1, values, np.array([True, False, True]))
    assert join(rows, 3) == b"".join(StringValue(value=v).SerializeToString() for v in ("one", "three"))
