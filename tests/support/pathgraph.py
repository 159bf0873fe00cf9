"""Small graphs written by hand: hosts, namespaces, interfaces with addresses, routes and what they are joined to."""

from __future__ import annotations

from typing import Any

from topology.elements import FOREVER, Part, Revision, State, edge_id, node_id

Json = dict[str, Any]
UP = ["UP", "LOWER_UP", "BROADCAST"]


class Graph:
    """Revisions, made one after the other."""

    def __init__(self) -> None:
        self.revisions: list[Revision] = []
        self._indexes: dict[str, int] = {}
        self._hosts: dict[str, str] = {}

    def node(self, tid: str, host: str, metadata: Json) -> str:
        self._add(node_id(tid), State(host, f"agent.{host}", {"netlink": Part.of(metadata)}, tid))
        self._hosts[tid] = host
        return tid

    def edge(self, parent: str, child: str, relation: str, **metadata: Any) -> None:
        ends = node_id(parent), node_id(child)
        key = metadata.get("Type", "")
        state = State("h", "agent.h", {"netlink": Part.of({"RelationType": relation, **metadata})}, "", *ends)
        self._add(edge_id(*ends, relation, key), state)

    def _add(self, id_: str, state: State) -> None:
        self.revisions.append(Revision(id_, 1, 1, 1, FOREVER, 1, 1, state))

    def host(self, name: str, **more: Any) -> str:
        return self.node(f"host/{name}", name, {"Type": "host", "Name": name, **more})

    def netns(self, host: str, name: str, **more: Any) -> str:
        tid = self.node(f"{host}/netns/{name}", self._hosts[host], {"Type": "netns", "Name": name, **more})
        self.edge(host, tid, "ownership")
        return tid

    def device(self, owner: str, name: str, kind: str = "veth", *addresses: str, **more: Any) -> str:
        """An interface that is up, with a connected route for each address, and its own local one."""
        self._indexes[owner] = index = self._indexes.get(owner, 1) + 1
        main, local = more.pop("routes", []), []
        for address in addresses:
            ip, _, length = address.partition("/")
            local.append({"Prefix": f"{ip}/32", "Type": "local", "NextHops": [{"IfIndex": index}]})
            if int(length) < 32:
                network = ".".join([*ip.split(".")[:3], "0"]) if length == "24" else ip
                main = [*main, {"Prefix": f"{network}/{length}", "NextHops": [{"IfIndex": index}]}]
        tables = [{"ID": 254, "Routes": [_through(route, index) for route in main]}] if main else []
        tables += [{"ID": 255, "Routes": local}] if local else []
        metadata = {
            "Name": name,
            "Type": kind,
            "IfIndex": index,
            "MAC": f"02:00:00:00:{len(self.revisions):02x}:{index:02x}",
            "MTU": 1500,
            "LinkFlags": UP,
            "State": "UP",
            **({"IPV4": list(addresses)} if addresses else {}),
            **({"RoutingTables": tables} if tables else {}),
            **more,
        }
        tid = self.node(f"{owner}/link/{name}", self._hosts[owner], metadata)
        self.edge(owner, tid, "ownership")
        return tid

    def pair(self, left: str, right: str) -> None:
        self.edge(left, right, "layer2", Type="veth")

    def stack(self, lower: str, upper: str, kind: str) -> None:
        self.edge(lower, upper, "layer2", Type=kind)

    def index(self, owner: str) -> int:
        """The number of the interface that was made last."""
        return self._indexes[owner]

    def mac(self, tid: str) -> str:
        [state] = [one.state for one in self.revisions if one.id == node_id(tid)]
        assert state is not None
        found: str = state.metadata["MAC"]
        return found


def _through(route: Json, index: int) -> Json:
    return {**route, "NextHops": [{"IfIndex": index, **hop} for hop in route.get("NextHops", [{}])]}


def via(prefix: str, *gateways: str, metric: int = 0) -> Json:
    """A route through the interface that it stands at."""
    return {"Prefix": prefix, "NextHops": [{"IP": gateway, "Priority": metric} for gateway in gateways]}


class Switched(Graph):
    """Hosts with a bridge ``br-int`` of Open vSwitch each."""

    def switch(self, name: str) -> str:
        tid = self.host(name)
        bridge = self.node(f"{tid}/ovs", name, {"Type": "ovsbridge", "Name": "br-int"})
        self.edge(tid, bridge, "ownership")
        return tid

    def port(self, switch: str, name: str, vlans: Json, *addresses: str, kind: str = "system") -> str:
        device = self.device(switch, name, "veth" if kind == "system" else kind, *addresses, Ovs={"Type": kind})
        self._port(switch, name, vlans, device)
        return device

    def patch(self, switch: str, bridge: str, name: str, vlans: Json) -> str:
        end = self.node(f"{switch}/patch/{name}", switch.removeprefix("host/"), {"Type": "patch", "Name": name})
        self._port(switch, name, vlans, end, bridge)
        return end

    def _port(self, switch: str, name: str, vlans: Json, interface: str, bridge: str = "") -> None:
        host = switch.removeprefix("host/")
        port = self.node(f"{switch}/port/{name}", host, {"Type": "ovsport", "Name": name, "Ovs": vlans})
        for relation in ("ownership", "layer2"):
            self.edge(bridge or f"{switch}/ovs", port, relation)
        self.edge(port, interface, "layer2")

    def workload(self, switch: str, name: str, vlans: Json, address: str) -> None:
        inside = self.device(self.netns(switch, name), "eth0", "veth", address)
        self.pair(inside, self.port(switch, name, vlans))


def switched_fabric(**wrong: int) -> Graph:
    """Two tenants on three hosts, whose switches are joined by a pair for each tenant between the first and each other one."""
    graph = Switched()
    hosts = [graph.switch(f"h{number}") for number in (1, 2, 3)]
    for name, vlan, net in (("red", 10, 10), ("blue", 20, 20)):
        for number, host in enumerate(hosts, 1):
            own = f"{name}{number}"
            graph.workload(host, own, {"Tag": wrong.get(own, vlan)}, f"10.0.{net}.{number}/24")
        for number, host in enumerate(hosts[1:], 2):
            here, there = f"t{vlan}x{number}", f"t{vlan}"
            graph.pair(
                graph.port(hosts[0], here, {"Tag": wrong.get(here, vlan)}),
                graph.port(host, there, {"Tag": wrong.get(f"{there}h{number}", vlan)}),
            )
    return graph
