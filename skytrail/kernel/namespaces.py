"""Network namespaces: their value, how to open one, and where they are found.

No file descriptor of a foreign namespace is kept: one that is held cannot die. It is opened anew whenever it is needed, by
a name or a process that leads to it, and checked.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from skytrail.errors import RunError
from skytrail.kernel.host import Roots
from skytrail.kernel.inotify import APPEARED, IN_Q_OVERFLOW, VANISHED, Inotify

_log = structlog.get_logger(__name__)

Key = tuple[int, int]
"""(device, inode) of the namespace in nsfs: unique while it lives, used again later."""

_NS_GET_ID = 2 << 30 | 8 << 16 | 0xB7 << 8 | 13  # _IOR(NSIO, 13, __u64)

_NS_GET_USERNS, _NS_GET_OWNER_UID = 0xB701, 0xB704  # _IO(NSIO, 1), _IO(NSIO, 4)

_FIRST_RETRY = 0.0005
_LAST_RETRY = 1.0


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace.

    Attributes:
        cookie: SO_NETNS_COOKIE: never used again before the next boot. What identifies it.
        inode: in nsfs, as ``ls -L -i /run/netns`` and ``lsns`` show it; used again after its death.
        dev: nsfs's device number.
        name: its file's name in /run/netns; None if it has none there.
        nsid: its number in our own namespace; None if only our own is followed.
        own: whether it is the one that this process runs in.
        of_host: whether it is the host's: that of process 1, or, where that may not be seen, our own if it has no name.
        path: a file that led to it when it was found; may lead elsewhere by now.
        user: UID of who made it in a user namespace of his own; 0: root did, or that cannot be seen.
    """

    cookie: int
    inode: int
    dev: int
    name: str | None = None
    nsid: int | None = None
    own: bool = False
    of_host: bool = field(default=False, compare=False)
    path: str = field(default="", compare=False)
    user: int = field(default=0, compare=False)

    @property
    def label(self) -> str:
        """What metrics and flows call it, in UTF-8 whatever its file is called; empty: this process's own."""
        return "" if self.own else os.fsencode(self.name or f"inode:{self.inode}").decode(errors="backslashreplace")

    @property
    def key(self) -> Key:
        """What a file that leads to it has as (st_dev, st_ino)."""
        return self.dev, self.inode


class NamespaceGoneError(RunError):
    """No name and no process leads to this namespace any more."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(
            f"network namespace {namespace.name or namespace.inode} is gone, or only a socket holds it: "
            "create it again, or leave it out"
        )
        self.namespace = namespace


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file that leads to a namespace: its key, the path, and the name if it is one of /run/netns."""

    key: Key
    path: str
    name: str | None = None


def own_key(roots: Roots) -> Key:
    """The key of this process's own namespace.

    Raises:
        OSError: /proc is not there.
    """
    status = (roots.proc / "self/ns/net").stat()
    return status.st_dev, status.st_ino


def host_key(roots: Roots) -> Key | None:
    """The key of process 1's namespace; None where that may not be seen."""
    try:
        status = (roots.proc / "1/ns/net").stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def name_of(key: Key, roots: Roots) -> str | None:
    """The name that a namespace has in /run/netns, the first of several; None if it has none."""
    folder = roots.run / "netns"
    return next((name for name in sorted(_names(folder)) if _key_of(folder / name, key[0]) == key), None)


def open_namespace(namespace: Namespace, roots: Roots) -> int:
    """Open a namespace by the path it was found at, or else by any other that leads to it.

    Returns:
        A file descriptor that the caller closes soon: it keeps the namespace alive.

    Raises:
        NamespaceGoneError: nothing leads to it.
    """
    for sighting in itertools.chain([Sighting(namespace.key, namespace.path)], sightings(roots)):
        if sighting.key == namespace.key:
            fd = open_sighting(sighting)
            if fd is not None:
                return fd
    raise NamespaceGoneError(namespace)


def open_sighting(sighting: Sighting) -> int | None:
    """Open what was seen, for the caller to close soon; None if the file does not lead to that namespace any more."""
    try:
        fd = os.open(sighting.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(fd)
    if (status.st_dev, status.st_ino) == sighting.key:
        return fd
    os.close(fd)
    return None


def namespace_number(fd: int) -> int | None:
    """What the kernel numbers a namespace as, of all kinds (NS_GET_ID of linux/nsfs.h); None before Linux 6.18."""
    number = bytearray(8)
    try:
        fcntl.ioctl(fd, _NS_GET_ID, number)
    except OSError:
        return None
    return int.from_bytes(number, sys.byteorder)


def maker_of(fd: int) -> int:
    """The UID of who made the user namespace that a namespace belongs to, see ioctl_ns(2); 0 where that cannot be seen."""
    uid = bytearray(4)
    try:
        owner = fcntl.ioctl(fd, _NS_GET_USERNS)
    except OSError:
        return 0
    try:
        fcntl.ioctl(owner, _NS_GET_OWNER_UID, uid)
    except OSError:
        return 0
    finally:
        os.close(owner)
    return int.from_bytes(uid, sys.byteorder)


def sightings(roots: Roots) -> Iterator[Sighting]:
    """All files that lead to a network namespace now: named ones, docker's, then those of processes."""
    device = own_key(roots)[0]
    for folder in named_folders(roots):
        for name in _names(folder):
            key = _key_of(folder / name, device)
            if key is not None:
                yield Sighting(key, str(folder / name), name if folder == roots.run / "netns" else None)
    yield from process_sightings(roots)


def process_sightings(roots: Roots) -> Iterator[Sighting]:
    """The namespaces of all processes that may be looked at; one readlink a process.

    A thread that left its process's namespace is not looked for, nor is a namespace that only an open file holds.
    """
    device = own_key(roots)[0]
    proc = str(roots.proc)
    for name in os.listdir(proc):  # noqa: PTH208  tens of thousands of entries: no Path object for each
        if not name.isdigit():
            continue
        path = f"{proc}/{name}/ns/net"
        try:
            target = os.readlink(path)  # noqa: PTH115  the same
        except OSError:
            continue  # it ended, is a zombie, or is not ours to see
        inode = target.removeprefix("net:[").removesuffix("]")
        if inode.isdigit():
            yield Sighting((device, int(inode)), path)


def named_folders(roots: Roots) -> tuple[Path, Path]:
    """Where files that hold a namespace stand: iproute2's names, and docker's sandboxes, whose names say nothing."""
    return roots.run / "netns", roots.run / "docker/netns"


class NameWatcher:
    """Follows the folders of named namespaces by inotify. Not for several threads.

    A name appears before its namespace is mounted on it (``ip netns add`` creates a file, then mounts), so a file that is
    not yet a namespace is looked at again when something is mounted (:meth:`mounted`), and after 0.5 ms, 1 ms … 1 s; after
    that only the slow scan finds it.

    Raises:
        OSError: no inotify instance is to be had.
    """

    def __init__(self, roots: Roots) -> None:
        self._folders = named_folders(roots)
        self._parents = (roots.run, roots.run / "docker")
        self._with_names = str(self._folders[0])
        self._device = own_key(roots)[0]
        self._inotify = Inotify()
        self._found: dict[str, Sighting] = {}
        self._retries: dict[str, tuple[float, float]] = {}  # path → (when, delay before the next)

    def fileno(self) -> int:
        """For a selector."""
        return self._inotify.fileno()

    def close(self) -> None:
        """Stop watching."""
        self._inotify.close()

    @property
    def found(self) -> dict[str, Sighting]:
        """Path → what stands there."""
        return self._found

    def scan(self) -> None:
        """Watch the folders that are there by now and look at all files in them."""
        for folder in self._parents + self._folders:
            try:
                self._inotify.watch(folder)
            except OSError as error:
                _log.warning("cannot_watch_folder", folder=str(folder), error=error.strerror)
        present = set()
        for folder in self._folders:
            for name in _names(folder):
                path = str(folder / name)
                present.add(path)
                self._look(path)
        for path in self._found.keys() - present:
            del self._found[path]
        for path in self._retries.keys() - present:
            del self._retries[path]

    def read(self) -> bool:
        """Take what inotify says; True if a name came, went, or may have."""
        rescan = False
        changed = False
        for folder, mask, name in self._inotify.read():
            if mask & IN_Q_OVERFLOW or not name:
                rescan = True  # events were lost, or a watched folder went
            elif Path(folder) in self._parents:
                rescan |= Path(folder) / name in self._folders or Path(folder) / name in self._parents
            elif mask & APPEARED:
                changed |= self._look(f"{folder}/{name}")
            elif mask & VANISHED:
                self._retries.pop(f"{folder}/{name}", None)
                changed |= self._found.pop(f"{folder}/{name}", None) is not None
        if rescan:
            self.scan()
        return rescan or changed

    def retry(self, now: float) -> bool:
        """Look again at files that were no namespaces yet and are due; True if one is by now."""
        return self._look_again([path for path, (when, _) in self._retries.items() if when <= now])

    def mounted(self) -> bool:
        """Something was mounted: True if one that was no namespace yet is one by now. The others' turns are as before."""
        return self._look_again([path for path in self._retries if _key_of(Path(path), self._device) is not None])

    @property
    def next_retry(self) -> float | None:
        """When (time.monotonic) to call :meth:`retry`; None: not needed."""
        return min((when for when, _ in self._retries.values()), default=None)

    def _look_again(self, paths: list[str]) -> bool:
        return sum(self._look(path) for path in paths) > 0  # all of them, not only up to the first

    def _look(self, path: str) -> bool:
        """Look at one file; True if it is a namespace that did not stand there before."""
        file = Path(path)
        key = _key_of(file, self._device)
        if key is None:
            self._found.pop(path, None)
            _, delay = self._retries.pop(path, (0.0, _FIRST_RETRY))
            if delay <= _LAST_RETRY and file.exists():
                self._retries[path] = (time.monotonic() + delay, delay * 2)
            return False
        self._retries.pop(path, None)
        before = self._found.get(path)
        self._found[path] = Sighting(key, path, file.name if str(file.parent) == self._with_names else None)
        return before is None or before.key != key


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208  only the names are wanted
    except OSError:
        return []


def _key_of(path: Path, device: int) -> Key | None:
    """The key of the namespace mounted at ``path``; None if there is none (yet)."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_dev == device else None
