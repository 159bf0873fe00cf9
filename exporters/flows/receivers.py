"""The sockets of flows' ends that only receive: a packet tells who sent it, not who gets it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.conntrack.collector import Found
from exporters.conntrack.table import TO
from exporters.flows.ends import seen
from exporters.flows.identify import kind_of, proto_of
from exporters.flows.points import Points
from exporters.sockets.bound import ENDS
from skytrail.errors import SkytrailError
from skytrail.kernel.addresses import local_addresses
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import NetlinkDecodeError
from skytrail.kernel.worker import NamespaceWorker

_log = structlog.get_logger(__name__)

_UDP = 17
_FRESH = 15.0  # seconds that addresses are held to be right
_LOCAL = np.dtype([("netns", "u8"), ("family", "u1"), ("addr", "u1", 16)])

Translations = Callable[[NDArray[Any], NDArray[np.uint8], NDArray[np.uint64]], Found]
"""As ``ConntrackCollector.of_flows``."""
EndSockets = Callable[[NDArray[Any]], NDArray[np.uint64]]
"""Of records of ``exporters.flows.table.ROW``: cookies of the sockets at both ends of the key, uint64[n, 2]; 0: not here."""


def senders(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """The sockets that packets tell of."""
    return np.array(rows["flow"]["socket"])


@dataclass(frozen=True, slots=True)
class _Addresses:
    until: float
    rows: NDArray[Any]  # of _LOCAL, packed


class Receivers:
    """Finds the receiving sockets among those that are bound where a flow goes to. Thread-safe.

    Only in the capture point's own namespace, and only where the destination is an address of that namespace: what a router
    passes on is not its own, whatever listens on it. So multicast and broadcast have none either. TCP always answers.

    Args:
        points: names of capture points.
        bound: cookies of the sockets that get what is sent to ends, as ``SocketsCollector.receivers``.
        namespaces: those that are followed.
        worker: enters them, to ask for their addresses.
        translations: what address translation makes of conversations, as ``SpanBuilder``'s; None: nobody knows.
        clock: seconds.
    """

    def __init__(
        self,
        points: Points,
        bound: Callable[[NDArray[Any]], NDArray[np.uint64]],
        namespaces: Callable[[], Iterable[Namespace]],
        worker: NamespaceWorker,
        translations: Translations | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._translations = translations
        self._points, self._bound, self._namespaces, self._worker, self._clock = points, bound, namespaces, worker, clock
        self._lock = threading.Lock()
        self._addresses: dict[int, _Addresses] = {}  # by the namespace's cookie

    def sockets(self, rows: NDArray[Any]) -> NDArray[np.uint64]:
        """As :data:`EndSockets`: those that packets tell of, and those that only receive."""
        cookies = senders(rows)
        packets, keys = rows["flow"]["dir"]["packets"], rows["key"]
        silent = (cookies == 0) & (packets == 0) & (packets[:, ::-1] > 0)
        silent &= ((kind_of(keys) == layout.KIND_PLAIN) & (proto_of(keys) == _UDP))[:, None]
        at, end = np.nonzero(silent)
        if len(at):
            with self._lock:
                cookies[at, end] = self._receiving(keys[at], rows["family"][at], seen(rows["flow"][at]), end)
        return cookies

    def _receiving(
        self, keys: NDArray[Any], family: NDArray[np.uint8], times: NDArray[np.uint64], end: NDArray[np.intp]
    ) -> NDArray[np.uint64]:
        every = np.arange(len(keys))
        there = {namespace.label: namespace for namespace in self._namespaces()}
        numbers, which = np.unique(keys["point"], return_inverse=True)
        where = [there.get(self._points.all[number].namespace) for number in numbers.tolist()]
        ends = np.zeros(len(keys), ENDS)
        ends["netns"] = np.array([one.cookie if one else 0 for one in where], np.uint64)[which]
        ends["family"] = family
        for side, of in ((0, end), (1, 1 - end)):
            ends["addr"][:, side], ends["port"][:, side] = keys["addr"][every, of], keys["port"][every, of]
        self._translate(ends, keys, family, times)
        found = self._bound(ends)
        some = np.flatnonzero(found)
        wanted = set(ends["netns"][some].tolist())
        self._look([one for one in there.values() if one.cookie in wanted], {one.cookie for one in there.values()})
        found[some[~self._are_local(ends[some], wanted)]] = 0
        return found

    def _translate(self, ends: NDArray[Any], keys: NDArray[Any], family: NDArray[np.uint8], times: NDArray[np.uint64]) -> None:
        """Where packets go on to: a translator's own sockets do not get what it translates, unless to one of them."""
        if self._translations is None:
            return
        told = self._translations(keys, family, times)
        becomes = told.rows["role"] == TO
        rows, every = told.rows[becomes], np.arange(int(becomes.sum()))
        source = rows["reversed"].astype(np.intp)
        for side, of in ((0, 1 - source), (1, source)):
            for field in ("addr", "port"):
                ends[field][told.flow[becomes], side] = rows["other"][field][every, of]

    def _look(self, wanted: list[Namespace], there: set[int]) -> None:
        """Ask for the addresses of namespaces of which they are not known, or for too long."""
        now = self._clock()
        self._addresses = {cookie: known for cookie, known in self._addresses.items() if cookie in there and known.until > now}
        for namespace in wanted:
            if namespace.cookie in self._addresses:
                continue
            try:
                addresses = self._worker.run(namespace, local_addresses)
            except (OSError, SkytrailError, NetlinkDecodeError) as error:
                _log.debug("addresses_unknown", namespace=namespace.label, error=str(error))
                addresses = []
            rows = np.zeros(len(addresses), _LOCAL)
            rows["netns"] = namespace.cookie
            for row, (family, address) in zip(rows, addresses, strict=True):
                row["family"], row["addr"][: len(address)] = family, list(address)
            self._addresses[namespace.cookie] = _Addresses(now + _FRESH, _packed(rows))

    def _are_local(self, ends: NDArray[Any], netns: set[int]) -> NDArray[np.bool_]:
        rows = np.zeros(len(ends), _LOCAL)
        rows["netns"], rows["family"], rows["addr"] = ends["netns"], ends["family"], ends["addr"][:, 0]
        known = [_packed(rows[:0]), *(self._addresses[cookie].rows for cookie in netns)]
        loopback = (rows["family"] == 4) & (rows["addr"][:, 0] == 127)  # all of 127.0.0.0/8, whatever address lo has
        return np.asarray(loopback | np.isin(_packed(rows), np.concatenate(known)))


def _packed(rows: NDArray[Any]) -> NDArray[np.bytes_]:
    return rows.view(f"S{_LOCAL.itemsize}")
