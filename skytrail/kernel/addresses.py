"""The addresses of the caller's network namespace, by rtnetlink. Sources: linux/if_addr.h, rtnetlink(7)."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from skytrail.kernel.linkmessages import RTM_GETADDR, address_dump_request
from skytrail.kernel.netlink import NLM_F_DUMP, RouteAsker, attributes

_IFADDRMSG_BYTES = 8
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_FAMILIES = {socket.AF_INET: 4, socket.AF_INET6: 6}


def local_addresses() -> list[tuple[int, bytes]]:
    """IP version and address (4 or 16 bytes) of each address of the namespace.

    Raises:
        OSError: the kernel refuses.
        NetlinkDecodeError: its answer is malformed.
    """
    with RouteAsker() as asker:
        return list(_decoded(asker.request(RTM_GETADDR, NLM_F_DUMP, address_dump_request(None))))


def _decoded(answers: list[bytes]) -> Iterator[tuple[int, bytes]]:
    for answer in answers:
        found = attributes(answer, _IFADDRMSG_BYTES, len(answer), {_IFA_ADDRESS, _IFA_LOCAL})
        span = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS)  # with a peer, IFA_ADDRESS is the peer's
        if span and answer[0] in _FAMILIES:
            yield _FAMILIES[socket.AddressFamily(answer[0])], answer[slice(*span)]
