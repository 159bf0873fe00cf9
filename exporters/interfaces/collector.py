"""The interfaces collector: reads every namespace that it is told of, and makes families of what they say."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from exporters.interfaces import metrics, tables
from exporters.interfaces.reading import Reading
from exporters.interfaces.textfiles import GAUGES, Field, Netstat, sockstat, softnet
from skytrail.errors import SkytrailError
from skytrail.kernel.namespaces import Namespace, NamespaceGoneError
from skytrail.kernel.netlink import NetlinkDecodeError
from skytrail.metrics import Family, Metric

_log = structlog.get_logger(__name__)

_PAGE = resource.getpagesize()
_PATIENCE = 2.5  # seconds; with what the last one may take, less than an answer is waited for (skytrail.collectors)

_OF_NAMESPACE: Mapping[str, Metric] = {
    "inuse": metrics.SOCKETS,
    "used": metrics.SOCKETS,
    "tw": metrics.TIME_WAIT,
    "memory": metrics.FRAGMENT_MEMORY,
}
"""A word of /proc/net/sockstat → its metric."""
_FRAGMENTS = ("FRAG", "FRAG6")
_OF_HOST: Mapping[str, tuple[Metric, int]] = {
    "orphan": (metrics.ORPHANS, 1),
    "alloc": (metrics.ALLOCATED, 1),
    "mem": (metrics.SOCKET_MEMORY, _PAGE),
}
"""A word that says the same in every namespace → its metric, and what it counts in."""
_SOFTNET: Mapping[str, Metric] = {
    "processed": metrics.SOFTNET_PROCESSED,
    "dropped": metrics.SOFTNET_DROPPED,
    "squeezed": metrics.SOFTNET_SQUEEZED,
    "collisions": metrics.SOFTNET_COLLISIONS,
    "rps": metrics.SOFTNET_RPS,
    "flow_limit": metrics.SOFTNET_FLOW_LIMIT,
    "backlog": metrics.SOFTNET_BACKLOG,
}


class InterfacesCollector:
    """What node_exporter's netdev, netclass, ethtool, qdisc, arp, softnet, sockstat and netstat tell, of every namespace.

    Nothing is kept from one reading to the next, so that what is gone is not told of any more.

    Args:
        read: reads a namespace; what it may raise is as of :meth:`InterfaceSource.read`.
        namespaces: those that there are now.
        softnet: reads /proc/net/softnet_stat.
        netstat: chooses fields of protocols.
        most: interfaces to tell of; more are counted and left out.
        patience: seconds after which no further namespace is read, so that a driver that sleeps holds up no scrape for long.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        read: Callable[[Namespace], Reading],
        namespaces: Callable[[], Sequence[Namespace]],
        softnet: Callable[[], bytes],
        *,
        netstat: Netstat,
        most: int,
        patience: float = _PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._namespaces, self._softnet = read, namespaces, softnet
        self._netstat = netstat
        self._most, self._patience, self._clock = most, patience, clock
        self._lock = threading.Lock()  # one reading at a time
        self._unread = dict.fromkeys(("gone", "refused", "malformed", "late"), 0)
        self._failed: set[str] = set()  # labels of those that could not be read this time
        self._logged: set[str] = set()  # and the time before

    def families(self) -> Iterable[Family]:
        """All metrics of this collector, as of now."""
        with self._lock:
            readings = self._readings()
            families = self._link_families(readings)
            self._logged, self._failed = self._failed, set()
            return [
                *families,
                *self._netstat_families(readings),
                *_sockstat_families(readings),
                *_softnet_families(self._softnet()),
                Family(metrics.UNREAD, [((reason,), count) for reason, count in self._unread.items()]),
            ]

    def _link_families(self, readings: dict[str, Reading]) -> list[Family]:
        """Of all namespaces at once; where that fails, without those (taken out of ``readings``) that fail alone."""
        try:
            return tables.families(readings, self._most)
        except NetlinkDecodeError:
            for label, reading in list(readings.items()):
                try:
                    tables.families({label: reading}, self._most)
                except NetlinkDecodeError as error:
                    del readings[label]
                    self._fail(label, "malformed", error)
            return tables.families(readings, self._most)

    def _readings(self) -> dict[str, Reading]:
        """Label of a namespace → what it told; without those that cannot be read. Of two that bear one name, the later one."""
        found = {}
        deadline = self._clock() + self._patience
        for namespace in self._namespaces():
            label = namespace.label
            if self._clock() > deadline:
                self._fail(label, "late", TimeoutError(f"the others took more than {self._patience:g} s"))
                continue
            try:
                found[label] = self._read(namespace)
            except NamespaceGoneError:
                self._unread["gone"] += 1
            except (OSError, SkytrailError) as error:
                self._fail(label, "refused", error)
            except NetlinkDecodeError as error:
                self._fail(label, "malformed", error)
        return found

    def _fail(self, label: str, reason: str, error: Exception) -> None:
        self._unread[reason] += 1
        self._failed.add(label)
        if label not in self._logged:
            _log.warning("interfaces_not_read", namespace=label, error=str(error), remedy="none: it is tried at each scrape")

    def _netstat_families(self, readings: Mapping[str, Reading]) -> Iterable[Family]:
        samples: dict[Metric, list[tuple[tuple[str, ...], float]]] = {
            metric: [] for metric in (metrics.NETSTAT, metrics.NETSTAT_BYTES, metrics.NETSTAT_VALUES)
        }
        for label, reading in readings.items():
            for field, value in zip(*self._netstat.read(reading.files), strict=True):
                samples[_netstat_metric(field)].append(((label, *field), value))
        return [Family(metric, found) for metric, found in samples.items()]


def _netstat_metric(field: Field) -> Metric:
    if field in GAUGES:
        return metrics.NETSTAT_VALUES
    return metrics.NETSTAT_BYTES if field[1].endswith("Octets") else metrics.NETSTAT


def _sockstat_families(readings: Mapping[str, Reading]) -> Iterable[Family]:
    samples: dict[Metric, dict[tuple[str, ...], float]] = {
        metric: {}
        for metric in (*_OF_NAMESPACE.values(), metrics.FRAGMENT_QUEUES, *(metric for metric, _ in _OF_HOST.values()))
    }
    for label, reading in readings.items():
        for name in ("sockstat", "sockstat6"):
            for (protocol, word), value in sockstat(reading.files.get(name, b"")).items():
                if word in _OF_HOST:
                    metric, unit = _OF_HOST[word]
                    samples[metric][(protocol,) if metric.labels else ()] = value * unit
                elif word in _OF_NAMESPACE:
                    metric = metrics.FRAGMENT_QUEUES if word == "inuse" and protocol in _FRAGMENTS else _OF_NAMESPACE[word]
                    samples[metric][(label, protocol)[: len(metric.labels)]] = value
    return [Family(metric, list(found.items())) for metric, found in samples.items()]


def _softnet_families(text: bytes) -> Iterable[Family]:
    cpus = softnet(text)
    return [
        Family(metric, [((cpu,), columns[name]) for cpu, columns in cpus.items() if name in columns])
        for name, metric in _SOFTNET.items()
    ]
