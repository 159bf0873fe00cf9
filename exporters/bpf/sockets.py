"""The sockets programs: every socket of every process in one pass, and what becomes of those between two passes.

The programs hang on links that only this process holds: nothing stays in the kernel when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.bpf import syscall
from exporters.bpf.libbpf import load_object
from skytrail.errors import LoadError

OBJECT = Path(__file__).with_name("sockets.bpf.o")

# sockets.h
OWNER = np.dtype([("started", "u8"), ("cgroup", "u8"), ("pid", "u4"), ("uid", "u4"), ("comm", "S16")])
ENDPOINTS = np.dtype(
    [
        ("netns", "u8"),
        ("inode", "u4"),
        ("pad", "u4"),
        ("addr", "u1", (2, 16)),
        ("port", ">u2", 2),
        ("family", "u1"),
        ("state", "u1"),
        ("proto", "u2"),
    ]
)
PROGRESS = np.dtype(
    [
        ("sent", "u8"),
        ("received", "u8"),
        ("rtt", "u4"),
        ("rtt_deviation", "u4"),
        ("cwnd", "u4"),
        ("mss", "u4"),
        ("retransmits", "u4"),
        ("pad", "u4"),
    ]
)
RECORD = np.dtype(
    [
        ("owner", OWNER),
        ("ends", ENDPOINTS),
        ("tcp", PROGRESS),
        ("cookie", "u8"),
        ("inode", "u8"),
        ("fd", "u4"),
        ("receive_queue", "u4"),
        ("send_queue", "u4"),
        ("drops", "u4"),
        ("device", "u4"),
        ("type", "u2"),
        ("only6", "u1"),
        ("pad", "u1"),
    ]
)
EVENT = np.dtype(
    [
        ("owner", OWNER),
        ("ends", ENDPOINTS),
        ("tcp", PROGRESS),
        ("cookie", "u8"),
        ("at", "u8"),
        ("latency", "u8"),
        ("error", "u4"),
        ("kind", "u4"),
    ]
)
LOSSES = np.dtype([("events", "u8"), ("owners", "u8")])
_STRUCTS = {
    "owner": OWNER, "endpoints": ENDPOINTS, "progress": PROGRESS, "socket_record": RECORD, "socket_event": EVENT,
    "socket_losses": LOSSES,
}  # fmt: skip

CONNECTED, ACCEPTED, CLOSED, FAILED, CREATED = 1, 2, 3, 4, 5
"""``enum socket_event_kind``."""

_READ = 1 << 20
_log = structlog.get_logger(__name__)


class SocketPrograms:
    """The programs, loaded and attached. For one thread at a time.

    Attributes:
        sees_datagrams: whether the opening of UDP and raw sockets is told of: that needs a mounted cgroup2.

    Raises:
        NotSupportedError: libbpf is missing.
        LoadError: the kernel refused the programs.
    """

    def __init__(self) -> None:
        with contextlib.ExitStack() as closers:
            loaded = load_object(OBJECT, _STRUCTS)
            closers.callback(loaded.close)
            self._ring = _Ring(loaded.maps["events"], EVENT)
            closers.callback(self._ring.close)
            self._losses = loaded.maps["losses"]
            try:
                self._iterator = syscall.iterator_attach(loaded.programs["sockets"])
                closers.callback(os.close, self._iterator)
                self.read()  # who listened before is known before anybody connects
                closers.callback(os.close, syscall.tracing_attach(loaded.programs["state_set"]))
                self.sees_datagrams = self._watch_datagrams(loaded.programs["created"], closers)
            except OSError as error:
                raise LoadError(f"the kernel did not attach {OBJECT.name} ({error.strerror}): run as root") from error
            self._closers = closers.pop_all()

    @staticmethod
    def _watch_datagrams(program: int, closers: contextlib.ExitStack) -> bool:
        root = cgroup_root()
        if root is None:
            _log.warning("short_udp_sockets_unknown", reason="no cgroup2 is mounted", remedy="mount one at /sys/fs/cgroup")
            return False
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            closers.callback(os.close, syscall.cgroup_attach(program, folder, syscall.CGROUP_SOCK_CREATE))
        finally:
            os.close(folder)
        return True

    def read(self) -> NDArray[Any]:
        """Every socket of every process, one row of :data:`RECORD` for each descriptor. Raises OSError."""
        reading = syscall.iterator_open(self._iterator)
        parts = []
        try:
            while True:
                try:
                    part = os.read(reading, _READ)
                except OSError as error:
                    if error.errno == errno.EAGAIN:  # so many files without a socket that the kernel takes a breath
                        continue
                    raise
                if not part:
                    break
                parts.append(part)
        finally:
            os.close(reading)
        return np.frombuffer(b"".join(parts), RECORD)

    def events(self) -> NDArray[Any]:
        """What became of sockets since the last call, the first first: rows of :data:`EVENT`."""
        return self._ring.take()

    def losses(self) -> tuple[int, int]:
        """Events that found no room so far, and owners that could not be remembered."""
        values = np.zeros(syscall.possible_cpus(), LOSSES)
        syscall.map_lookup(self._losses, np.zeros(1, "u4"), values)
        return int(values["events"].sum()), int(values["owners"].sum())

    def close(self) -> None:
        """Detach. Twice is the same as once."""
        self._closers.close()


def cgroup_root(mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Where the first cgroup (version 2) is mounted; None: nowhere. Source: proc(5), /proc/[pid]/mountinfo."""
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split(" ", 1)[0] == "cgroup2" and fields.split(" ")[3] == "/":
            return fields.split(" ")[4]
    return None


class _Ring:
    """A BPF ring buffer whose records are all of one type (kernel/bpf/ringbuf.c, ``struct bpf_ringbuf``).

    Its first page holds the reader's position, which is written here, the second one the writer's; the data behind it is
    mapped twice, so that what goes over the end can be read in one piece. Each record stands behind a header: its length,
    with a bit that says that it is not written yet, and a page number.
    """

    _BUSY = 1 << 31

    def __init__(self, fd: int, record: np.dtype[Any]) -> None:
        stride = (record.itemsize + 8 + 7) & ~7
        self._entry = np.dtype(
            {"names": ["length", "record"], "formats": ["u4", record], "offsets": [0, 8], "itemsize": stride}
        )
        self._size = syscall.map_entries(fd)
        self._reader = mmap.mmap(fd, mmap.PAGESIZE)
        self._written = mmap.mmap(fd, mmap.PAGESIZE + 2 * self._size, prot=mmap.PROT_READ, offset=mmap.PAGESIZE)

    def take(self) -> NDArray[Any]:
        """A copy of all that is there; it makes room."""
        begin, end = (int.from_bytes(page[:8], "little") for page in (self._reader, self._written))
        count = (end - begin) // self._entry.itemsize
        place = mmap.PAGESIZE + begin % self._size
        entries = np.frombuffer(self._written, self._entry, count, place)
        busy = np.flatnonzero(entries["length"] & self._BUSY)
        taken = entries[: busy[0]] if len(busy) else entries
        records: NDArray[Any] = taken["record"].copy()
        self._reader[:8] = (begin + len(taken) * self._entry.itemsize).to_bytes(8, "little")
        return records

    def close(self) -> None:
        self._reader.close()
        self._written.close()
