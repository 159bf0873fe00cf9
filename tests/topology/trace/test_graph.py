"""What a trace asks of a graph written by hand."""

from __future__ import annotations

import pytest
from support.pathgraph import Graph, switched_fabric

from topology.path.network import Network
from topology.trace.graph import TracedGraph

RED = "10.0.10.1", "10.0.10.2"


def tid(graph: Graph, host: str, name: str) -> str:
    """Of the host's own interface."""
    network = Network(graph.revisions)
    return next(one.tid for one in network.devices.values() if (one.namespace.host, one.name) == (host, name))


@pytest.mark.parametrize("ends", [RED, RED[::-1]])
@pytest.mark.parametrize(("port", "host", "name"), [("red1", "h1", "red1"), ("red2", "h2", "red2"), ("t10h2", "h2", "t10")])
def test_the_port_with_the_wrong_vlan_is_found_from_wherever_packets_were_seen_last(
    port: str, host: str, name: str, ends: tuple[str, str]
) -> None:
    graph = switched_fabric(**{port: 20})
    traced = TracedGraph(Network(graph.revisions))
    for seen in (tid(graph, "h1", "red1"), tid(graph, "h2", "t20"), tid(graph, "h3", "blue3"), "nobody's"):
        found = traced.misfit(seen, *ends)
        assert found is not None
        assert found.place == (host, "", name)


def test_of_a_switch_whose_vlans_go_together_nothing_is_said() -> None:
    graph = switched_fabric()
    assert TracedGraph(Network(graph.revisions)).misfit(tid(graph, "h1", "red1"), *RED) is None
