"""Messages walked side by side say the same as each one walked alone by skytrail.kernel.netlink."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrail.kernel.columns import rows
from skytrail.kernel.netlink import Answer, NetlinkDecodeError, attribute, attributes

WANTED = (1, 2, 7)

attribute_bytes = st.builds(attribute, st.sampled_from([1, 2, 3, 7, 7 | 0x8000, 2 | 0x4000, 999]), st.binary(max_size=12))
payloads = st.builds(
    lambda whole, cut, extra: b"".join(whole)[: None if cut is None else cut] + extra,
    st.lists(attribute_bytes, max_size=5),
    st.none() | st.integers(0, 40),
    st.binary(max_size=3) | st.builds(struct.pack, st.just("=HH"), st.integers(0, 40), st.integers(0, 9)),
)


def answer(found: list[bytes]) -> Answer:
    """Payloads in one answer, each behind 16 bytes that belong to none."""
    data = bytearray()
    starts, ends = [], []
    for payload in found:
        data += bytes([0xEE] * 16)
        starts.append(len(data))
        data += payload
        ends.append(len(data))
    return Answer(bytes(data), starts, ends)


def alone(payload: bytes) -> dict[int, bytes] | None:
    """What a walk through one message finds; None: it is malformed."""
    try:
        return {kind: payload[start:end] for kind, (start, end) in attributes(payload, 0, len(payload), WANTED).items()}
    except NetlinkDecodeError:
        return None


@given(st.lists(st.lists(payloads, max_size=6), max_size=3))
def test_side_by_side_is_as_one_by_one(parts: list[list[bytes]]) -> None:
    expected = [alone(payload) for part in parts for payload in part]
    spans, part = rows(answer(found) for found in parts)

    assert part.tolist() == [number for number, found in enumerate(parts) for _ in found]
    if None in expected:
        with pytest.raises(NetlinkDecodeError, match="attribute at byte"):
            spans.attributes(WANTED)
        return
    found = spans.attributes(WANTED)
    for kind in WANTED:
        assert found[kind].octets() == [(one or {}).get(kind, b"") for one in expected]
        assert found[kind].present.tolist() == [kind in (one or {}) for one in expected]


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=8), st.integers(0, 4))
def test_a_number_that_is_not_there_whole_is_absent(values: list[bytes], offset: int) -> None:
    spans, _ = rows([answer(values)])

    found = spans.numbers("u4", offset, absent=77).tolist()

    assert found == [struct.unpack_from("=I", value, offset)[0] if len(value) >= offset + 4 else 77 for value in values]


def test_numbers_of_64_bits_are_exact() -> None:
    spans, _ = rows([answer([struct.pack("=QQ", 1, 2**64 - 1), struct.pack("=QQ", 2, 2**53 + 1)])])

    assert spans.numbers("u8", 8).tolist() == [2**64 - 1, 2**53 + 1]


def test_a_message_shorter_than_its_header_is_malformed() -> None:
    spans, _ = rows([answer([b"12345678", b"1234567"])])

    with pytest.raises(NetlinkDecodeError, match="shorter than its header of 8 bytes"):
        spans.headers(np.dtype([("one", "u4"), ("two", "u4")]))


def test_nothing_is_nothing() -> None:
    spans, part = rows([])

    assert (len(spans), len(part)) == (0, 0)
    assert spans.headers(np.dtype("u4")).tolist() == []
    assert spans.attributes(WANTED)[1].texts() == []


def test_texts_end_at_their_nul_and_never_fail() -> None:
    spans, _ = rows([answer([b"eth0\0rest", b"", b"\xff\xfe\0"])])

    assert spans.texts() == ["eth0", "", r"\xff\xfe"]
