"""Netlink framing: requests, and the bounded parsing of what comes back.

A few functions over one buffer instead of a library: link events of every namespace pass through here, and nothing is
allocated for an attribute that nobody asked for. Each length is checked against what encloses it.

Sources: linux/netlink.h, linux/rtnetlink.h, linux/net_namespace.h; RFC 3549.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Self

SOL_NETLINK = 270
NETLINK_LISTEN_ALL_NSID = 8
NETLINK_GET_STRICT_CHK = 12
SO_RCVBUFFORCE = 33

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x01
NLM_F_ACK = 0x04
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300

RTM_NEWNSID = 88
RTM_DELNSID = 89
RTM_GETNSID = 90
NETNSA_NSID = 1
NETNSA_FD = 3
NETNSA_TARGET_NSID = 4
NETNSA_CURRENT_NSID = 5
NSID_NONE = -1
"""What the kernel says for a namespace that has no number here (NETNSA_NSID_NOT_ASSIGNED)."""

RECEIVE_BYTES = 65536
"""More than the kernel puts into one datagram of a dump (32 KiB)."""

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: len, type, flags, seq, pid
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: len, type
_TYPE_MASK = 0x3FFF  # NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_INT = struct.Struct("=i")
_RTGENMSG = b"\0\0\0\0"  # struct rtgenmsg, padded: family AF_UNSPEC
_DUMP_TRIES = 5
_TIMEOUT = 5.0  # seconds
_ANSWER_LIMIT = 1 << 22  # messages in one answer: more than there are routes in the world


class NetlinkDecodeError(ValueError):
    """Bytes that are no well-formed netlink message; says what and where."""


class Message(NamedTuple):
    """The header of one message and the range [start, end) of its payload in the buffer."""

    kind: int
    flags: int
    sequence: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one request: datagrams one behind the other, and the ranges [start, end) of the payloads in them."""

    data: bytes = b""
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


def messages(buffer: bytes | bytearray, length: int) -> Iterator[Message]:
    """Walk the messages in ``buffer[:length]``.

    Raises:
        NetlinkDecodeError: a length is less than its header or more than what is left; what came before was yielded.
    """
    offset = 0
    while offset < length:
        if length - offset < _HEADER.size:
            raise NetlinkDecodeError(f"netlink header cut at byte {offset} of {length}")
        size, kind, flags, sequence, _ = _HEADER.unpack_from(buffer, offset)
        if size < _HEADER.size or size > length - offset:
            raise NetlinkDecodeError(f"netlink message at byte {offset} says {size} bytes, {length - offset} are there")
        yield Message(kind, flags, sequence, offset + _HEADER.size, offset + size)
        offset += (size + 3) & ~3


def attributes(buffer: bytes | bytearray, start: int, end: int, wanted: Container[int]) -> dict[int, tuple[int, int]]:
    """Find the wanted attributes in ``buffer[start:end]``: type → range [start, end) of its value. The last one wins.

    Raises:
        NetlinkDecodeError: a length is less than its header or more than what is left.
    """
    found = {}
    offset = start
    unpack = _ATTRIBUTE.unpack_from
    while end - offset >= 4:
        size, kind = unpack(buffer, offset)
        if size < 4 or size > end - offset:
            raise NetlinkDecodeError(f"netlink attribute at byte {offset} says {size} bytes, {end - offset} are there")
        kind &= _TYPE_MASK
        if kind in wanted:
            found[kind] = (offset + 4, offset + size)
        offset += (size + 3) & ~3
    return found


def integer(buffer: bytes | bytearray, span: tuple[int, int]) -> int:
    """A signed 32-bit attribute in host order.

    Raises:
        NetlinkDecodeError: it is shorter than 4 bytes.
    """
    if span[1] - span[0] < _INT.size:
        raise NetlinkDecodeError(f"netlink integer at byte {span[0]} has {span[1] - span[0]} bytes")
    return int(_INT.unpack_from(buffer, span[0])[0])


def attribute(kind: int, value: bytes) -> bytes:
    """Build one attribute, padded."""
    return _ATTRIBUTE.pack(len(value) + 4, kind) + value + bytes(-len(value) % 4)


def integer_attribute(kind: int, value: int) -> bytes:
    """Build one signed 32-bit attribute."""
    return attribute(kind, _INT.pack(value))


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Build one message, padded as its body."""
    return _HEADER.pack(len(body) + _HEADER.size, kind, flags, sequence, 0) + body


def error_number(buffer: bytes | bytearray, found: Message) -> int:
    """The errno of an NLMSG_ERROR or NLMSG_DONE, 0 for success.

    Raises:
        NetlinkDecodeError: the message is too short to hold one.
    """
    if found.kind == NLMSG_DONE and found.end - found.start < _INT.size:
        return 0
    return -integer(buffer, (found.start, found.end))


def open_route_socket(groups: int = 0) -> socket.socket:
    """Open a NETLINK_ROUTE socket in the caller's namespace with strict checking of requests, bound to ``groups``.

    Raises:
        OSError: the kernel refuses.
    """
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        route.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        route.bind((0, groups))
    except BaseException:
        route.close()
        raise
    return route


def listen(opened: socket.socket, *, every_namespace: bool, receive_buffer: int) -> None:
    """Make a socket one that hears events: without blocking, with a queue of so many bytes (above net.core.rmem_max if we may).

    Args:
        opened: a netlink socket.
        every_namespace: hear all namespaces that have a number in the socket's; else only its own.
        receive_buffer: bytes.

    Raises:
        OSError: the kernel refuses to listen to all namespaces (EPERM: needs CAP_NET_BROADCAST).
    """
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if every_namespace:
        opened.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)
    opened.setblocking(False)


def sender_nsid(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The number of the namespace that an event comes from, as its ancillary data says; None: it does not say."""
    for level, kind, value in ancillary:
        if level == SOL_NETLINK and kind == NETLINK_LISTEN_ALL_NSID and len(value) == _INT.size:
            return int(_INT.unpack(value)[0])
    return None


class Asker:
    """Asks the kernel on a netlink socket, one request at a time; for one thread.

    Raises (all methods):
        OSError: the kernel refuses (its errno), or does not answer within 5 s (TimeoutError without an errno).
        NetlinkDecodeError: its answer is malformed, or does not end.

    Args:
        opened: the socket, which is closed with this.
    """

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._socket.settimeout(_TIMEOUT)
        self._sequence = itertools.count(1)
        self._buffer = bytearray(RECEIVE_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Send one request and collect the payloads of its answer; a dump that something changed under is made again."""
        answer = self._answer(kind, flags, body)
        return [answer.data[start:end] for start, end in zip(answer.starts, answer.ends, strict=True)]

    def dump(self, kind: int, body: bytes) -> Answer:
        """The same of a dump, without a copy of each message."""
        return self._answer(kind, NLM_F_DUMP, body)

    def _answer(self, kind: int, flags: int, body: bytes) -> Answer:
        for _ in range(_DUMP_TRIES):
            answer, interrupted = self._ask(kind, flags, body)
            if not interrupted:
                break
        return answer

    def _ask(self, kind: int, flags: int, body: bytes) -> tuple[Answer, bool]:
        """The whole answer to one request; says also whether a dump was inconsistent (DUMP_INTR)."""
        sequence, several = next(self._sequence), bool(flags & (NLM_F_DUMP | NLM_F_ACK))
        self._socket.send(message(kind, flags | NLM_F_REQUEST, sequence, body))
        data, interrupted = bytearray(), False
        starts: list[int] = []
        ends: list[int] = []
        while len(starts) < _ANSWER_LIMIT:
            length, _, received, (sender, _) = self._socket.recvmsg_into([self._buffer])
            if received & socket.MSG_TRUNC:
                raise NetlinkDecodeError(f"netlink datagram of more than {len(self._buffer)} bytes")
            if sender:
                continue  # not the kernel
            base = len(data)
            data += self._buffer[:length]
            for found in messages(self._buffer, length):
                if found.sequence != sequence:
                    continue  # the rest of an answer that was given up
                interrupted |= bool(found.flags & NLM_F_DUMP_INTR)
                if found.kind in {NLMSG_ERROR, NLMSG_DONE}:
                    number = error_number(self._buffer, found)
                    if number:
                        raise OSError(number, os.strerror(number))
                    return Answer(bytes(data), starts, ends), interrupted
                starts.append(base + found.start)
                ends.append(base + found.end)
                if not several:
                    return Answer(bytes(data), starts, ends), interrupted
        raise NetlinkDecodeError(f"netlink answer of more than {_ANSWER_LIMIT} messages")


class RouteAsker(Asker):
    """Asks rtnetlink in the namespace in which it was made. Raises OSError: the kernel refuses."""

    def __init__(self) -> None:
        super().__init__(open_route_socket())


class NsidTable:
    """Asks the kernel for the numbers that namespaces have for each other, on a socket of its own; for one thread.

    Raises (all methods):
        OSError: the kernel refuses, or does not answer within 5 s.
        NetlinkDecodeError: its answer is malformed.
    """

    def __init__(self) -> None:
        self._asker = RouteAsker()

    def close(self) -> None:
        """Close the socket."""
        self._asker.close()

    def assigned(self, namespace_fd: int) -> int:
        """The number that our namespace has for the one behind ``namespace_fd``; one is assigned if there is none."""
        target = integer_attribute(NETNSA_FD, namespace_fd)
        for _ in range(2):  # somebody else may assign one between our question and our order
            number = self._number(target)
            if number != NSID_NONE:
                return number
            try:
                order = integer_attribute(NETNSA_NSID, NSID_NONE) + target
                self._asker.request(RTM_NEWNSID, NLM_F_ACK, _RTGENMSG + order)
            except FileExistsError:
                continue
        return self._number(target)

    def in_use(self, number: int) -> bool:
        """Whether our namespace has some living namespace under ``number``; False too if the kernel won't say."""
        try:
            return self._number(integer_attribute(NETNSA_NSID, number)) == number
        except OSError:
            return False

    def translation(self, target: int) -> dict[int, int]:
        """How the namespace that we number ``target`` numbers the others: its number → ours, where we have one."""
        body = _RTGENMSG + integer_attribute(NETNSA_TARGET_NSID, target)
        wanted = {NETNSA_NSID, NETNSA_CURRENT_NSID}
        table = {}
        for answer in self._asker.request(RTM_GETNSID, NLM_F_DUMP, body):
            found = attributes(answer, len(_RTGENMSG), len(answer), wanted)
            if len(found) == len(wanted):
                ours = integer(answer, found[NETNSA_CURRENT_NSID])
                if ours != NSID_NONE:
                    table[integer(answer, found[NETNSA_NSID])] = ours
        return table

    def _number(self, target: bytes) -> int:
        for answer in self._asker.request(RTM_GETNSID, 0, _RTGENMSG + target):
            found = attributes(answer, len(_RTGENMSG), len(answer), {NETNSA_NSID})
            if NETNSA_NSID in found:
                return integer(answer, found[NETNSA_NSID])
        return NSID_NONE
