"""Where a laboratory keeps what must be known to end it: a folder by its name, below /run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from skytrail.errors import RunError, UsageError

ROOT = Path("/run/skytrail-lab")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")


class Lab(msgspec.Struct, frozen=True):
    """What is known of a laboratory.

    Attributes:
        name: of several side by side.
        topology: name of its plan.
        index: of its management network, 198.18.<index>.0/24.
        hub: address and port of the hub's HTTP.
        complete: all of it was built.
    """

    name: str
    topology: str
    index: int
    hub: str
    complete: bool = False

    @property
    def folder(self) -> Path:
        """Of its files."""
        return folder_of(self.name)

    @property
    def link(self) -> str:
        """The interface of this machine in the management network."""
        return f"skylab{self.index}"

    def management(self, host: int) -> str:
        """An address in the management network."""
        return f"198.18.{self.index}.{host}"

    def save(self) -> None:
        """Write it, whole or not at all."""
        draft = self.folder / "lab.draft"
        draft.write_bytes(msgspec.json.encode(self))
        draft.rename(self.folder / "lab.json")


def folder_of(name: str) -> Path:
    """Of a laboratory's files.

    Raises:
        UsageError: it cannot be a name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a laboratory: up to 16 lower-case letters, digits and hyphens")
    return ROOT / name


def read_lab(name: str) -> Lab | None:
    """What is known of a laboratory; None: there is none, or too little of it was built to know."""
    try:
        return msgspec.json.decode((folder_of(name) / "lab.json").read_bytes(), type=Lab)
    except (OSError, msgspec.DecodeError):
        return None


def the_lab(name: str) -> Lab:
    """The laboratory of that name.

    Raises:
        RunError: there is none, or it is not whole.
    """
    lab = read_lab(name)
    if lab is None or not lab.complete:
        raise RunError(f"there is no laboratory {name!r}: 'skytrail lab up' builds one")
    return lab


@contextlib.contextmanager
def locked(name: str) -> Iterator[int]:
    """Hold a laboratory's lock; gives its descriptor, for processes to hold it until they are recorded."""
    folder = folder_of(name)
    ROOT.mkdir(mode=0o755, exist_ok=True)
    path = ROOT / f"{name}.lock"
    while not _is_at(lock := _locked(path), path):  # who had it has removed the file
        os.close(lock)
    try:
        yield lock
    finally:
        if not folder.exists():
            path.unlink()
        os.close(lock)


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
