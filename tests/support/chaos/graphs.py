"""Judges what hubs show now by what iproute2 says on each host; and that agents have left nothing in the kernel."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from skytrail.lab.places import run
from skytrail.lab.plan import Place
from support.chaos.laboratory import NODES, Chaos
from support.graphoracle import HOST, Picture, seen_graph

_ORACLE = Path(__file__).with_name("oracle.py")
_SECONDS = 60.0
_RELATIONS = frozenset({"ownership", "layer2"})
_CABLES = frozenset({"eth0", "mgmt0"})
"""Interfaces of a host whose other ends are where no agent is."""
_VOLATILE = frozenset({"Metric", "LastUpdateMetric", "Neighbors", "FDB"})

Json = dict[str, Any]


def wrong(chaos: Chaos) -> list[str]:
    """What differs, for a minute, between hosts and hubs, or between hubs; empty: nothing."""
    deadline = time.monotonic() + _SECONDS
    while differences := _differences(chaos):
        if time.monotonic() > deadline:
            return differences
        time.sleep(0.5)
    return []


def _differences(chaos: Chaos) -> list[str]:
    truth = {node: _truth(chaos, node) for node in NODES}
    found: list[str] = []
    shown: list[Json] = []
    for hub in chaos.hubs:
        try:
            graph = hub.get("/api/v1/graph")
        except (OSError, ValueError) as error:
            return [f"{hub.part.name}: {error}"]
        shown.append(_comparable(graph))
        for node in NODES:
            try:
                seen = seen_graph(_of_host(graph, f"host/{chaos.lab.name}-{node}"), "").picture
            except AssertionError as error:
                found.append(f"{hub.part.name}, {node}: {error}")
                continue
            lines = _without_cables(truth[node]).differences(_without_cables(seen))
            found += [f"{hub.part.name}, {node}: iproute2 (here), graph (there): {line}" for line in lines]
    for hub, one in zip(chaos.hubs[1:], shown[1:], strict=True):
        for id_ in shown[0].keys() | one.keys():
            if shown[0].get(id_) != one.get(id_):
                found.append(f"{id_}: hub0 shows {shown[0].get(id_)}, {hub.part.name} {one.get(id_)}")
    return found


def _truth(chaos: Chaos, node: str) -> Picture:
    status, said = run(chaos.lab, Place(node), [sys.executable, str(_ORACLE)])
    assert status == 0, said
    told = json.loads(said)
    edges = {(relation, kind, tuple(first), tuple(second)) for relation, kind, first, second in told["edges"]}
    return Picture({(netns, index): one for netns, index, one in told["nodes"]}, edges)


def _without_cables(picture: Picture) -> Picture:
    ends = {place for place, node in picture.nodes.items() if place[0] == HOST and node["Name"] in _CABLES}
    edges = {edge for edge in picture.edges if edge[1] != "veth" or not {edge[2], edge[3]} & ends}
    return Picture(picture.nodes, edges)


def _of_host(graph: Json, tid: str) -> Json:
    nodes = [one for one in graph["Nodes"] if f"{one['Metadata'].get('TID', '')}/".startswith(f"{tid}/")]
    ids = {one["ID"] for one in nodes}
    edges = [
        one for one in graph["Edges"] if one["Metadata"]["RelationType"] in _RELATIONS and {one["Parent"], one["Child"]} & ids
    ]
    return {"Nodes": nodes, "Edges": edges}


def _comparable(graph: Json) -> Json:
    return {
        one["ID"]: (one["Revision"], one["UpdatedAt"], {k: v for k, v in one["Metadata"].items() if k not in _VOLATILE})
        for one in [*graph["Nodes"], *graph["Edges"]]
    }


def left(chaos: Chaos) -> list[str]:
    """Programs that are attached where no agent runs any more."""
    found = []
    for node in NODES:
        _, said = run(chaos.lab, Place(node), ["ip", "-j", "netns"])
        for netns in ["", *(one["name"] for one in json.loads(said or "[]") if one)]:
            place = Place(node, netns)
            status, told = run(chaos.lab, place, ["bpftool", "-j", "net", "show"])
            assert status == 0, told
            found += [f"{place}: {kind} {one}" for kind, all_ in json.loads(told)[0].items() for one in all_]
    return found
