"""Every socket of every process by sock_diag and /proc, for kernels that have no iterators.

Each namespace is asked what sockets it has, and /proc who has them open; the inode joins them. The kernel tells nothing here
of TCP sockets that neither listen nor are connected, of others that are not bound, and of what becomes of sockets between
two passes.

For each question about connections the kernel looks through those of the whole host (some 3 ms for 20,000): so none is asked
that /proc/net/protocols says has no answer.

Sources: linux/inet_diag.h, linux/sock_diag.h, linux/tcp.h (``struct tcp_info``); proc(5), /proc/net/raw, /proc/net/protocols.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.bpf.sockets import EVENT, PROGRESS, RECORD
from exporters.sockets.descriptors import Descriptors
from skytrail.errors import NotSupportedError, SkytrailError
from skytrail.kernel.columns import Spans, rows
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import Answer, NetlinkDecodeError
from skytrail.kernel.sockdiag import ALL_STATES, INET_DIAG_INFO, INET_DIAG_SKMEMINFO, INET_DIAG_SKV6ONLY, MESSAGE, DiagAsker
from skytrail.kernel.worker import NamespaceWorker

_log = structlog.get_logger(__name__)

_MPTCP = 262
_PROTOCOLS = {
    "TCP": (socket.AF_INET, socket.IPPROTO_TCP), "TCPv6": (socket.AF_INET6, socket.IPPROTO_TCP),
    "UDP": (socket.AF_INET, socket.IPPROTO_UDP), "UDPv6": (socket.AF_INET6, socket.IPPROTO_UDP),
    "UDP-Lite": (socket.AF_INET, socket.IPPROTO_UDPLITE), "UDPLITEv6": (socket.AF_INET6, socket.IPPROTO_UDPLITE),
    "RAW": (socket.AF_INET, socket.IPPROTO_RAW), "RAWv6": (socket.AF_INET6, socket.IPPROTO_RAW),
    "SCTP": (socket.AF_INET, socket.IPPROTO_SCTP), "SCTPv6": (socket.AF_INET6, socket.IPPROTO_SCTP),
    "MPTCP": (socket.AF_INET, _MPTCP), "MPTCPv6": (socket.AF_INET6, _MPTCP),
}  # fmt: skip
"""What /proc/net/protocols calls them. Those that have no socket are not asked for: the question alone loads modules."""

_RAW_FILES: dict[int, str] = {socket.AF_INET: "raw", socket.AF_INET6: "raw6"}
_NO_COOKIE = 1 << 63
"""Made up of this and the inode where the kernel tells none: above all cookies, which it counts up."""

_LISTEN = 10
_LISTENING = 1 << _LISTEN
# the kernel's numbers (include/net/tcp_states.h): without those that no process has open (TIME_WAIT, NEW_SYN_RECV), and
# BOUND_INACTIVE, which /proc/net/protocols does not count
_OTHERS = ALL_STATES & ~(_LISTENING | 1 << 6 | 1 << 12 | 1 << 13)
_SK_MEMINFO_DROPS = 8
_TCP_INFO = {
    "mss": ("u4", 16), "rtt": ("u4", 68), "rtt_deviation": ("u4", 72), "cwnd": ("u4", 80), "retransmits": ("u4", 100),
    "received": ("u8", 128), "sent": ("u8", 200),
}  # fmt: skip
"""Fields of ``struct tcp_info``; an older kernel's is shorter."""

NETNS = np.dtype([("cookie", "u8"), ("inode", "u4")])
"""A namespace."""


class _Heard(NamedTuple):
    """What one namespace told of one protocol."""

    protocol: int
    family: int
    answer: Answer | bytes  # bytes: its file in /proc/net


class SockDiag:
    """Reads the sockets of some namespaces. For one thread at a time.

    Args:
        worker: enters them.
        namespaces: gives them.
        roots: where /proc is.

    Raises:
        NotSupportedError: this kernel has no sock_diag.
        OSError: it refuses to answer.
    """

    def __init__(
        self, worker: NamespaceWorker, namespaces: Callable[[], Iterable[Namespace]], roots: Roots | None = None
    ) -> None:
        proc = (roots or Roots()).proc
        self._worker, self._namespaces = worker, namespaces
        self._descriptors = Descriptors(proc)
        self._net = proc / "thread-self/net"  # of the thread that opens a file there
        try:
            with DiagAsker() as asker:
                asker.sockets(socket.IPPROTO_TCP, _LISTENING)
        except FileNotFoundError as error:
            raise NotSupportedError("this kernel has no sock_diag for TCP", "use one with CONFIG_INET_DIAG") from error

    def read(self) -> NDArray[Any]:
        """Every socket that a process has open, one row of ``exporters.bpf.sockets.RECORD`` for each descriptor.

        Raises:
            OSError, SkytrailError, NetlinkDecodeError: our own namespace tells nothing; another one may be gone.
        """
        heard: list[_Heard] = []
        netns: list[tuple[int, int]] = []
        for namespace in self._namespaces():
            try:
                found = self._worker.run(namespace, self._ask)
            except (OSError, SkytrailError, NetlinkDecodeError) as error:
                if namespace.own:
                    raise
                _log.debug("sockets_of_namespace_unknown", namespace=namespace.label, error=str(error))
                continue
            heard += found
            netns += [(namespace.cookie, namespace.inode)] * len(found)
        return _joined(_records(heard, np.array(netns, NETNS)), *self._descriptors.read())

    def _ask(self) -> list[_Heard]:
        found = []
        with DiagAsker() as asker:
            for family, protocol, many in _used((self._net / "protocols").read_text(encoding="ascii")):
                try:
                    answers = _asked(asker, family, protocol, many)
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        raise
                    # this kernel was built without sock_diag for it
                    answers = [(self._net / _RAW_FILES[family]).read_bytes()] if protocol == socket.IPPROTO_RAW else []
                found += [_Heard(protocol, family, answer) for answer in answers]
        return found

    def events(self) -> NDArray[Any]:
        """None: sock_diag tells what is, not what becomes."""
        return np.empty(0, EVENT)

    def losses(self) -> tuple[int, int]:
        """None."""
        return 0, 0

    def close(self) -> None:
        """Nothing is held."""


def _used(text: str) -> list[tuple[int, int, int]]:
    """Family, protocol and number of sockets where there are some, as /proc/net/protocols says (name, size, sockets …)."""
    lines = (line.split(None, 3) for line in text.splitlines())
    return [(*_PROTOCOLS[words[0]], int(words[2])) for words in lines if words[0] in _PROTOCOLS and words[2] != "0"]


def _asked(asker: DiagAsker, family: int, protocol: int, many: int) -> list[Answer | bytes]:
    """One protocol's sockets; where all listen, connections are not looked for."""
    if protocol != socket.IPPROTO_TCP:
        return [asker.dump_family(family, protocol, _LISTENING | _OTHERS, (INET_DIAG_SKMEMINFO,))]
    wanted = INET_DIAG_SKMEMINFO, INET_DIAG_INFO
    listeners = asker.dump_family(family, protocol, _LISTENING, wanted)
    return [listeners] if len(listeners.starts) >= many else [listeners, asker.dump_family(family, protocol, _OTHERS, wanted)]


def _records(heard: list[_Heard], netns: NDArray[Any]) -> NDArray[Any]:
    """All that namespaces told, whoever has it: rows of RECORD."""
    told = [isinstance(one.answer, Answer) for one in heard]
    found, part = rows([one.answer for one in heard if isinstance(one.answer, Answer)])
    protocols = np.array([one.protocol for one in heard if isinstance(one.answer, Answer)], "u2")
    records = as_records(found.headers(MESSAGE), protocols[part], netns[told][part])
    attributes = found.after(MESSAGE.itemsize).attributes({INET_DIAG_INFO, INET_DIAG_SKMEMINFO, INET_DIAG_SKV6ONLY})
    records["only6"] = attributes[INET_DIAG_SKV6ONLY].numbers("u1")
    records["drops"] = attributes[INET_DIAG_SKMEMINFO].numbers("u4", 4 * _SK_MEMINFO_DROPS)
    connections = (records["ends"]["proto"] == socket.IPPROTO_TCP) & (records["ends"]["state"] != _LISTEN)
    records["tcp"][connections] = _progress(attributes[INET_DIAG_INFO].at(connections))
    files = [
        _raw_records(one.answer, one.family, netns[number]) for number, one in enumerate(heard) if isinstance(one.answer, bytes)
    ]
    return np.concatenate([records, *files], dtype=RECORD)


def as_records(found: NDArray[Any], protocol: NDArray[Any] | int, netns: NDArray[Any]) -> NDArray[Any]:
    """Rows of ``skytrail.kernel.sockdiag.MESSAGE`` as those of a pass, as far as they tell.

    Args:
        found: the messages.
        protocol: that was asked for.
        netns: of each: ``cookie`` and ``inode``.
    """
    records = np.zeros(len(found), RECORD)
    ends = records["ends"]
    ends["netns"], ends["inode"] = netns["cookie"], netns["inode"]
    ends["addr"], ends["port"], ends["state"] = found["addr"], found["port"], found["state"]
    ends["family"] = np.where(found["family"] == socket.AF_INET, 4, 6)
    raw = np.broadcast_to(protocol, len(found)) == socket.IPPROTO_RAW
    ends["proto"] = np.where(raw, found["port"][:, 0], protocol)  # a raw socket's port is its protocol
    datagrams = np.isin(protocol, (socket.IPPROTO_UDP, socket.IPPROTO_UDPLITE))
    records["type"] = np.select([raw, datagrams], [socket.SOCK_RAW, socket.SOCK_DGRAM], socket.SOCK_STREAM)
    records["cookie"] = found["cookie"][:, 0] | (found["cookie"][:, 1].astype("u8") << np.uint64(32))
    records["inode"] = found["inode"]
    records["owner"]["uid"], records["device"] = found["uid"], found["device"]
    records["receive_queue"], records["send_queue"] = found["receive_queue"], found["send_queue"]
    return records


def _progress(found: Spans) -> NDArray[Any]:
    """``struct tcp_info`` as rows of PROGRESS."""
    progress = np.zeros(len(found), PROGRESS)
    for name, (kind, offset) in _TCP_INFO.items():
        progress[name] = found.numbers(kind, offset)
    return progress


def _raw_records(text: bytes, family: int, netns: NDArray[Any]) -> NDArray[Any]:
    """/proc/net/raw or raw6 as rows of RECORD; hosts have a few raw sockets at most.

    ``sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ref pointer drops``
    """
    lines = [line.split() for line in text.splitlines()[1:]]
    found = np.zeros(len(lines), MESSAGE)
    drops = np.zeros(len(lines), "u4")
    found["family"] = family
    for row, words in enumerate(lines):
        for end, word in enumerate(words[1:3]):
            address, _, port = word.partition(b":")
            octets = np.frombuffer(bytes.fromhex(address.decode()), ">u4").astype("=u4").view("u1")  # words in host order
            found["addr"][row, end, : len(octets)], found["port"][row, end] = octets, int(port, 16)
        found["state"][row] = int(words[3], 16)
        found["send_queue"][row], found["receive_queue"][row] = (int(queue, 16) for queue in words[4].split(b":"))
        found["uid"][row], found["inode"][row], drops[row] = int(words[7]), int(words[9]), int(words[12])
    records = as_records(found, socket.IPPROTO_RAW, netns)
    records["cookie"] = records["inode"] | np.uint64(_NO_COOKIE)
    records["drops"] = drops
    return records


def _joined(records: NDArray[Any], held: NDArray[Any], owners: NDArray[Any]) -> NDArray[Any]:
    """One row for each descriptor that is one of these sockets, with its owner."""
    inodes, first = np.unique(records["inode"], return_index=True)
    if not len(inodes):
        return records
    places = np.minimum(np.searchsorted(inodes, held["inode"]), len(inodes) - 1)
    there = inodes[places] == held["inode"]
    joined: NDArray[Any] = records[first[places[there]]]
    joined["fd"] = held["fd"][there]
    owner, whose = joined["owner"], owners[held["process"][there]]
    for name in ("started", "cgroup", "pid", "comm"):
        owner[name] = whose[name]
    return joined
