"""The one netlink socket that hears of links and namespace numbers in all namespaces that have a number in ours."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from skytrail.kernel.linkmessages import RTM_GETADDR, RTM_GETLINK, RTM_NEWADDR, address_dump_request, dump_request
from skytrail.kernel.netlink import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    RECEIVE_BYTES,
    Message,
    NetlinkDecodeError,
    listen,
    message,
    messages,
    open_route_socket,
    sender_nsid,
)

_GROUPS = 1 << (1 - 1) | 1 << (28 - 1)  # RTNLGRP_LINK, RTNLGRP_NSID
_DETAIL_GROUPS = sum(1 << (group - 1) for group in (5, 9, 7, 11, 8, 19, 4, 24, 25))  # …_IFADDR, _ROUTE, _RULE, _TC, _NETCONF
_ANCILLARY_BYTES = socket.CMSG_SPACE(4) * 2
_DATAGRAMS_A_TURN = 256  # then the caller's other sources get their turn


class LinkSocket:
    """Events and answers in one queue, read in order.

    Args:
        every_namespace: hear all namespaces that have a number in ours; else only our own.
        receive_buffer: bytes of the queue; above net.core.rmem_max if we may.
        details: hear of addresses, routes, rules and filters too, and have links dumped with their virtual functions.

    Raises:
        OSError: the kernel refuses a socket, or listening to all namespaces (EPERM: needs CAP_NET_BROADCAST).
    """

    def __init__(self, *, every_namespace: bool, receive_buffer: int, details: bool = False) -> None:
        self._details = details
        self.buffer = bytearray(RECEIVE_BYTES)
        self.malformed = 0
        self._lost = False
        self._socket = open_route_socket(_GROUPS | (_DETAIL_GROUPS if details else 0))
        try:
            listen(self._socket, every_namespace=every_namespace, receive_buffer=receive_buffer)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @property
    def losing(self) -> bool:
        """Whether messages were lost, and what is left in the queue is not read to its end yet."""
        return self._lost

    def request_dump(self, kind: int, nsid: int | None, sequence: int) -> None:
        """Ask for all links (RTM_NEWLINK) or addresses (RTM_NEWADDR) of a namespace; the answers carry ``sequence``.

        Raises:
            OSError: the kernel has no memory for it now.
        """
        if kind == RTM_NEWADDR:
            request, body = RTM_GETADDR, address_dump_request(nsid)
        else:
            request, body = RTM_GETLINK, dump_request(nsid, functions=self._details)
        self._socket.send(message(request, NLM_F_REQUEST | NLM_F_DUMP, sequence, body))

    def read(self, take_event: Callable[[Message, int | None], None], take_answer: Callable[[Message], None]) -> bool:
        """Take what is in the queue, a bounded number of datagrams at a time.

        Args:
            take_event: gets a multicast message in :attr:`buffer` and the number of the namespace it comes from; None:
                our own, where that has no number.
            take_answer: gets a message that answers a request of ours.

        Returns:
            True if messages were lost and what was left is read to its end: the time for a dump of everything.
        """
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                length, ancillary, flags, address = self._socket.recvmsg_into([self.buffer], _ANCILLARY_BYTES)
            except BlockingIOError:
                lost, self._lost = self._lost, False
                return lost
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._lost = True
                continue
            sender, group = address
            if sender != 0:
                continue  # not the kernel
            if flags & socket.MSG_TRUNC:
                self._lost = True
                continue
            try:
                for found in messages(self.buffer, length):
                    self._take(found, None if group == 0 else take_event, sender_nsid(ancillary), take_answer)
            except NetlinkDecodeError:
                self.malformed += 1
        return False

    def _take(
        self,
        found: Message,
        take_event: Callable[[Message, int | None], None] | None,
        nsid: int | None,
        take_answer: Callable[[Message], None],
    ) -> None:
        """Hand one message on; a malformed one does not spoil the next."""
        try:
            if take_event is None:
                take_answer(found)
            else:
                take_event(found, nsid)
        except NetlinkDecodeError:
            self.malformed += 1
