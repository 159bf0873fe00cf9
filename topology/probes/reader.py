"""Reads something of namespaces when it is wanted, and of all of them every so often, on one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from skytrail.errors import SkytrailError
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import NetlinkDecodeError
from skytrail.kernel.worker import NamespaceWorker

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_LONGEST_HOLD = 1.0  # seconds
_REST = 20  # a namespace rests so many times as long as its reading took: a twentieth of a core at the most


class NamespaceReader(Generic[T]):
    """Hands what it read of namespaces to ``keep``, on its own thread.

    Args:
        name: of the thread.
        worker: enters namespaces.
        read: reads, inside the namespace that it is given.
        keep: takes what was read.
        period: seconds from a namespace's reading to the next that nobody asked for.
        hold: until when (monotonic seconds) other things come first; what is due waits for that, but no longer than a second.
    """

    def __init__(
        self,
        name: str,
        worker: NamespaceWorker,
        read: Callable[[Namespace], T],
        keep: Callable[[Namespace, T], None],
        *,
        period: float,
        hold: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._worker, self._read, self._keep, self._period, self._hold = worker, read, keep, period, hold
        self._namespaces: dict[int, Namespace] = {}
        self._due: dict[int, float] = {}  # by cookie, monotonic seconds
        self._not_before: dict[int, float] = {}
        self._was_due = 0.0  # what is read now
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Nothing is done if it was never started."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def read(self, namespace: Namespace) -> T | None:
        """Read it now; None where that cannot be."""
        try:
            return self._worker.run(namespace, self._read, namespace)
        except (OSError, SkytrailError, NetlinkDecodeError) as error:
            name = namespace.name or namespace.inode
            _log.debug("namespace_not_read", reader=self._thread.name, namespace=name, error=str(error))
            return None

    def want(self, namespace: Namespace, within: float) -> None:
        """Something tells that there is news, or may be: read it in so many seconds, or when it has rested."""
        cookie = namespace.cookie
        with self._changed:
            self._namespaces[cookie] = namespace
            soon = max(time.monotonic() + within, self._not_before.get(cookie, 0.0))
            if self._due.get(cookie, soon + 1) > soon:
                self._due[cookie] = soon
                self._changed.notify()

    def want_again(self, namespace: Namespace) -> bool:
        """There is more to read of it at once: it has been held once. False: it is gone meanwhile. From ``read`` only."""
        with self._changed:
            known = namespace.cookie in self._namespaces
            if known:
                self._due[namespace.cookie] = self._was_due
        return known

    def forget(self, cookie: int) -> None:
        """A namespace is gone."""
        with self._changed:
            for kept in (self._namespaces, self._due, self._not_before):
                kept.pop(cookie, None)

    def _run(self) -> None:
        while (namespace := self._next()) is not None:
            began = time.monotonic()
            found = self.read(namespace)
            if found is not None:
                try:
                    self._keep(namespace, found)
                except Exception:  # noqa: BLE001 - whatever it was, the other namespaces are read on
                    _log.exception("what_was_read_is_not_kept", reader=self._thread.name)
            ended = time.monotonic()
            with self._changed:
                if namespace.cookie in self._namespaces:
                    rested = self._not_before[namespace.cookie] = ended + _REST * (ended - began)
                    self._due.setdefault(namespace.cookie, max(ended + self._period, rested))

    def _next(self) -> Namespace | None:
        """The next one, when it is due; None: the end."""
        with self._changed:
            while not self._stopping:
                cookie = min(self._due, key=self._due.__getitem__, default=None)
                if cookie is None:
                    self._changed.wait()
                    continue
                due = self._due[cookie]
                rest = min(max(due, self._hold()), due + _LONGEST_HOLD) - time.monotonic()
                if rest <= 0:
                    self._was_due = self._due.pop(cookie)
                    return self._namespaces[cookie]
                self._changed.wait(rest)
        return None
