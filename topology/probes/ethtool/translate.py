"""Ethtool's answers as the keys that people see. Pure: bytes to values.

A key is left out where the kernel does not know its value. Sources: linux/ethtool_netlink.h, linux/ethtool.h;
Documentation/networking/ethtool-netlink.rst; names of ports as ``ethtool`` prints them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from skytrail.kernel.genetlink import walk
from skytrail.kernel.netlink import NetlinkDecodeError, attribute, attributes, integer, integer_attribute

ETHTOOL_GDRVINFO = 3
ETHTOOL_MSG_STRSET_GET = 1
DRVINFO_BYTES = 196

_HEADER = 1  # ETHTOOL_A_<any>_HEADER
_HEADER_DEV_INDEX = 1
_HEADER_FLAGS = 3
_FLAG_COMPACT_BITSETS = 1
_NESTED = 0x8000  # NLA_F_NESTED, which ethtool's requests must carry
_STRSET_STRINGSETS = 2
_STRINGSETS_STRINGSET = 1
_STRINGSET_ID = 1
_STRINGSET_STRINGS = 3
_STRING_INDEX = 1
_STRING_VALUE = 2
_ETH_SS_FEATURES = 4
_BITSET_SIZE = 2
_BITSET_VALUE = 4
_BIT_LIMIT = 1024  # a kernel has some 60 features

_SPEED_UNKNOWN = frozenset({0, 0xFFFF, 0xFFFFFFFF})  # as ethtool(8) takes them; SPEED_UNKNOWN is the last
_DUPLEX = {0: "half", 1: "full"}
_PORT = {
    0x00: "Twisted Pair",
    0x01: "AUI",
    0x02: "MII",
    0x03: "FIBRE",
    0x04: "BNC",
    0x05: "Direct Attach Copper",
    0xEF: "None",
    0xFF: "Other",
}

_DRVINFO = struct.Struct("=4x32s32s32s32s64x")  # struct ethtool_drvinfo: driver, version, fw_version, bus_info
_DRVINFO_KEYS = ("Driver", "DriverVersion", "FirmwareVersion", "BusInfo")
_DRVINFO_NOTHING = frozenset({"", "N/A"})

Field = tuple[str, Callable[[bytes], Any]]
"""A key, and what makes its value of an attribute's bytes; None: left out."""


@dataclass(frozen=True, slots=True)
class Query:
    """One command, and what its answer becomes.

    Attributes:
        command: ETHTOOL_MSG_<name>_GET.
        reply: ETHTOOL_MSG_<name>_GET_REPLY.
        notification: ETHTOOL_MSG_<name>_NTF; 0: the kernel has none.
        fields: attribute → its key.
        group: the key that holds those keys; empty: they stand by themselves.
    """

    command: int
    reply: int
    notification: int
    fields: Mapping[int, Field]
    group: str = ""


def _octet(value: bytes) -> int:
    if not value:
        raise NetlinkDecodeError("ethtool attribute of 8 bits is empty")
    return value[0]


def _flag(value: bytes) -> bool:
    return bool(_octet(value))


def _named(names: Mapping[int, str], value: bytes) -> str | None:
    return names.get(_octet(value))


def _count(value: bytes) -> int:
    return integer(value, (0, len(value))) & 0xFFFFFFFF


def _speed(value: bytes) -> int | None:
    speed = _count(value)
    return None if speed in _SPEED_UNKNOWN else speed


def _features(names: Sequence[str], value: bytes) -> dict[str, bool]:
    """A compact bitset as name → whether it is set; bits without a name are left out."""
    found = attributes(value, 0, len(value), {_BITSET_SIZE, _BITSET_VALUE})
    if len(found) != 2:
        raise NetlinkDecodeError("ethtool bitset without its size or its bits")
    size = _count(value[slice(*found[_BITSET_SIZE])])
    start, end = found[_BITSET_VALUE]
    if (end - start) * 8 < size or (end - start) % 4:
        raise NetlinkDecodeError(f"ethtool bitset of {size} bits has {end - start} bytes")
    words = struct.unpack(f"={(end - start) // 4}I", value[start:end])
    return {name: bool(words[bit // 32] >> bit % 32 & 1) for bit, name in enumerate(names[:size]) if name}


def queries(feature_names: Sequence[str]) -> tuple[Query, ...]:
    """All that is asked; the first one is answered for every interface, whatever its driver can do.

    Args:
        feature_names: by bit number, as this kernel has them.
    """
    return (
        Query(11, 11, 13, {4: ("Features", partial(_features, feature_names))}),  # FEATURES: those active
        Query(2, 2, 3, {2: ("Port", partial(_named, _PORT))}),  # LINKINFO
        Query(4, 4, 5, {2: ("AutoNeg", _flag), 5: ("Speed", _speed), 6: ("Duplex", partial(_named, _DUPLEX))}),  # LINKMODES
        Query(6, 6, 0, {2: ("LinkDetected", _flag)}),  # LINKSTATE
        Query(15, 16, 17, _counts("RxMax", "RxMiniMax", "RxJumboMax", "TxMax", "Rx", "RxMini", "RxJumbo", "Tx"), "Rings"),
        Query(
            17,
            18,
            19,
            _counts("RxMax", "TxMax", "OtherMax", "CombinedMax", "Rx", "Tx", "Other", "Combined"),
            "Channels",
        ),
    )


def _counts(*keys: str) -> dict[int, Field]:
    """The attributes that follow the header are 32-bit numbers, in this order."""
    return {number: (key, _count) for number, key in enumerate(keys, _HEADER + 1)}


NOTIFICATIONS = frozenset(query.notification for query in queries(())) - {0}
"""Commands of the multicast messages that tell of a change of what is read here."""


def request(ifindex: int | None) -> bytes:
    """The body of a request about one interface; None: of a dump, about all."""
    header = b"" if ifindex is None else integer_attribute(_HEADER_DEV_INDEX, ifindex)
    return attribute(_HEADER | _NESTED, header + integer_attribute(_HEADER_FLAGS, _FLAG_COMPACT_BITSETS))


def feature_names_request() -> bytes:
    """The body of ETHTOOL_MSG_STRSET_GET for the names of all features."""
    wanted = attribute(_STRINGSETS_STRINGSET | _NESTED, integer_attribute(_STRINGSET_ID, _ETH_SS_FEATURES))
    return attribute(_HEADER | _NESTED, b"") + attribute(_STRSET_STRINGSETS | _NESTED, wanted)


def decode_feature_names(body: bytes) -> tuple[str, ...]:
    """The names of the features by bit number, of ETHTOOL_MSG_STRSET_GET_REPLY; empty: a bit without a name.

    Raises:
        NetlinkDecodeError: malformed, or about other strings.
    """
    span = (0, len(body))
    for kind in (_STRSET_STRINGSETS, _STRINGSETS_STRINGSET, _STRINGSET_STRINGS):
        found = attributes(body, *span, {kind})
        if kind not in found:
            raise NetlinkDecodeError("ethtool string set without its strings")
        span = found[kind]
    names = {}
    for _, string in walk(body, *span):
        found = attributes(body, *string, {_STRING_INDEX, _STRING_VALUE})
        if len(found) == 2:
            names[integer(body, found[_STRING_INDEX])] = _text(body[slice(*found[_STRING_VALUE])])
    last = max(names, default=-1)
    if min(names, default=0) < 0 or last >= _BIT_LIMIT:
        raise NetlinkDecodeError(f"ethtool string set with a string of number {last}, of {len(names)}")
    return tuple(names.get(bit, "") for bit in range(last + 1))


def decode_ifindex(body: bytes) -> int:
    """The interface that an answer or a notification is about.

    Raises:
        NetlinkDecodeError: malformed, or it names none.
    """
    header = attributes(body, 0, len(body), {_HEADER}).get(_HEADER, (0, 0))
    index = attributes(body, *header, {_HEADER_DEV_INDEX}).get(_HEADER_DEV_INDEX)
    if index is None:
        raise NetlinkDecodeError("ethtool message about no interface")
    return integer(body, index)


def decode_reply(query: Query, body: bytes) -> dict[str, Any]:
    """The keys that the answer to a query holds.

    Raises:
        NetlinkDecodeError: malformed.
    """
    found = attributes(body, 0, len(body), query.fields)
    values = {}
    for kind, span in found.items():
        key, decode = query.fields[kind]
        value = decode(body[slice(*span)])
        if value is not None:
            values[key] = value
    return {query.group: values} if query.group and values else values


def decode_drvinfo(raw: bytes) -> dict[str, str]:
    """The keys that struct ethtool_drvinfo holds; what is empty or "N/A" is left out.

    Raises:
        NetlinkDecodeError: it is too short.
    """
    if len(raw) < DRVINFO_BYTES:
        raise NetlinkDecodeError(f"struct ethtool_drvinfo of {len(raw)} bytes")
    texts = map(_text, _DRVINFO.unpack_from(raw))
    return {key: text for key, text in zip(_DRVINFO_KEYS, texts, strict=True) if text not in _DRVINFO_NOTHING}


def _text(value: bytes) -> str:
    """A driver's words: ASCII, but nobody checks it."""
    return value.partition(b"\0")[0].decode(errors="replace").strip()
