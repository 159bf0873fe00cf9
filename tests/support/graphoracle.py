"""What iproute2 says that the graph of some namespaces is, and what a graph of ours says, in one shape to compare.

The oracle knows nothing of our decoders: ``ip -j -d addr``, ``ip -j netns``, ``ip -j netns list-id`` and ``bridge -j link``.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

HOST = ""
"""The name here of the namespace of the tests themselves, the host's."""

Place = tuple[str, int]
"""Namespace's name and ifindex; ifindex 0: the namespace itself."""

_WITH_LOWER = frozenset({"macvlan", "macvtap", "ipvlan", "vlan"})
_PAIRS = frozenset({"veth"})


@dataclass
class Picture:
    """A graph by places.

    Attributes:
        nodes: what is at each place.
        edges: relation, type, and the two ends; those of a pair have no direction, and are sorted.
    """

    nodes: dict[Place, Json] = field(default_factory=dict)
    edges: set[tuple[str, str, Place, Place]] = field(default_factory=set)

    def differences(self, other: Picture) -> list[str]:
        """What is otherwise there, a line each."""
        lines = [f"{place} only here: {self.nodes[place]}" for place in sorted(self.nodes.keys() - other.nodes.keys())]
        lines += [f"{place} only there: {other.nodes[place]}" for place in sorted(other.nodes.keys() - self.nodes.keys())]
        for place in sorted(self.nodes.keys() & other.nodes.keys()):
            mine, theirs = self.nodes[place], other.nodes[place]
            lines += [
                f"{place} ({mine.get('Name')}) {key}: here {mine.get(key)!r}, there {theirs.get(key)!r}"
                for key in sorted(mine.keys() | theirs.keys())
                if mine.get(key) != theirs.get(key)
            ]
        lines += [f"edge only here: {edge}" for edge in sorted(self.edges - other.edges)]
        return lines + [f"edge only there: {edge}" for edge in sorted(other.edges - self.edges)]


def _edge(relation: str, kind: str, parent: Place, child: Place) -> tuple[str, str, Place, Place]:
    first, second = sorted((parent, child)) if kind in _PAIRS else (parent, child)
    return relation, kind, first, second


class _NamespaceGoneError(Exception):
    """It went while it was looked at."""


def _json(*words: str, netns: str) -> list[Json]:
    where = [words[0], *(["-n", netns] if netns else []), "-j", *words[1:]]
    done = subprocess.run(where, capture_output=True, text=True)
    if done.returncode:
        raise _NamespaceGoneError(f"{' '.join(where)}: {done.stderr}")
    found: list[Json] = json.loads(done.stdout or "[]")
    return [one for one in found if one]


def namespaces_of(prefix: str) -> list[str]:
    """The names of namespaces that begin so."""
    return sorted(one["name"] for one in _json("ip", "netns", netns=HOST) if one["name"].startswith(prefix))


def expected_graph(prefix: str) -> Picture:
    """The graph of the namespaces whose names begin so, and of the links on the host whose names do.

    Raises:
        AssertionError: a namespace went meanwhile.
    """
    picture = Picture()
    listings: dict[str, list[Json]] = {}
    numbers: dict[str, dict[int, str]] = {}
    try:
        for name in namespaces_of(prefix):
            path = Path("/run/netns") / name
            picture.nodes[name, 0] = {"Name": name, "Type": "netns", "Path": str(path), "Inode": path.stat().st_ino}
            listings[name] = _json("ip", "-d", "addr", "show", netns=name)
            numbers[name] = _numbers(name)
        ours = [link for link in _json("ip", "-d", "addr", "show", netns=HOST) if link["ifname"].startswith(prefix)]
        listings[HOST], numbers[HOST] = ours, _numbers(HOST)
        states = {name: _port_states(name) for name in listings}
    except (_NamespaceGoneError, OSError) as error:
        raise AssertionError(str(error)) from error
    for name, links in listings.items():
        for link in links:
            _add_link(picture, name, link, listings, numbers[name], states[name])
    picture.edges = {edge for edge in picture.edges if {edge[2], edge[3]} <= picture.nodes.keys() | {(HOST, 0)}}
    for name in listings:
        if name != HOST:
            picture.edges.add(("ownership", "", (HOST, 0), (name, 0)))
    return picture


def _numbers(name: str) -> dict[int, str]:
    """What a namespace's numbers for others mean; those without a name are the host's own, as far as our tests go."""
    return {one["nsid"]: one.get("name", HOST) for one in _json("ip", "netns", "list-id", netns=name)}


def _port_states(name: str) -> dict[int, str]:
    return {port["ifindex"]: port["state"] for port in _json("bridge", "link", netns=name) if "state" in port}


def _add_link(
    picture: Picture, name: str, link: Json, listings: dict[str, list[Json]], numbers: dict[int, str], states: dict[int, str]
) -> None:
    place, indexes = (name, link["ifindex"]), {one["ifname"]: one["ifindex"] for one in listings[name]}
    info = link.get("linkinfo", {})
    kind, data = info.get("info_kind", "device"), info.get("info_data", {})
    node: Json = {
        "Name": link["ifname"],
        "Type": kind,
        "MAC": link.get("address"),
        "MTU": link["mtu"],
        "IfIndex": link["ifindex"],
        "State": link["operstate"],
    }
    for key, family in (("IPV4", "inet"), ("IPV6", "inet6")):
        found = [one for one in link["addr_info"] if one.get("family") == family]
        if found:
            node[key] = sorted(f"{one['local']}/{one['prefixlen']}" for one in found)
    picture.edges.add(("ownership", "", (name, 0), place))
    if "master" in link:
        node["MasterIndex"] = indexes[link["master"]]
        picture.edges.add(("layer2", "", (name, node["MasterIndex"]), place))
        if place[1] in states:
            node["PortState"] = states[place[1]]
    there = numbers.get(link["link_netnsid"]) if "link_netnsid" in link else name
    assert there is not None, f"{link['ifname']} points into a namespace that is going"
    if kind in _PAIRS | _WITH_LOWER:
        index = link["link_index"] if "link_index" in link else indexes.get(link.get("link", ""), 0)
        if kind in _PAIRS:
            node["PeerIfIndex"] = index
        picture.edges.add(_edge("layer2", kind, (there, index), place))
    if kind == "vlan":
        node["Vlan"] = data["id"]
    if kind == "vxlan":
        node["VNI"] = data["id"]
        if "link" in data:
            picture.edges.add(_edge("layer2", kind, (there, _index(data["link"], indexes)), place))
    picture.nodes[place] = node


def _index(shown: str, indexes: dict[str, int]) -> int:
    """The ifindex behind what ip shows: it looks for a name where the link is, and says if<ifindex> if there is none."""
    if shown in indexes:
        return indexes[shown]
    matched = re.fullmatch(r"if(\d+)", shown)
    assert matched, shown
    return int(matched[1])


_KEYS = ("Name", "Type", "MAC", "MTU", "IfIndex", "State", "IPV4", "IPV6", "MasterIndex", "PeerIfIndex", "Vlan")


@dataclass
class Seen:
    """A graph of ours by places.

    Attributes:
        picture: to compare with the oracle's.
        ids: the element's ID at each place.
        revisions: of each element, by its ID.
    """

    picture: Picture
    ids: dict[Place, str]
    revisions: dict[str, int]


def seen_graph(graph: Json, prefix: str) -> Seen:
    """What a graph of the hub says of the namespaces and links whose names begin so.

    Raises:
        AssertionError: an edge without an end, a node that belongs nowhere or to two, two nodes at one place.
    """
    nodes = {node["ID"]: node for node in graph["Nodes"]}
    assert len(nodes) == len(graph["Nodes"]), "an ID stands twice in the graph"
    owners: dict[str, list[str]] = {}
    for edge in graph["Edges"]:
        assert edge["Parent"] in nodes, f"an edge without its parent: {edge}"
        assert edge["Child"] in nodes, f"an edge without its child: {edge}"
        if edge["Metadata"]["RelationType"] == "ownership":
            owners.setdefault(edge["Child"], []).append(edge["Parent"])
    places: dict[str, Place] = {}
    for id_, node in nodes.items():
        owner = owners.get(id_, [])
        name = node["Metadata"]["Name"]
        is_host = node["Metadata"]["Type"] == "host"
        assert len(owner) == 1 or is_host or not name.startswith(prefix), f"{name} belongs to {owner}"
        place = _place(node, [nodes[one] for one in owner], prefix)
        if place is not None:
            assert place not in places.values(), f"two nodes at {place}"
            places[id_] = place
    picture = Picture({place: _compared(nodes[id_]["Metadata"]) for id_, place in places.items()})
    hosts = {id_: (HOST, 0) for id_, node in nodes.items() if node["Metadata"]["Type"] == "host"}
    revisions = {id_: nodes[id_]["Revision"] for id_ in places}
    for edge in graph["Edges"]:
        ends = [places.get(edge[end]) or hosts.get(edge[end]) for end in ("Parent", "Child")]
        if ends[0] is None or ends[1] is None:
            continue
        shown = _edge(edge["Metadata"]["RelationType"], edge["Metadata"].get("Type", ""), ends[0], ends[1])
        assert shown not in picture.edges, f"two edges: {shown}"
        picture.edges.add(shown)
        revisions[edge["ID"]] = edge["Revision"]
    return Seen(picture, {place: id_ for id_, place in places.items()}, revisions)


def _place(node: Json, owners: list[Json], prefix: str) -> Place | None:
    """None for what is not of the test."""
    metadata = node["Metadata"]
    if metadata["Type"] == "netns":
        return (metadata["Name"], 0) if metadata["Name"].startswith(prefix) else None
    for owner in owners:
        if owner["Metadata"]["Type"] == "netns" and owner["Metadata"]["Name"].startswith(prefix):
            return owner["Metadata"]["Name"], metadata["IfIndex"]
        if owner["Metadata"]["Type"] == "host" and metadata["Name"].startswith(prefix):
            return HOST, metadata["IfIndex"]
    return None


def _compared(metadata: Json) -> Json:
    if metadata["Type"] == "netns":
        return {key: metadata.get(key) for key in ("Name", "Type", "Path", "Inode")}
    found = {key: metadata[key] for key in _KEYS if key in metadata}
    if "VXLAN" in metadata:
        found["VNI"] = metadata["VXLAN"].get("ID")
    if "BridgePort" in metadata:
        found["PortState"] = metadata["BridgePort"]["State"]
    return found
