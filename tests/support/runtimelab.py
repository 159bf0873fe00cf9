"""The netlink and containers probes in the tests' own process, before a reconciler and a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from skytrail.kernel.host import read_host
from skytrail.runtimes.client import RuntimesClient
from skytrail.runtimes.container import RuntimeApi
from skytrail.runtimes.endpoints import Endpoint, Protocol, connect
from skytrail.tid import container_tid, host_tid
from support.containerlab import Graph
from support.netlab import Net
from support.probelab import HOST, ProbeLab
from topology.elements import node_id
from topology.facts import Source
from topology.probes.containers.labels import LabelFilter
from topology.probes.containers.probe import ContainersProbe
from topology.shape import graph_json

_DISCOVER = 0.05
Json = dict[str, Any]


class RuntimeLab:
    """What ``skytrail up`` joins for containers, without its process.

    Args:
        net: for the netlink probe's lab.
        folder: for the store.
        socket: of a runtime.
        protocol: what is spoken there.
        connect: makes its client.
        gone: seconds for which nobody listens, after which it does not run.
    """

    def __init__(
        self,
        net: Net,
        folder: Path,
        socket: Path,
        protocol: Protocol = Protocol.DOCKER,
        connect: Callable[[Endpoint], RuntimeApi] = connect,
        gone: float = 60.0,
    ) -> None:
        self._host = host_tid(read_host("").host_id)
        self.kernel = ProbeLab(net, folder)
        endpoint = Endpoint("docker", str(socket), protocol)
        self.runtimes = RuntimesClient([endpoint], discover=_DISCOVER, connect=connect, gone=gone)
        source, labels = Source("containers", HOST), LabelFilter(["*"], ["*secret*"])
        report = self.kernel.reconciler.report
        self.probe = ContainersProbe(report, source, self._host, self.runtimes, self.kernel.probe, labels)
        self.runtimes.start()
        self.probe.start()

    def graph(self) -> Graph:
        """As it is now."""
        return Graph(graph_json(self.kernel.store.current()))

    def keys(self, container_id: str) -> Json:
        """A container's metadata; an AssertionError where it is not there."""
        found = self.graph().nodes.get(node_id(container_tid(self._host, container_id)))
        assert found is not None, f"{container_id} is not there"
        return found

    def owner(self, container_id: str) -> Json:
        """The metadata of what has a container's network."""
        graph = self.graph()
        parents = graph.parents(node_id(container_tid(self._host, container_id)), "ownership")
        assert len(parents) == 1, parents
        return graph.nodes[parents[0]]

    def revisions(self, container_id: str) -> int:
        """How many states it has had since it began."""
        id_ = node_id(container_tid(self._host, container_id))
        return sum(one.id == id_ and one.state is not None for one in self.kernel.store.feed(0, 100_000))

    def close(self) -> None:
        """End the probes."""
        self.probe.stop()
        self.runtimes.stop()
        self.kernel.close()
