"""Reads statistics of interfaces from a database of Open vSwitch: one question, one answer (RFC 7047). I/O.

They are asked for when they are wanted: who follows them is woken every few seconds by each interface.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from skytrail.errors import RunError
from skytrail.settings.values import parse_address

_PATIENCE = 2.0  # seconds, for each step
_WHOLE = 5.0  # seconds for an answer: who tells it byte by byte holds up the reading of all others
_MOST = 64 << 20  # bytes of an answer
_PIECE = 1 << 16
_LIMIT = 1 << 63  # of a count: RFC 7047's integers have 64 bits with a sign; what is beyond is none

_OF_KERNEL = frozenset({"", "system", "internal", "tap"})
"""Types of interfaces that the kernel counts, too."""


def _question(where: list[list[str]]) -> bytes:
    columns = ["_uuid", "name", "type", "statistics"]
    select = {"op": "select", "table": "Interface", "where": where, "columns": columns}
    return msgspec.json.encode({"method": "transact", "id": 0, "params": ["Open_vSwitch", select]})


_EVERY = _question([])
_OWN = _question([["type", "!=", kind] for kind in sorted(_OF_KERNEL)])


@dataclass(frozen=True, slots=True)
class Counted:
    """What an interface counted.

    Attributes:
        uuid: of its row.
        name: its name.
        kind: ``vxlan``, ``patch`` …
        statistics: by the database's names.
    """

    uuid: str
    name: str
    kind: str
    statistics: Mapping[str, int]


class StatisticsSource:
    """A database.

    Args:
        remote: ``unix:PATH``, ``tcp:HOST:PORT`` or ``ssl:HOST:PORT``.
        tls: files of our key, of our certificate and of the authorities; for ``ssl`` only.
    """

    def __init__(self, remote: str, tls: tuple[str, str, str] | None = None) -> None:
        self.remote, self._tls = remote, tls

    def read(self, *, own: bool = False) -> list[Counted]:
        """All interfaces; ``own``: those that the kernel does not have. Raises OSError, RunError: it does not tell."""
        with self._connect() as stream:
            stream.sendall(_OWN if own else _EVERY)
            answer = _receive(stream)
        try:
            if answer["error"] is not None:
                raise RunError(f"{self.remote}: {answer['error']}")
            [selected] = answer["result"]
            return [_counted(row) for row in selected["rows"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{self.remote}: its answer is none of OVSDB's") from error

    def _connect(self) -> socket.socket:
        kind, _, where = self.remote.partition(":")
        if kind == "unix":
            stream = socket.socket(socket.AF_UNIX)
            stream.settimeout(_PATIENCE)
            try:
                stream.connect(where)
            except OSError:
                stream.close()
                raise
            return stream
        stream = socket.create_connection(parse_address(where), _PATIENCE)
        if self._tls is None:
            return stream
        key, certificate, authorities = self._tls
        context = ssl.create_default_context(cafile=authorities)
        context.check_hostname = False  # as Open vSwitch's own programs: certificates are of switches, not of names
        context.load_cert_chain(certificate, key)
        try:
            return context.wrap_socket(stream)
        except OSError:
            stream.close()
            raise


def _receive(stream: socket.socket) -> dict[str, Any]:
    """The first whole message."""
    found, until = bytearray(), time.monotonic() + _WHOLE
    while len(found) < _MOST:
        if time.monotonic() > until:
            raise RunError(f"the database of Open vSwitch did not answer within {_WHOLE:g} s")
        piece = stream.recv(_PIECE)
        if not piece:
            break
        found += piece
        if piece.endswith(b"}"):
            try:
                return msgspec.json.decode(found, type=dict[str, Any])
            except msgspec.DecodeError:
                continue
    raise RunError("the database of Open vSwitch ended its answer too early")


def _counted(row: Mapping[str, Any]) -> Counted:
    _, uuid = row["_uuid"]
    _, pairs = row["statistics"]
    texts = uuid, row["name"], row["type"]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    return Counted(*texts, {str(name): int(value) for name, value in pairs if 0 <= value < _LIMIT})
