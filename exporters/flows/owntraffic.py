"""Our own connections: what the agent sends to collectors and answers to scrapers is no flow of the network's users."""

from __future__ import annotations

import os
import socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.flows.identify import proto_of

_End = tuple[bytes, int]
_TCP = 6


class OwnTraffic:
    """Tells which records are connections of this process."""

    def mask(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """True for rows of :data:`exporters.flows.table.ROW` that are ours: both ends are those of a TCP socket we hold."""
        result = np.zeros(len(rows), np.bool_)
        ours = _connections()
        if not ours:
            return result
        keys = rows["key"]
        ports = {port for pair in ours for _, port in pair}
        candidates = (proto_of(keys) == _TCP) & np.isin(keys["port"], list(ports)).all(axis=1)
        for row in np.flatnonzero(candidates).tolist():
            width = 4 if rows["family"][row] == 4 else 16
            ends = [(keys["addr"][row, side, :width].tobytes(), int(keys["port"][row, side])) for side in (0, 1)]
            result[row] = frozenset(ends) in ours
        return result


def _connections() -> set[frozenset[_End]]:
    """Both ends of each TCP connection that this process holds."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are all we need
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):  # noqa: PTH115 - a number in procfs
                continue
            with socket.socket(fileno=os.dup(int(name))) as copy:
                if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.type == socket.SOCK_STREAM:
                    found.add(frozenset((_end(copy.getsockname()), _end(copy.getpeername()))))
        except OSError:
            continue  # closed meanwhile, or not connected
    return found


def _end(address: tuple[Any, ...]) -> _End:
    host, port = address[0].partition("%")[0], int(address[1])
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host), port
    raw = socket.inet_pton(socket.AF_INET6, host)
    mapped = raw.startswith(bytes(10) + b"\xff\xff")
    return (raw[12:] if mapped else raw), port
