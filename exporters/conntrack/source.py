"""Conntrack of every namespace, by netlink: events of translated connections, and dumps of those that there are.

One socket hears all namespaces that have a number in ours (a socket in each would keep those from ending). A filter in the
kernel lets only translated connections through.

Sources: linux/netfilter/nfnetlink_conntrack.h; networking/filter.rst (SKF_AD_NLATTR); netlink(7).
"""

from __future__ import annotations

import ctypes
import errno
import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.conntrack.entries import DESTINATION_NAT, ENTRY, SOURCE_NAT, TRANSLATED, entries
from skytrail.kernel.columns import Spans, rows
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import NLM_F_DUMP, Answer, Asker, attribute, attributes, listen, sender_nsid
from skytrail.kernel.worker import NamespaceWorker

_NETLINK_NETFILTER = 12
_GROUPS = 1 << 0 | 1 << 2  # NFNLGRP_CONNTRACK_NEW, _DESTROY
_SUBSYSTEM = 1 << 8  # NFNL_SUBSYS_CTNETLINK
_GET, _GET_STATS_CPU, _GET_STATS = 1, 4, 5  # IPCTNL_MSG_CT_GET…
_GENERIC = bytes(4)  # struct nfgenmsg: AF_UNSPEC
_NETLINK_HEADER = 16  # struct nlmsghdr: length, then type
_DELETE = 2  # IPCTNL_MSG_CT_DELETE
_STATUS, _STATUS_MASK = 3, 26  # CTA_STATUS, CTA_STATUS_MASK (Linux 5.15; older ones tell of all)
_GLOBAL_ENTRIES, _GLOBAL_MAX = 1, 2  # CTA_STATS_GLOBAL_…
FAILURES = {"invalid": 4, "insert_failed": 9, "drop": 10, "early_drop": 11, "error": 12, "chain_too_long": 16}
"""What conntrack counts beside connections: our word → CTA_STATS_…"""
OURS = -1
_BUFFER = 8 << 20  # bytes: 8,000 events and more
_LONGEST = 4096  # bytes of one event; it has 200 to 400
_AT_ONCE = 1 << 20  # bytes of events that are decoded together
_PARTS = 16  # of these at most are read at once: events may come faster than they are read
_SO_ATTACH_FILTER = 26
_ANCILLARY = socket.CMSG_SPACE(4)
_LOADED = Path("/proc/sys/net/netfilter/nf_conntrack_max")


def conntrack_is_loaded() -> bool:
    """Whether this kernel has conntrack loaded: to listen would load it."""
    return _LOADED.exists()


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one namespace: entries now, the most there may be, and counters by the words of :data:`FAILURES`."""

    entries: int
    most: int
    failures: dict[str, int]


class Events:
    """Hears of translated connections that begin and end, in all namespaces that have a number in ours.

    Raises:
        OSError: the kernel refuses (EPROTONOSUPPORT: it has no nfnetlink).

    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._buffer = bytearray(_AT_ONCE + _LONGEST)
        self._view = memoryview(self._buffer)
        self._poll = select.poll()  # select() knows no file above 1023, and each interface that is captured has two
        self._poll.register(self._socket, select.POLLIN)
        try:
            listen(self._socket, every_namespace=True, receive_buffer=_BUFFER)
            _only_translated(self._socket)
            self._socket.bind((0, _GROUPS))
        except BaseException:
            self._socket.close()
            raise

    def wait(self, seconds: float) -> bool:
        """Wait until something has happened, at most so long; says whether it has."""
        return bool(self._poll.poll(seconds * 1000))

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def read(self) -> tuple[NDArray[Any], NDArray[np.int64], bool]:
        """What has happened since the last call, or the first part of it.

        Returns:
            Rows of :data:`ENTRY`, the number that our namespace has for each one's (:data:`OURS` for itself), and whether
            more has happened than there was room for.

        Raises:
            NetlinkDecodeError: an event is malformed.

        """
        found, where, overrun, more = [np.zeros(0, ENTRY)], [np.zeros(0, np.int64)], False, True
        while more and len(found) <= _PARTS:
            starts: list[int] = []
            ends: list[int] = []
            numbers: list[int] = []
            at = 0
            while at < _AT_ONCE:
                try:
                    length, ancillary, _, _ = self._socket.recvmsg_into([self._view[at : at + _LONGEST]], _ANCILLARY)
                except BlockingIOError:
                    more = False
                    break
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    overrun = True
                    continue
                starts.append(at + _NETLINK_HEADER)
                ends.append(at + length)
                nsid = sender_nsid(ancillary)
                numbers.append(OURS if nsid is None else nsid)
                at += length
            if not at:
                break
            spans, _ = rows([Answer(bytes(self._view[:at]), starts, ends)])
            part = entries(spans)
            part["gone"] = Spans(spans.data, spans.starts - _NETLINK_HEADER, spans.ends).numbers("u2", 4) & 0xFF == _DELETE
            found.append(part)
            where.append(np.array(numbers, np.int64))
        # without its type numpy would give the ports the host's byte order
        return np.concatenate(found, dtype=ENTRY), np.concatenate(where), overrun


def dump(worker: NamespaceWorker, namespace: Namespace) -> NDArray[Any]:
    """All translated connections of a namespace: rows of :data:`ENTRY`.

    Where conntrack has no connection, it is not asked: it would look through the host's whole hash table, twice.

    Raises:
        NamespaceGoneError: nothing leads to it any more.
        OSError: the kernel refuses, or does not answer within 5 s.
        NetlinkDecodeError: its answer is malformed.
        RunError: the worker has ended, or is busy for too long.

    """
    spans, _ = rows(worker.run(namespace, _dump))
    found = entries(spans)
    found = found[found["kinds"] > 0]
    found["netns"] = namespace.cookie
    return found


def statistics(worker: NamespaceWorker, namespace: Namespace) -> Statistics:
    """What conntrack counts in a namespace. Raises as :func:`dump`."""
    return worker.run(namespace, _statistics)


class _Conntrack(Asker):
    def __init__(self) -> None:
        super().__init__(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER))


def _dump() -> list[Answer]:
    found: list[Answer] = []
    with _Conntrack() as asker:
        if not _count(asker, _GLOBAL_ENTRIES):
            return found
        for value, mask in ((SOURCE_NAT, SOURCE_NAT), (DESTINATION_NAT, TRANSLATED)):
            chosen = attribute(_STATUS, struct.pack(">I", value)) + attribute(_STATUS_MASK, struct.pack(">I", mask))
            found.append(asker.dump(_SUBSYSTEM | _GET, _GENERIC + chosen))
    return found


def _statistics() -> Statistics:
    with _Conntrack() as asker:
        entries_, most = (_count(asker, kind) for kind in (_GLOBAL_ENTRIES, _GLOBAL_MAX))
        processors = asker.request(_SUBSYSTEM | _GET_STATS_CPU, NLM_F_DUMP, _GENERIC)
    failures = {name: sum(_number(one, kind) for one in processors) for name, kind in FAILURES.items()}
    return Statistics(entries_, most, failures)


def _count(asker: Asker, kind: int) -> int:
    return _number(asker.request(_SUBSYSTEM | _GET_STATS, 0, _GENERIC)[0], kind)


def _number(answer: bytes, kind: int) -> int:
    span = attributes(answer, len(_GENERIC), len(answer), {kind}).get(kind)
    return int.from_bytes(answer[span[0] : span[1]], "big") if span else 0


class _Instruction(ctypes.Structure):
    """``struct sock_filter``."""

    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


def _only_translated(opened: socket.socket) -> None:
    """Attach a classic BPF program that lets events through whose status says that something is translated."""
    program = (
        (0x00, 0, 0, 20),  # A = where attributes begin: behind struct nlmsghdr and struct nfgenmsg
        (0x01, 0, 0, _STATUS),  # X = which one
        (0x20, 0, 0, 0xFFFFF000 + 12),  # A = where it is (SKF_AD_OFF + SKF_AD_NLATTR); 0: nowhere
        (0x15, 4, 0, 0),  # if A == 0: nothing
        (0x07, 0, 0, 0),  # X = A
        (0x40, 0, 0, 4),  # A = its value
        (0x45, 0, 1, TRANSLATED),  # if not A & TRANSLATED: nothing
        (0x06, 0, 0, 0xFFFFFFFF),  # all of it
        (0x06, 0, 0, 0),
    )
    code = (_Instruction * len(program))(*(_Instruction(*one) for one in program))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))
