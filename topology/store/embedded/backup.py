"""The whole store as one file, and back."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

from topology.store.embedded.schema import APPLICATION_ID, MIGRATIONS, connect
from topology.store.embedded.store import FILE, hold
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
        with contextlib.closing(connect(source, read_only=True)) as database:
            database.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        target.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write {target}: {error}: give a place with room for {source.stat().st_size:,} bytes"
        ) from error
    return target.stat().st_size


def bring_back(backup: Path, folder: Path) -> Path | None:
    """Put a backup in the place of the store in ``folder``; returns where what was there is now.

    Raises:
        StoreError: it is no backup of ours, it is damaged, or a process uses the store.
    """
    _check(backup)
    held = hold(folder)
    try:
        target, fresh = folder / FILE, folder / f"{FILE}.restoring"
        shutil.copyfile(backup, fresh)
        kept = None
        if target.exists():
            kept = target.with_name(f"{FILE}.before-restore")
            with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(target)) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that it is whole without its log
            target.replace(kept)
        for suffix in ("-wal", "-shm"):
            target.with_name(FILE + suffix).unlink(missing_ok=True)
        fresh.replace(target)
    except OSError as error:
        raise StoreError(f"cannot restore to {folder}: {error.strerror}: make it writable, with room for the file") from error
    finally:
        os.close(held)
    return kept


def _check(backup: Path) -> None:
    try:
        with contextlib.closing(connect(backup, read_only=True)) as database:
            application = database.execute("PRAGMA application_id").fetchone()[0]
            version = database.execute("PRAGMA user_version").fetchone()[0]
            sound = database.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreError(f"{backup} cannot be read: {error}: give a file that 'skytrail backup' made") from error
    if application != APPLICATION_ID:
        raise StoreError(f"{backup} is no graph of Skytrail's: give a file that 'skytrail backup' made")
    if version > len(MIGRATIONS):
        raise StoreError(f"{backup} is of a later version: upgrade skytrail")
    if sound != "ok":
        raise StoreError(f"{backup} is damaged: {sound}: give another one")
