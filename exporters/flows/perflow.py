"""The opt-in metrics with a series per conversation: top talkers, each for a while after its last packet, and the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.flows import metrics
from exporters.flows.identify import proto_of
from exporters.flows.points import Points
from exporters.flows.records import AddressTexts
from exporters.flows.table import Growth
from exporters.flows.totals import TRANSPORTS, transports
from exporters.metrics import Family

_Counts = NDArray[np.uint64]  # [direction A→B or B→A, packets or bytes]


@dataclass(slots=True)
class _Talker:
    labels: tuple[str, ...]  # device, netns, tracking_id; source … of A
    counts: _Counts
    last: float
    recent: int


class TopTalkers:
    """Chooses by bytes since the last drain. What was counted before a flow was chosen stays in the overflow series.

    Args:
        points: names of capture points.
        most: conversations at once.
        ttl: seconds that one stays after its last packet.
        clock: seconds.

    """

    def __init__(self, points: Points, most: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._points, self._most, self._ttl, self._clock = points, most, ttl, clock
        self._talkers: dict[int, _Talker] = {}
        self._overflow = np.zeros((2, 2), np.uint64)
        self._texts = AddressTexts()
        self.capped = 0

    def grew(self, growth: Growth) -> None:
        """Take in growth: known talkers first, then the largest of the others; Python sees at most ``most`` of each."""
        now = self._clock()
        for number in [number for number, talker in self._talkers.items() if talker.last + self._ttl < now]:
            self._drop(number)
        counts = _oriented(growth)
        volume = counts[:, :, 1].sum(axis=1)
        active = np.flatnonzero(counts.any(axis=(1, 2)))
        known = np.isin(growth.ids[active], np.fromiter(self._talkers, np.uint64, len(self._talkers)))
        for at in active[known].tolist():
            talker = self._talkers[int(growth.ids[at])]
            talker.counts += counts[at]
            talker.last, talker.recent = now, int(volume[at])
        others = active[~known]
        largest = others[np.argsort(volume[others], kind="stable")[::-1][: self._most]]
        chosen = largest[: self._make_room(volume[largest])]
        self.capped += len(others) - len(chosen)
        self._overflow += counts[np.setdiff1d(others, chosen)].sum(axis=0, dtype=np.uint64)
        for at, row in zip(chosen.tolist(), growth.rows(chosen), strict=True):
            self._talkers[int(growth.ids[at])] = _Talker(self._labels(row), counts[at].copy(), now, int(volume[at]))

    def _make_room(self, volume: NDArray[np.uint64]) -> int:
        """How many of newcomers, the largest first, find room: the smallest talkers go for larger ones."""
        free = self._most - len(self._talkers)
        smallest = sorted(self._talkers, key=lambda number: self._talkers[number].recent)
        for newcomer, number in zip(volume[free:].tolist(), smallest, strict=False):
            if self._talkers[number].recent >= newcomer:
                break
            self._drop(number)
            self.capped += 1
            free += 1
        return min(free, len(volume))

    def _drop(self, number: int) -> None:
        """The series goes; what it counted stays counted, in the overflow."""
        self._overflow += self._talkers.pop(number).counts

    def _labels(self, row: Any) -> tuple[str, ...]:  # noqa: ANN401 - one record of ROW
        point, a = self._points.all[int(row["point"])], int(row["flow"]["reversed"])
        key, family = row["key"], int(row["family"])
        one = row.reshape(1)["key"] if hasattr(row, "reshape") else np.array([key])
        ports = ("", "")
        if int(proto_of(one)[0]) in (6, 17, 132):
            ports = str(int(key["port"][a])), str(int(key["port"][1 - a]))
        addresses = [self._texts.text(family, key["addr"][side].tobytes()) for side in (a, 1 - a)]
        return (
            point.name,
            point.namespace,
            row["tracking"].tobytes().hex(),
            *addresses,
            *ports,
            TRANSPORTS[int(transports(one)[0])],
        )

    def families(self, start_ns: int) -> Iterable[Family]:
        """Packets and bytes of each, and of the rest; both directions by who sends."""
        for what, metric in ((0, metrics.PER_FLOW_PACKETS), (1, metrics.PER_FLOW_BYTES)):
            samples = []
            for talker in self._talkers.values():
                device, netns, tracking, source, destination, source_port, destination_port, transport = talker.labels
                for direction, ends in (
                    (0, (source, destination, source_port, destination_port)),
                    (1, (destination, source, destination_port, source_port)),
                ):
                    labels = (device, netns, tracking, ("ab", "ba")[direction], *ends, transport)
                    samples.append((labels, float(talker.counts[direction, what])))
            for direction in (0, 1):
                rest = ("", "", "overflow", ("ab", "ba")[direction], "", "", "", "", "")
                samples.append((rest, float(self._overflow[direction, what])))
            yield Family(metric, samples, start_ns)
        yield Family(metrics.PER_FLOW_CAPPED, [((), float(self.capped))], start_ns)


def _oriented(growth: Growth) -> NDArray[np.uint64]:
    """[n, A→B and B→A, packets and bytes]."""
    counts = np.stack([growth.packets, growth.bytes], axis=2)
    return np.where(growth.reversed[:, None, None] > 0, counts[:, ::-1], counts)
