"""Generic netlink: a family by its name, requests to it and what it answers.

Sources: linux/genetlink.h; Documentation/userspace-api/netlink/intro.rst.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple, Self

from skytrail.kernel.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RECEIVE_BYTES,
    NetlinkDecodeError,
    attribute,
    attributes,
    error_number,
    integer,
    message,
    messages,
)

NETLINK_GENERIC = 16
NETLINK_ADD_MEMBERSHIP = 1

_GENL_ID_CTRL = 16
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_ID = 1
_CTRL_ATTR_FAMILY_NAME = 2
_CTRL_ATTR_MCAST_GROUPS = 7
_CTRL_ATTR_MCAST_GRP_NAME = 1
_CTRL_ATTR_MCAST_GRP_ID = 2
_FAMILY_ATTRIBUTES = frozenset({_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_MCAST_GROUPS})
_GROUP_ATTRIBUTES = frozenset({_CTRL_ATTR_MCAST_GRP_NAME, _CTRL_ATTR_MCAST_GRP_ID})

_HEADER = struct.Struct("=BBH")  # struct genlmsghdr: command, version, reserved
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: len, type
_TYPE_MASK = 0x3FFF  # NLA_TYPE_MASK
_FAMILY_ID = struct.Struct("=H")
_VERSION = 1
_TIMEOUT_S = 5.0
_DUMP_TRIES = 5
_ANSWER_LIMIT = 1 << 17  # messages in one answer: more than a namespace has interfaces

Span = tuple[int, int]


class Family(NamedTuple):
    """A generic netlink family: the number its messages carry, and the numbers of its multicast groups by name.

    Both are the kernel's, the same in every namespace, until the next boot (or the family's module is loaded anew).
    """

    number: int
    groups: dict[str, int]


class Answer(NamedTuple):
    """One message of an answer: its command, and its attributes."""

    command: int
    body: bytes


def walk(buffer: bytes | bytearray, start: int, end: int) -> Iterator[tuple[int, Span]]:
    """Walk all attributes of ``buffer[start:end]``: type, range [start, end) of the value; for types that are repeated.

    Raises:
        NetlinkDecodeError: a length is less than its header or more than what is left; what came before was yielded.
    """
    offset = start
    while end - offset >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(buffer, offset)
        if size < _ATTRIBUTE.size or size > end - offset:
            raise NetlinkDecodeError(f"netlink attribute at byte {offset} says {size} bytes, {end - offset} are there")
        yield kind & _TYPE_MASK, (offset + _ATTRIBUTE.size, offset + size)
        offset += (size + 3) & ~3


def decode_answer(buffer: bytes | bytearray, start: int, end: int) -> Answer:
    """Take the header off the payload ``buffer[start:end]`` of a family's message.

    Raises:
        NetlinkDecodeError: it is too short to hold one.
    """
    if end - start < _HEADER.size:
        raise NetlinkDecodeError(f"generic netlink message has {end - start} bytes, its header alone {_HEADER.size}")
    return Answer(buffer[start], bytes(buffer[start + _HEADER.size : end]))


def decode_family(body: bytes) -> Family:
    """Decode the controller's answer to CTRL_CMD_GETFAMILY.

    Raises:
        NetlinkDecodeError: malformed, or without the family's number.
    """
    found = attributes(body, 0, len(body), _FAMILY_ATTRIBUTES)
    number = found.get(_CTRL_ATTR_FAMILY_ID, (0, 0))
    if number[1] - number[0] < _FAMILY_ID.size:
        raise NetlinkDecodeError("the answer about a generic netlink family holds no number of it")
    groups = {}
    for _, span in walk(body, *found.get(_CTRL_ATTR_MCAST_GROUPS, (0, 0))):
        group = attributes(body, *span, _GROUP_ATTRIBUTES)
        if len(group) == len(_GROUP_ATTRIBUTES):
            name = body[slice(*group[_CTRL_ATTR_MCAST_GRP_NAME])].partition(b"\0")[0]
            groups[os.fsdecode(name)] = integer(body, group[_CTRL_ATTR_MCAST_GRP_ID])
    return Family(int(_FAMILY_ID.unpack_from(body, number[0])[0]), groups)


def open_generic_socket() -> socket.socket:
    """Open a NETLINK_GENERIC socket in the caller's namespace, bound to no group.

    Raises:
        OSError: the kernel refuses.
    """
    generic = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC)
    try:
        generic.bind((0, 0))
    except BaseException:
        generic.close()
        raise
    return generic


class GenericSocket:
    """Asks generic netlink families of the namespace in which it was opened, one request at a time; for one thread.

    Raises (all methods):
        OSError: the kernel refuses (its errno), or does not answer within 5 s (TimeoutError without an errno).
        NetlinkDecodeError: its answer is malformed, or does not end.
    """

    def __init__(self) -> None:
        self._socket = open_generic_socket()
        self._socket.settimeout(_TIMEOUT_S)
        self._sequence = itertools.count(1)
        self._buffer = bytearray(RECEIVE_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def family(self, name: str) -> Family:
        """Look a family up; FileNotFoundError if this kernel has none of that name."""
        body = attribute(_CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0")
        for answer in self.request(_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, body):
            return decode_family(answer.body)
        raise NetlinkDecodeError(f"the answer about the generic netlink family {name} is empty")

    def request(self, family: int, command: int, body: bytes, *, dump: bool = False) -> list[Answer]:
        """Send one request and collect its whole answer; a dump that something changed under is made again."""
        flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else NLM_F_ACK)
        for _ in range(_DUMP_TRIES):
            sequence = next(self._sequence)
            self._socket.send(message(family, flags, sequence, _HEADER.pack(command, _VERSION, 0) + body))
            answers, interrupted = self._answers(sequence)
            if not interrupted:
                break
        return answers

    def _answers(self, sequence: int) -> tuple[list[Answer], bool]:
        """Read until the end of the answer to ``sequence``; says also whether a dump was inconsistent (DUMP_INTR)."""
        answers: list[Answer] = []
        interrupted = False
        while len(answers) < _ANSWER_LIMIT:
            length, _, flags, (sender, _) = self._socket.recvmsg_into([self._buffer])
            if flags & socket.MSG_TRUNC:
                raise NetlinkDecodeError(f"generic netlink datagram of more than {len(self._buffer)} bytes")
            if sender:
                continue  # not the kernel
            for found in messages(self._buffer, length):
                if found.sequence != sequence:
                    continue  # the rest of an answer that was given up
                interrupted |= bool(found.flags & NLM_F_DUMP_INTR)
                if found.kind in {NLMSG_ERROR, NLMSG_DONE}:
                    number = error_number(self._buffer, found)
                    if number:
                        raise OSError(number, os.strerror(number))
                    return answers, interrupted
                answers.append(decode_answer(self._buffer, found.start, found.end))
        raise NetlinkDecodeError(f"generic netlink answer of more than {_ANSWER_LIMIT} messages")
