from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.needs import tool

from skytrail.kernel.host import Roots
from topology.probes.host.source import read_host_metadata, read_texts
from topology.probes.host.translate import CONTENTS


def say(*command: str) -> str:
    tool(command[0], "util-linux or coreutils")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def fake(tmp_path: Path) -> tuple[Roots, Path]:
    """Folders without anything in them."""
    for name in ("proc", "sys", "run", "etc", "var"):
        (tmp_path / name).mkdir()
    return Roots(tmp_path / "proc", tmp_path / "sys", tmp_path / "run", tmp_path / "etc"), tmp_path / "var"


def test_this_host_is_as_its_tools_say() -> None:
    found = read_host_metadata()
    release = platform.freedesktop_os_release()
    assert found["Name"] == found["Hostname"] == say("uname", "-n").strip()
    assert found["KernelVersion"] == say("uname", "-r").strip()
    assert found["OS"] == say("uname", "-s").strip().lower()
    assert found["Platform"] == release["ID"]
    assert found["PlatformVersion"].startswith(release["VERSION_ID"])
    assert len(found["CPU"]) == int(say("nproc", "--all"))
    total = next(line.split()[1] for line in say("free", "-b").splitlines() if line.startswith("Mem:"))
    assert found["Memory"] == {"Total": int(total)}


def test_this_hosts_cpus_are_as_lscpu_says() -> None:
    found = read_host_metadata()
    fields = {each["field"].rstrip(":"): each["data"] for each in json.loads(say("lscpu", "-J"))["lscpu"]}
    for cpu in found["CPU"]:
        assert cpu["VendorID"] == fields["Vendor ID"]
        assert cpu["ModelName"] == fields["Model name"]
        assert cpu["Family"] == fields["CPU family"]
        assert cpu["Model"] == fields["Model"]
        assert cpu["Stepping"] == int(fields["Stepping"])
    places = json.loads(say("lscpu", "-J", "-e=CPU,SOCKET,CORE,NODE"))["cpus"]
    assert {cpu["CPU"] for cpu in found["CPU"]} == {int(place["cpu"]) for place in places}
    assert len({cpu["PhysicalID"] for cpu in found["CPU"]}) == len({place["socket"] for place in places})
    assert len({(cpu["PhysicalID"], cpu["CoreID"]) for cpu in found["CPU"]}) == len({place["core"] for place in places})
    nodes = {cpu: node["ID"] for node in found["NUMA"] for cpu in node["CPUs"]}
    assert nodes == {int(place["cpu"]): int(place["node"]) for place in places}
    hypervisor = fields.get("Hypervisor vendor", "").lower()
    assert (found.get("VirtualizationRole") == "guest") == bool(hypervisor)
    assert not hypervisor or found["VirtualizationSystem"] == {"microsoft": "hyperv", "oracle": "vbox"}.get(
        hypervisor, hypervisor
    )


def test_each_word_of_this_kernels_command_line_is_there() -> None:
    found = read_host_metadata()["KernelCmdLine"]
    for word in Path("/proc/cmdline").read_text().split():
        key, equals, value = word.partition("=")
        values = found[key] if isinstance(found[key], list) else [found[key]]
        assert (value.strip('"') if equals else True) in values


def test_a_copy_of_this_hosts_files_says_the_same(fake: tuple[Roots, Path]) -> None:
    roots, var = fake
    here = {"proc": "/proc", "sys": "/sys", "run": "/run", "etc": "/etc", "var": "/var"}
    there = {"proc": roots.proc, "sys": roots.sys, "run": roots.run, "etc": roots.etc, "var": var}
    for pattern in CONTENTS:
        folder, _, inside = pattern.partition("/")
        for path in Path(here[folder]).glob(inside):
            target = there[folder] / path.relative_to(here[folder])
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, target)
            except PermissionError:
                target.unlink(missing_ok=True)
    read_once, read_again = read_host_metadata(roots=roots, var=var), read_host_metadata()
    assert read_once == read_again
    assert len(read_once) > 8


def test_an_empty_host_has_what_the_caller_says(fake: tuple[Roots, Path]) -> None:
    roots, var = fake
    assert read_host_metadata("n", roots, var) == {"Name": "n", "OS": "linux"}


def test_folders_that_are_not_there_say_nothing(tmp_path: Path) -> None:
    nowhere = tmp_path / "no"
    assert read_host_metadata("", Roots(nowhere, nowhere, nowhere, nowhere), nowhere) == {"OS": "linux"}


def test_the_clouds_instance_id_is_read_under_var(fake: tuple[Roots, Path]) -> None:
    roots, var = fake
    (var / "lib/cloud/data").mkdir(parents=True)
    (var / "lib/cloud/data/instance-id").write_text("i-0abc\n")
    assert read_host_metadata("n", roots, var)["InstanceID"] == "i-0abc"


def test_a_file_that_is_none_is_left_out(fake: tuple[Roots, Path]) -> None:
    roots, var = fake
    (roots.proc / "cpuinfo").mkdir()
    (roots.etc / "os-release").symlink_to("os-release")
    (roots.proc / "cmdline").write_bytes(b"quiet\xff\xfe=1\0")
    assert read_host_metadata("n", roots, var).keys() == {"Name", "OS", "KernelCmdLine"}


def test_a_file_that_may_not_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "cpuinfo":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **options)

    whole = read_host_metadata()
    monkeypatch.setattr(Path, "open", refuse)
    found = read_host_metadata()
    assert found == {key: value for key, value in whole.items() if key != "CPU"}


def test_an_endless_file_is_read_to_a_limit(fake: tuple[Roots, Path]) -> None:
    roots, var = fake
    (roots.proc / "cpuinfo").symlink_to("/dev/zero")
    assert len(read_texts(roots, var)["proc/cpuinfo"]) == 8 << 20
    assert "CPU" not in read_host_metadata("n", roots, var)
