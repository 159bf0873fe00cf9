"""What this process costs: declared as its other metrics are."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from pathlib import Path

from skytrail import __version__
from skytrail.metrics import Family, Kind, Metric

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
DECLARED = (BUILD, CPU_SECONDS, RESIDENT_BYTES, OPEN_FDS)

_START = time.time_ns()
_PAGE = resource.getpagesize()


def process_families(root: Path = Path("/proc/self")) -> Iterable[Family]:
    """The families, read now; ``root`` is the process's folder in procfs."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int((root / "statm").read_text(encoding="ascii").split()[1])
    yield Family(BUILD, [((__version__,), 1.0)])
    yield Family(CPU_SECONDS, [((), usage.ru_utime + usage.ru_stime)], _START)
    yield Family(RESIDENT_BYTES, [((), float(pages * _PAGE))])
    yield Family(OPEN_FDS, [((), float(sum(1 for _ in (root / "fd").iterdir())))])
