"""Asks ethtool about the interfaces of the caller's namespace.

A driver may sleep or fail: what it does not answer is left out, and nobody else's answer suffers.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from collections.abc import Collection
from typing import Any

from skytrail.errors import NotSupportedError
from skytrail.kernel.genetlink import Answer, Family, GenericSocket
from topology.probes.ethtool.translate import (
    DRVINFO_BYTES,
    ETHTOOL_GDRVINFO,
    ETHTOOL_MSG_STRSET_GET,
    Query,
    decode_drvinfo,
    decode_feature_names,
    decode_ifindex,
    decode_reply,
    feature_names_request,
    queries,
    request,
)

_FAMILY = "ethtool"

_SIOCGIFNAME = 0x8910
_SIOCGIFINDEX = 0x8933
_SIOCETHTOOL = 0x8946
_IFREQ_INDEX = struct.Struct("@16si20x")  # struct ifreq: name, ifindex
_IFREQ_DATA = struct.Struct("@16sP16x")  # struct ifreq: name, pointer
_RENAME_TRIES = 3

_NOT_THE_DRIVERS = frozenset({None, errno.ENOMEM, errno.ENOBUFS})
"""Errors that are no driver's word about its interface; None: our own timeout."""


def ethtool_family() -> Family:
    """Look the ethtool family up.

    Raises:
        NotSupportedError: this kernel has none.
        OSError: the kernel refuses, or does not answer in time.
        NetlinkDecodeError: its answer is malformed.
    """
    with GenericSocket() as generic:
        try:
            return generic.family(_FAMILY)
        except FileNotFoundError as error:
            raise NotSupportedError(
                "generic netlink has no family ethtool", "use Linux 5.7 or later with CONFIG_ETHTOOL_NETLINK"
            ) from error


class Ethtool:
    """Asks about the interfaces of whatever namespace the calling thread is in; it holds no socket.

    What it learns when it is made, the family's number and the names of the features, is the kernel's, in every namespace.

    Raises (all methods):
        OSError: the kernel refuses, or does not answer in time; a driver's refusal leaves its keys out instead.
        NetlinkDecodeError: the kernel's answer is malformed.
        NotSupportedError: when it is made: this kernel has no generic netlink family ethtool.
    """

    def __init__(self) -> None:
        self._family = ethtool_family().number
        with GenericSocket() as generic:
            answers = generic.ask(self._family, ETHTOOL_MSG_STRSET_GET, feature_names_request())
        names = decode_feature_names(answers[0].body) if answers else ()
        self._queries = queries(names)

    def read(self) -> dict[int, dict[str, Any]]:
        """All interfaces of the namespace: ifindex → keys. One that comes or goes meanwhile may be there in part."""
        found: dict[int, dict[str, Any]] = {}
        with GenericSocket() as generic:
            for query in self._queries:
                for answer in self._all(generic, query, list(found)):
                    found.setdefault(decode_ifindex(answer.body), {}).update(decode_reply(query, answer.body))
        return self._with_drivers(found)

    def read_interfaces(self, ifindexes: Collection[int]) -> dict[int, dict[str, Any]]:
        """Some interfaces of the namespace: ifindex → keys, without those that are not there."""
        found: dict[int, dict[str, Any]] = {ifindex: {} for ifindex in ifindexes}
        with GenericSocket() as generic:
            for ifindex, keys in found.items():
                for query in self._queries:
                    for answer in self._one(generic, query, ifindex):
                        keys.update(decode_reply(query, answer.body))
        return self._with_drivers(found)

    def _all(self, generic: GenericSocket, query: Query, known: list[int]) -> list[Answer]:
        """One dump; the first driver that fails (a device that is suspended) ends it: then one by one."""
        try:
            return _replies(query, generic.ask(self._family, query.command, request(None), dump=True))
        except OSError as error:
            if error.errno in _NOT_THE_DRIVERS:
                raise
            if error.errno == errno.EOPNOTSUPP:
                return []  # a command that this kernel lacks
        return [answer for ifindex in known for answer in self._one(generic, query, ifindex)]

    def _one(self, generic: GenericSocket, query: Query, ifindex: int) -> list[Answer]:
        try:
            return _replies(query, generic.ask(self._family, query.command, request(ifindex)))
        except OSError as error:
            if error.errno in _NOT_THE_DRIVERS:
                raise
            return []

    @staticmethod
    def _with_drivers(found: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Add what only the ioctl tells, without the interfaces that are gone."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            drivers = {ifindex: _driver(control.fileno(), ifindex) for ifindex in found}
        return {ifindex: keys | driver for ifindex, keys in found.items() if (driver := drivers[ifindex]) is not None}


def _replies(query: Query, answers: list[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.command == query.reply]


def _driver(control: int, ifindex: int) -> dict[str, str] | None:
    """ETHTOOL_GDRVINFO of an interface; empty: its driver has none; None: it is gone.

    The ioctl goes by name: one that is another's by then is asked for again.
    """
    info = ctypes.create_string_buffer(struct.pack("=I", ETHTOOL_GDRVINFO), DRVINFO_BYTES)
    for _ in range(_RENAME_TRIES):
        try:
            name, _ = _IFREQ_INDEX.unpack(fcntl.ioctl(control, _SIOCGIFNAME, _IFREQ_INDEX.pack(b"", ifindex)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
        try:
            fcntl.ioctl(control, _SIOCETHTOOL, _IFREQ_DATA.pack(name, ctypes.addressof(info)))
            _, still = _IFREQ_INDEX.unpack(fcntl.ioctl(control, _SIOCGIFINDEX, _IFREQ_INDEX.pack(name, 0)))
        except OSError as error:
            if error.errno in _NOT_THE_DRIVERS:
                raise
            if error.errno == errno.EOPNOTSUPP:
                return {}
            continue
        if still == ifindex:
            return decode_drvinfo(info.raw)
    return {}
