"""Keeps the TIDs of what the kernel itself names anew at each boot, through renames, moves and restarts of the agent.

A virtual device is what it was when it was first seen. That is kept under (boot id, namespace cookie, ifindex), which the
kernel does not use again for another device before the next boot. The file needs no fsync: it is of no use after a crash of
the host, and survives one of the agent.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import structlog

from skytrail.kernel.linkmessages import Link
from skytrail.kernel.linktable import (
    Event,
    LinkChanged,
    LinkGone,
    LinkKey,
    LinkMoved,
    NamespaceFound,
    NamespaceGone,
    is_another,
    moved,
)
from skytrail.kernel.namespaces import Namespace
from skytrail.tid import device_tids, namespace_tid

FILE = "tids.sqlite"
"""In the state folder."""
_VERSION = 3
_COLUMNS = {"mac": "BLOB NOT NULL DEFAULT x''", "name": "BLOB NOT NULL DEFAULT x''"}
"""Of devices, with which versions 2 and 3 began."""
_SCHEMA = """
CREATE TABLE origin (text TEXT NOT NULL);
CREATE TABLE namespace (cookie TEXT PRIMARY KEY, tid TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE device (
    cookie TEXT NOT NULL, ifindex INTEGER NOT NULL, kind TEXT NOT NULL, tid TEXT NOT NULL, mac BLOB NOT NULL,
    name BLOB NOT NULL, PRIMARY KEY (cookie, ifindex)
) WITHOUT ROWID;
"""  # a cookie has 64 bits without a sign: more than SQLite's INTEGER holds

_log = structlog.get_logger(__name__)

_RETRY = 60.0  # seconds


class _Kept(NamedTuple):
    """What is kept of a device."""

    kind: str
    tid: str
    mac: bytes
    name: bytes


class TidRegistry:
    """Gives each namespace and device its TID, the same as long as it lives. For any thread.

    If ``state_dir`` cannot be written, a warning says so, and TIDs are kept in memory only until it can: if the agent restarts
    before, a renamed or moved virtual device gets another TID.

    Args:
        state_dir: the agent's folder for what must survive it; made if it is missing.
        host_tid: of this host. What was kept for another is forgotten.
        boot_id: of this boot. What was kept in another is forgotten.
    """

    def __init__(self, state_dir: Path, host_tid: str, boot_id: str) -> None:
        self._host = host_tid
        self._boot_id = boot_id
        self._lock = threading.Lock()
        self._namespaces: dict[int, str] = {}
        self._devices: dict[LinkKey, _Kept] = {}
        self._held: set[str] = set()  # all TIDs that living devices and namespaces have
        self._followed: dict[int, Namespace] = {}
        self._database: sqlite3.Connection | None = None
        self._retry_at = float("inf")  # monotonic seconds, while the file is given up
        path = state_dir / FILE
        try:
            state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._open(path)
        except (OSError, sqlite3.Error) as error:
            self._give_up_file(error, path)
        self._path = path

    def close(self) -> None:
        """Close the file; TIDs are given from memory from now on."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
            self._retry_at = float("inf")

    def namespace_tid(self, namespace: Namespace, container_id: str | None = None) -> str:
        """The TID of a namespace: what it was when it was first asked for, whatever its name is by now."""
        with self._lock:
            return self._namespace_tid(namespace, container_id)

    def tid_of(self, link: Link, namespace: Namespace, *, hold: bool = True) -> str:
        """The TID of a link in its namespace: what it was when it was first asked for, wherever it went since.

        ``hold``: it stays the link's; else, of a link that is not known (any more), it is what it would be.
        """
        with self._lock:
            return self._tid_of(link, namespace, hold=hold)

    def devices(self, cookie: int) -> dict[int, str]:
        """The TIDs that the devices of a namespace have by now, by ifindex."""
        with self._lock:
            return {ifindex: kept.tid for (of, ifindex), kept in self._devices.items() if of == cookie}

    def follow(self, event: Event) -> None:
        """Take what the link watcher tells: what comes gets its TID, what moves keeps it, what goes sets it free.

        To be called for each event in order, before anybody asks for the TID of what the event is about.
        """
        with self._lock:
            self._take_up_file()
            match event:
                case NamespaceFound(namespace):
                    self._followed[namespace.cookie] = namespace
                    self._namespace_tid(namespace)
                case NamespaceGone(cookie):
                    self._forget_namespace(cookie)
                case LinkChanged(link) if link.cookie in self._followed:
                    self._tid_of(link, self._followed[link.cookie])
                case LinkMoved(old, new) if new is not None:
                    self._move(old, new)
                case LinkGone(cookie, ifindex):
                    self._forget_device((cookie, ifindex))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is given or set free meanwhile goes to the file at once at the end. For one thread at a time."""
        with self._lock:
            self._take_up_file()
        self._write("BEGIN")
        try:
            yield
        finally:
            if self._database is not None and self._database.in_transaction:  # not given up meanwhile
                self._write("COMMIT")

    def prune(self, links: Iterable[Link], namespaces: Iterable[Namespace]) -> None:
        """Forget what went while the agent was away: all but these, which the watcher's first batch tells of.

        Of what moved to another namespace meanwhile nobody told: a device that went and one that came with the same kind and
        MAC, which no other has, are one. What has another MAC and another name, too, is another device that came where the one
        before went: it brought its ifindex from the namespace that it was made in.

        To be called once, before that batch is followed: what came instead may then have those TIDs. Never later: a link
        that just moved would be missing where it was, and lose its TID before its move is followed.
        """
        found = {(link.cookie, link.ifindex): link for link in links}
        cookies = {namespace.cookie for namespace in namespaces}
        with self._lock:
            stayed = {
                key
                for key, kept in self._devices.items()
                if (link := found.get(key)) and not is_another(kept.kind, kept.mac, os.fsdecode(kept.name) or link.name, link)
            }
            gone = {key: (kept.kind, kept.mac) for key, kept in self._devices.items() if key not in stayed}
            came = {key: (link.kind, link.mac) for key, link in found.items() if key not in stayed}
            places = {new: self._devices[old] for old, new in moved(gone, came).items()}
            for key in gone:
                self._forget_device(key)
            for key, kept in places.items():
                self._keep_device(key, kept)
            for cookie in self._namespaces.keys() - cookies:
                self._forget_namespace(cookie)

    def _tid_of(self, link: Link, namespace: Namespace, *, hold: bool = True) -> str:
        key = (link.cookie, link.ifindex)
        kept = self._devices.get(key)
        if kept is not None and kept.kind == link.kind:
            name = os.fsencode(link.name)
            if hold and (kept.mac, kept.name) != (link.mac, name):
                self._keep_device(key, kept._replace(mac=link.mac, name=name))
            return kept.tid
        if hold:
            self._forget_device(key)  # another kind: somebody chose the ifindex of one that went while we were away
        candidates = device_tids(
            self._host,
            self._namespace_tid(namespace),
            kind=link.kind,
            name=link.name,
            perm_mac=link.perm_mac,
            bus=link.bus,
            phys_port=link.phys_port,
        )
        tid = next(tid for tid in candidates if tid not in self._held)
        if hold:
            self._keep_device(key, _Kept(link.kind, tid, link.mac, os.fsencode(link.name)))
        return tid

    def _namespace_tid(self, namespace: Namespace, container_id: str | None = None) -> str:
        cookie = namespace.cookie
        kept = self._namespaces.get(cookie)
        if kept is not None:
            return kept
        tid = namespace_tid(
            self._host, self._boot_id, cookie, of_host=namespace.of_host, name=namespace.name, container_id=container_id
        )
        if tid in self._held:  # a namespace that lost its name lives on, and another one got it
            tid = namespace_tid(self._host, self._boot_id, cookie)
        self._namespaces[cookie] = tid
        self._held.add(tid)
        self._write("INSERT OR REPLACE INTO namespace VALUES (?, ?)", str(cookie), tid)
        return tid

    def _move(self, old: LinkKey, new: LinkKey) -> None:
        kept = self._devices.get(old)
        if kept is not None:
            self._forget_device(old)
            self._forget_device(new)
            self._keep_device(new, kept)

    def _keep_device(self, key: LinkKey, kept: _Kept) -> None:
        self._devices[key] = kept
        self._held.add(kept.tid)
        self._write("INSERT OR REPLACE INTO device VALUES (?, ?, ?, ?, ?, ?)", str(key[0]), key[1], *kept)

    def _forget_device(self, key: LinkKey) -> None:
        kept = self._devices.pop(key, None)
        if kept is not None:
            self._held.discard(kept.tid)
            self._write("DELETE FROM device WHERE cookie = ? AND ifindex = ?", str(key[0]), key[1])

    def _forget_namespace(self, cookie: int) -> None:
        for key in [key for key in self._devices if key[0] == cookie]:
            self._forget_device(key)
        self._followed.pop(cookie, None)
        tid = self._namespaces.pop(cookie, None)
        if tid is not None:
            self._held.discard(tid)
            self._write("DELETE FROM namespace WHERE cookie = ?", str(cookie))

    # The file

    def _open(self, path: Path) -> None:
        """Open or make the file and read it.

        Raises:
            OSError, sqlite3.Error: it cannot be read or written.
        """
        try:
            self._database = self._connect(path)
            self._load()
        except sqlite3.OperationalError:
            raise  # locked, full, read-only: making it anew would not help
        except sqlite3.DatabaseError as error:
            _log.warning("tid_state_damaged", path=str(path), error=str(error), remedy="none: it is made anew")
            if self._database is not None:
                self._database.close()
            self._clear()
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._database = self._connect(path)

    def _connect(self, path: Path) -> sqlite3.Connection:
        """Open the file with what this boot of this host left in it, or else empty."""
        origin = f"{self._boot_id} {self._host}"
        with contextlib.ExitStack() as on_failure:
            database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            on_failure.callback(database.close)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")  # after a power failure the boot is another, and all of it void
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if 0 < version < _VERSION:
                new = list(_COLUMNS.items())[version - 1 :]
                added = "".join(f"ALTER TABLE device ADD COLUMN {name} {kind};" for name, kind in new)
                database.executescript(f"BEGIN IMMEDIATE; {added} PRAGMA user_version = {_VERSION}; COMMIT;")
                version = _VERSION
            rows = database.execute("SELECT text FROM origin").fetchall() if version == _VERSION else []
            if rows != [(origin,)]:
                drops = "".join(f"DROP TABLE IF EXISTS {table};" for table in ("origin", "namespace", "device"))
                database.executescript(f"BEGIN IMMEDIATE; {drops} {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
                database.execute("INSERT INTO origin VALUES (?)", (origin,))
            on_failure.pop_all()
        return database

    def _load(self) -> None:
        assert self._database is not None
        for cookie, tid in self._database.execute("SELECT cookie, tid FROM namespace"):
            self._namespaces[int(cookie)] = tid
            self._held.add(tid)
        for cookie, ifindex, *kept in self._database.execute("SELECT cookie, ifindex, kind, tid, mac, name FROM device"):
            self._devices[int(cookie), ifindex] = _Kept(*kept)
            self._held.add(self._devices[int(cookie), ifindex].tid)

    def _clear(self) -> None:
        self._namespaces.clear()
        self._devices.clear()
        self._held.clear()

    def _write(self, statement: str, *values: str | int | bytes) -> None:
        if self._database is None:  # closed, or given up
            return
        try:
            self._database.execute(statement, values)
        except sqlite3.Error as error:
            self._give_up_file(error, self._path)

    def _give_up_file(self, error: Exception, path: Path) -> None:
        _log.warning(
            "tid_state_not_kept",
            path=str(path),
            error=str(error),
            effect="renamed and moved virtual devices get another TID when the agent restarts",
            remedy="make the state folder writable, and let one agent use it",
        )
        if self._database is not None:
            self._database.close()
            self._database = None
        self._retry_at = time.monotonic() + _RETRY

    def _take_up_file(self) -> None:
        """Write all that was given to the file that was given up, where it is time to try and that goes by now."""
        if time.monotonic() < self._retry_at:
            return
        namespaces = [(str(cookie), tid) for cookie, tid in self._namespaces.items()]
        devices = [(str(cookie), ifindex, *kept) for (cookie, ifindex), kept in self._devices.items()]
        self._retry_at = time.monotonic() + _RETRY
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.ExitStack() as on_failure:
                database = self._connect(self._path)
                on_failure.callback(database.close)
                database.execute("BEGIN IMMEDIATE")
                database.execute("DELETE FROM namespace")
                database.execute("DELETE FROM device")
                database.executemany("INSERT INTO namespace VALUES (?, ?)", namespaces)
                database.executemany("INSERT INTO device VALUES (?, ?, ?, ?, ?, ?)", devices)
                database.execute("COMMIT")
                on_failure.pop_all()
        except (OSError, sqlite3.Error) as error:
            _log.debug("tid_state_still_not_kept", path=str(self._path), error=str(error))
            return
        self._database, self._retry_at = database, float("inf")
        _log.info("tid_state_kept_again", path=str(self._path))
