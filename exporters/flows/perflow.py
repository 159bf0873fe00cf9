"""The opt-in metrics with a series per conversation: top talkers, each for a while after its last packet, and the rest."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.flows import metrics
from exporters.flows.identify import kind_of, proto_of
from exporters.flows.points import Points
from exporters.flows.records import AddressTexts, mac_text
from exporters.flows.table import Growth, Rows
from exporters.flows.totals import TRANSPORTS, transports
from skytrail.metrics import Family

_Counts = NDArray[np.uint64]  # [direction A→B or B→A, packets or bytes]
_RECORDS = 8


@dataclass(slots=True)
class _Talker:
    """One conversation at one point; ``flows``: ids of its latest records (a port is used again; two VLANs have it)."""

    labels: tuple[str, ...]  # device, netns, tracking_id; source … of A
    counts: _Counts
    last: float
    recent: int
    flows: deque[int]


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
        self._talkers: dict[tuple[str, ...], _Talker] = {}
        self._by_flow: dict[int, _Talker] = {}
        self._overflow = np.zeros((2, 2), np.uint64)
        self._texts = AddressTexts()
        self.capped = 0

    def grew(self, growth: Growth) -> None:
        """Take in growth: known talkers first, then the largest of the others; Python sees at most ``most`` of each."""
        now, ids = self._clock(), growth.flows["id"]
        for talker in [talker for talker in self._talkers.values() if talker.last + self._ttl < now]:
            self._drop(talker)
        counts = _oriented(growth)
        volume = counts[:, :, 1].sum(axis=1)
        active = np.flatnonzero(counts.any(axis=(1, 2)))
        known = np.isin(ids[active], np.fromiter(self._by_flow, np.uint64, len(self._by_flow)))
        for at in active[known].tolist():
            talker = self._by_flow[int(ids[at])]
            talker.counts += counts[at]
            talker.last, talker.recent = now, int(volume[at])
        others = active[~known]
        largest = others[np.argsort(volume[others], kind="stable")[::-1][: self._most]]
        chosen = largest[: self._make_room(volume[largest])]
        self.capped += len(others) - len(chosen)
        self._overflow += counts[np.setdiff1d(others, chosen)].sum(axis=0, dtype=np.uint64)
        for at, row in zip(chosen.tolist(), growth.rows(chosen), strict=True):
            self._choose(int(ids[at]), row, counts[at], now)

    def ended(self, slots: NDArray[np.intp], records: Callable[[NDArray[np.intp]], Rows]) -> None:
        """Nothing: a conversation may go on in another record, and stays as long as it has not been silent for long."""

    def _choose(self, number: int, row: Any, counts: _Counts, now: float) -> None:  # noqa: ANN401 - one record of ROW
        """A flow's growth goes to its conversation's series, which may be there already for another record of it."""
        labels = self._labels(row)
        talker = self._talkers.get(labels)
        if talker is None:
            talker = self._talkers[labels] = _Talker(labels, np.zeros((2, 2), np.uint64), now, 0, deque())
        talker.counts += counts
        talker.last, talker.recent = now, talker.recent + int(counts[:, 1].sum())
        talker.flows.append(number)
        self._by_flow[number] = talker
        if len(talker.flows) > _RECORDS:
            self._by_flow.pop(talker.flows.popleft(), None)

    def _make_room(self, volume: NDArray[np.uint64]) -> int:
        """How many of newcomers, the largest first, find room: the smallest talkers go for larger ones."""
        free = self._most - len(self._talkers)
        smallest = sorted(self._talkers.values(), key=lambda talker: talker.recent)
        for newcomer, talker in zip(volume[free:].tolist(), smallest, strict=False):
            if talker.recent >= newcomer:
                break
            self._drop(talker)
            self.capped += 1
            free += 1
        return min(free, len(volume))

    def _drop(self, talker: _Talker) -> None:
        """The series goes; what it counted stays counted, in the overflow."""
        del self._talkers[talker.labels]
        for number in talker.flows:
            self._by_flow.pop(number, None)
        self._overflow += talker.counts

    def _labels(self, row: Any) -> tuple[str, ...]:  # noqa: ANN401 - one record of ROW
        point, a = self._points.all[int(row["point"])], int(row["flow"]["reversed"])
        key, family = row["key"], int(row["family"])
        one = row.reshape(1)["key"] if hasattr(row, "reshape") else np.array([key])
        ports = ("", "")
        if int(proto_of(one)[0]) in (6, 17, 132):
            ports = str(int(key["port"][a])), str(int(key["port"][1 - a]))
        raw = [key["addr"][side].tobytes() for side in (a, 1 - a)]
        link = int(kind_of(one)[0]) == layout.KIND_LINK
        addresses = [mac_text(address[:6]) if link else self._texts.text(family, address) for address in raw]
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
    return np.where(growth.flows["reversed"][:, None, None] > 0, counts[:, ::-1], counts)
