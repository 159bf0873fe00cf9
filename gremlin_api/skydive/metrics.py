"""Metrics: counters over a time, ``{"RxBytes": 12, …, "Start": ms, "Last": ms}``; summed, and cut into slices. Pure.

Source: Skydive's topology/metrics.go and graffiti's traversal extension of metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from skytrail.errors import UsageError

Metric: TypeAlias = Mapping[str, Any]

START, LAST = "Start", "Last"
LARGEST = frozenset({"RTT"})
"""No counters: neither added nor shared out, the largest is told."""
MOST_SLICES = 10_000


def metrics_of(value: object) -> list[Metric]:
    """The metrics that an element has at a key: one, a list of them, or none."""
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, dict) and one]


def by_id(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    """What belongs to each element."""
    found: dict[str, list[Any]] = {}
    for id_, one in pairs:
        found.setdefault(id_, []).append(one)
    return found


def by_time(metrics: Iterable[Metric]) -> list[Metric]:
    """In the order in which they began, each once: one that several revisions tell of is one."""
    seen = {msgspec.json.encode(one, order="deterministic"): one for one in metrics}
    return sorted(seen.values(), key=lambda one: (_time(one, START), _time(one, LAST)))


def total(metrics: Iterable[Metric]) -> dict[str, Any]:
    """The sum of each counter, from the first beginning to the last end; nothing, where there are none."""
    found: dict[str, Any] = {}
    for metric in metrics:
        _add(found, metric)
    return found


def _add(found: dict[str, Any], metric: Metric) -> None:
    for key, value in metric.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if key == START:
            found[key] = min(found.get(key, value), value)
        elif key == LAST or key in LARGEST:
            found[key] = max(found.get(key, value), value)
        else:
            found[key] = found.get(key, 0) + value


def span(metrics: Sequence[Metric]) -> tuple[int, int]:
    """When the first began and the last ended, of those that say so, ms; 0: none does."""
    begin = min((start for one in metrics if (start := _time(one, START))), default=0)
    return begin, max((_time(one, LAST) for one in metrics), default=0)


def aggregated(
    metrics: Iterable[Metric], begin: int, end: int, width: int, each: Callable[[], object] = lambda: None
) -> list[Metric]:
    """Metrics summed over slices of time, each counter shared out by how long a metric lay in a slice.

    Args:
        metrics: any number.
        begin: of the first slice, ms.
        end: of the last, ms.
        width: of a slice, ms.
        each: called for each part of a metric; may raise.

    Returns:
        The slices in which there was anything.

    Raises:
        UsageError: there would be too many slices.
    """
    count = max(1, -(-(end - begin) // width))
    if count > MOST_SLICES:
        raise UsageError(f"Aggregates() would make {count} slices: {MOST_SLICES} are allowed, so ask for longer ones")
    slices: dict[int, dict[str, Any]] = {}
    for metric in metrics:
        start, last = _time(metric, START), _time(metric, LAST)
        first, final = max(start, begin), min(last, end)
        if first > final or (first == final and start != last):
            continue
        for at in range((first - begin) // width, max(0, final - begin - 1) // width + 1):
            low, high = begin + at * width, min(begin + (at + 1) * width, end)
            each()
            _add(slices.setdefault(at, {}), _part(metric, start, last, max(low, first), min(high, final)))
    return [
        {**found, START: begin + at * width, LAST: min(begin + (at + 1) * width, end)} for at, found in sorted(slices.items())
    ]


def _part(metric: Metric, start: int, last: int, low: int, high: int) -> dict[str, Any]:
    """A metric's share from one time to another: whole numbers stay so, and all shares together are the whole."""
    if start >= last:
        return dict(metric)
    found: dict[str, Any] = {}
    for key, value in metric.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if key in LARGEST:
            found[key] = value
        elif isinstance(value, int):
            found[key] = value * (high - start) // (last - start) - value * (low - start) // (last - start)
        else:
            found[key] = value * (high - low) / (last - start)
    return found | {START: low, LAST: high}


def _time(metric: Metric, key: str) -> int:
    value = metric.get(key, 0)
    return int(value) if isinstance(value, int | float) else 0
