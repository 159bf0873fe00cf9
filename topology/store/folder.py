"""The folder that a hub keeps its graph in, or what it has not sent to JanusGraph yet: one process has it at a time."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from topology.store.interface import StoreError

_LOCK = "graph.lock"
_OWNER = "owner"


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
    path = folder / _OWNER
    try:
        if not path.exists() or not path.read_text().strip():
            path.write_text(f"{uuid.uuid4()}\n")
        owner = path.read_text().strip()
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}: make it writable, or set state_dir") from error
    return f"{owner}/{uuid.uuid4().hex[:8]}"
