"""Overview: is all well, and where to look next."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import HOST, HOSTS, NONE_IS_GOOD, each, largest, lines, number, once, quantiles, rate, to

_SEGMENTS = f'skytrail_netstat_events_total{{{HOST}, protocol="Tcp", field="OutSegs"}}'
_TO_HOST = to("host", "This host", host="${__field.labels.instance}")


def build() -> str:
    """The dashboard as JSON."""
    page = panels.page("overview", "Overview", "Is all well in the network, and where to look next.", HOSTS)
    panels.section(
        page,
        "Now",
        number("Agents", "Agents that Prometheus reaches.", "short", f"count(skytrail_flow_drains_total{{{HOST}}})", width=3),
        number(
            "Agents away",
            "Agents that were connected to a hub since its start, and are not any more.",
            "short",
            'sum(skytrail_wire_agents{state="gone"})',
            width=3,
            limits=NONE_IS_GOOD,
        ),
        number(
            "Alerts",
            "Alerts of Skytrail's rules that fire.",
            "short",
            'sum(ALERTS{alertname=~"Skytrail.+", alertstate="firing"}) or vector(0)',
            width=3,
            limits=NONE_IS_GOOD,
        ),
        number("Flows", "Flows in the tables of all agents.", "short", f"sum(skytrail_flows_active{{{HOST}}})", width=3),
        number("New flows", "Flows that began.", "cps", rate(f"skytrail_flows_new_total{{{HOST}}}"), width=3),
        number(
            "Drops",
            "Packets that kernels dropped, for whatever reason; some are dropped in the best of networks.",
            "pps",
            f"{rate(f'skytrail_packets_dropped_total{{{HOST}}}')} or vector(0)",
            width=3,
            limits=((None, "green"), (10, "orange"), (100, "red")),
        ),
        number(
            "TCP sent again",
            "Share of TCP segments that were sent again.",
            "percentunit",
            f"{rate(f'skytrail_tcp_retransmits_total{{{HOST}}}')} / {rate(_SEGMENTS)}",
            width=3,
            limits=((None, "green"), (0.01, "orange"), (0.05, "red")),
        ),
        number("Topology", "Nodes and edges that are there now.", "short", "max(skytrail_topology_elements)", width=3),
    )
    panels.section(
        page,
        "Traffic",
        largest(
            "Bytes by host",
            "At the busiest interface of each host but loopback, both directions. The ten with the most.",
            "Bps",
            f'skytrail_interface_bytes_total{{{HOST}, device!="lo"}}',
            "instance",
            how=once,
            links=[_TO_HOST],
        ),
        largest(
            "Bytes by application",
            "By the port's name, of each host at the capture point that sees the most of it. The ten with the most.",
            "Bps",
            f"skytrail_flow_bytes_total{{{HOST}}}",
            "application",
            how=once,
            stacked=True,
            links=[to("flows", "Flows", "host")],
        ),
        each(
            "New flows by transport",
            "Flows that began, at all capture points.",
            "cps",
            f"skytrail_flows_new_total{{{HOST}}}",
            "transport",
            stacked=True,
        ),
        lines(
            "TCP round trip",
            "From a SYN to its SYN-ACK, at all capture points.",
            "s",
            *quantiles("skytrail_flow_tcp_rtt_seconds", HOST),
            links=[to("tcp", "TCP health", "host")],
        ),
    )
    panels.section(
        page,
        "Trouble",
        largest(
            "Drops by reason",
            "By the kernel's own reason. The ten with the most.",
            "pps",
            f"skytrail_packets_dropped_total{{{HOST}}}",
            "reason",
            stacked=True,
            links=[to("drops", "Drops for this reason", "host", reason="${__field.labels.reason}")],
        ),
        largest(
            "TCP segments sent again, by host",
            "SYNs among them. The ten with the most.",
            "pps",
            f"skytrail_tcp_retransmits_total{{{HOST}}}",
            "instance",
            links=[_TO_HOST],
        ),
    )
    panels.section(
        page,
        "Topology",
        panels.graph(
            "How hosts are connected",
            "Interfaces, and tunnels, next hops and neighbours between them. A node's menu leads to all that is known of it.",
            "G.V().Has('@Host', Regex('$host')).BothE('RelationType', Within('tunnel', 'nexthop', 'neighbour')).SubGraph()",
            width=16,
        ),
        panels.changes(
            "What changed", "Each change in the range.", "G.V().Has('@Host', Regex('$host'))", "each", width=8, height=14
        ),
    )
    return panels.render(page, [panels.annotation("Interfaces", "G.V().Has('@Host', Regex('$host')).HasKey('IfIndex')")])
