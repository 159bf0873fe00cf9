from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporters.bpf.sockets import cgroup_root
from skytrail.kernel.cgroups import CgroupPaths


@pytest.fixture
def group() -> Iterator[Path]:
    made = Path(cgroup_root() or "", f"k{secrets.token_hex(4)}", "inner")
    made.mkdir(parents=True)
    yield made
    if made.exists():
        made.rmdir()
    made.parent.rmdir()


@pytest.mark.kernel
def test_a_group_is_found_by_its_id_until_it_is_gone(group: Path) -> None:
    number = group.stat().st_ino  # cgroups(7): the id is the inode's number
    assert CgroupPaths(cgroup_root()).path(number) == f"/{group.parent.name}/inner"
    assert CgroupPaths(cgroup_root()).path(Path(cgroup_root() or "").stat().st_ino) == "/"
    assert CgroupPaths(None).path(number) == ""
    group.rmdir()
    assert CgroupPaths(cgroup_root()).path(number) == ""
