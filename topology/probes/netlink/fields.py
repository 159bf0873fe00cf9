"""Tables of netlink attributes: number → key and conversion, and the conversions that they share.

A conversion takes an attribute's bytes and gives a value of Metadata (JSON types), or None where the attribute says that
there is nothing to say; such a key is left out. Integers are in host order, ``be…`` in network order.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from skytrail.kernel.netlink import NetlinkDecodeError, attributes

Value = str | int | float | bool | list[Any] | dict[str, Any] | None
Convert = Callable[[bytes], Value]
Field = tuple[int, str, Convert]
Shape = Callable[[dict[str, Any]], dict[str, Any]]

ADDRESS_BITS: dict[int, int] = {socket.AF_INET: 32, socket.AF_INET6: 128}
"""Families of IP addresses and the bits that theirs have."""

_HEADER = struct.Struct("=HH")  # struct nlattr: len, type
_TYPE_MASK = 0x3FFF  # NLA_TYPE_MASK


class Fields:
    """A table of attributes: (number, key, conversion). One attribute may give several keys, several may give one.

    Args:
        fields: the table; of two rows that give one key the later one wins.
        shape: what is to be done with the values afterwards, where they depend on each other.
    """

    def __init__(self, *fields: Field, shape: Shape | None = None) -> None:
        self._fields = fields
        self._wanted = frozenset(number for number, _, _ in fields)
        self._shape = shape

    def read(self, payload: bytes, start: int = 0) -> dict[str, Any]:
        """The values of the attributes in ``payload[start:]`` that are in the table.

        Raises:
            NetlinkDecodeError: an attribute is malformed, or too short for its conversion.
        """
        spans = attributes(payload, start, len(payload), self._wanted)
        found: dict[str, Any] = {}
        for number, key, convert in self._fields:
            if number in spans:
                first, end = spans[number]
                value = convert(payload[first:end])
                if value is not None:
                    found[key] = value
        return self._shape(found) if self._shape else found


def each(payload: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """All attributes of ``payload[start:]`` in their order, where one number may come several times.

    Raises:
        NetlinkDecodeError: a length is less than its header or more than what is left.
    """
    offset = start
    while len(payload) - offset >= _HEADER.size:
        size, number = _HEADER.unpack_from(payload, offset)
        if size < _HEADER.size or size > len(payload) - offset:
            raise NetlinkDecodeError(f"netlink attribute at byte {offset} says {size} bytes, {len(payload) - offset} are there")
        yield number & _TYPE_MASK, payload[offset + _HEADER.size : offset + size]
        offset += (size + 3) & ~3


def unpack(layout: struct.Struct, payload: bytes, what: str) -> tuple[Any, ...]:
    """The values of a structure at the beginning of ``payload``.

    Raises:
        NetlinkDecodeError: it is cut; says ``what`` it is.
    """
    if len(payload) < layout.size:
        raise NetlinkDecodeError(f"{what} has {len(payload)} bytes, {layout.size} are needed")
    return layout.unpack_from(payload)


def number(code: str) -> Callable[[bytes], int]:
    """Make the conversion of an integer from its struct code, such as ``=I``."""
    layout = struct.Struct(code)

    def convert(value: bytes) -> int:
        return int(unpack(layout, value, "netlink integer")[0])

    return convert


u8 = number("=B")
u16 = number("=H")
u32 = number("=I")
s32 = number("=i")
u64 = number("=Q")
be16 = number("!H")
be32 = number("!I")


def some(convert: Callable[[bytes], int]) -> Convert:
    """The same integer, left out if it is 0: an ifindex, a mark that nobody set."""
    return lambda value: convert(value) or None


def switch(convert: Callable[[bytes], int] = u8) -> Convert:
    """Make an integer a truth."""
    return lambda value: bool(convert(value))


def present(_: bytes) -> bool:
    """An attribute that says yes by being there (NLA_FLAG)."""
    return True


def choice(convert: Callable[[bytes], int], names: Mapping[int, str]) -> Convert:
    """Make an integer its name; one that has none stays, as text."""

    def named(value: bytes) -> str:
        code = convert(value)
        return names.get(code, str(code))

    return named


def flags(convert: Callable[[bytes], int], names: Mapping[int, str]) -> Convert:
    """Make a bit set the names of its bits; left out if none is set."""
    return lambda value: set_bits(convert(value), names) or None


def set_bits(value: int, names: Mapping[int, str]) -> list[str]:
    """The names of the bits that are set, in the table's order; bits without a name are passed over."""
    return [name for bit, name in names.items() if value & bit]


def divided(convert: Callable[[bytes], int], by: int) -> Convert:
    """Make an integer a number of whole units, such as seconds of hundredths."""
    return lambda value: convert(value) / by


def text(value: bytes) -> str:
    """A name, up to its NUL; bytes that are no UTF-8 are written out in hex, so that it can be stored and sent anywhere."""
    return value.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def filled(value: bytes) -> str | None:
    """The same, left out if it is empty."""
    return text(value) or None


def mac(value: bytes) -> str | None:
    """A link-layer address of any length, ``02:00:…``."""
    return value.hex(":") or None


def hexadecimal(value: bytes) -> str | None:
    """Bytes without a meaning of their own, such as the identity of a port."""
    return value.hex() or None


def address(value: bytes) -> str | None:
    """An IPv4 or IPv6 address, by its length; left out if it is unspecified.

    Raises:
        NetlinkDecodeError: it is neither 4 nor 16 bytes long.
    """
    return ip_text(value) if any(value) or len(value) not in {4, 16} else None


def ip_text(value: bytes) -> str:
    """An IPv4 or IPv6 address, by its length, as the kernel and inet_ntop write it.

    Raises:
        NetlinkDecodeError: it is neither 4 nor 16 bytes long.
    """
    if len(value) not in {4, 16}:
        raise NetlinkDecodeError(f"IP address has {len(value)} bytes, not 4 or 16")
    return socket.inet_ntop(socket.AF_INET if len(value) == 4 else socket.AF_INET6, value)


def prefix(family: int, value: str, length: int) -> str:
    """A network (or an address in one) as CIDR.

    Raises:
        NetlinkDecodeError: the address is not of that family, or the length is more than such an address has bits.
    """
    bits = ADDRESS_BITS.get(family, 0)
    if length > bits or (":" in value) != (family == socket.AF_INET6):
        raise NetlinkDecodeError(f"{value}/{length} is no prefix of address family {family}")
    return f"{value}/{length}"


def unicast(value: bytes) -> str | None:
    """An IP address that is no group."""
    found = address(value)
    return found if found is None or not ipaddress.ip_address(value).is_multicast else None


def multicast(value: bytes) -> str | None:
    """An IP address that is a group."""
    return address(value) if unicast(value) is None else None


def nested(fields: Fields) -> Convert:
    """Make nested attributes an object; left out if nothing is in it."""
    return lambda value: fields.read(value) or None


def listed(convert: Convert) -> Convert:
    """Make nested attributes, whatever their numbers, a list of their values; left out if there is none."""
    return lambda value: [item for _, part in each(value) if (item := convert(part)) is not None] or None
