"""Reads what the kernel tells of a namespace's interfaces: a few dumps and files, undecoded.

All is read inside the namespace by the worker, which others wait for too: so it is only taken here, and decoded elsewhere.

Sources: linux/rtnetlink.h; Documentation/networking/ethtool-netlink.rst, statistics.rst; Documentation/filesystems/proc.rst.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from pathlib import Path

import structlog

from exporters.interfaces.drivers import DriverStatistics
from exporters.interfaces.reading import FILES, Reading, ifindexes
from skytrail.kernel.genetlink import GenericSocket, open_generic_socket
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import (
    NLM_F_ACK,
    Answer,
    Asker,
    NetlinkDecodeError,
    attribute,
    integer_attribute,
    open_route_socket,
)
from skytrail.kernel.worker import NamespaceWorker

_log = structlog.get_logger(__name__)

_RTM_GETLINK = 18
_RTM_GETNEIGH = 30
_RTM_GETQDISC = 38
_RTM_GETSTATS = 94

_IFLA_EXT_MASK = 29
_RTEXT_FILTER_SKIP_STATS = 8
_IFLA_STATS_LINK_64 = 1
_LINKS = bytes(16) + integer_attribute(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)  # struct ifinfomsg
_STATISTICS = struct.pack("=BxxxII", 0, 0, 1 << (_IFLA_STATS_LINK_64 - 1))  # struct if_stats_msg
_QDISCS = bytes(20)  # struct tcmsg
_NEIGHBOURS = bytes(12)  # struct ndmsg

_ETHTOOL_MSG_LINKMODES_GET = 4
_ETHTOOL_HEADER = 1 | 0x8000  # ETHTOOL_A_LINKMODES_HEADER, NLA_F_NESTED
_ETHTOOL_HEADER_DEV_INDEX = 1
_ETHTOOL_HEADER_FLAGS = 3
_ETHTOOL_FLAG_COMPACT_BITSETS = 1
_GENERIC_HEADER = struct.pack("=BBH", _ETHTOOL_MSG_LINKMODES_GET, 1, 0)  # struct genlmsghdr

_NO_SUCH_DUMP = frozenset({errno.EOPNOTSUPP, errno.EINVAL})


class InterfaceSource:
    """Reads namespaces, one at a time.

    Args:
        worker: enters namespaces.
        drivers: which statistics of drivers to ask for; None: none.
        roots: where /proc is.
    """

    def __init__(self, worker: NamespaceWorker, drivers: DriverStatistics | None = None, roots: Roots | None = None) -> None:
        self._worker, self._drivers = worker, drivers
        self._net = (roots or Roots()).proc / "thread-self/net"  # of the thread that opens a file there
        self._ethtool = _ethtool_family()

    def read(self, namespace: Namespace) -> Reading:
        """All that a namespace tells. What its kernel lacks is empty, and so is what a driver does not tell.

        Raises:
            NamespaceGoneError: nothing leads to it any more.
            OSError: the kernel refuses, or does not answer within 5 s.
            NetlinkDecodeError: its answer is malformed.
            RunError: the worker has ended, or is busy for too long.
        """
        return self._worker.run(namespace, self._read_here)

    def softnet(self) -> bytes:
        """/proc/net/softnet_stat, which is of the whole host; empty where it is missing."""
        return _content(self._net / "softnet_stat")

    def _read_here(self) -> Reading:
        files = {name: _content(self._net / name) for name in FILES}  # first: our own sockets are among those that it counts
        with open_route_socket() as route:
            dumper = _Dumper(route)
            statistics = dumper.optional(_RTM_GETSTATS, _STATISTICS)
            links = dumper.dump(_RTM_GETLINK, _LINKS)
            qdiscs = dumper.optional(_RTM_GETQDISC, _QDISCS)
            neighbours = dumper.dump(_RTM_GETNEIGH, _NEIGHBOURS)
        return Reading(
            links=links,
            statistics=statistics,
            qdiscs=qdiscs,
            neighbours=neighbours,
            speeds=self._speeds(lambda: ifindexes(links)),
            files=files,
            drivers=self._drivers.read(ifindexes(links)) if self._drivers else {},
        )

    def _speeds(self, known: Callable[[], list[int]]) -> Answer:
        """One dump; the first driver that fails (a device that is suspended) ends it: then one by one."""
        if self._ethtool is None:
            return Answer()
        with open_generic_socket() as generic:
            dumper = _Dumper(generic)
            try:
                return dumper.dump(self._ethtool, _ethtool_request())
            except OSError as error:
                if error.errno is None:  # our own timeout
                    raise
            answer = Answer()
            for ifindex in known():
                answer = dumper.add(answer, self._ethtool, _ethtool_request(ifindex))
            return answer


class _Dumper(Asker):
    """Asks for what not every kernel has, or not every driver tells."""

    def optional(self, kind: int, body: bytes) -> Answer:
        """A dump; of what this kernel does not have, nothing."""
        try:
            return self.dump(kind, body)
        except OSError as error:
            if error.errno in _NO_SUCH_DUMP:
                return Answer()
            raise

    def add(self, before: Answer, kind: int, body: bytes) -> Answer:
        """One question more; what is refused adds nothing."""
        try:
            answer, _ = self._ask(kind, NLM_F_ACK, body)
        except OSError as error:
            if error.errno is None:
                raise
            return before
        base = len(before.data)
        return Answer(
            before.data + answer.data,
            before.starts + [start + base for start in answer.starts],
            before.ends + [end + base for end in answer.ends],
        )


def read_counters() -> Answer:
    """RTM_NEWSTATS of all interfaces of the caller's namespace, alone; empty where this kernel has none. Raises OSError."""
    with open_route_socket() as route:
        return _Dumper(route).optional(_RTM_GETSTATS, _STATISTICS)


def _ethtool_family() -> int | None:
    """Number of the generic netlink family; None where this kernel has none (before 5.6)."""
    try:
        with GenericSocket() as generic:
            return generic.family("ethtool").number
    except (OSError, NetlinkDecodeError) as error:
        _log.warning("interface_speeds_unknown", error=str(error), remedy="use Linux 5.6 or later with CONFIG_ETHTOOL_NETLINK")
        return None


def _ethtool_request(ifindex: int | None = None) -> bytes:
    """Ask for the link modes of an interface; None: of all."""
    header = integer_attribute(_ETHTOOL_HEADER_FLAGS, _ETHTOOL_FLAG_COMPACT_BITSETS)
    if ifindex is not None:
        header = integer_attribute(_ETHTOOL_HEADER_DEV_INDEX, ifindex) + header
    return _GENERIC_HEADER + attribute(_ETHTOOL_HEADER, header)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
