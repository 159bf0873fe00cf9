"""Keeps what ethtool says of the interfaces of all namespaces up to date.

An interface is asked about when somebody wants it (a link that is new, or whose state changed) and when the kernel says that
its settings changed; all of a namespace now and then, for what a driver changes unheard.
"""

from __future__ import annotations

import itertools
import os
import selectors
import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from skytrail.errors import SkytrailError
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import NetlinkDecodeError
from skytrail.kernel.worker import NamespaceWorker
from topology.probes.ethtool.monitor import Changes, EthtoolMonitor
from topology.probes.ethtool.source import Ethtool
from topology.probes.reader import NamespaceReader

_log = structlog.get_logger(__name__)

_PERIOD = 300.0  # seconds
_DEBOUNCE = 0.1  # seconds; links are told of meanwhile
_AT_ONCE = 16  # interfaces; some 0.5 ms each
_RECEIVE_BYTES = 1 << 20

Found = Mapping[int, dict[str, Any]]
"""Keys by ifindex; empty where the driver has none."""


class EthtoolWatcher:
    """Hands what ethtool says to ``keep``, on a thread of its own.

    Args:
        worker: enters namespaces.
        keep: takes what was found in a namespace.
        heard: takes what the kernel says has changed, on another thread; it wants those interfaces.
        hold: as the reader's.
    """

    def __init__(
        self,
        worker: NamespaceWorker,
        keep: Callable[[Namespace, Found], None],
        heard: Callable[[Changes], None],
        hold: Callable[[], float],
    ) -> None:
        self._heard = heard
        self._wanted: dict[int, set[int]] = {}  # cookie → ifindexes; a namespace that is not there is wanted as a whole
        self._lock = threading.Lock()
        self._reader = NamespaceReader("ethtool", worker, self._ask, keep, period=_PERIOD, hold=hold)
        self._thread: threading.Thread | None = None
        self._ethtool: Ethtool
        self._monitor: EthtoolMonitor
        self._end: int

    def start(self) -> None:
        """Begin; where this kernel has no such thing, nothing is ever found, which is logged."""
        try:
            self._ethtool = Ethtool()
            self._monitor = EthtoolMonitor(every_namespace=True, receive_buffer=_RECEIVE_BYTES)
        except (OSError, SkytrailError, NetlinkDecodeError) as error:
            _log.warning("ethtool_not_asked", error=str(error))
            return
        self._end = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._listen, name="ethtool-monitor", daemon=True)
        self._thread.start()
        self._reader.start()

    def stop(self) -> None:
        """End the threads. Nothing is done if it was never started."""
        if self._thread is None:
            return
        os.eventfd_write(self._end, 1)
        self._thread.join()
        self._reader.stop()
        self._monitor.close()
        os.close(self._end)
        self._thread = None

    def want(self, namespace: Namespace, ifindex: int) -> None:
        """Ask about an interface soon."""
        if self._thread is not None:
            with self._lock:
                self._wanted.setdefault(namespace.cookie, set()).add(ifindex)
            self._reader.want(namespace, _DEBOUNCE)

    def read(self, namespace: Namespace) -> Found:
        """What is said of all of a namespace's interfaces now, whichever were wanted."""
        with self._lock:
            self._wanted.pop(namespace.cookie, None)
        return {} if self._thread is None else self._reader.read(namespace) or {}

    def forget(self, cookie: int) -> None:
        """A namespace is gone."""
        self._reader.forget(cookie)
        with self._lock:
            self._wanted.pop(cookie, None)

    def _ask(self, namespace: Namespace) -> Found:
        with self._lock:
            wanted = self._wanted.pop(namespace.cookie, None)
            if wanted and len(wanted) > _AT_ONCE:  # others want the worker too
                turn = set(itertools.islice(wanted, _AT_ONCE))
                if self._reader.want_again(namespace):
                    self._wanted[namespace.cookie] = wanted - turn
                wanted = turn
        return self._ethtool.read() if wanted is None else self._ethtool.read_interfaces(wanted)

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._monitor, selectors.EVENT_READ)
            selector.register(self._end, selectors.EVENT_READ)
            while all(key.fd != self._end for key, _ in selector.select()):
                try:
                    changes = self._monitor.read()
                except OSError as error:
                    _log.error("ethtool_monitor_ended", error=str(error), remedy="none: all is asked anew every 5 minutes")
                    return
                self._heard(changes)
