"""TCP health: round trips, segments sent again, resets, failures, queues."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import (
    DEVICES,
    HOSTS,
    NAMESPACES,
    PLACE,
    POINT,
    SHARE,
    Query,
    each,
    largest,
    lines,
    number,
    quantile,
    quantiles,
    rate,
    to,
)

_RTT = "skytrail_flow_tcp_rtt_seconds"
_SENT = f'skytrail_netstat_events_total{{{PLACE}, protocol="Tcp", field="OutSegs"}}'
_LISTENER = "instance, netns, process, port"
_QUEUE = f"sum by ({_LISTENER}) (skytrail_tcp_listen_queue{{{PLACE}}})"
_ROOM = f"sum by ({_LISTENER}) (skytrail_tcp_listen_queue_limit{{{PLACE}}})"
_AGAIN: panels.Limits = ((None, "green"), (0.01, "orange"), (0.05, "red"))


def build() -> str:
    """The dashboard as JSON."""
    what = "Is TCP well: round trips, segments sent again, resets, connections that fail, queues that fill."
    page = panels.page("tcp", "TCP health", what, HOSTS, NAMESPACES, DEVICES, refresh="1m")
    panels.section(
        page,
        "Now",
        number("Round trip, p95", "From a SYN to its SYN-ACK.", "s", quantile(0.95, _RTT, POINT)),
        number(
            "Sent again",
            "Share of the segments that were sent again.",
            "percentunit",
            f"{rate(f'skytrail_tcp_retransmits_total{{{PLACE}}}')} / {rate(_SENT)}",
            limits=_AGAIN,
        ),
        number("Opened", "Connections that processes opened.", "cps", rate(f"skytrail_tcp_connects_total{{{PLACE}}}")),
        number(
            "Failed",
            "Connections that could not be opened.",
            "cps",
            f"{rate(f'skytrail_tcp_connect_failures_total{{{PLACE}}}')} or vector(0)",
            limits=((None, "green"), (0.1, "orange"), (1, "red")),
        ),
        number(
            "Established",
            "Connections now.",
            "short",
            f'sum(skytrail_netstat_value{{{PLACE}, protocol="Tcp", field="CurrEstab"}})',
        ),
        number(
            "Fullest accept queue",
            "Share of it that is taken: when it is full, SYNs are dropped.",
            "percentunit",
            f"max(skytrail_tcp_listen_queue{{{PLACE}}} / (skytrail_tcp_listen_queue_limit{{{PLACE}}} + 1))",
            limits=SHARE,
        ),
    )
    panels.section(
        page,
        "Round trips",
        lines("Handshake", "From a SYN to its SYN-ACK, at the chosen capture points.", "s", *quantiles(_RTT, POINT)),
        panels.spread("Handshakes", "All of them, by how long they took.", "s", panels.buckets(_RTT, POINT)),
        lines(
            "connect()",
            "From the call to the connection, as programs wait.",
            "s",
            *quantiles("skytrail_tcp_connect_seconds", PLACE),
        ),
        lines(
            "Smoothed round trip",
            "Of connections, at their end, as the kernel has it.",
            "s",
            *quantiles("skytrail_tcp_smoothed_rtt_seconds", PLACE),
        ),
        lines(
            "Slowest capture points",
            "95th percentile of handshakes; the ten that are slowest at the end of the range.",
            "s",
            Query(
                f"{quantile(0.95, _RTT, POINT, 'instance, netns, device')} and topk(10, histogram_quantile(0.95, sum by "
                f"(le, instance, netns, device) (rate({_RTT}_bucket{{{POINT}}}[$__range] @ end()))) > 0)",
                "{{instance}} {{netns}} {{device}}",
            ),
            width=24,
            links=[to("host", "This host", host="${__field.labels.instance}")],
        ),
    )
    panels.section(
        page,
        "Loss",
        largest(
            "Sent again, by namespace",
            "Segments, SYNs among them. The ten with the most.",
            "pps",
            f"skytrail_tcp_retransmits_total{{{PLACE}}}",
            "instance, netns",
        ),
        largest(
            "Sent again, by process",
            "The ten with the most.",
            "pps",
            f"skytrail_tcp_process_retransmits_total{{{PLACE}}}",
            "instance, process",
        ),
        each(
            "What capture points see",
            "Segments before which something was missing, that brought it later, that had passed already, that close windows.",
            "pps",
            f"skytrail_flow_tcp_anomalies_total{{{POINT}}}",
            "anomaly",
        ),
        each(
            "Nobody answers",
            "SYNs (client) and SYN-ACKs (server) that were sent again.",
            "pps",
            f"skytrail_tcp_syn_timeouts_total{{{PLACE}}}",
            "side",
        ),
    )
    panels.section(
        page,
        "Ends",
        largest(
            "Resets",
            "That sockets sent, by the kernel's reason, and got.",
            "pps",
            f"skytrail_tcp_resets_total{{{PLACE}}}",
            "direction, reason",
        ),
        largest(
            "Connections that failed",
            "By process and reason. The ten with the most.",
            "cps",
            f"skytrail_tcp_connect_failures_total{{{PLACE}}}",
            "instance, process, reason",
        ),
        each(
            "Ends",
            "Of established connections, by how.",
            "cps",
            f"skytrail_tcp_ends_total{{{PLACE}}}",
            "reason",
            stacked=True,
        ),
        panels.rows(
            "Listeners",
            "Connections that wait to be accepted, and how many may. The twenty that are fullest.",
            {
                "Full": (
                    f"topk(20, {_QUEUE} / ({_ROOM} + 1))",
                    "percentunit",
                ),
            },
            labels={"instance": "Host", "netns": "Namespace", "process": "Process", "port": "Port"},
            links={"Host": to("host", "This host", host="${__value.raw}")},
        ),
        panels.flows(
            "Conversations with reset",
            "That ended with a reset in the range.",
            "G.Flows().Has('FinishType', 'TCP_RST').Sort(DESC, 'Last').Limit(50)",
        ),
    )
    return panels.render(page)
