"""Service map: which services are connected to which."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import HOST, HOSTS, Query, lines, once, rate, top, top_total

_PEERS = f"skytrail_peer_bytes_total{{{HOST}}}"
_SERVICES = "G.V().Has('Type', 'service').HasKey('Service.Kind')"  # not those of Kubernetes
_ENDS = "source_kind, source_namespace, source, destination_kind, destination_namespace, destination"


def build() -> str:
    """The dashboard as JSON."""
    what = (
        "Which services are connected to which, and what they send. The map needs 'service' among the hub's setting "
        "topology.linkers, the tables need the agents' prometheus.peers."
    )
    page = panels.page("services", "Service map", what, HOSTS)
    panels.section(
        page,
        "Map",
        panels.graph(
            "Services",
            "A pod, a container, a systemd unit, or a program of a host; an edge leads to the one that listens.",
            f"{_SERVICES}.SubGraph()",
            height=18,
        ),
    )
    panels.section(
        page,
        "Traffic",
        panels.rows(
            "Who sends to whom",
            "By the address book; empty: nobody that is known. Bytes in the range, of each host where the most was seen.",
            {"Bytes": (top_total(_PEERS, _ENDS, 50, once), "decbytes")},
            labels={
                "source_kind": "Kind",
                "source_namespace": "Namespace",
                "source": "From",
                "destination_kind": "Kind of the other",
                "destination_namespace": "Namespace of the other",
                "destination": "To",
            },
        ),
        lines(
            "Largest pairs",
            "The ten with the most, of each host at the capture point that saw the most.",
            "Bps",
            Query(top(_PEERS, "source, destination", how=once), "{{source}} → {{destination}}"),
        ),
        lines(
            "Packets with and without a known owner",
            "By what is known of who sends, of each host at the capture point that saw the most.",
            "pps",
            Query(rate(f"skytrail_peer_packets_total{{{HOST}}}", "source_kind", once), "from {{source_kind}}"),
        ),
        panels.listing(
            "Services",
            "What the map's nodes are.",
            f"{_SERVICES}.ValueMap('Name', 'Service.Kind', 'Service.Key', '@CreatedAt')",
        ),
        panels.listing(
            "Connections",
            "Port and protocol of each edge of the map.",
            "G.E().Has('RelationType', 'connection')",
            width=24,
        ),
    )
    return panels.render(page, [panels.annotation("Services", _SERVICES)])
