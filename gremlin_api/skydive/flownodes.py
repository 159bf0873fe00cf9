"""From flows to nodes: the capture point, and the interfaces at both ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from gremlin_api.graphs.topology import TopologyVertex
from gremlin_api.interpreter.run import Run
from gremlin_api.language.syntax import Predicate
from gremlin_api.skydive.conditions import conditions, values_of
from gremlin_api.skydive.flowsource import POINT
from gremlin_api.skydive.graph import SkydiveGraph
from gremlin_api.skydive.seen import Seen
from gremlin_api.skydive.walks import once

A, B = "A", "B"

Nodes = Callable[[Iterable[Seen]], Iterator[TopologyVertex]]

_MACS = ("MAC", "PeerIntfMAC")


class FlowNodes:
    """Looks nodes of flows up in a graph."""

    def __init__(self, run: Run, graph: SkydiveGraph) -> None:
        self._run, self._graph = run, graph

    def capture(self, flows: Iterable[Seen]) -> Iterator[TopologyVertex]:
        """The capture point of each flow, where the graph has it."""
        return self._each(flows, (), capture=True)

    def ends(self, *sides: str, capture: bool = False) -> Nodes:
        """What gives the nodes at these ends of each flow, and its capture point too if asked for: no node twice for one."""
        return lambda flows: self._each(flows, sides, capture=capture)

    def _each(self, flows: Iterable[Seen], sides: Collection[str], *, capture: bool) -> Iterator[TopologyVertex]:
        every = list(flows)
        points = self._having("TID", {one.flow.get(POINT) for one in every})
        macs = {one.at(f"Link.{side}") for one in every for side in sides}
        holders = [self._having(key, macs) for key in _MACS] if sides else []
        for one in every:
            self._run.tick()
            point = next(iter(points.get(one.flow.get(POINT), ())), None)
            found = [_end(holders, one, side, point) for side in sides]
            if capture:
                found.append(point)
            yield from once(node for node in found if node is not None).values()

    def _having(self, key: str, values: set[object]) -> dict[object, list[TopologyVertex]]:
        """The nodes that have one of the values at a key, by it."""
        wanted = {one for one in values if isinstance(one, str) and one}
        if not wanted:
            return {}
        asked = conditions((key, Predicate("Within", tuple(sorted(wanted)))))
        candidates = self._graph.candidates(asked) if self._run.pushes else None
        if candidates is None:
            self._run.scan()
            candidates = self._graph.vertices()
        found: dict[object, list[TopologyVertex]] = {}
        for node in candidates:
            self._run.tick()
            assert isinstance(node, TopologyVertex)
            for value in values_of(node, key):
                if value in wanted:
                    self._run.hold()
                    found.setdefault(value, []).append(node)
        return found


def _end(
    holders: list[dict[object, list[TopologyVertex]]], seen: Seen, side: str, point: TopologyVertex | None
) -> TopologyVertex | None:
    """The node that holds the MAC of an end; of several the one with the end's address, then one on the same host."""
    mac, address = seen.at(f"Link.{side}"), seen.at(f"Network.{side}")
    host = point.revision.state.host if point is not None and point.revision.state is not None else None

    def rank(node: TopologyVertex) -> tuple[bool, bool, int, str, int]:
        addresses = (str(one).partition("/")[0] for key in ("IPV4", "IPV6") for one in values_of(node, key))
        revision = node.revision
        elsewhere = revision.state is None or revision.state.host != host
        return address not in addresses, elsewhere, revision.created_at, node.id, -revision.number

    for by_mac in holders:
        if mac in by_mac:
            return min(by_mac[mac], key=rank)
    return None
