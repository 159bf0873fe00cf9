"""Hears of changes of what ethtool says, in one namespace or in all.

The kernel tells (seen with Linux 6.18, and in the tests) of what a request changed (``ethtool -K``, ``-L``, ``-G``, ``-s``)
and of features that follow from another's (a bridge gains a port). It does not tell that an interface is new, was renamed or
moved, nor of speed, duplex and carrier as the driver finds them: RTM_NEWLINK tells of these, and then the interface is to
be asked again.
"""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from skytrail.errors import NotSupportedError
from skytrail.kernel.genetlink import NETLINK_ADD_MEMBERSHIP, decode_answer, open_generic_socket
from skytrail.kernel.netlink import RECEIVE_BYTES, SOL_NETLINK, NetlinkDecodeError, listen, messages, sender_nsid
from topology.probes.ethtool.source import ethtool_family
from topology.probes.ethtool.translate import NOTIFICATIONS, decode_ifindex

_GROUP = "monitor"  # ETHTOOL_MCGRP_MONITOR_NAME
_ANCILLARY_BYTES = socket.CMSG_SPACE(4) * 2
_DATAGRAMS_A_TURN = 256  # then the caller's other sources get their turn


class Change(NamedTuple):
    """An interface whose keys may have changed.

    Attributes:
        nsid: its namespace, as the one in which the monitor was opened numbers it; None: that one itself, where it has no
            number.
        ifindex: its number there.
    """

    nsid: int | None
    ifindex: int


class Changes(NamedTuple):
    """What a monitor heard; ``lost``: not all, so that everything is to be read again."""

    interfaces: frozenset[Change]
    lost: bool


class EthtoolMonitor:
    """Hears of changes of what :class:`Ethtool` reads, on one socket; for one thread.

    The kernel serves NETLINK_LISTEN_ALL_NSID here as it does for links: a namespace is heard from the moment on when it has
    a number in the one in which the monitor was opened.

    Args:
        every_namespace: hear all namespaces that have a number in the caller's; else only the caller's.
        receive_buffer: bytes of the queue; above net.core.rmem_max if we may.

    Raises:
        NotSupportedError: this kernel has no ethtool notifications.
        OSError: the kernel refuses a socket, or listening to all namespaces (EPERM: needs CAP_NET_BROADCAST).
        NetlinkDecodeError: the kernel's answer is malformed.
    """

    def __init__(self, *, every_namespace: bool, receive_buffer: int) -> None:
        self.malformed = 0
        group = ethtool_family().groups.get(_GROUP)
        if group is None:
            raise NotSupportedError("generic netlink's family ethtool has no group monitor", "use Linux 5.7 or later")
        self._buffer = bytearray(RECEIVE_BYTES)
        self._socket = open_generic_socket()
        try:
            listen(self._socket, every_namespace=every_namespace, receive_buffer=receive_buffer)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def read(self) -> Changes:
        """Take what is in the queue, a bounded number of datagrams at a time; several changes of one interface are one.

        Raises:
            OSError: the socket is broken.
        """
        heard: set[Change] = set()
        lost = False
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                length, ancillary, flags, (sender, _) = self._socket.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
                continue
            if sender:
                continue  # not the kernel
            lost |= bool(flags & socket.MSG_TRUNC)
            try:
                self._take(length, sender_nsid(ancillary), heard)
            except NetlinkDecodeError:
                self.malformed += 1
        return Changes(frozenset(heard), lost)

    def _take(self, length: int, nsid: int | None, heard: set[Change]) -> None:
        for found in messages(self._buffer, length):
            answer = decode_answer(self._buffer, found.start, found.end)
            if answer.command in NOTIFICATIONS:
                heard.add(Change(nsid, decode_ifindex(answer.body)))
