"""What a query of Skydive's dialect can give."""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """What a query gives so far."""

    GRAPH = "the graph"
    NODES = "nodes"
    EDGES = "edges"
    VALUES = "values"
    NUMBER = "a number"
    PATHS = "paths"
    PART = "a part of the graph"
    METRICS = "metrics"
    TOTAL = "the sum of metrics"
    SOCKETS = "sockets"
    HOPS = "next hops"
    FLOWS = "flows"
    GROUPS = "groups of flows"
    PACKETS = "packets"
