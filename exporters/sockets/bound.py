"""Which UDP socket of a pass gets what is sent to an address and port. No I/O."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.sockets.shown import RAW

ENDS = np.dtype([("netns", "u8"), ("family", "u1"), ("addr", "u1", (2, 16)), ("port", ">u2", 2)])
"""Where a packet goes to, and where it comes from: cookie of the namespace, 4 or 6, addresses (IPv4: the first four bytes)."""

_MAPPED = np.array([0] * 10 + [255] * 2, np.uint8)  # an IPv4 address in an IPv6 socket: ::ffff:a.b.c.d


class Bound:
    """The sockets of one pass.

    Where several processes may get a packet (SO_REUSEPORT, sockets bound to a device) nobody is named.

    Args:
        rows: of ``exporters.bpf.sockets.RECORD``, one for each socket.
    """

    def __init__(self, rows: NDArray[Any]) -> None:
        told = rows["ends"]
        some = (told["proto"] == socket.IPPROTO_UDP) & (rows["type"] != RAW) & (told["port"][:, 0] > 0)
        rows, told = rows[some], told[some]
        ends = np.zeros(len(rows), ENDS)
        for name in ("netns", "family", "addr", "port"):
            ends[name] = told[name]
        mapped = (ends["family"] == 6) & (ends["addr"][:, 0, :12] == _MAPPED).all(axis=1)
        ends["family"][mapped] = 4
        for side in (0, 1):
            ends["addr"][mapped, side, :4] = ends["addr"][mapped, side, 12:]
        ends["addr"][mapped, :, 4:] = 0
        # the IPv6 wildcard gets what is IPv4, too, unless it is told not to
        both = np.flatnonzero((ends["family"] == 6) & ~ends["addr"][:, 0].any(axis=1) & (rows["only6"] == 0))
        four = ends[both]
        four["family"] = 4
        # without its type numpy would give the ports the host's byte order
        self._index(np.concatenate([ends, four], dtype=ENDS), np.concatenate([rows, rows[both]]))

    def _index(self, ends: NDArray[Any], rows: NDArray[Any]) -> None:
        order = np.argsort(rows["device"] > 0, kind="stable")  # of several, one that is bound to no device stands first
        self._ends, first, which = np.unique(_packed(ends[order]), return_index=True, return_inverse=True)
        pids = rows["owner"]["pid"][order]
        alien = np.bincount(which, pids != pids[first][which], len(first)) > 0
        self._cookies = np.where(alien | (rows["device"][order[first]] > 0), 0, rows["cookie"][order[first]])

    def find(self, ends: NDArray[Any]) -> NDArray[np.uint64]:
        """The cookies of the sockets that get what goes to ends, rows of :data:`ENDS`; 0: nobody's, or not known whose.

        As the kernel chooses: one that is connected to the sender, else one bound to the address, else one bound to any.
        """
        found = np.zeros(len(ends), np.uint64)
        if not len(self._ends):
            return found
        unconnected = ends.copy()
        unconnected["addr"][:, 1], unconnected["port"][:, 1] = 0, 0
        anywhere = unconnected.copy()
        anywhere["addr"][:, 0] = 0
        left = np.ones(len(ends), np.bool_)
        for wanted in (ends, unconnected, anywhere):
            packed = _packed(wanted)
            at = np.minimum(np.searchsorted(self._ends, packed), len(self._ends) - 1)
            here = left & (self._ends[at] == packed)
            found[here] = self._cookies[at[here]]
            left &= ~here
        return found


def _packed(ends: NDArray[Any]) -> NDArray[np.bytes_]:
    """Each row as one value: numpy sorts such faster than rows of fields."""
    return ends.view(f"S{ENDS.itemsize}")
