"""Which network namespaces there are: found, identified, numbered, and told gone. For one thread.

Found by their names (inotify) and by their processes (a scan of /proc). Identified by their cookie, for which the worker
enters each of them once, unless the kernel numbers namespaces by it. Numbered, because a netlink socket hears only namespaces
that have a number in its own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import structlog

from skytrail.errors import RunError
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import (
    Key,
    Namespace,
    NameWatcher,
    Sighting,
    host_key,
    maker_of,
    name_of,
    namespace_number,
    open_sighting,
    own_key,
    process_sightings,
)
from skytrail.kernel.netlink import NetlinkDecodeError, NsidTable
from skytrail.kernel.worker import NamespaceWorker, current_cookie

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Census:
    """The followed namespaces.

    Args:
        worker: enters a namespace to read its cookie.
        roots: where /proc and /run are.
        every: follow all namespaces, not only our own.

    Raises:
        NotSupportedError: the kernel has no cookies.
        OSError: a socket or an inotify instance is not to be had.
    """

    def __init__(self, worker: NamespaceWorker, roots: Roots, *, every: bool) -> None:
        self._worker = worker
        self._roots = roots
        self._by_cookie: dict[int, Namespace] = {}
        self._by_key: dict[Key, int] = {}
        self._by_nsid: dict[int, int] = {}
        self._refused: set[Key] = set()
        self._translations: dict[int, dict[int, int]] = {}
        self._displaced: list[Namespace] = []
        self._numbered_by_cookie: bool | None = None  # None: not known yet
        self._numbers = NsidTable() if every else None
        self.names: NameWatcher | None = None
        try:
            self.own = self._read_own()
            self.names = NameWatcher(roots) if every else None
        except BaseException:
            self.close()
            raise
        self._put(self.own)

    def close(self) -> None:
        """Close the sockets and watches."""
        if self._numbers is not None:
            self._numbers.close()
        if self.names is not None:
            self.names.close()

    def namespaces(self) -> list[Namespace]:
        """All followed namespaces, our own first."""
        return list(self._by_cookie.values())

    def find(self, cookie: int) -> Namespace | None:
        """The followed namespace with that cookie."""
        return self._by_cookie.get(cookie)

    def cookie_of(self, nsid: int | None) -> int | None:
        """Whose messages carry that number; a message without one is our own namespace's."""
        return self.own.cookie if nsid is None else self._by_nsid.get(nsid)

    def refresh(self, *, processes: bool) -> list[Namespace]:
        """Look where namespaces are found.

        Args:
            processes: scan /proc too. It is read before the names are, so that a namespace which gets its name meanwhile
                is not taken for a nameless one.

        Returns:
            New namespaces, and those whose name changed.
        """
        if self.names is None:
            return []
        places: dict[Key, Sighting] = {}
        if processes:
            places = {sighting.key: sighting for sighting in process_sightings(self._roots)}
            self.names.scan()
        named = self.names.found.values()
        for sighting in sorted(named, key=lambda one: (one.name is None, one.path), reverse=True):
            places[sighting.key] = sighting  # the last one wins: a name before docker's sandbox, the first of several
        if processes:
            self._refused &= places.keys()
        changed = [self._refreshed(namespace, places) for namespace in self.namespaces()]
        found = [self._admit(sighting) for key, sighting in places.items() if key not in self._by_key]
        return [namespace for namespace in changed + found if namespace is not None]

    def number_released(self, nsid: int) -> Namespace | None:
        """The kernel says that a number of ours is free again: forget and give the namespace that had it.

        None if it was nobody's, or if it is somebody's who got the number just before we heard.
        """
        cookie = self._by_nsid.get(nsid)
        if cookie is None or self._numbers is None:
            return None
        if self._numbers.in_use(nsid) and self._reachable(self._by_cookie[cookie]):
            return None
        return self._forget(cookie)

    def displaced(self) -> list[Namespace]:
        """Give, once, the namespaces forgotten because a new one has their number or inode: they had gone unheard."""
        found, self._displaced = self._displaced, []
        return found

    def audit(self) -> list[Namespace]:
        """After events were lost: forget and give the namespaces that nothing leads to any more.

        One that lives on, held by a socket alone, is given up with them: its number may be another's by now.
        """
        others = [namespace for namespace in self.namespaces() if not namespace.own]
        return [self._forget(namespace.cookie) for namespace in others if not self._reachable(namespace)]

    def translate(self, cookie: int, nsid: int) -> int | None:
        """Our number for the namespace that the one with that cookie numbers ``nsid``; None if we have none for it."""
        if cookie == self.own.cookie or self._numbers is None:
            return nsid
        namespace = self._by_cookie.get(cookie)
        if namespace is None or namespace.nsid is None:
            return None
        if cookie not in self._translations:
            try:
                self._translations[cookie] = self._numbers.translation(namespace.nsid)
            except (OSError, NetlinkDecodeError) as error:
                _log.debug("no_namespace_numbers", namespace=namespace.name or namespace.inode, error=str(error))
                return None
        return self._translations[cookie].get(nsid)

    def numbers_changed(self, cookie: int | None) -> None:
        """A namespace (None: our own) got or lost a number for another: what was translated is out of date."""
        if cookie is None or cookie == self.own.cookie:
            self._translations.clear()
        else:
            self._translations.pop(cookie, None)

    def _read_own(self) -> Namespace:
        path = str(self._roots.proc / "self/ns/net")
        device, inode = own_key(self._roots)
        nsid = None
        if self._numbers is not None:
            # with a number of its own, every message of our namespace carries one, as the kernel would do one day
            nsid = self._with_fd(Sighting((device, inode), path), self._numbers.assigned)
        name, host = name_of((device, inode), self._roots), host_key(self._roots)
        of_host = host == (device, inode) if host else name is None
        return Namespace(current_cookie(), inode, device, name, nsid=nsid, own=True, of_host=of_host, path=path)

    @staticmethod
    def _with_fd(sighting: Sighting, ask: Callable[[int], T]) -> T:
        """Call ``ask`` with the namespace open; raises FileNotFoundError if it went since it was seen."""
        fd = open_sighting(sighting)
        if fd is None:
            raise FileNotFoundError(errno.ENOENT, "no namespace there any more", sighting.path)
        try:
            return ask(fd)
        finally:
            os.close(fd)

    def _refreshed(self, namespace: Namespace, places: dict[Key, Sighting]) -> Namespace | None:
        """Note a known namespace's new name; gives it if that changed."""
        place = places.get(namespace.key)
        name = place.name if place is not None else None
        if name == namespace.name:
            return None
        namespace = replace(namespace, name=name, path=place.path if place is not None else namespace.path)
        if namespace.own:
            self.own = namespace
        self._put(namespace)
        return namespace

    def _admit(self, sighting: Sighting) -> Namespace | None:
        """Identify and number a new namespace; None (and one warning) if we may not."""
        numbers = self._numbers
        if numbers is None:
            return None
        device, inode = sighting.key
        try:
            cookie, nsid, user = self._with_fd(sighting, lambda fd: (self._cookie(fd), numbers.assigned(fd), maker_of(fd)))
        except FileNotFoundError:
            return None  # it went while we looked
        except (OSError, RunError, NetlinkDecodeError) as error:
            if sighting.key not in self._refused:
                self._refused.add(sighting.key)
                _log.warning("namespace_not_followed", path=sighting.path, error=str(error), remedy="run as root")
            return None
        of_host = sighting.key == host_key(self._roots)
        namespace = Namespace(cookie, inode, device, sighting.name, nsid, of_host=of_host, path=sighting.path, user=user)
        former = {self._by_nsid.get(nsid), self._by_key.get(sighting.key)} - {None, cookie}
        self._displaced += [self._forget(one) for one in former if one is not None]
        self._put(namespace)
        return namespace

    def _cookie(self, fd: int) -> int:
        """A namespace's cookie. Linux 6.18 tells it of a file; earlier ones, and those that will do otherwise, within only."""
        number = namespace_number(fd)
        if number is not None and self._numbered_by_cookie:
            return number
        cookie = self._worker.run(fd, current_cookie)
        if self._numbered_by_cookie is None:  # of the first foreign one: 64 bits are not the same by chance
            self._numbered_by_cookie = number == cookie
        return cookie

    def _put(self, namespace: Namespace) -> None:
        self._by_cookie[namespace.cookie] = namespace
        self._by_key[namespace.key] = namespace.cookie
        if namespace.nsid is not None:
            self._by_nsid[namespace.nsid] = namespace.cookie

    def _forget(self, cookie: int) -> Namespace:
        namespace = self._by_cookie.pop(cookie)
        self._by_key.pop(namespace.key, None)
        if namespace.nsid is not None:
            self._by_nsid.pop(namespace.nsid, None)
        self._translations.pop(cookie, None)
        return namespace

    def _reachable(self, namespace: Namespace) -> bool:
        """Whether something leads to it, and it is the same by its cookie."""
        try:
            return self._worker.run(namespace, current_cookie) == namespace.cookie
        except (OSError, RunError):
            return False
