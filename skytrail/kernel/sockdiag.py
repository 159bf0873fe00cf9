"""Sockets of the caller's network namespace by sock_diag: those that no process has open any more, too.

Sources: linux/inet_diag.h, linux/sock_diag.h; sock_diag(7).
"""

from __future__ import annotations

import socket
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skytrail.kernel.netlink import NLM_F_DUMP, Asker

_NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST = struct.Struct("=BBBBI48x")  # struct inet_diag_req_v2: family, protocol, ext, pad, states; id

MESSAGE = np.dtype(
    [
        ("family", "u1"),
        ("state", "u1"),
        ("timer", "u1"),
        ("retransmits", "u1"),
        ("port", ">u2", 2),
        ("addr", "u1", (2, 16)),
        ("device", "u4"),
        ("cookie", "<u4", 2),
        ("expires", "u4"),
        ("receive_queue", "u4"),
        ("send_queue", "u4"),
        ("uid", "u4"),
        ("inode", "u4"),
    ]
)
"""``struct inet_diag_msg``; ends: local first. ``family``: AF_INET or AF_INET6."""

ALL_STATES = 0xFFFFFFFF


class DiagAsker(Asker):
    """Asks sock_diag in the namespace in which it was made; for one thread. Raises OSError: the kernel refuses."""

    def __init__(self) -> None:
        super().__init__(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG))

    def sockets(self, protocol: int, states: int = ALL_STATES) -> NDArray[Any]:
        """All sockets of a protocol (IPPROTO_TCP …) in some states (bits by number), of both families: rows of MESSAGE.

        Raises:
            OSError: the kernel refuses: ENOENT where it has no sock_diag for that protocol.
        """
        found = []
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _REQUEST.pack(family, protocol, 0, 0, states)
            answers = self.request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, body)
            found.append(b"".join(answer[: MESSAGE.itemsize] for answer in answers))
        return np.frombuffer(b"".join(found), MESSAGE)
