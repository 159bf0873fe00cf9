"""The agent's own exports: what it sends to collectors is no flow of the network's users, and would make something to send."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.flows.identify import proto_of

_End = tuple[bytes, int]
_Pair = frozenset[_End]
_TCP, _SYN, _REFUSAL = 6, 2, 4 | 16  # RST, with ACK
_KEPT = 900.0  # seconds: the last records of a connection come when it has been idle for flow.idle.tcp
_MOST = 65536
_RESOLVED = 60.0
_SOCKADDR = Any


class OwnTraffic:
    """Tells which records are connections of this process to collectors.

    The exporter tells where it sends to and what it connects; connections of libraries that do not tell (gRPC) are found
    among our descriptors. Attempts that nobody answered never become a descriptor that one could find: those between this
    host and a collector are ours too. Thread-safe.

    Args:
        clock: seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._connections: dict[_Pair, float] = {}  # until when they are remembered
        self._resolved: dict[tuple[str, int], float] = {}
        self._ways: dict[tuple[bytes, _End], None] = {}  # our address and a collector's end

    def trying(self, host: str, port: int) -> None:
        """We are about to send there. May wait for the resolver, as sending itself does."""
        now = self._clock()
        with self._lock:
            if self._resolved.get((host, port), 0) > now:
                return
            self._resolved[host, port] = now + _RESOLVED
        found = list(_ways(host, port))
        with self._lock:
            self._ways.update(dict.fromkeys(found))
            while len(self._ways) > _MOST:
                del self._ways[next(iter(self._ways))]

    def connected(self, ours: _SOCKADDR, theirs: _SOCKADDR) -> None:
        """A connection was made, between these ends as ``socket.getsockname`` gives them."""
        with self._lock:
            self._remember(frozenset((_end(ours), _end(theirs))))

    def look(self) -> None:
        """Find connections to collectors among our descriptors; before each reading of the flows."""
        with self._lock:
            collectors = {theirs for _, theirs in self._ways}
            if collectors:
                for ours, theirs in _descriptors():
                    if theirs in collectors:
                        self._remember(frozenset((ours, theirs)))

    def _remember(self, pair: _Pair) -> None:
        now = self._clock()
        self._connections.pop(pair, None)  # the newest stand last
        self._connections[pair] = now + _KEPT
        for old, until in list(self._connections.items()):
            if until > now and len(self._connections) <= _MOST:
                break
            del self._connections[old]

    def mask(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """True for rows of :data:`exporters.flows.table.ROW` that are ours."""
        result = np.zeros(len(rows), np.bool_)
        with self._lock:
            if not self._ways and not self._connections:
                return result
            ports = {end[1] for pair in self._connections for end in pair} | {theirs[1] for _, theirs in self._ways}
            keys = rows["key"]
            candidates = (proto_of(keys) == _TCP) & np.isin(keys["port"], list(ports)).any(axis=1)
            for row in np.flatnonzero(candidates).tolist():
                width = 4 if rows["family"][row] == 4 else 16
                ends = [(keys["addr"][row, side, :width].tobytes(), int(keys["port"][row, side])) for side in (0, 1)]
                flags = rows["flow"]["tcp_flags"][row].tolist()
                result[row] = frozenset(ends) in self._connections or any(
                    # one end only asked, the other said nothing or refused
                    (ends[1 - side][0], ends[side]) in self._ways and flags[1 - side] == _SYN and not flags[side] & ~_REFUSAL
                    for side in (0, 1)
                )
        return result


def _ways(host: str, port: int) -> Iterator[tuple[bytes, _End]]:
    """Our address and the other end, for each address of a host: as the kernel would route, without sending anything."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return
    for family, _, _, _, address in found:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(address)
                yield _end(probe.getsockname())[0], _end(address)
        except OSError:
            continue  # no route


def _descriptors() -> Iterator[tuple[_End, _End]]:
    """Both ends of each TCP connection that this process holds: ours first."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are all we need
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):  # noqa: PTH115 - a number in procfs
                continue
            with socket.socket(fileno=os.dup(int(name))) as copy:
                if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.type == socket.SOCK_STREAM:
                    yield _end(copy.getsockname()), _end(copy.getpeername())
        except OSError:
            continue  # closed meanwhile, or not connected


def _end(address: _SOCKADDR) -> _End:
    host, port = address[0].partition("%")[0], int(address[1])
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host), port
    raw = socket.inet_pton(socket.AF_INET6, host)
    mapped = raw.startswith(bytes(10) + b"\xff\xff")
    return (raw[12:] if mapped else raw), port
