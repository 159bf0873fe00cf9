from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skytrail.kernel.inotify import APPEARED, IN_IGNORED, VANISHED, Change, Inotify


@pytest.fixture
def inotify() -> Iterator[Inotify]:
    made = Inotify()
    yield made
    made.close()


def test_what_comes_and_goes_is_told_in_order(inotify: Inotify, tmp_path: Path) -> None:
    assert inotify.watch(tmp_path)
    assert inotify.watch(tmp_path)
    (tmp_path / "a").touch()
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b").unlink()
    told = [(bool(change.mask & APPEARED), bool(change.mask & VANISHED), change.name) for change in inotify.read()]
    assert told == [(True, False, "a"), (False, True, "a"), (True, False, "b"), (False, True, "b")]
    assert list(inotify.read()) == []


def test_names_of_any_length_and_bytes_come_back(inotify: Inotify, tmp_path: Path) -> None:
    inotify.watch(tmp_path)
    names = ["x" * 255, "ä", "a\udcff", "a b"]
    for name in names:
        (tmp_path / name).touch()
    assert [change.name for change in inotify.read()] == names


def test_a_folder_that_is_not_there_is_no_error(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not inotify.watch(tmp_path / "missing")
    assert not inotify.watch(tmp_path / "file")


def test_a_watched_folder_that_goes_is_told(inotify: Inotify, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    inotify.watch(folder)
    folder.rmdir()
    changes: list[Change] = list(inotify.read())
    assert changes[-1].mask & IN_IGNORED
    assert all(change.folder == str(folder) for change in changes)
