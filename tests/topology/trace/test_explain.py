"""What explains a loss, by a graph written by hand: VLANs of Open vSwitch beside what kernels say."""

from __future__ import annotations

import pytest
from support.pathgraph import Switched, switched_fabric

from topology.path.network import Network
from topology.trace.explain import why
from topology.trace.graph import TracedGraph
from topology.trace.losses import SAYS_NOTHING, Cause, Loss, Place
from topology.trace.sightings import FORTH, End, Ends, Sighting, Ways

ENDS = Ends(End("10.0.10.1", 40000), End("10.0.10.2", 80))
SEEN = Sighting("host/h1", "", "red1", "host/h1/link/red1", "t", ENDS, ("ingress", "egress"))
SEEN.macs = "02:ff:00:00:00:01", "02:ff:00:00:00:02"  # the workloads': the host hands them on


def reason(graph: Switched, *causes: Cause, name: str = "h1", after: Sighting | None = SEEN) -> str:
    """Of a loss on a host of that name, behind the first point of the way."""
    loss = Loss(FORTH, after, None, 1, causes)
    found = why(loss, TracedGraph(Network(graph.revisions)), name, ([SEEN], []), ENDS)
    return found.reason if found else ""


def dropped(host: str, said: str, namespace: str = "") -> Cause:
    return Cause(said, Place(f"host/{host}", namespace, "x"), Ways(1, 0))


@pytest.mark.parametrize("after", [SEEN, None])
@pytest.mark.parametrize(
    ("name", "causes"),
    [
        ("h1", []),
        ("h1", [dropped("h1", SAYS_NOTHING)]),
        ("h3", [dropped("h3", "IP_INNOROUTES")]),  # where the packets have no business
        ("h1", [dropped("h1", "NO_TX_TARGET")]),
    ],
)
def test_a_wrong_vlan_explains_what_nobody_says_and_what_strayed(
    name: str, causes: list[Cause], after: Sighting | None
) -> None:
    assert reason(switched_fabric(red1=20), *causes, name=name, after=after) == "VLAN"
    assert reason(switched_fabric(), *causes, name=name, after=after) == ""


def test_what_a_kernel_says_on_the_way_counts_for_more() -> None:
    graph = switched_fabric(red2=20)
    assert reason(graph, dropped("h1", "NETFILTER_DROP")) == ""
    assert reason(graph, dropped("h3", "NETFILTER_DROP"), name="h3") == "VLAN"
