"""What the process costs, against what ps and procfs say."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from support.netlab import until

from skytrail import __version__
from skytrail.metrics import Histogram
from skytrail.process import CPU_SECONDS, OPEN_FDS, RESIDENT_BYTES, THREAD_CPU_SECONDS, process_families


def values() -> dict[str, float]:
    return {
        family.metric.name: value for family in process_families() for _, value in family.samples if isinstance(value, float)
    }


def test_memory_is_the_kernels() -> None:
    ballast = bytearray(os.urandom(1)) * 50_000_000
    status = Path("/proc/self/status").read_text()
    resident = int(status.split("VmRSS:")[1].split()[0]) * 1024
    assert abs(values()[RESIDENT_BYTES.name] - resident) < 10_000_000
    assert len(ballast) > 0


def test_processor_time_grows_with_work() -> None:
    before, worked = values()[CPU_SECONDS.name], time.process_time()
    while time.process_time() < worked + 0.1:
        pass
    assert values()[CPU_SECONDS.name] - before >= 0.09


def test_descriptors_are_counted() -> None:
    before = values()[OPEN_FDS.name]
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(7)]
    assert values()[OPEN_FDS.name] == before + 7
    for fd in opened:
        os.close(fd)


def test_build_names_the_version() -> None:
    assert [labels for family in process_families() for labels, _ in family.samples if labels] == [(__version__,)]


def test_a_part_tells_of_its_threads_time() -> None:
    def spin() -> None:
        begun = time.thread_time()
        while time.thread_time() < begun + 0.1:
            pass
        done.set()
        go.wait(10)

    def told() -> dict[tuple[str, ...], float]:
        [family] = [one for one in process_families() if one.metric is THREAD_CPU_SECONDS]
        return {labels: float(value) for labels, value in family.samples if not isinstance(value, Histogram)}

    done, go = threading.Event(), threading.Event()
    parts = [threading.Thread(target=spin, name=name) for name in ("busy-part", "busy-part", "collect-it", "Thread-7")]
    for part in parts:
        part.start()
    done.wait(10)
    until(lambda: told()["busy-part",] >= 0.2)
    assert {labels[0] for labels in told()}.isdisjoint({"collect-it", "Thread-7"})
    go.set()
    for part in parts:
        part.join()
    assert ("busy-part",) not in told()
