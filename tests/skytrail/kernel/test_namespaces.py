from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skytrail.kernel.host import Roots
from skytrail.kernel.mounts import MountEvents
from skytrail.kernel.namespaces import (
    Namespace,
    NamespaceGoneError,
    NameWatcher,
    open_namespace,
    own_key,
    process_sightings,
    sightings,
)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """The real /proc, and a /run of our own without any namespace."""
    return Roots(run=tmp_path / "run")


@pytest.fixture
def names(roots: Roots) -> Iterator[NameWatcher]:
    roots.run.mkdir()
    made = NameWatcher(roots)
    made.scan()
    yield made
    made.close()


@pytest.fixture
def mounts() -> Iterator[list[Path]]:
    """Paths to unmount at the end."""
    made: list[Path] = []
    yield made
    for path in made:
        subprocess.run(["umount", path], check=False, capture_output=True)


def mount(mounts: list[Path], source: str, target: Path) -> None:
    subprocess.run(["mount", "--bind", source, target], check=True)
    mounts.append(target)


def test_processes_lead_to_our_own_namespace() -> None:
    own = own_key(Roots())
    assert f"/proc/{os.getpid()}/ns/net" in {seen.path for seen in process_sightings(Roots()) if seen.key == own}


@pytest.mark.kernel
def test_processes_of_a_nameless_namespace_lead_to_it(lab: Any) -> None:
    process = lab.process()
    status = Path(f"/proc/{process.pid}/ns/net").stat()
    assert [seen.path for seen in process_sightings(Roots()) if seen.key == (status.st_dev, status.st_ino)] == [
        f"/proc/{process.pid}/ns/net"
    ]


@pytest.mark.kernel
def test_a_named_namespace_is_found_by_its_name(lab: Any) -> None:
    name = lab.netns("a")
    path = Path(f"/run/netns/{name}")
    found = {seen.path: seen for seen in sightings(Roots())}
    assert found[str(path)].name == name
    assert found[str(path)].key[1] == path.stat().st_ino


@pytest.mark.kernel
def test_an_open_file_is_that_namespace_and_no_other(lab: Any) -> None:
    first, second = (Path(f"/run/netns/{lab.netns(suffix)}") for suffix in "ab")
    status = first.stat()
    there = Namespace(1, status.st_ino, status.st_dev, path=str(second))  # a path that leads elsewhere by now
    fd = open_namespace(there, Roots())
    try:
        assert os.fstat(fd).st_ino == status.st_ino
    finally:
        os.close(fd)
    with pytest.raises(NamespaceGoneError, match="is gone"):
        open_namespace(replace(there, inode=1), Roots())


@pytest.mark.kernel
def test_a_folder_that_appears_later_is_watched(names: NameWatcher, roots: Roots, lab: Any, mounts: list[Path]) -> None:
    process = lab.process()
    assert names.found == {}
    (roots.run / "netns").mkdir()
    lab.until(names.read, 2)
    file = roots.run / "netns/blue"
    file.touch()
    names.read()
    mount(mounts, f"/proc/{process.pid}/ns/net", file)
    lab.until(lambda: names.retry(time.monotonic()), 2)
    assert [seen.name for seen in names.found.values()] == ["blue"]


@pytest.mark.kernel
def test_dockers_sandboxes_are_found_without_a_name(names: NameWatcher, roots: Roots, lab: Any, mounts: list[Path]) -> None:
    process = lab.process()
    (roots.run / "docker").mkdir()
    assert names.read()
    (roots.run / "docker/netns").mkdir()
    assert names.read()
    file = roots.run / "docker/netns/1f2e3d4c5b6a"
    file.touch()
    mount(mounts, f"/proc/{process.pid}/ns/net", file)
    names.read()
    lab.until(lambda: names.found or names.retry(time.monotonic()), 2)
    assert [(seen.path, seen.name) for seen in names.found.values()] == [(str(file), None)]


def test_a_file_that_never_becomes_a_namespace_is_given_up(names: NameWatcher, roots: Roots) -> None:
    (roots.run / "netns").mkdir()
    (roots.run / "netns/notes.txt").touch()
    names.read()
    tries = 0
    while (due := names.next_retry) is not None:
        assert not names.retry(due)
        tries += 1
        assert tries < 20
    assert tries >= 8
    assert names.found == {}


@pytest.mark.kernel
@pytest.mark.usefixtures("lab")
def test_a_mount_is_told_of_once_and_makes_a_namespace_of_the_file_that_waited(
    names: NameWatcher, roots: Roots, mounts: list[Path]
) -> None:
    events = MountEvents(Roots())

    def told() -> bool:
        return bool(select.select([events], [], [], 0.2)[0])

    (roots.run / "netns").mkdir()
    names.read()
    assert not told()
    file = roots.run / "netns/a"
    file.touch()
    names.read()
    due = names.next_retry
    assert not names.mounted()
    assert names.next_retry == due
    mount(mounts, "/proc/self/ns/net", file)
    assert told()
    assert not told()
    assert names.mounted()
    assert names.next_retry is None
    assert [seen.key for seen in names.found.values()] == [own_key(Roots())]
    events.close()


def test_a_file_that_goes_while_it_is_waited_for_is_forgotten(names: NameWatcher, roots: Roots) -> None:
    (roots.run / "netns").mkdir()
    names.read()
    (roots.run / "netns/a").touch()
    names.read()
    assert names.next_retry is not None
    (roots.run / "netns/a").unlink()
    names.read()
    assert names.next_retry is None


def test_a_folder_that_is_made_anew_is_watched_again(names: NameWatcher, roots: Roots) -> None:
    for _ in range(3):
        (roots.run / "netns").mkdir()
        assert names.read()
        (roots.run / "netns/a").touch()
        names.read()
        assert names.next_retry is not None
        (roots.run / "netns/a").unlink()
        (roots.run / "netns").rmdir()
        names.read()
        assert names.next_retry is None


@pytest.mark.kernel
@pytest.mark.usefixtures("lab")
def test_another_kind_of_namespace_under_a_name_is_not_opened_as_one_of_the_network(
    names: NameWatcher, roots: Roots, mounts: list[Path]
) -> None:
    (roots.run / "netns").mkdir()
    file = roots.run / "netns/uts"
    file.touch()
    mount(mounts, "/proc/self/ns/uts", file)
    names.scan()
    assert own_key(Roots()) not in {seen.key for seen in names.found.values()}
