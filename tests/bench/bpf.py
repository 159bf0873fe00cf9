"""bpf(2) as the benchmarks need it: the baseline program, run time of programs, memory of another process's maps."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporters.bpf import libbpf, syscall

_PROG_GET_FD_BY_ID, _ENABLE_STATS = 13, 32
NAIVE = Path(__file__).with_name("naive.bpf.c")


@contextlib.contextmanager
def naive_program(folder: Path) -> Iterator[int]:
    """Compile and load the naive counter; gives its descriptor."""
    target = folder / "naive.bpf.o"
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", include, "-c", str(NAIVE), "-o", str(target)], check=True)
    library = libbpf.open_library()
    handle = library.bpf_object__open_file(os.fsencode(target), None)
    try:
        assert library.bpf_object__load(handle) == 0, "the kernel refused the naive counter"
        yield library.bpf_program__fd(library.bpf_object__next_program(handle, None))
    finally:
        library.bpf_object__close(handle)


def _call(command: int, layout: str, *values: int) -> int:
    return syscall.bpf(command, ctypes.create_string_buffer(struct.pack("=" + layout, *values), 128))


@contextlib.contextmanager
def run_time_counted() -> Iterator[None]:
    """The kernel counts the run time of programs meanwhile (as sysctl kernel.bpf_stats_enabled)."""
    descriptor = _call(_ENABLE_STATS, "I", 0)
    try:
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class RunTime:
    """What programs took."""

    seconds: float
    runs: int

    def __sub__(self, earlier: RunTime) -> RunTime:
        return RunTime(self.seconds - earlier.seconds, self.runs - earlier.runs)


def run_time(pid: int) -> RunTime:
    """Of the programs that a process has attached by TCX; what they tail-call is in it."""
    nanoseconds = runs = 0
    for info in _descriptors(pid):
        if info.get("link_type") == "tcx":
            descriptor = _call(_PROG_GET_FD_BY_ID, "III", int(info["prog_id"]), 0, 0)
            program = _fields(Path(f"/proc/self/fdinfo/{descriptor}").read_text())
            os.close(descriptor)
            nanoseconds += int(program["run_time_ns"])
            runs += int(program["run_cnt"])
    return RunTime(nanoseconds / 1e9, runs)


def map_memory(pid: int) -> int:
    """Bytes of kernel memory that a process's maps are charged for."""
    maps = {info["map_id"]: int(info["memlock"]) for info in _descriptors(pid) if "map_id" in info and "memlock" in info}
    return sum(maps.values())


def _descriptors(pid: int) -> Iterator[dict[str, str]]:
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            yield _fields(path.read_text())


def _fields(text: str) -> dict[str, str]:
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
