"""What is in the wheel: all that runs, and BPF objects that are the same for every processor of this byte order."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.needs import tool

REPOSITORY = Path(__file__).parents[2]
BPF = REPOSITORY / "exporters" / "bpf"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    (made,) = folder.glob("*-py3-none-any.whl")
    return zipfile.ZipFile(made)


def test_it_carries_what_is_read_beside_the_code(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for path in [*BPF.glob("*.bpf.o"), *BPF.glob("*.bpf.c"), REPOSITORY / "topology/store/janusgraph/schema.groovy"]:
        name = str(path.relative_to(REPOSITORY))
        assert name in names
        assert wheel.read(name) == path.read_bytes()


def test_it_carries_every_module_and_no_test(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    ours = {name for name in tracked.split() if name.split("/")[0] in ("skytrail", "exporters", "topology", "gremlin_api")}
    assert ours
    assert ours - names == set()
    assert [name for name in names if name.startswith("tests")] == []


@pytest.mark.parametrize("source", sorted(path.name for path in BPF.glob("*.bpf.c")))
def test_objects_are_the_same_for_amd64_and_arm64(source: str, tmp_path: Path) -> None:
    clang = tool("clang", "clang")
    flags = ["-O2", "-g", "-mcpu=v3", "-fno-strict-aliasing", "-target", "bpf", "-fdebug-compilation-dir=."]
    built = []
    for processor in ("x86", "arm64"):
        made = tmp_path / f"{processor}.o"
        subprocess.run([clang, *flags, f"-D__TARGET_ARCH_{processor}", "-c", source, "-o", str(made)], cwd=BPF, check=True)
        built.append(made.read_bytes())
    assert built[0] == built[1]
