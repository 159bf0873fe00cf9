"""The whole store as one file, and back."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from pathlib import Path

from topology.store.embedded.schema import APPLICATION_ID, MIGRATIONS, connect
from topology.store.embedded.store import FILE
from topology.store.folder import hold
from topology.store.interface import StoreError


def back_up(folder: Path, target: Path) -> int:
    """Write the store in ``folder`` to a new file, while it is in use or not; returns its bytes.

    Raises:
        StoreError: there is no store, the file is there already, or it cannot be written.
    """
    source = folder / FILE
    if not source.is_file():
        raise StoreError(f"there is no graph in {folder}: name its place by --set state_dir=…")
    if target.exists():
        raise StoreError(f"{target} is there already: give another name, or remove it")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # SQLite writes into an empty file
        with contextlib.closing(connect(source, read_only=True)) as database:
            database.execute("VACUUM INTO ?", (str(target),))
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}: give a place that may be written") from error
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        size = sum(path.stat().st_size for path in _files(source) if path.exists())
        raise StoreError(f"cannot write {target}: {error}: give a place with room for {size:,} bytes") from error
    return target.stat().st_size


def bring_back(backup: Path, folder: Path) -> Path | None:
    """Put a backup in the place of the store in ``folder``; returns where what was there is now, its log beside it.

    Raises:
        StoreError: it is no backup of ours, it is damaged, or a process uses the store. What was there is there still.
    """
    _check(backup)
    held = hold(folder)
    target, fresh = folder / FILE, folder / f"{FILE}.restoring"
    kept = _unused(folder / f"{FILE}.before-restore") if any(path.exists() for path in _files(target)) else None
    try:
        fresh.unlink(missing_ok=True)
        _copy(backup, fresh)
        # The log after what it belongs to: without that a start is refused, without its log it would be taken for whole.
        for path, to in zip(_files(target), _files(kept) if kept else (), strict=False):
            with contextlib.suppress(FileNotFoundError):
                path.replace(to)
        fresh.replace(target)
    except (OSError, sqlite3.Error) as error:
        fresh.unlink(missing_ok=True)
        raise StoreError(f"cannot restore to {folder}: {error}: make it writable, with room for the file") from error
    finally:
        os.close(held)
    return kept


def _copy(backup: Path, fresh: Path) -> None:
    """With what is still in its log, as that of a file that was kept."""
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with contextlib.closing(connect(backup, read_only=True)) as database:
        database.execute("VACUUM INTO ?", (str(fresh),))
    with fresh.open("rb+") as file:
        os.fsync(file.fileno())


_LOGS = ("-wal", "-shm")


def _files(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("", *_LOGS)]


def _unused(path: Path) -> Path:
    """That name, or with the first number that makes it nobody's."""
    names = itertools.chain([path], (path.with_name(f"{path.name}.{number}") for number in itertools.count(2)))
    return next(name for name in names if not any(one.exists() for one in _files(name)))


def _check(backup: Path) -> None:
    try:
        with contextlib.closing(connect(backup, read_only=True)) as database:
            application = database.execute("PRAGMA application_id").fetchone()[0]
            version = database.execute("PRAGMA user_version").fetchone()[0]
            sound = database.execute("PRAGMA quick_check").fetchone()[0]
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise StoreError(f"{backup} cannot be read: {error}: give a file that 'skytrail backup' made") from error
    if application != APPLICATION_ID or not {"element", "revision", "state"} <= tables:
        raise StoreError(f"{backup} is no graph of Skytrail's: give a file that 'skytrail backup' made")
    if version > len(MIGRATIONS):
        raise StoreError(f"{backup} is of a later version: upgrade skytrail")
    if sound != "ok":
        raise StoreError(f"{backup} is damaged: {sound}: give another one")
