"""Generic netlink: a family by its name, requests to it and what it answers.

Sources: linux/genetlink.h; Documentation/userspace-api/netlink/intro.rst.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from skytrail.kernel.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    Asker,
    NetlinkDecodeError,
    attribute,
    attributes,
    integer,
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


class GenericSocket(Asker):
    """Asks generic netlink families of the namespace in which it was opened. Raises OSError: the kernel refuses."""

    def __init__(self) -> None:
        super().__init__(open_generic_socket())

    def family(self, name: str) -> Family:
        """Look a family up; FileNotFoundError if this kernel has none of that name."""
        body = attribute(_CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0")
        for answer in self.ask(_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, body):
            return decode_family(answer.body)
        raise NetlinkDecodeError(f"the answer about the generic netlink family {name} is empty")

    def ask(self, family: int, command: int, body: bytes, *, dump: bool = False) -> list[Answer]:
        """Send one command and collect its whole answer."""
        payloads = self.request(family, NLM_F_DUMP if dump else NLM_F_ACK, _HEADER.pack(command, _VERSION, 0) + body)
        return [decode_answer(payload, 0, len(payload)) for payload in payloads]
