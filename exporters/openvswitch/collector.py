"""The collector of Open vSwitch's own interfaces: families at each scrape, and rows of counters for the history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.openvswitch import metrics
from exporters.openvswitch.source import Counted, StatisticsSource
from skytrail.errors import SkytrailError
from skytrail.kernel.linkcounters import LINK_COUNTERS
from skytrail.metrics import Family, Metric

_log = structlog.get_logger(__name__)

_DIRECTIONS = {"rx": "receive", "tx": "transmit"}
_FAMILIES: Mapping[str, Metric] = {
    "bytes": metrics.BYTES,
    "packets": metrics.PACKETS,
    "errors": metrics.ERRORS,
    "dropped": metrics.DROPS,
}
"""The database's word behind the direction → its metric."""

_COLUMNS = {
    "RxPackets": "rx_packets",
    "TxPackets": "tx_packets",
    "RxBytes": "rx_bytes",
    "TxBytes": "tx_bytes",
    "RxErrors": "rx_errors",
    "TxErrors": "tx_errors",
    "RxDropped": "rx_dropped",
    "TxDropped": "tx_dropped",
    "Multicast": "rx_multicast_packets",
    "Collisions": "collisions",
    "RxOverErrors": "rx_over_err",
    "RxCrcErrors": "rx_crc_err",
    "RxFrameErrors": "rx_frame_err",
    "RxMissedErrors": "rx_missed_errors",
}
"""The kernel's counters → the database's."""


class OpenVswitchCollector:
    """What several databases count.

    Args:
        sources: the databases.
        tid: the TID of an interface by its row's UUID.
        most: interfaces to tell of; more are counted and left out.
    """

    def __init__(self, sources: Sequence[StatisticsSource], tid: Callable[[str], str], most: int) -> None:
        self._sources, self._tid, self._most = sources, tid, most
        self._unread = {source.remote: 0 for source in sources}
        self._failed: set[str] = set()

    def families(self) -> Iterable[Family]:
        """All metrics, as of now; databases that are not there are not asked."""
        samples: dict[Metric, list[tuple[tuple[str, ...], float]]] = {metric: [] for metric in _FAMILIES.values()}
        told = [(source.remote, one) for source in self._sources for one in self._read(source)]
        for remote, one in told[: self._most]:
            for way, direction in _DIRECTIONS.items():
                for word, metric in _FAMILIES.items():
                    if (value := one.statistics.get(f"{way}_{word}")) is not None:
                        samples[metric].append(((one.name, remote, one.kind, direction), value))
        return [
            *(Family(metric, found) for metric, found in samples.items()),
            Family(metrics.LEFT_OUT, [((), max(0, len(told) - self._most))]),
            Family(metrics.UNREAD, [((remote,), count) for remote, count in self._unread.items()]),
        ]

    def _read(self, source: StatisticsSource) -> list[Counted]:
        if not is_there(source):
            return []
        try:
            found = source.read(own=True)
        except (OSError, SkytrailError) as error:
            self._unread[source.remote] += 1
            if source.remote not in self._failed:
                _log.warning(
                    "openvswitch_not_read", database=source.remote, error=str(error), remedy="it is tried at each scrape"
                )
            self._failed.add(source.remote)
            return []
        self._failed.discard(source.remote)
        return found

    def counters(self) -> Mapping[str, Callable[[], Mapping[str, NDArray[np.uint64]]]]:
        """By database: what reads the counters of its interfaces, by TID; that raises OSError, RunError."""
        return {source.remote: partial(self._rows, source) for source in self._sources}

    def _rows(self, source: StatisticsSource) -> Mapping[str, NDArray[np.uint64]]:
        found = source.read() if is_there(source) else []
        return {self._tid(one.uuid): _row(one.statistics) for one in found}


def is_there(source: StatisticsSource) -> bool:
    """Whether there may be a database: most hosts have no Open vSwitch."""
    return not source.remote.startswith("unix:") or Path(source.remote.removeprefix("unix:")).exists()


def _row(statistics: Mapping[str, int]) -> NDArray[np.uint64]:
    """As :data:`LINK_COUNTERS`; what is not counted is 0."""
    counted = counters_of(statistics)
    return np.array([counted.get(name, 0) for name in LINK_COUNTERS], np.uint64)


def counters_of(statistics: Mapping[str, int]) -> dict[str, int]:
    """By the names of the kernel's counters, as Skydive has them; what is not counted is 0."""
    return {name: max(0, statistics.get(column, 0)) for name, column in _COLUMNS.items()}
