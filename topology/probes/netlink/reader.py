"""Reads the tables of namespaces when they are wanted, and all of them every so often, on one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from skytrail.errors import SkytrailError
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import NetlinkDecodeError
from skytrail.kernel.worker import NamespaceWorker
from topology.probes.netlink.tables import Tables, read_tables

_log = structlog.get_logger(__name__)

_DEBOUNCE = 0.05  # seconds
_PERIOD = 30.0  # as Skydive's agent.topology.netlink.metrics_update
_REST = 20  # a namespace rests so many times as long as its reading took: a twentieth of a core at the most


class TableReader:
    """Hands the tables of namespaces to ``keep``, on its own thread.

    Args:
        worker: enters namespaces.
        keep: takes what was read.
    """

    def __init__(self, worker: NamespaceWorker, keep: Callable[[Namespace, Tables], None]) -> None:
        self._worker, self._keep = worker, keep
        self._namespaces: dict[int, Namespace] = {}
        self._due: dict[int, float] = {}  # by cookie, monotonic seconds
        self._not_before: dict[int, float] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="netlink-tables", daemon=True)

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

    def read(self, namespace: Namespace) -> Tables | None:
        """Read them now; None where that cannot be."""
        try:
            return self._worker.run(namespace, read_tables)
        except (OSError, SkytrailError, NetlinkDecodeError) as error:
            _log.debug("tables_not_read", namespace=namespace.name or namespace.inode, error=str(error))
            return None

    def want(self, namespace: Namespace) -> None:
        """Something tells that its tables changed, or may have: read them soon."""
        cookie = namespace.cookie
        with self._changed:
            self._namespaces[cookie] = namespace
            soon = max(time.monotonic() + _DEBOUNCE, self._not_before.get(cookie, 0.0))
            if self._due.get(cookie, soon + 1) > soon:
                self._due[cookie] = soon
                self._changed.notify()

    def forget(self, cookie: int) -> None:
        """A namespace is gone."""
        with self._changed:
            for kept in (self._namespaces, self._due, self._not_before):
                kept.pop(cookie, None)

    def _run(self) -> None:
        while (namespace := self._next()) is not None:
            began = time.monotonic()
            tables = self.read(namespace)
            if tables is not None:
                self._keep(namespace, tables)
            ended = time.monotonic()
            with self._changed:
                if namespace.cookie in self._namespaces:
                    rested = self._not_before[namespace.cookie] = ended + _REST * (ended - began)
                    self._due.setdefault(namespace.cookie, max(ended + _PERIOD, rested))

    def _next(self) -> Namespace | None:
        """The next one, when it is due; None: the end."""
        with self._changed:
            while not self._stopping:
                cookie = min(self._due, key=self._due.__getitem__, default=None)
                rest = None if cookie is None else self._due[cookie] - time.monotonic()
                if cookie is not None and rest is not None and rest <= 0:
                    del self._due[cookie]
                    return self._namespaces[cookie]
                self._changed.wait(rest)
        return None
