"""Containers of a real dockerd before a real ``skytrail up``; what is expected is what ``docker`` and ``ip`` say."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.containers import IMAGE, Dockerd

from skytrail.runtimes.dockermessages import nanoseconds
from support.hublab import Hub
from support.netlab import Net
from support.ports import free_port

PORT = 7000
SERVER = ("/bin/busybox", "httpd", "-f", "-p", str(PORT), "-h", "/tmp")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Joined:
    """A container, and how it hangs on the network.

    Attributes:
        name: its name.
        inode: of its network namespace.
        interface: its interface there, by number and name.
        veth: the other end, by number and name.
        bridge: what that is a port of.
        network: the runtime's network, by ID, and the container's address there.
    """

    name: str
    inode: int
    interface: tuple[int, str]
    veth: tuple[int, str]
    bridge: str
    network: tuple[str, str]


class Graph:
    """The hub's graph, to be walked."""

    def __init__(self, graph: Json) -> None:
        self.nodes = {node["ID"]: node["Metadata"] for node in graph["Nodes"]}
        self.edges = [(edge["Parent"], edge["Child"], edge["Metadata"]) for edge in graph["Edges"]]

    def of_type(self, kind: str) -> dict[str, Json]:
        """Nodes by ID."""
        return {id_: keys for id_, keys in self.nodes.items() if keys["Type"] == kind}

    def parents(self, id_: str, relation: str) -> list[str]:
        return [parent for parent, child, keys in self.edges if child == id_ and keys["RelationType"] == relation]

    def children(self, id_: str, relation: str) -> list[str]:
        return [child for parent, child, keys in self.edges if parent == id_ and keys["RelationType"] == relation]

    def joined(self, id_: str) -> Joined:
        """A container by the graph's edges; raises ValueError where one is missing, or there are two."""
        [namespace] = self.parents(id_, "ownership")
        [interface] = [one for one in self.children(namespace, "ownership") if self.nodes[one]["Type"] == "veth"]
        ends = {*self.parents(interface, "layer2"), *self.children(interface, "layer2")}
        [veth] = [one for one in ends if self.nodes[one]["Type"] == "veth"]
        [bridge] = [one for one in self.parents(veth, "layer2") if self.nodes[one]["Type"] == "bridge"]
        [network] = self.parents(id_, "network")
        assert self.children(network, "network").count(bridge) == 1
        [place] = [keys for parent, child, keys in self.edges if (parent, child) == (network, id_)]
        return Joined(
            self.nodes[id_]["Name"],
            self.nodes[namespace]["Inode"],
            (self.nodes[interface]["IfIndex"], self.nodes[interface]["Name"]),
            (self.nodes[veth]["IfIndex"], self.nodes[veth]["Name"]),
            self.nodes[bridge]["Name"],
            (self.nodes[network]["ContainerNetwork"]["ID"], place["IPV4"]),
        )


class ContainerLab:
    """A hub, and a dockerd in a namespace of its own with one network of its making."""

    def __init__(self, folder: Path, net: Net, archive: Path) -> None:
        self.net, self.netns, self.port = net, net.netns("d"), free_port()
        net.ip("link set lo up", netns=self.netns)
        self.docker = Dockerd(folder / "docker", self.netns)
        settings = {
            "containers.docker": json.dumps([str(self.docker.socket)]),
            "flow.interfaces": '["eth0"]',
            "flow.netns": "all",
            "agent.listen": f"127.0.0.1:{self.port}",
        }
        self.hub = Hub(folder / "hub", settings)
        self._archive = archive
        self.server = ""

    def start(self) -> None:
        """Start both; then one container that the others connect to."""
        self.docker.start()
        self.docker.load(self._archive)
        self.docker.run("network", "create", "--subnet", "10.99.0.0/16", "lab")
        self.hub.start()
        self.run("server", *SERVER)
        self.server = self.docker.inspect("server")["NetworkSettings"]["Networks"]["lab"]["IPAddress"]

    def run(self, name: str, *command: str, options: Iterable[str] = ()) -> str:
        """Run a container in the network; gives its ID."""
        return self.docker.run("run", "-d", "--name", name, "--network", "lab", *options, IMAGE, *command)

    def asked(self, query: str) -> Any:
        """The answer to a question in Skydive's dialect."""
        return json.loads(self.hub.post("/api/topology", {"GremlinQuery": query}))

    def client(self, name: str, *options: str) -> str:
        """One that has a connection to the server, on which it sends a line of an endless request every second."""
        lines = "(echo GET / HTTP/1.1; while sleep 1; do echo X: y; done)"
        # again and again: the server has enough after a minute
        command = f"while :; do {lines} | /bin/busybox nc {self.server} {PORT}; sleep 1; done"
        return self.run(name, "/bin/sh", "-c", command, options=options)

    def graph(self) -> Graph:
        """As it is now."""
        return Graph(self.hub.graph())

    def containers(self) -> dict[str, str]:
        """IDs in the graph, by the containers' own."""
        return {keys["Container"]["ID"]: id_ for id_, keys in self.graph().of_type("container").items() if self._is_ours(keys)}

    def _is_ours(self, keys: Json) -> bool:
        return keys["Manager"] == "docker" and any(one["Name"] == "lab" for one in keys["Container"].get("Networks", ()))

    def expected(self, identities: Iterable[str]) -> dict[str, Joined]:
        """What ``docker inspect`` and ``ip`` say, by ID."""
        said: list[Json] = json.loads(self.docker.run("inspect", *identities))
        links = {one["ifindex"]: one for one in json.loads(self.net.ip("-j link", netns=self.netns))}
        return {one["Id"]: self._expected(one, links) for one in said}

    def _expected(self, said: Json, links: Mapping[int, Json]) -> Joined:
        namespace = Path(f"/proc/{said['State']['Pid']}/ns/net")
        shown = subprocess.run(
            ["nsenter", f"--net={namespace}", "ip", "-j", "link"], capture_output=True, text=True, check=True
        ).stdout
        [interface] = [one for one in json.loads(shown) if one["ifname"] != "lo"]
        veth = links[interface["link_index"]]
        place = said["NetworkSettings"]["Networks"]["lab"]
        return Joined(
            said["Name"].removeprefix("/"),
            namespace.stat().st_ino,
            (interface["ifindex"], interface["ifname"]),
            (veth["ifindex"], veth["ifname"]),
            veth["master"],
            (place["NetworkID"], f"{place['IPAddress']}/{place['IPPrefixLen']}"),
        )

    def owners(self) -> dict[str, set[str]]:
        """Whose the connections to the server are: names of containers, by the inode of the namespace that saw them."""
        query = urllib.parse.urlencode({"filter": f"tcp and port {PORT}"})
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/flows?{query}", timeout=30) as answer:
            flows: list[Json] = json.loads(answer.read())
        found: dict[str, set[str]] = {}
        for flow in flows:
            names = {end["Name"] for end in flow.get("Container", {}).values() if "Name" in end}
            found.setdefault(flow["Namespace"], set()).update(names)
        return found

    def all_joined(self, identities: list[str]) -> bool:
        """Assert that these hang on the network in the graph as they do."""
        graph, expected = self.graph(), self.expected(identities)
        there = {keys["Container"]["ID"]: id_ for id_, keys in graph.of_type("container").items()}
        try:
            found = {one: graph.joined(there[one]) for one in identities}
        except (LookupError, ValueError) as error:
            raise AssertionError(f"not whole (yet): {error!r}") from error
        assert found == expected
        return True

    def all_named(self, identities: list[str]) -> bool:
        """Assert that the connections of these are known to be theirs."""
        owners = self.owners()
        for one in self.expected(identities).values():
            assert one.name in owners.get(f"inode:{one.inode}", ()), (one, owners)
        return True

    def intervals(self) -> dict[str, list[tuple[int, int]]]:
        """When containers that ended were there, ms since the epoch, by ID: one for each time."""
        revisions: list[Json] = self.asked("G.At(NOW, '1h').V().Has('Type', 'container')")
        found: dict[str, set[tuple[int, int]]] = {}
        for one in revisions:
            if one["DeletedAt"]:
                found.setdefault(one["Metadata"]["Container"]["ID"], set()).add((one["CreatedAt"], one["DeletedAt"]))
        return {identity: sorted(some) for identity, some in found.items()}

    def lived(self, identities: Iterable[str]) -> dict[str, tuple[int, int]]:
        """The same as ``docker inspect`` says."""
        said: list[Json] = json.loads(self.docker.run("inspect", *identities))
        return {one["Id"]: (_ms(one["State"]["StartedAt"]), _ms(one["State"]["FinishedAt"])) for one in said}

    def close(self) -> None:
        """End both."""
        self.hub.close()
        self.docker.__exit__()


def _ms(text: str) -> int:
    return nanoseconds(text) // 10**6
