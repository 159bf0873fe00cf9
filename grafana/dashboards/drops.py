"""Drops: where packets die, and why."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import (
    DEVICES,
    HOST,
    HOSTS,
    NAMESPACES,
    PLACE,
    POINT,
    Query,
    each,
    labels_of,
    largest,
    lines,
    number,
    rate,
    to,
    top_total,
)

_REASON = labels_of("reason", "reason", "Reason", f"skytrail_packets_dropped_total{{{POINT}}}")
_DROPPED = f'skytrail_packets_dropped_total{{{POINT}, reason=~"$reason"}}'


def build() -> str:
    """The dashboard as JSON."""
    page = panels.page(
        "drops", "Drops by reason", "Where packets die, and why.", HOSTS, NAMESPACES, DEVICES, _REASON, refresh="1m"
    )
    panels.section(
        page,
        "Now",
        number("Dropped", "By the kernel, for the chosen reasons.", "pps", f"{rate(_DROPPED)} or vector(0)", width=6),
        number(
            "At interfaces",
            "By interfaces and their drivers.",
            "pps",
            rate(f"skytrail_interface_drops_total{{{POINT}}}"),
            width=6,
        ),
        number(
            "At sockets",
            "No room in a socket's queue.",
            "pps",
            f"{rate(f'skytrail_socket_dropped_packets_total{{{PLACE}}}')} or vector(0)",
            width=6,
        ),
        number("By busy CPUs", "Backlogs that were full.", "pps", rate(f"skytrail_softnet_dropped_total{{{HOST}}}"), width=6),
    )
    panels.section(
        page,
        "Why and where",
        largest(
            "By reason",
            "SKB_DROP_REASON of the kernel. The ten with the most.",
            "pps",
            _DROPPED,
            "reason",
            stacked=True,
        ),
        largest(
            "By host",
            "The ten with the most.",
            "pps",
            _DROPPED,
            "instance",
            stacked=True,
            links=[to("host", "This host", host="${__field.labels.instance}")],
        ),
        panels.rows(
            "Places",
            "Packets in the range. The fifty with the most.",
            {"Packets": (top_total(_DROPPED, "instance, netns, device, reason", 50), "short")},
            labels={"instance": "Host", "netns": "Namespace", "device": "Interface", "reason": "Reason"},
            width=24,
            links={"Host": to("host", "This host", host="${__value.raw}")},
        ),
    )
    panels.section(
        page,
        "Other counters",
        largest(
            "At interfaces",
            "Good packets that the interface or its driver dropped. The ten with the most.",
            "pps",
            f"skytrail_interface_drops_total{{{POINT}}}",
            "instance, netns, device, direction",
        ),
        largest(
            "What interfaces say of errors",
            "The ten with the most.",
            "pps",
            f"skytrail_interface_error_reasons_total{{{POINT}}}",
            "instance, device, reason",
        ),
        largest(
            "In queueing disciplines",
            "Packets that they dropped. The ten with the most.",
            "pps",
            f"skytrail_qdisc_drops_total{{{POINT}}}",
            "instance, device, qdisc",
        ),
        each(
            "By connection tracking",
            "Packets and connections that it could not take.",
            "pps",
            f"skytrail_conntrack_failures_total{{{PLACE}}}",
            "reason",
        ),
        each(
            "Counted on no flow",
            "Packets that the hooks saw and that are on no flow, by reason: what flows do not show.",
            "pps",
            f"skytrail_flow_lost_packets_total{{{POINT}}}",
            "reason",
        ),
        lines(
            "Drops that are in no metric, or on no flow",
            "What is not told above, and why.",
            "cps",
            Query(rate(f"skytrail_drop_events_lost_total{{{HOST}}}", "reason"), "not counted: {{reason}}"),
            Query(rate(f"skytrail_drop_events_without_flow_total{{{HOST}}}", "reason"), "on no flow: {{reason}}"),
        ),
    )
    panels.section(
        page,
        "Whose",
        panels.flows(
            "Flows that lost packets",
            "With the kernel's reason. A tracking ID leads to the conversation's trace, which says where.",
            "G.Flows().HasKey('DropsAt').Sort(DESC, 'Last').Limit(100)",
        ),
    )
    return panels.render(page)
