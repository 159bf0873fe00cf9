from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrail.kernel.netlink import (
    NLMSG_DONE,
    NLMSG_ERROR,
    Answer,
    Asker,
    NetlinkDecodeError,
    NsidTable,
    attribute,
    attributes,
    integer,
    integer_attribute,
    message,
    messages,
)


def test_messages_and_attributes_come_back_as_they_were_built() -> None:
    body = attribute(3, b"eth0\0") + integer_attribute(4, -7) + attribute(9, b"")
    raw = message(16, 2, 5, body) + message(3, 0, 6, b"")
    first, second = messages(raw, len(raw))
    assert (first.kind, first.flags, first.sequence) == (16, 2, 5)
    assert (second.kind, second.sequence, second.start) == (3, 6, second.end)
    found = attributes(raw, first.start, first.end, {3, 4, 9})
    assert raw[slice(*found[3])] == b"eth0\0"
    assert integer(raw, found[4]) == -7
    assert found[9][0] == found[9][1]


def test_the_flags_of_an_attributes_type_are_no_part_of_it() -> None:
    raw = struct.pack("=HH4s", 8, 18 | 0x8000, b"abcd")
    assert attributes(raw, 0, len(raw), {18}) == {18: (4, 8)}


@pytest.mark.parametrize("size", [0, 1, 15, 17, 40, 2**32 - 1])
def test_a_message_that_lies_about_its_length_is_refused_after_the_good_ones(size: int) -> None:
    good = message(16, 0, 1, b"abcd")
    raw = good + struct.pack("=IHHII", size, 16, 0, 0, 0)
    walk = messages(raw, len(raw))
    assert next(walk).end == len(good)
    with pytest.raises(NetlinkDecodeError, match="byte 20"):
        next(walk)


@pytest.mark.parametrize("size", [0, 3, 9, 65535])
def test_an_attribute_that_lies_about_its_length_is_refused(size: int) -> None:
    raw = struct.pack("=HH4s", size, 3, b"abcd")
    with pytest.raises(NetlinkDecodeError, match="byte 0"):
        attributes(raw, 0, len(raw), {3})


def test_an_attribute_may_not_reach_out_of_its_message() -> None:
    raw = struct.pack("=HH4s", 8, 3, b"abcd")
    with pytest.raises(NetlinkDecodeError):
        attributes(raw, 0, 7, {3})


def test_a_short_integer_is_refused() -> None:
    with pytest.raises(NetlinkDecodeError, match="2 bytes"):
        integer(b"abcd", (0, 2))


@given(st.binary(max_size=200))
def test_no_bytes_lead_out_of_the_buffer(raw: bytes) -> None:
    try:
        for found in messages(raw, len(raw)):
            assert 0 <= found.start <= found.end <= len(raw)
            for start, end in attributes(raw, found.start, found.end, range(65536)).values():
                assert found.start <= start <= end <= found.end
    except NetlinkDecodeError:
        pass


def assigned(table: NsidTable, name: str) -> int:
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        return table.assigned(fd)
    finally:
        os.close(fd)


@pytest.mark.kernel
def test_a_namespace_is_numbered_as_iproute2_says(lab: Any) -> None:
    name = lab.netns("a")
    table = NsidTable()
    try:
        number = assigned(table, name)
        assert assigned(table, name) == number
        assert table.in_use(number)
        assert f"nsid {number} (iproute2 netns name: {name})" in lab.ip("netns", "list-id")
    finally:
        table.close()


@pytest.mark.kernel
def test_the_numbers_of_another_namespace_are_translated_into_ours(lab: Any) -> None:
    here, there, unknown = lab.netns("a"), lab.netns("b"), lab.netns("c")
    lab.ip("-n", here, "netns", "set", there, "77")
    lab.ip("-n", here, "netns", "set", unknown, "78")
    table = NsidTable()
    try:
        number = assigned(table, there)
        translation = table.translation(assigned(table, here))
        assert translation[77] == number
        assert translation.get(78) in {None, assigned(table, unknown)}  # None, unless another agent runs here
    finally:
        table.close()


@pytest.mark.kernel
def test_a_number_is_free_again_after_its_namespace_died(lab: Any) -> None:
    process = lab.process()
    table = NsidTable()
    try:
        fd = os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY)
        number = table.assigned(fd)
        os.close(fd)
        lab.end(process)
        lab.until(lambda: not table.in_use(number))
    finally:
        table.close()


def test_the_kernels_refusal_is_raised_with_its_errno() -> None:
    table = NsidTable()
    ordinary, other = socket.socketpair()
    try:
        with pytest.raises(OSError, match=r"Invalid argument|Bad file"):
            table.assigned(ordinary.fileno())
        assert not table.in_use(2**31 - 1)
    finally:
        ordinary.close()
        other.close()
        table.close()


KIND = 16
DUMP_INTR = 0x10


class Kernel:
    """A netlink socket that answers the n-th request with the n-th list of datagrams."""

    def __init__(self, *answers: Sequence[bytes], sender: int = 0, flags: int = 0) -> None:
        self._answers, self._queue = list(answers), list[bytes]()
        self._sender, self._flags = sender, flags
        self.requests = 0

    def settimeout(self, _: float) -> None: ...

    def send(self, _: bytes) -> None:
        self.requests += 1
        self._queue += self._answers.pop(0)

    def recvmsg_into(self, buffers: list[bytearray]) -> tuple[int, list[Any], int, tuple[int, int]]:
        if not self._queue:
            raise TimeoutError
        datagram = self._queue.pop(0)
        buffers[0][: len(datagram)] = datagram
        return len(datagram), [], self._flags, (self._sender, 0)


def done(sequence: int, number: int = 0) -> bytes:
    return message(NLMSG_DONE, 0, sequence, struct.pack("=i", -number))


def payloads(answer: Answer) -> list[bytes]:
    return [answer.data[start:end] for start, end in zip(answer.starts, answer.ends, strict=True)]


def dump(kernel: Kernel) -> list[bytes]:
    opened: Any = kernel
    return payloads(Asker(opened).dump(KIND, b""))


def test_an_answer_goes_over_several_datagrams() -> None:
    kernel = Kernel([message(KIND, 0, 1, b"1111") + message(KIND, 0, 1, b"22222222"), message(KIND, 0, 1, b"33"), done(1)])

    assert dump(kernel) == [b"1111", b"22222222", b"33"]


def test_a_dump_that_something_changed_under_is_made_again() -> None:
    kernel = Kernel([message(KIND, DUMP_INTR, 1, b"half") + done(1)], [message(KIND, 0, 2, b"full") + done(2)])

    assert (dump(kernel), kernel.requests) == ([b"full"], 2)


def test_where_something_always_changes_the_last_is_taken() -> None:
    kernel = Kernel(*([message(KIND, DUMP_INTR, number, b"%4d" % number) + done(number)] for number in range(1, 9)))

    assert (dump(kernel), kernel.requests) == ([b"   5"], 5)


def test_what_is_of_another_question_is_passed_over() -> None:
    assert dump(Kernel([message(KIND, 0, 77, b"old!") + message(KIND, 0, 1, b"mine"), done(77) + done(1)])) == [b"mine"]


@pytest.mark.parametrize("kind", [NLMSG_DONE, NLMSG_ERROR])
def test_the_kernels_refusal_is_its_errno(kind: int) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EBUSY)) as raised:
        dump(Kernel([message(kind, 0, 1, struct.pack("=i", -errno.EBUSY))]))
    assert raised.value.errno == errno.EBUSY


def test_who_is_not_the_kernel_is_not_heard() -> None:
    with pytest.raises(TimeoutError):
        dump(Kernel([message(KIND, 0, 1, b"fake") + done(1)], sender=4711))


def test_a_cut_datagram_is_no_answer() -> None:
    with pytest.raises(NetlinkDecodeError, match="datagram of more than"):
        dump(Kernel([done(1)], flags=socket.MSG_TRUNC))
