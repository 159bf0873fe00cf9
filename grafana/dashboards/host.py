"""Host: interfaces, queues, sockets and owners of one host."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import (
    DEVICES,
    HOST,
    HOSTS,
    NAMESPACES,
    NONE_IS_GOOD,
    PLACE,
    POINT,
    SHARE,
    Query,
    each,
    largest,
    lines,
    number,
    once,
    rate,
    to,
    top,
    top_now,
)

_OF_POINT = "instance, device, netns"
_SET_UP = f"skytrail_interface_admin_up{{{POINT}}}"
_NAMED = "{{instance}} {{device}} {{netns}}"
_WHERE = "'@Host', Regex('$host')"


def _directions(metric: str, count: int = 5) -> list[Query]:
    return [
        Query(top(f'{metric}{{{POINT}, direction="{direction}"}}', _OF_POINT, count), f"{_NAMED} {direction}")
        for direction in ("receive", "transmit")
    ]


def build() -> str:
    """The dashboard as JSON."""
    page = panels.page("host", "Host", "Interfaces, queues, sockets and programs of a host.", HOSTS, NAMESPACES, DEVICES)
    panels.section(
        page,
        "Now",
        number("Interfaces", "Of all namespaces.", "short", f"count(skytrail_interface_up{{{POINT}}})"),
        number(
            "Down",
            "Interfaces that are set up and have no carrier, or are down for another reason.",
            "short",
            f"count({_SET_UP} == 1 unless skytrail_interface_carrier{{{POINT}}} == 1) or vector(0)",
            limits=NONE_IS_GOOD,
        ),
        number("Flows", "In the table now.", "short", f"sum(skytrail_flows_active{{{POINT}}})"),
        number("Sockets", "That processes have open.", "short", f"sum(skytrail_sockets{{{PLACE}}})"),
        number(
            "Drops",
            "Packets that the kernel dropped.",
            "pps",
            f"{rate(f'skytrail_packets_dropped_total{{{HOST}}}')} or vector(0)",
        ),
        number(
            "Connection tracking",
            "Share of conntrack's table that is taken, where it is fullest; 0 where nobody uses it.",
            "percentunit",
            f"max(skytrail_conntrack_entries{{{PLACE}}} / skytrail_conntrack_entries_limit{{{PLACE}}}) or vector(0)",
            limits=SHARE,
        ),
    )
    panels.section(
        page,
        "Interfaces",
        lines(
            "Bytes",
            "As the interfaces count them; the five with the most each way.",
            "Bps",
            *_directions("skytrail_interface_bytes_total"),
        ),
        lines("Packets", "A super-packet is one.", "pps", *_directions("skytrail_interface_packets_total")),
        lines(
            "Drops and errors",
            "Good packets that the interface or its driver dropped, and bad ones.",
            "pps",
            Query(
                top(f"skytrail_interface_drops_total{{{POINT}}}", f"{_OF_POINT}, direction", 5),
                f"{_NAMED} {{{{direction}}}} dropped",
            ),
            Query(
                top(f"skytrail_interface_errors_total{{{POINT}}}", f"{_OF_POINT}, direction", 5),
                f"{_NAMED} {{{{direction}}}} bad",
            ),
        ),
        lines(
            "Waiting in queues",
            "Bytes in the queueing disciplines of interfaces that have one.",
            "bytes",
            Query(top_now(f"skytrail_qdisc_backlog_bytes{{{POINT}}}", f"{_OF_POINT}, qdisc"), f"{_NAMED} {{{{qdisc}}}}"),
        ),
        panels.states(
            "Carrier",
            "The twenty interfaces whose carrier came and went the most.",
            Query(
                f"max by ({_OF_POINT}) (skytrail_interface_carrier{{{POINT}}}) and topk(20, "
                f"sum by ({_OF_POINT}) (increase(skytrail_interface_carrier_changes_total{{{POINT}}}[$__range] @ end())))",
                _NAMED,
            ),
        ),
        panels.listing(
            "All interfaces",
            "As the graph has them at the end of the range.",
            f"G.V().Has({_WHERE}).HasKey('IfIndex')"
            ".ValueMap('@Host', 'Name', 'Type', 'State', 'MAC', 'MTU', 'IPV4', 'IPV6', 'Driver')",
        ),
    )
    panels.section(
        page,
        "Programs",
        largest(
            "Bytes by owner",
            "By whose socket sent or got them: pod, container, unit or process; at the capture point that saw the most. "
            "The ten with the most.",
            "Bps",
            f"skytrail_owner_flow_bytes_total{{{POINT}}}",
            "owner_kind, owner",
            how=once,
        ),
        each(
            "Sockets by state",
            "Of all namespaces chosen.",
            "short",
            f"skytrail_sockets{{{PLACE}}}",
            "transport, state",
        ),
        lines(
            "Connections opened and accepted",
            "By process; the five with the most each.",
            "cps",
            Query(top(f"skytrail_tcp_connects_total{{{PLACE}}}", "process", 5), "{{process}} opened"),
            Query(top(f"skytrail_tcp_accepts_total{{{PLACE}}}", "process", 5), "{{process}} accepted"),
            links=[to("tcp", "TCP health", "host", "netns")],
        ),
        lines(
            "Bytes that wait in sockets",
            "To be read by processes, and to be sent or acknowledged.",
            "bytes",
            Query(
                top_now(f"skytrail_socket_receive_queue_bytes{{{PLACE}}}", "instance, netns, transport", 5),
                "{{instance}} {{netns}} {{transport}} to be read",
            ),
            Query(
                top_now(f"skytrail_socket_send_queue_bytes{{{PLACE}}}", "instance, netns, transport", 5),
                "{{instance}} {{netns}} {{transport}} to be sent",
            ),
        ),
    )
    panels.section(
        page,
        "Kernel",
        lines(
            "Packets by CPU",
            "That each took from its queues; the sixteen with the most.",
            "pps",
            Query(top(f"skytrail_softnet_processed_total{{{HOST}}}", "instance, cpu", 16), "{{instance}} cpu {{cpu}}"),
            stacked=True,
        ),
        lines(
            "CPU backlog",
            "Packets dropped as the backlog was full, and times that a CPU stopped with work left.",
            "cps",
            Query(rate(f"skytrail_softnet_dropped_total{{{HOST}}}"), "dropped"),
            Query(rate(f"skytrail_softnet_times_squeezed_total{{{HOST}}}"), "stopped early"),
            Query(rate(f"skytrail_softnet_flow_limit_total{{{HOST}}}"), "flow limit"),
        ),
        each(
            "Neighbours",
            "ARP and neighbour discovery, by state: 'failed' and 'incomplete' are those who do not answer.",
            "short",
            f"skytrail_neighbours{{{POINT}}}",
            "network, state",
            stacked=True,
        ),
        largest(
            "What protocols count",
            "The ten that grew the most, by the names of nstat.",
            "cps",
            f"skytrail_netstat_events_total{{{PLACE}}}",
            "protocol, field",
        ),
    )
    return panels.render(page, [panels.annotation("Topology", f"G.V().Has({_WHERE})")])
