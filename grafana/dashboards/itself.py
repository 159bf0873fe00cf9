"""Skytrail itself: what agents and hubs cost, and whether they lose anything."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import (
    NONE_IS_GOOD,
    ONE_IS_GOOD,
    SHARE,
    Query,
    each,
    labels_of,
    largest,
    lines,
    number,
    rate,
    top,
)

_PROCESS = labels_of("process", "instance", "Agent or hub", "skytrail_build_info")
_OF = 'instance=~"$process"'
_FULL = f"skytrail_bpf_map_entries{{{_OF}}} / skytrail_bpf_map_capacity{{{_OF}}}"
_FULLEST = f"topk(10, max by (instance, map) (max_over_time(skytrail_bpf_map_entries{{{_OF}}}[$__range] @ end())))"
_CLOCK = f"skytrail_wire_clock_offset_seconds{{{_OF}}}"
_LOSSES = (
    "skytrail_drop_events_lost_total",
    "skytrail_socket_events_lost_total",
    "skytrail_history_dropped_records_total",
    "skytrail_export_dropped_total",
    "skytrail_container_probe_dropped_events_total",
)
_COST = (
    ("CPU", "The ten with the most; 1 is a CPU.", "short", "process_cpu_seconds_total", "instance, job"),
    ("Memory", "Resident; the ten with the most.", "bytes", "process_resident_memory_bytes", "instance, job"),
    ("CPU by part", "The ten threads with the most.", "short", "process_thread_cpu_seconds_total", "instance, job, thread"),
    ("Memory by part", "Of the tables of agents.", "bytes", "part_memory_bytes", "instance, job, part"),
    ("Scrapes", "How long collectors took; the ten longest.", "s", "collector_duration_seconds", "instance, collector"),
    ("Open files", "The ten with the most.", "short", "process_open_fds", "instance, job"),
)
"""Panels: title, description, unit, metric, labels."""


def _ratio(metric: str, of: str) -> str:
    return f"({rate(f'{metric}{{{_OF}}}', 'instance')} / {rate(f'{of}{{{_OF}}}', 'instance')})"


def build() -> str:
    """The dashboard as JSON."""
    what = "What agents and hubs cost, and whether they lose or lag."
    page = panels.page("itself", "Skytrail itself", what, _PROCESS)
    panels.section(
        page,
        "Now",
        number(
            "Processes", "Agents and hubs that Prometheus reaches.", "short", f"count(skytrail_build_info{{{_OF}}})", width=3
        ),
        number("CPU", "Of all of them: 1 is a CPU.", "short", rate(f"skytrail_process_cpu_seconds_total{{{_OF}}}"), width=3),
        number(
            "Memory", "Resident, of all of them.", "bytes", f"sum(skytrail_process_resident_memory_bytes{{{_OF}}})", width=3
        ),
        number(
            "Store",
            "1: the hub's store takes changes.",
            "short",
            f"min(skytrail_topology_store_up{{{_OF}}})",
            width=3,
            limits=ONE_IS_GOOD,
        ),
        number(
            "Hub heard",
            "1: every agent has a hub.",
            "short",
            f"min(skytrail_wire_hub_up{{{_OF}}})",
            width=3,
            limits=ONE_IS_GOOD,
        ),
        number(
            "Fullest flow table",
            "Share of the entries that are taken.",
            "percentunit",
            f"max({_FULL})",
            width=3,
            limits=SHARE,
        ),
        number(
            "Lost",
            "Events and records that queues dropped, of all kinds.",
            "cps",
            " + ".join(f"({rate(f'{metric}{{{_OF}}}')} or vector(0))" for metric in _LOSSES),
            width=3,
            limits=NONE_IS_GOOD,
        ),
        number(
            "Certificate",
            "Until the first certificate ends to be good.",
            "s",
            f"min(skytrail_tls_certificate_expiry_timestamp_seconds{{{_OF}}}) - time()",
            width=3,
            limits=((None, "red"), (7 * 86400, "orange"), (30 * 86400, "green")),
        ),
    )
    panels.section(
        page,
        "Cost",
        *(largest(title, what, unit, f"skytrail_{metric}{{{_OF}}}", by) for title, what, unit, metric, by in _COST),
    )
    panels.section(
        page,
        "Agents",
        lines(
            "Flow table",
            "Share of the entries that are taken. The ten that are fullest.",
            "percentunit",
            Query(
                f"{_FULL} and on (instance, map) {_FULLEST}",
                "{{instance}} {{map}}",
            ),
            limits=SHARE,
        ),
        lines(
            "Drains",
            "Time that a reading of the kernel's counters takes. The ten that take longest.",
            "s",
            Query(
                f"{_ratio('skytrail_flow_drain_seconds_total', 'skytrail_flow_drains_total')} and "
                f"topk(10, sum by (instance) (rate(skytrail_flow_drain_seconds_total{{{_OF}}}[$__range] @ end())))",
                "{{instance}}",
            ),
        ),
        lines(
            "What is not told",
            "Series folded into 'overflow', flows ended early for want of room, events that were lost.",
            "cps",
            Query(top(f"skytrail_series_capped_total{{{_OF}}}", "instance, metric", 5), "{{instance}} {{metric}} capped"),
            Query(top(f"skytrail_flow_evicted_total{{{_OF}}}", "instance", 5), "{{instance}} flows ended early"),
            Query(top(f"skytrail_socket_events_lost_total{{{_OF}}}", "instance, what", 5), "{{instance}} sockets: {{what}}"),
            Query(top(f"skytrail_drop_events_lost_total{{{_OF}}}", "instance, reason", 5), "{{instance}} drops: {{reason}}"),
        ),
        largest(
            "History",
            "Bytes of it on disk. The ten with the most.",
            "bytes",
            f"skytrail_history_bytes{{{_OF}}}",
            "instance",
        ),
        lines(
            "History written and lost",
            "Records; lost where the file could not be written for long.",
            "cps",
            Query(top(f"skytrail_history_written_records_total{{{_OF}}}", "instance", 5), "{{instance}} written"),
            Query(top(f"skytrail_history_dropped_records_total{{{_OF}}}", "instance", 5), "{{instance}} lost"),
        ),
        lines(
            "Export",
            "Spans and data points by OTLP: accepted, given up, waiting. None where no endpoint is set.",
            "short",
            Query(rate(f"skytrail_export_sent_total{{{_OF}}}", "signal"), "{{signal}} accepted per second"),
            Query(
                rate(f"skytrail_export_dropped_total{{{_OF}}}", "signal, reason"), "{{signal}} given up per second: {{reason}}"
            ),
            Query(f"sum by (signal) (skytrail_export_queue_items{{{_OF}}})", "{{signal}} waiting"),
        ),
        panels.states(
            "Collectors",
            "Whether each told what it has, in time; of the agents, the worst.",
            Query(f"min by (collector) (skytrail_collector_success{{{_OF}}})", "{{collector}}"),
            {"1": ("told", "green"), "0": ("failed", "red")},
        ),
        panels.states(
            "Probes",
            "Whether each sees its source; of the agents, the worst.",
            Query(f"min by (probe) (skytrail_probe_up{{{_OF}}})", "{{probe}}"),
        ),
    )
    panels.section(
        page,
        "Agents and hubs",
        each(
            "Agents",
            "That hubs know of.",
            "short",
            f"skytrail_wire_agents{{{_OF}}}",
            "instance, state",
            stacked=True,
        ),
        largest(
            "Reports that wait",
            "That no hub has taken. The ten with the most.",
            "short",
            f"skytrail_wire_waiting_reports{{{_OF}}}",
            "instance",
        ),
        lines(
            "Clocks",
            "By how much a host's clock and its hub's are apart. The ten that are furthest.",
            "s",
            Query(f"abs({_CLOCK}) and on (instance) topk(10, abs({_CLOCK} @ end()))", "{{instance}}"),
        ),
        each(
            "Questions to agents",
            "By what became of them.",
            "cps",
            f"skytrail_wire_questions_total{{{_OF}}}",
            "result",
        ),
    )
    panels.section(
        page,
        "Hubs",
        each(
            "Store",
            "Bytes on disk.",
            "bytes",
            f"skytrail_topology_store_bytes{{{_OF}}}",
            "instance",
        ),
        lines(
            "Time per report",
            "From probe to store.",
            "s",
            Query(
                _ratio("skytrail_topology_apply_seconds_total", "skytrail_topology_reports_total"),
                "{{instance}}",
            ),
        ),
        lines(
            "Waiting and refused",
            "Batches that wait for a store that is away, facts and reports that could not be taken.",
            "short",
            Query(f"sum by (instance) (skytrail_topology_spool_batches{{{_OF}}})", "{{instance}} batches waiting"),
            Query(rate(f"skytrail_topology_refused_facts_total{{{_OF}}}", "instance"), "{{instance}} facts refused per second"),
            Query(rate(f"skytrail_wire_refused_reports_total{{{_OF}}}", "instance"), "{{instance}} reports refused per second"),
        ),
        each(
            "Queries",
            "Of the graph, by what became of them.",
            "cps",
            f"skytrail_gremlin_queries_total{{{_OF}}}",
            "outcome",
            stacked=True,
        ),
        panels.listing(
            "Hosts",
            "That the graph has.",
            "G.V().Has('Type', 'host').ValueMap('Name', '@Host', 'OS', 'Platform', 'KernelVersion', '@CreatedAt')",
            width=24,
        ),
    )
    return panels.render(page)
