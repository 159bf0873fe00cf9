"""What this process costs: declared as its other metrics are."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from skytrail import __version__
from skytrail.metrics import Family, Kind, Metric, summed

BUILD = Metric("skytrail_build", "skytrail.build", Kind.INFO, "1", "Version of this process.", ("version",))
CPU_SECONDS = Metric(
    "skytrail_process_cpu_seconds_total", "process.cpu.time", Kind.COUNTER, "s", "User and system CPU time of this process."
)
RESIDENT_BYTES = Metric(
    "skytrail_process_resident_memory_bytes", "process.memory.usage", Kind.GAUGE, "By", "Resident memory of this process."
)
OPEN_FDS = Metric(
    "skytrail_process_open_fds", "process.open_file_descriptor.count", Kind.GAUGE, "{fd}", "Open file descriptors."
)
THREAD_CPU_SECONDS = Metric(
    "skytrail_process_thread_cpu_seconds_total", "process.thread.cpu.time", Kind.COUNTER, "s",
    "CPU time of each part: of its thread, while that lives.", ("thread",), "parts with a thread, 20",
)  # fmt: skip
PART_BYTES = Metric(
    "skytrail_part_memory_bytes", "skytrail.part.memory", Kind.GAUGE, "By",
    "Memory of each part's tables; the rest of the resident memory is the program itself and its libraries.", ("part",), "4",
)  # fmt: skip
DECLARED = (BUILD, CPU_SECONDS, RESIDENT_BYTES, OPEN_FDS, THREAD_CPU_SECONDS, PART_BYTES)

_PART = re.compile(r"(?!collect-)[a-z]+(-[a-z]+)*")  # others are nobody's for long: of pools, of one answer

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD
_LARGE = 1 << 20  # bytes
_START = time.time_ns()
_PAGE = resource.getpagesize()


def keep_private() -> None:
    """Let what this process writes from now on be for its user alone, also in folders that were made by others."""
    os.umask(0o077)


def take_turns(seconds: float) -> None:
    """Have a thread that computes let others have the interpreter after so long, or sooner where it does so already."""
    sys.setswitchinterval(min(sys.getswitchinterval(), seconds))


def return_memory() -> None:
    """Have the C library give large arrays back to the system when they are freed; else it keeps up to 64 MB of them.

    Source: mallopt(3): to set the threshold keeps it from growing with what is freed. Without that function, nothing.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)


def trim_memory() -> None:
    """Have the C library give back what is free in its heaps, after work that took much. Without that function, nothing."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def process_families(root: Path = Path("/proc/self")) -> Iterable[Family]:
    """The families, read now; ``root`` is the process's folder in procfs."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int((root / "statm").read_text(encoding="ascii").split()[1])
    yield Family(BUILD, [((__version__,), 1.0)])
    yield Family(CPU_SECONDS, [((), usage.ru_utime + usage.ru_stime)], _START)
    yield Family(RESIDENT_BYTES, [((), float(pages * _PAGE))])
    yield Family(THREAD_CPU_SECONDS, summed(_threads(root)), _START)
    yield Family(OPEN_FDS, [((), float(sum(1 for _ in (root / "fd").iterdir())))])


def _threads(root: Path) -> Iterator[tuple[tuple[str, ...], float]]:
    """Time on a CPU by name. Source: the kernel's Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat."""
    for thread in threading.enumerate():
        if _PART.fullmatch(thread.name) and thread.native_id:
            with contextlib.suppress(OSError):  # it has just ended
                told = (root / "task" / str(thread.native_id) / "schedstat").read_text(encoding="ascii")
                yield (thread.name,), int(told.split()[0]) / 1e9
