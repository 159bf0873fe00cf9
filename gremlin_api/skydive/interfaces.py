"""How much went through interfaces over a time, as agents remember it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gremlin_api.graphs.topology import TopologyVertex
from gremlin_api.interpreter.run import Run
from gremlin_api.skydive.asking import Asking
from gremlin_api.skydive.conditions import value_of
from gremlin_api.skydive.flowsource import add_point
from gremlin_api.skydive.metrics import metrics_of
from skytrail.asking.questions import InterfacesQuestion, Range
from skytrail.tid import host_of, ovs_tid

SERIES, _OF_SWITCH = "LastUpdateMetric", "Ovs.LastUpdateMetric"
REMEMBERED = frozenset({SERIES, _OF_SWITCH})
"""Keys of a node's metrics that agents remember: the kernel's, and Open vSwitch's."""

_SHORT = {"Ovs": _OF_SWITCH, "SFlow": "SFlow.LastUpdateMetric"}
"""What Metrics() is given → the key that is meant."""

_SWITCH = "openvswitch"

Pair = tuple[str, Any]


def series_key(arguments: Sequence[object]) -> str:
    """The key of the metrics that ``Metrics(…)`` asks for."""
    key = str(arguments[0]) if arguments else SERIES
    return _SHORT.get(key, key)


def series(run: Run, asking: Asking, when: Range | None, nodes: Iterable[TopologyVertex], key: str = SERIES) -> Iterator[Pair]:
    """The metrics of nodes with their IDs: as their agents tell, or else as the graph shows.

    Raises:
        RunError: they are more than one question may bring.
    """
    every: list[tuple[TopologyVertex, str]] = []
    points: dict[str, str] = {}
    for node in nodes:
        run.hold()
        tid, state = _POINTS[key](node), node.revision.state
        every.append((node, tid))
        if tid and state is not None:
            points[tid] = state.host
    told: dict[str, list[Any]] = {}
    if points and (hosts := asking.named(set(points.values()))):
        for _, one in asking.ask(InterfacesQuestion(when, tuple(sorted(points))), hosts):
            metrics = metrics_of(one.get("Metrics"))
            run.hold(len(metrics))
            told.setdefault(str(one.get("TID")), []).extend(metrics)
    for node, tid in every:
        for metric in told.get(tid) or metrics_of(value_of(node, key)):
            yield node.id, metric


def _interface(node: TopologyVertex) -> str:
    """Its TID, if it is an interface, of the kernel's or one that only Open vSwitch has; else empty."""
    state = node.revision.state
    counted = add_point({}, node) or node.metadata.get("Driver") == _SWITCH
    return state.tid if counted and state is not None else ""


def _row(node: TopologyVertex) -> str:
    """The TID under which the counters of Open vSwitch's row of an interface are kept; empty: it has none."""
    state, uuid = node.revision.state, node.metadata.get("UUID")
    is_interface = state is not None and bool(state.tid) and value_of(node, "Ovs.Type") is not None
    return ovs_tid(host_of(state.tid), uuid) if is_interface and state is not None and isinstance(uuid, str) else ""


_POINTS: Mapping[str, Callable[[TopologyVertex], str]] = {SERIES: _interface, _OF_SWITCH: _row}
"""Key of metrics → the TID under which an agent keeps those of a node."""
