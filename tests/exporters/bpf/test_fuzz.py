"""The parser under libFuzzer, with the address and undefined-behaviour sanitizers: see fuzz_parse.c.

``FUZZ_SECONDS``: how long (default 10, on CI 30; ``make fuzz`` runs it for long). ``FUZZ_CORPUS``: a folder that keeps what was
found interesting, for the next time.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.cases import ALL
from support.needs import missing, tool

SOURCE = Path(__file__).with_name("fuzz_parse.c")
HEADERS = Path(__file__).parents[3] / "exporters" / "bpf"
_LINKS = {1: 0, 101: 1, 113: 2, 276: 3, 0: 4}


def _seconds() -> int:
    return int(os.environ.get("FUZZ_SECONDS", "30" if os.environ.get("CI") else "10"))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clang = tool("clang", "clang")
    program = tmp_path_factory.mktemp("fuzz") / "fuzz_parse"
    flags = ["-g", "-O1", "-Wall", "-Werror", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    built = subprocess.run([clang, *flags, f"-I{HEADERS}", str(SOURCE), "-o", str(program)], capture_output=True, text=True)
    if "libclang_rt" in built.stderr:
        missing("libFuzzer's runtime is not installed (package libclang-rt-14-dev, of clang's version)")
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every frame of the packet tests, as the target wants its input."""
    folder = tmp_path_factory.mktemp("seeds")
    for case in ALL:
        choices = _LINKS.get(case.link, 5) << 3
        for number, frame in enumerate(case.frames()):
            (folder / f"{case.name}-{number}").write_bytes(bytes([choices, 0, 0]) + frame[:1500])
    return folder


def test_each_seed_passes(target: Path, seeds: Path) -> None:
    files = [str(path) for path in sorted(seeds.iterdir())]
    ran = subprocess.run([str(target), *files], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr[-4000:]


@pytest.mark.timeout(_seconds() + 60)
def test_no_input_makes_the_parser_fail(target: Path, seeds: Path, tmp_path: Path) -> None:
    corpus = Path(os.environ.get("FUZZ_CORPUS") or tmp_path / "corpus")
    corpus.mkdir(parents=True, exist_ok=True)
    arguments = [f"-max_total_time={_seconds()}", "-max_len=1600", "-timeout=5", "-print_final_stats=1"]
    arguments.append(f"-artifact_prefix={corpus}/")
    ran = subprocess.run([str(target), *arguments, str(corpus), str(seeds)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-4000:]
    executed = next(line for line in ran.stderr.splitlines() if "number_of_executed_units" in line)
    assert int(executed.split()[-1]) > 1000 * _seconds()
