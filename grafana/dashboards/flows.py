"""Flows: what runs through the network, and who talks the most."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import (
    DEVICES,
    HOSTS,
    NAMESPACES,
    POINT,
    each,
    largest,
    number,
    once,
    rate,
    to,
    top_total,
)

_BYTES, _INNER, _PACKETS = (f"skytrail_flow_{what}_total{{{POINT}}}" for what in ("bytes", "inner_bytes", "packets"))
_ONCE = "Of each host at the capture point that sees the most of it, so that what passes several counts once."
_WAYS = ("AB", "BA")  # a download is large from B, whom somebody asked, to A
_WHERE = "Has('@Host', Regex('$host')).HasKey('IfIndex').Flows()"


def build() -> str:
    """The dashboard as JSON."""
    what = "What runs through the network, and who talks the most."
    page = panels.page("flows", "Flows and top talkers", what, HOSTS, NAMESPACES, DEVICES, refresh="1m")
    panels.section(
        page,
        "Now",
        number(
            "Flows",
            "In the tables of all agents; a conversation is a flow at each capture point.",
            "short",
            f"sum(skytrail_flows_active{{{POINT}}})",
        ),
        number("Bytes", f"Of outermost flows. {_ONCE}", "Bps", rate(_BYTES, how=once)),
        number("Packets", f"A super-packet counts its segments. {_ONCE}", "pps", rate(_PACKETS, how=once)),
        number(
            "In tunnels",
            "Share of the bytes that are inside tunnels.",
            "percentunit",
            f"{rate(_INNER, how=once)} / {rate(_BYTES, how=once)}",
        ),
        number(
            "Began",
            "Flows that began; a conversation is a flow at each capture point.",
            "cps",
            rate(f"skytrail_flows_new_total{{{POINT}}}"),
        ),
        number(
            "On no flow",
            "Packets that the hooks saw and that are on no flow: the sum of all reasons.",
            "pps",
            rate(f"skytrail_flow_lost_packets_total{{{POINT}}}"),
            limits=panels.NONE_IS_GOOD,
        ),
    )
    panels.section(
        page,
        "What",
        largest(
            "Bytes by application",
            f"By the port's name, the ten with the most. {_ONCE}",
            "Bps",
            _BYTES,
            "application",
            how=once,
            stacked=True,
        ),
        largest(
            "Packets by network and transport",
            f"Outermost flows. {_ONCE}",
            "pps",
            _PACKETS,
            "network, transport",
            how=once,
            stacked=True,
        ),
        largest(
            "Bytes in tunnels",
            f"Of the flows inside, by application, the ten with the most. {_ONCE}",
            "Bps",
            _INNER,
            "application",
            how=once,
            stacked=True,
        ),
        largest(
            "Bytes by capture point",
            "The ten with the most.",
            "Bps",
            _BYTES,
            "instance, netns, device",
            links=[to("host", "This host", host="${__field.labels.instance}")],
        ),
        each(
            "Flows by transport",
            "In the tables.",
            "short",
            f"skytrail_flows_active{{{POINT}}}",
            "transport",
            stacked=True,
        ),
        each(
            "Flows that ended, by how",
            "A reset, a FIN each way, or nothing for a while.",
            "cps",
            f"skytrail_flows_ended_total{{{POINT}}}",
            "transport, finish",
            stacked=True,
        ),
    )
    panels.section(
        page,
        "Who",
        panels.rows(
            "Owners",
            f"By whose socket sent or got the bytes in the range. {_ONCE}",
            {
                "Bytes": (
                    top_total(f"skytrail_owner_flow_bytes_total{{{POINT}}}", "instance, owner_kind, owner", 20, once),
                    "decbytes",
                ),
            },
            labels={"instance": "Host", "owner_kind": "Kind", "owner": "Owner"},
            links={"Host": to("host", "This host", host="${__value.raw}")},
        ),
        panels.rows(
            "Subnets",
            f"Bytes in the range between the networks that the setting 'subnets' names; empty: others. {_ONCE}",
            {
                "Bytes": (
                    top_total(_BYTES, "source_subnet, destination_subnet", 20, once),
                    "decbytes",
                ),
            },
            labels={"source_subnet": "From", "destination_subnet": "To"},
        ),
        panels.hub_lines(
            "The largest conversations",
            "Asked of the agents: the ten that sent the most from A to B, and the ten from B to A, wherever they were seen.",
            "Bps",
            *(
                panels.Counted(
                    f"G.V().{_WHERE}.Sort(DESC, 'Metric.{way}Bytes').Dedup('TrackingID').Limit(10).Metrics()",
                    f"{way}Bytes",
                    " → ".join(f"{{{{Network.{end}}}}} {{{{Transport.{end}}}}}" for end in way),
                )
                for way in _WAYS
            ),
            width=24,
        ),
        panels.flows(
            "Largest flows",
            "The hundred that sent the most each way, with packets in the range. A tracking ID leads to its trace.",
            *(f"G.V().{_WHERE}.Sort(DESC, 'Metric.{way}Bytes').Limit(100)" for way in _WAYS),
            by="Bytes",
        ),
    )
    return panels.render(page)
