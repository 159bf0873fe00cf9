"""Topology: the graph at a time, and what is otherwise than at another."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import Query, answers_of, each, lines, number, rate

_TYPES = answers_of("type", "Type", "G.V().Values('Type')", several=True)
_HOST = answers_of("host", "Host", "G.V().Has('Type', 'host').Values('Name')", several=True)
_PLACES = "G.V().Has('Type', Within('host', 'netns', 'container', 'pod')).Values('Name')"
_CHOSEN = "Has('Type', Regex('$type'), '@Host', Regex('$host'))"

_SIZES = (
    ("Elements", "Nodes and edges now.", "short", "max(skytrail_topology_elements)"),
    ("Revisions", "That are kept, the living ones among them.", "short", "max(skytrail_topology_revisions)"),
    ("Changes", "Written by hubs.", "cps", rate("skytrail_topology_changes_total")),
    ("Edges by linkers", "Tunnels, next hops, neighbours.", "short", "sum(max by (linker) (skytrail_linker_edges))"),
    ("Size", "Of the store on disk.", "bytes", "max(skytrail_topology_store_bytes)"),
    ("Addresses", "In the hub's address book.", "short", "max(skytrail_addresses_entries)"),
)
"""Numbers, of several hubs of one store the largest: each tells of all of it."""


def build() -> str:
    """The dashboard as JSON."""
    what = "The network's graph at the beginning and at the end of the range, and what changed between."
    source, destination = answers_of("source", "From", _PLACES), answers_of("destination", "To", _PLACES)
    page = panels.page("topology", "Topology at a time", what, _HOST, _TYPES, source, destination, refresh="")
    panels.section(
        page,
        "Then and now",
        panels.graph(
            "At the beginning of the range",
            "The graph as it was then.",
            f"G.V().{_CHOSEN}.SubGraph()",
            moment="start",
            width=12,
        ),
        panels.graph("At its end", "The graph as it was then, or is now.", f"G.V().{_CHOSEN}.SubGraph()", width=12),
        panels.changes(
            "What is otherwise at the end",
            "In the whole graph: added, removed, changed between the two moments, with what keys were and are.",
            f"G.V().{_CHOSEN}",
            "ends",
        ),
        panels.changes("Each change", "In the order in which they came.", f"G.V().{_CHOSEN}", "each"),
    )
    panels.section(
        page,
        "How much",
        *(number(*row) for row in _SIZES),
        each(
            "Changes",
            "Revisions and deletions that were written.",
            "cps",
            "skytrail_topology_changes_total",
            "instance",
        ),
        lines(
            "Edges that linkers made",
            "By linker.",
            "short",
            Query("max by (linker) (skytrail_linker_edges)", "{{linker}}"),
            stacked=True,
        ),
    )
    panels.section(
        page,
        "A packet's way",
        panels.way(
            "There",
            "By routes, bridges and tunnels of the graph at the end of the range, and where and why it ends. Nothing is sent.",
            "$source",
            "$destination",
        ),
        panels.way("And back", "The other way round.", "$destination", "$source"),
    )
    return panels.render(page, [panels.annotation("Topology", f"G.V().{_CHOSEN}")])
