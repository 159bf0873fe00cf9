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
from exporters.flows.table import Batch
from exporters.flows.totals import TRANSPORTS, transports
from exporters.metrics import Family

_Counts = NDArray[np.uint64]  # [direction A→B or B→A, packets or bytes]


@dataclass(slots=True)
class _Talker:
    labels: tuple[str, ...]  # device, netns, tracking_id; source … of A
    counts: _Counts
    last: float
    recent: int = 0


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
        self._before: dict[int, _Counts] = {}
        self._texts = AddressTexts()
        self.capped = 0

    def update(self, rows: NDArray[Any], batch: Batch) -> None:
        """Take in all living rows, and those that the batch says have ended."""
        now = self._clock()
        ended = batch.rows[batch.ended]
        every = np.concatenate([rows, ended])
        counts = _oriented(every)
        ids = every["id"].tolist()
        grown = (
            np.stack([count - self._before.get(number, 0) for number, count in zip(ids, counts, strict=True)])
            if ids
            else counts
        )
        volume = grown[:, :, 1].sum(axis=1) if ids else np.zeros(0)
        for at in np.argsort(volume, kind="stable")[::-1].tolist():
            if not volume[at]:
                break
            self._add(every[at], grown[at], int(volume[at]), now)
        kept = {int(number) for number in rows["id"].tolist()}
        self._before = {number: count for number, count in zip(ids, counts, strict=True) if number in kept}
        for number in [number for number, talker in self._talkers.items() if talker.last + self._ttl < now]:
            self._drop(number)

    def _add(self, row: Any, grown: _Counts, volume: int, now: float) -> None:  # noqa: ANN401 - one record of ROW
        number = int(row["id"])
        talker = self._talkers.get(number)
        if talker is None and not self._make_room(volume):
            self._overflow += grown
            return
        if talker is None:
            talker = self._talkers[number] = _Talker(self._labels(row), np.zeros((2, 2), np.uint64), now)
        talker.counts += grown
        talker.last, talker.recent = now, volume

    def _make_room(self, volume: int) -> bool:
        if len(self._talkers) < self._most:
            return True
        number, smallest = min(self._talkers.items(), key=lambda item: item[1].recent)
        if smallest.recent >= volume:
            self.capped += 1
            return False
        self._drop(number)
        self.capped += 1
        return True

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


def _oriented(rows: NDArray[Any]) -> NDArray[np.uint64]:
    """[n, A→B and B→A, packets and bytes]."""
    every, a = np.arange(len(rows)), rows["flow"]["reversed"].astype(np.intp)
    counts = rows["flow"]["dir"]
    result = np.zeros((len(rows), 2, 2), np.uint64)
    for direction, side in ((0, a), (1, 1 - a)):
        for what, field in ((0, "packets"), (1, "bytes")):
            result[:, direction, what] = counts[field][every, side]
    return result
