"""Sockets of the caller's network namespace by sock_diag: those that no process has open any more, too.

Sources: linux/inet_diag.h, linux/sock_diag.h; sock_diag(7).
"""

from __future__ import annotations

import socket
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skytrail.kernel.columns import rows
from skytrail.kernel.netlink import Answer, Asker, integer_attribute

_NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST = struct.Struct("=BBBBI48x")  # struct inet_diag_req_v2: family, protocol, ext, pad, states; id
_INET_DIAG_REQ_PROTOCOL = 3
_MOST_IN_BYTE = 255

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
"""``struct inet_diag_msg``; ends: local first. ``family``: AF_INET or AF_INET6. Its attributes follow."""

INET_DIAG_INFO, INET_DIAG_SKMEMINFO, INET_DIAG_SKV6ONLY = 2, 7, 11
"""Attributes: of TCP ``struct tcp_info``; memory, as ``u4`` by SK_MEMINFO_…; of those not connected, IPV6_V6ONLY as ``u1``."""

ALL_STATES = 0xFFFFFFFF
FAMILIES = (socket.AF_INET, socket.AF_INET6)


class DiagAsker(Asker):
    """Asks sock_diag in the namespace in which it was made; for one thread. Raises OSError: the kernel refuses."""

    def __init__(self) -> None:
        super().__init__(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG))

    def sockets(self, protocol: int, states: int = ALL_STATES) -> NDArray[Any]:
        """All sockets of a protocol (IPPROTO_TCP …) in some states (bits by number), of both families: rows of MESSAGE.

        Raises:
            OSError: the kernel refuses: ENOENT where it has no sock_diag for that protocol.
        """
        found, _ = rows([self.dump_family(family, protocol, states) for family in FAMILIES])
        return found.headers(MESSAGE)

    def dump_family(self, family: int, protocol: int, states: int = ALL_STATES, attributes: tuple[int, ...] = ()) -> Answer:
        """The same of one family, undecoded, with some of the attributes that are told only if asked for.

        Raises:
            OSError: as above.
        """
        wanted = sum(1 << (kind - 1) for kind in attributes)
        if protocol <= _MOST_IN_BYTE:
            body = _REQUEST.pack(family, protocol, wanted, 0, states)
        else:  # MPTCP
            body = _REQUEST.pack(family, 0, wanted, 0, states) + integer_attribute(_INET_DIAG_REQ_PROTOCOL, protocol)
        return self.dump(SOCK_DIAG_BY_FAMILY, body)
