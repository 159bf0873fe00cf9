"""How much went through interfaces over a time, as agents remember it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gremlin_api.graphs.topology import TopologyVertex
from gremlin_api.interpreter.run import Run
from gremlin_api.skydive.asking import Asking
from gremlin_api.skydive.conditions import value_of
from gremlin_api.skydive.flowsource import add_point
from gremlin_api.skydive.metrics import metrics_of
from skytrail.asking.questions import InterfacesQuestion, Range

SERIES = "LastUpdateMetric"
"""The key of a node's metrics that agents remember."""

_SWITCH = "openvswitch"

Pair = tuple[str, Any]


def series(run: Run, asking: Asking, when: Range | None, nodes: Iterable[TopologyVertex]) -> Iterator[Pair]:
    """The metrics of nodes with their IDs: as their agents tell, or else as the graph shows.

    Raises:
        RunError: they are more than one question may bring.
    """
    every: list[TopologyVertex] = []
    points: dict[str, str] = {}
    for node in nodes:
        run.hold()
        every.append(node)
        _ = add_point(points, node) or _add_port(points, node)
    told: dict[str, list[Any]] = {}
    if points and (hosts := asking.named(set(points.values()))):
        for _, one in asking.ask(InterfacesQuestion(when, tuple(sorted(points))), hosts):
            metrics = metrics_of(one.get("Metrics"))
            run.hold(len(metrics))
            told.setdefault(str(one.get("TID")), []).extend(metrics)
    for node in every:
        tid = node.revision.state.tid if node.revision.state else None
        for metric in told.get(tid or "") or metrics_of(value_of(node, SERIES)):
            yield node.id, metric


def _add_port(points: dict[str, str], node: TopologyVertex) -> bool:
    """Add an interface that only Open vSwitch has: its agent counts it, too."""
    state = node.revision.state
    if state is None or not state.tid or node.metadata.get("Driver") != _SWITCH:
        return False
    points[state.tid] = state.host
    return True
