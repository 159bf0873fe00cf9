"""Totals for metrics: what happened where, under the names that the places have now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import drops
from exporters.drops import metrics
from exporters.drops.places import Place, Places
from exporters.drops.reasons import Reasons
from skytrail.metrics import Family, Metric, summed

MAX_SERIES = 20_000
PATIENCE = 10.0
"""Seconds that a place may have no name yet, before what happened there is counted without."""

_NOWHERE: Place = (0, 0)
_OVERFLOW: Place = (0, -1)
_NAMES = {_NOWHERE: ("", "unknown"), _OVERFLOW: ("overflow", "overflow")}
_SIDES = {drops.SYN_AGAIN: "client", drops.SYN_ACK_AGAIN: "server"}
_DIRECTIONS = {drops.RESET_SENT: "transmit", drops.RESET_RECEIVED: "receive"}

Sample = tuple[tuple[str, ...], float]


@dataclass(slots=True)
class _At:
    since: float
    names: tuple[str, str] | None = None
    counts: dict[tuple[int, int], int] = field(default_factory=dict)


class Totals:
    """Counters by place, kind and reason.

    The series of a device or namespace that is gone disappear. What happened at a place that was never known by name, as
    one that lived shorter than it takes to hear of it, counts for its namespace, or for none.
    """

    def __init__(self, reasons: Reasons, start_ns: int) -> None:
        self._reasons, self._start = reasons, start_ns
        self._at: dict[Place, _At] = {place: _At(0.0, names) for place, names in _NAMES.items()}
        self._series = 0

    @property
    def empty(self) -> bool:
        """Whether nothing has happened anywhere."""
        return not self._series

    def add(self, places: NDArray[Any], counts: NDArray[np.uint64], now: float) -> None:
        """Add growth: rows of :data:`drops.PLACE` and how much; ``now``: monotonic, seconds."""
        columns = [places[name].tolist() for name in ("netns", "ifindex", "kind", "reason")]
        for cookie, ifindex, kind, reason, count in zip(*columns, counts.tolist(), strict=True):
            self._count((cookie, ifindex), (kind, reason), count, now)

    def _count(self, place: Place, what: tuple[int, int], count: int, now: float) -> None:
        at = self._at.get(place)
        if at is None or what not in at.counts:
            if self._series >= MAX_SERIES and place != _OVERFLOW:
                self._count(_OVERFLOW, what, count, now)
                return
            self._series += 1
            at = self._at.setdefault(place, _At(now))
        at.counts[what] = at.counts.get(what, 0) + count

    def name(self, places: Places, now: float) -> None:
        """Give places their present names, and forget those that are gone."""
        for place, at in list(self._at.items()):
            if place in _NAMES:
                continue
            names = places.find(place)
            if names is not None:
                at.names = names
            elif at.names is not None or now - at.since > PATIENCE:
                del self._at[place]
                self._series -= len(at.counts)
                if at.names is None:
                    self._fold(place, at, places, now)

    def _fold(self, place: Place, at: _At, places: Places, now: float) -> None:
        """What happened at a place without a name counts for its namespace, or for none."""
        wider = (place[0], 0) if place[0] in places.namespaces else _NOWHERE
        for what, count in at.counts.items():
            self._count(wider, what, count, now)
        if wider in self._at and wider != _NOWHERE:
            self._at[wider].names = places.find(wider)

    def families(self) -> Iterable[Family]:
        """Drops, retransmits, SYN timeouts, resets; of places that have names."""
        samples: dict[Metric, list[Sample]] = {
            metric: []
            for metric in (metrics.PACKETS_DROPPED, metrics.TCP_RETRANSMITS, metrics.TCP_SYN_TIMEOUTS, metrics.TCP_RESETS)
        }
        for at in self._at.values():
            if at.names is not None:
                for (kind, reason), count in at.counts.items():
                    for metric, labels in self._labels(kind, reason, *at.names):
                        samples[metric].append((labels, float(count)))
        for metric, found in samples.items():
            yield Family(metric, summed(found), self._start)

    def _labels(self, kind: int, reason: int, device: str, netns: str) -> Iterable[tuple[Metric, tuple[str, ...]]]:
        if kind == drops.PACKET:
            yield metrics.PACKETS_DROPPED, (device, netns, self._reasons.drop(reason))
        elif kind in _DIRECTIONS:
            told = self._reasons.reset(reason) if kind == drops.RESET_SENT else ""
            yield metrics.TCP_RESETS, (netns, _DIRECTIONS[kind], told)
        else:
            yield metrics.TCP_RETRANSMITS, (netns,)
            if kind in _SIDES:
                yield metrics.TCP_SYN_TIMEOUTS, (netns, _SIDES[kind])
