"""The folder that a hub keeps its graph in, or what it has not sent to JanusGraph yet: one process has it at a time."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from topology.store.interface import StoreError

_LOCK = "graph.lock"
_OWNER = "owner"
_HOST = "host"


def hold(folder: Path) -> int:
    """Take the store in ``folder`` for this process alone, until the descriptor is closed. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}: make it writable, or set state_dir") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        raise StoreError(f"another process uses the graph in {folder}: stop it, or set another state_dir") from error
    return held


def holder(folder: Path) -> str:
    """Who we are, for leases: the folder by a name of its own, and this process. To be asked for while it is held.

    Raises:
        StoreError: the folder cannot be written.
    """
    owner = _read(folder / _OWNER)
    if not owner:
        owner = str(uuid.uuid4())
        _write(folder / _OWNER, owner)
    return f"{owner}/{uuid.uuid4().hex[:8]}"


def host_before(folder: Path) -> str:
    """The TID of the host whose graph was kept there last (:func:`remember_host`); empty: none yet. Raises StoreError."""
    return _read(folder / _HOST)


def remember_host(folder: Path, tid: str) -> None:
    """This host's graph is kept there from now on. Raises StoreError; never where that is known already."""
    if host_before(folder) != tid:
        _write(folder / _HOST, tid)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _failed(path, error) from error


def _write(path: Path, text: str) -> None:
    """Whole or not at all, whatever ends us."""
    new = path.with_suffix(".new")
    try:
        new.write_text(f"{text}\n")
        new.replace(path)
    except OSError as error:
        raise _failed(path, error) from error


def _failed(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot use {path}: {error.strerror}: make room, let it be read and written, or set state_dir")
