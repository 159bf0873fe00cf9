from __future__ import annotations

import errno
import select
import socket
from typing import Any

import pytest

from skytrail.kernel.linkmessages import RTM_NEWLINK
from skytrail.kernel.linksocket import LinkSocket
from skytrail.kernel.netlink import NLMSG_DONE, Message, error_number, message


class Reader:
    """Reads a LinkSocket and keeps what it hands on."""

    def __init__(self, **options: Any) -> None:
        self.socket = LinkSocket(**{"every_namespace": False, "receive_buffer": 1 << 20, **options})
        self.events: list[int] = []
        self.answers: list[Message] = []

    def read(self) -> bool:
        select.select([self.socket], [], [], 5)
        return self.socket.read(lambda found, _nsid: self.events.append(found.kind), self.answers.append)


def test_a_dumps_answers_carry_its_number_and_end() -> None:
    reader = Reader()
    try:
        reader.socket.request_dump(RTM_NEWLINK, None, 1234)
        while not reader.answers or reader.answers[-1].kind != NLMSG_DONE:
            reader.read()
        assert {answer.sequence for answer in reader.answers} == {1234}
        assert {answer.kind for answer in reader.answers} == {RTM_NEWLINK, NLMSG_DONE}
    finally:
        reader.socket.close()


def test_a_dump_of_a_number_that_nobody_has_is_answered_with_an_error() -> None:
    reader = Reader()
    try:
        reader.socket.request_dump(RTM_NEWLINK, 2**31 - 1, 7)
        reader.read()
        assert [error_number(reader.socket.buffer, answer) for answer in reader.answers] == [errno.EINVAL]
    finally:
        reader.socket.close()


@pytest.mark.kernel
def test_what_another_process_sends_is_not_taken_for_the_kernels_word(lab: Any) -> None:
    reader = Reader()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as liar:
            liar.sendto(message(RTM_NEWLINK, 0, 1, bytes(16)), (reader.socket._socket.getsockname()[0], 0))
        reader.read()
        assert (reader.events, reader.answers) == ([], [])
        lab.ip("link", "add", lab.name("d"), "type", "bridge")
        lab.until(lambda: reader.read() or RTM_NEWLINK in reader.events)
    finally:
        reader.socket.close()


@pytest.mark.kernel
def test_an_overflow_is_told_once_when_what_was_left_is_read(lab: Any) -> None:
    reader = Reader(receive_buffer=1)
    try:
        lab.batch([f"link add {lab.name(str(number))} type bridge" for number in range(20)])
        assert reader.read()
        assert len(reader.events) < 20
        assert not reader.socket.losing
        lab.ip("link", "set", lab.name("0"), "up")
        assert not reader.read()
    finally:
        reader.socket.close()


def test_a_malformed_message_is_counted_and_does_not_spoil_the_next() -> None:
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    reader = Reader()
    try:
        kernel.send(message(RTM_NEWLINK, 0, 1, b"good") + b"\xff" * 20)
        kernel.send(message(RTM_NEWLINK, 0, 2, b"good"))
        reader.socket._socket.close()
        reader.socket._socket = AsKernel(ours)  # type: ignore[assignment]  # the few methods that are called
        reader.read()
        assert [answer.sequence for answer in reader.answers] == [1, 2]
        assert reader.socket.malformed == 1
    finally:
        reader.socket.close()
        kernel.close()


class AsKernel:
    """A socket whose datagrams seem to be the kernel's answers."""

    def __init__(self, source: socket.socket) -> None:
        self.fileno = source.fileno
        self.close = source.close
        self._source = source

    def recvmsg_into(self, buffers: list[bytearray], _size: int) -> tuple[int, list[Any], int, tuple[int, int]]:
        length, ancillary, flags, _ = self._source.recvmsg_into(buffers, 0, socket.MSG_DONTWAIT)
        return length, ancillary, flags, (0, 0)
