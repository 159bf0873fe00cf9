"""Totals for metrics: what flow records add to counters with few labels. All by arrays: no Python step per flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.flows import metrics
from exporters.flows.applications import Applications
from exporters.flows.identify import identify, kind_of, proto_of
from exporters.flows.points import Points
from exporters.flows.subnets import Subnets
from skytrail.metrics import Exemplar, Family, Histogram, Metric, summed

NETWORKS = ("other", "arp", "ipv4", "ipv6")
TRANSPORTS = ("other", "tcp", "udp", "icmp", "icmpv6", "sctp", "gre", "esp", "igmp", "ospf", "vrrp", "ipip", "sit")
_TRANSPORT_OF = {6: 1, 17: 2, 1: 3, 58: 4, 132: 5, 47: 6, 50: 7, 2: 8, 89: 9, 112: 10, 4: 11, 41: 12}
DIRECTIONS = ("receive", "transmit")
FINISHES = ("TIMEOUT", "TCP_FIN", "TCP_RST")
ANOMALIES = {
    "skipped": "skipped",
    "out_of_order": "out_of_order",
    "repeated": "repeated",
    "zero_window": "zero_windows",
}
"""What metrics call it → the field of a flow, in each direction."""
MAX_LABELS = 20_000

_Labels = tuple[int, int, int, int, int, int]
"""Point, network, transport, application, and the subnets of the key's two ends."""

_TRANSPORT_TABLE = np.zeros(256, np.uint8)
for _proto, _number in _TRANSPORT_OF.items():
    _TRANSPORT_TABLE[_proto] = _number


def transport_of(proto: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Index into :data:`TRANSPORTS` of each IP protocol."""
    return np.asarray(_TRANSPORT_TABLE[proto])


def transports(keys: NDArray[Any]) -> NDArray[np.uint8]:
    """Index into :data:`TRANSPORTS` of each key."""
    return transport_of(proto_of(keys))


def networks(keys: NDArray[Any], ethertype: NDArray[np.uint16], family: NDArray[np.uint8] | int) -> NDArray[np.uint8]:
    """Index into :data:`NETWORKS` of each flow; ``family``: 4, or 6 for all others."""
    link = kind_of(keys) == layout.KIND_LINK
    arp = link & (ethertype == 0x0806)
    return np.select([arp, link, family == 4], [1, 0, 2], 3).astype(np.uint8)


class Totals:
    """Counters by label set, fed with what flow records grew by."""

    def __init__(
        self, points: Points, applications: Applications, start_ns: int, subnets: Mapping[str, str] | None = None
    ) -> None:
        self._points, self._applications, self._start = points, applications, start_ns
        self._subnets = Subnets(subnets)
        self._labels: dict[_Labels, int] = {(0, 0, 0, 0, 0, 0): 0}  # number 0: overflow
        self._free: list[int] = []
        # by label, by outermost or inner, by the key's direction, by receive or transmit; then packets, bytes
        self._traffic = np.zeros((64, 2, 2, 2, 2), np.uint64)
        self._new: dict[tuple[int, int], int] = {}
        self._ended: dict[tuple[int, int, int], int] = {}
        self._resets: dict[int, int] = {}
        self._anomalies: dict[int, NDArray[np.int64]] = {}
        self._rtt: dict[int, _RttHistogram] = {}
        self.capped = 0

    def labels(self, keys: NDArray[Any], ethertype: NDArray[np.uint16], family: int) -> NDArray[np.int32]:
        """The label set's number of new flows; makes sets that are not there yet. ``family``: 4, or 6 for all others."""
        network, proto = networks(keys, ethertype, family), proto_of(keys)
        has_addresses = np.asarray(network >= NETWORKS.index("ipv4"))
        application = self._applications.numbers(proto, keys["port"][:, 0], keys["port"][:, 1])
        # one number for each set: numpy sorts numbers far faster than rows of them; max_points is the largest
        packed = keys["point"].astype(np.int64) << 48 | application.astype(np.int64) << 32
        packed |= network.astype(np.int64) << 24 | transport_of(proto).astype(np.int64) << 16
        for shift, side in ((8, 0), (0, 1)):
            packed |= self._subnets.numbers(family, keys["addr"][:, side], has_addresses).astype(np.int64) << shift
        sets, inverse = np.unique(packed, return_inverse=True)
        numbers = [
            self._number(
                (
                    packed >> 48,
                    packed >> 24 & 0xFF,
                    packed >> 16 & 0xFF,
                    packed >> 32 & 0xFFFF,
                    packed >> 8 & 0xFF,
                    packed & 0xFF,
                )
            )
            for packed in sets.view(np.uint64).tolist()
        ]
        return np.array(numbers, np.int32)[inverse]

    def _number(self, labels: _Labels) -> int:
        number = self._labels.get(labels)
        if number is None:
            if len(self._labels) > MAX_LABELS:
                self.capped += 1
                return 0
            number = self._free.pop() if self._free else len(self._labels)
            if number >= len(self._traffic):
                self._traffic = np.concatenate([self._traffic, np.zeros_like(self._traffic)])
            self._labels[labels] = number
        return number

    def began(self, points: NDArray[np.int32], proto: NDArray[np.uint8]) -> None:
        """Count new flows."""
        for point, transport, count in counted(points, transport_of(proto)):
            self._new[point, transport] = self._new.get((point, transport), 0) + count

    def ended(self, points: NDArray[np.int32], proto: NDArray[np.uint8], finish: NDArray[np.uint8]) -> None:
        """Count ended flows; ``finish``: index into :data:`FINISHES` of each."""
        for point, transport, how, count in counted(points, transport_of(proto), finish):
            self._ended[point, transport, how] = self._ended.get((point, transport, how), 0) + count

    def grew(
        self,
        labels: NDArray[np.int32],
        inner: NDArray[np.bool_],
        hooks: NDArray[np.uint8],
        packets: NDArray[np.uint64],
        bytes_: NDArray[np.uint64],
    ) -> None:
        """Add what flows grew by: ``packets``, ``bytes_``: [n, 2], by the key's direction."""
        size = len(self._traffic) * 8
        first = (labels.astype(np.int64) * 2 + inner) * 4
        for direction in (0, 1):
            transmit = (hooks >> (2 * direction)) & 3 == 2
            index = first + 2 * direction + transmit
            for what, grown in enumerate((packets, bytes_)):
                # float64 is exact below 2**53: one drain's growth is far below
                added = np.bincount(index, grown[:, direction], size)
                self._traffic[..., what] += added.astype(np.uint64).reshape(-1, 2, 2, 2)

    def observed_rtt(self, rows: NDArray[Any]) -> None:
        """Add handshakes that were measured since the last drain: records of :data:`exporters.flows.table.ROW`."""
        for number in np.unique(rows["point"]).tolist():
            self._rtt.setdefault(number, _RttHistogram()).add(rows[rows["point"] == number], self._points)

    def saw_resets(self, points: NDArray[np.int32]) -> None:
        """Count flows in which a first reset was seen, by their capture points."""
        for number, count in counted(points):
            self._resets[number] = self._resets.get(number, 0) + count

    def saw_anomalies(self, points: NDArray[np.int32], more: NDArray[np.uint32]) -> None:
        """Count what TCP flows at these capture points showed: a row for each, a column for each of :data:`ANOMALIES`."""
        for number in np.unique(points).tolist():
            before = self._anomalies.get(number, np.zeros(len(ANOMALIES), np.int64))
            self._anomalies[number] = before + more[points == number].sum(axis=0, dtype=np.int64)

    def forget(self, points: set[int]) -> None:
        """Drop the series of capture points that are gone."""
        for labels in [labels for labels in self._labels if labels[0] in points]:
            number = self._labels.pop(labels)
            self._traffic[number] = 0
            self._free.append(number)
        for number in points:
            self._rtt.pop(number, None)
            self._resets.pop(number, None)
            self._anomalies.pop(number, None)
        self._new = {key: value for key, value in self._new.items() if key[0] not in points}
        self._ended = {key: value for key, value in self._ended.items() if key[0] not in points}

    def _where(self, point: int) -> tuple[str, str]:
        found = self._points.all[point]
        return found.name, found.namespace

    def families(self) -> Iterable[Family]:
        """All counters as they are now."""
        yield from self._traffic_families()
        yield self._family(metrics.FLOWS_NEW, [((*self._where(p), TRANSPORTS[t]), float(n)) for (p, t), n in self._new.items()])
        yield self._family(
            metrics.FLOWS_ENDED,
            [((*self._where(p), TRANSPORTS[t], FINISHES[f]), float(n)) for (p, t, f), n in self._ended.items()],
        )
        yield self._family(metrics.TCP_RESETS, [(self._where(p), float(n)) for p, n in self._resets.items()])
        yield self._family(
            metrics.TCP_ANOMALIES,
            [
                ((*self._where(point), name), float(count))
                for point, counts in self._anomalies.items()
                for name, count in zip(ANOMALIES, counts.tolist(), strict=True)
            ],
        )
        yield self._rtt_family()

    def _family(self, metric: Metric, samples: Iterable[tuple[tuple[str, ...], float]]) -> Family:
        return Family(metric, summed(samples), self._start)

    def _rtt_family(self) -> Family:
        by_name: dict[tuple[str, ...], _RttHistogram] = {}
        for point, histogram in self._rtt.items():
            by_name.setdefault(self._where(point), _RttHistogram()).merge(histogram)
        return Family(metrics.TCP_RTT, [(labels, histogram.value()) for labels, histogram in by_name.items()], self._start)

    def _traffic_families(self) -> Iterable[Family]:
        for inner, of_packets, of_bytes in (
            (0, metrics.FLOW_PACKETS, metrics.FLOW_BYTES),
            (1, metrics.INNER_PACKETS, metrics.INNER_BYTES),
        ):
            for what, metric in ((0, of_packets), (1, of_bytes)):
                yield self._family(metric, self._traffic_samples(inner, what))

    def _traffic_samples(self, inner: int, what: int) -> Iterable[tuple[tuple[str, ...], float]]:
        for labels, number in self._labels.items():
            counted = self._traffic[number, inner]
            for direction, hook in zip(*np.nonzero(counted[..., 0]), strict=True):
                yield self._label_values(labels, number, int(direction), int(hook)), float(counted[direction, hook, what])

    def _label_values(self, labels: _Labels, number: int, direction: int, hook: int) -> tuple[str, ...]:
        if not number:
            return ("overflow", "", DIRECTIONS[hook], "", "", "", "", "")
        point, network, transport, application, *subnets = labels
        return (
            *self._where(point),
            DIRECTIONS[hook],
            NETWORKS[network],
            TRANSPORTS[transport],
            self._applications.names[application],
            self._subnets.names[subnets[direction]],
            self._subnets.names[subnets[1 - direction]],
        )


class _RttHistogram:
    """Handshake times of one capture point, with the newest exemplar of each bucket."""

    def __init__(self) -> None:
        size = len(metrics.TCP_RTT.buckets) + 1
        self._counts = np.zeros(size, np.int64)
        self._sum = 0.0
        self._exemplars: list[Exemplar | None] = [None] * size

    def add(self, rows: NDArray[Any], points: Points) -> None:
        """Add rows whose ``flow.rtt[0]`` is set."""
        seconds = rows["flow"]["rtt"][:, 0] / 1e9
        bucket = np.searchsorted(metrics.TCP_RTT.buckets, seconds)
        self._counts += np.bincount(bucket, minlength=len(self._counts))
        self._sum += float(seconds.sum())
        for number in np.unique(bucket).tolist():
            newest = rows[np.flatnonzero(bucket == number)[-1:]]
            identify(newest, points)
            row = newest[0]
            trace = row["tracking"].tobytes().hex()
            when = (int(row["start"]) + int(row["flow"]["rtt"][0])) / 1e9
            self._exemplars[number] = Exemplar((("trace_id", trace),), int(row["flow"]["rtt"][0]) / 1e9, when)

    def merge(self, other: _RttHistogram) -> None:
        """Add another one's observations."""
        self._counts += other._counts
        self._sum += other._sum
        pairs = zip(other._exemplars, self._exemplars, strict=True)
        self._exemplars = [theirs or ours for theirs, ours in pairs]

    def value(self) -> Histogram:
        return Histogram(tuple(self._counts.tolist()), self._sum, tuple(self._exemplars))


def counted(*columns: NDArray[Any]) -> list[tuple[int, ...]]:
    """Distinct combinations of up to three columns of numbers below 2**16, each with its count appended."""
    if not len(columns[0]):
        return []
    # one number for each combination: numpy sorts numbers far faster than rows of them; points are the largest (max_points)
    packed = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        packed = packed << 16 | column.astype(np.int64)
    unique, counts = np.unique(packed, return_counts=True)
    shifts = range(16 * (len(columns) - 1), -1, -16)
    values = [(unique >> shift & 0xFFFF).tolist() for shift in shifts]
    return list(zip(*values, counts.tolist(), strict=True))
