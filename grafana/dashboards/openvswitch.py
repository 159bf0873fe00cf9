"""Open vSwitch: bridges, ports, tunnels and their counters."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import HOST, HOSTS, ONE_IS_GOOD, Query, labels_of, largest, lines, number, rate, top, top_now

_AT = f'{HOST}, device=~"$port"'
_PORTS = labels_of("port", "device", "Interface", f"skytrail_openvswitch_interface_bytes_total{{{HOST}}}")
_WHERE = "'@Host', Regex('$host')"
_NAMED = "{{instance}} {{device}} {{direction}}"
_OF = "instance, database, device, direction"


def build() -> str:
    """The dashboard as JSON."""
    what = "Bridges, ports, VLANs and tunnels of Open vSwitch, and the counters that only the switch has."
    page = panels.page("openvswitch", "Open vSwitch", what, HOSTS, _PORTS)
    panels.section(
        page,
        "Now",
        number(
            "Databases",
            "That are followed; an agent's own, and those that it is told of.",
            "short",
            f"sum(skytrail_ovsdb_up{{{HOST}}})",
        ),
        number(
            "All followed",
            "1: each database that was there once answers.",
            "short",
            f"min(skytrail_ovsdb_up{{{HOST}}} and skytrail_ovsdb_resyncs_total{{{HOST}}} > 0)",
            limits=ONE_IS_GOOD,
        ),
        number(
            "Interfaces",
            "That only the switch has.",
            "short",
            f'count(skytrail_openvswitch_interface_bytes_total{{{_AT}, direction="receive"}})',
        ),
        number("Bytes", "At these, both directions.", "Bps", rate(f"skytrail_openvswitch_interface_bytes_total{{{_AT}}}")),
        number(
            "Left out",
            "Such interfaces beyond interfaces.max.",
            "short",
            f"sum(skytrail_openvswitch_interfaces_left_out{{{HOST}}})",
        ),
        number(
            "Not told",
            "Times that a database did not tell its statistics.",
            "cps",
            rate(f"skytrail_openvswitch_unread_total{{{HOST}}}"),
        ),
    )
    panels.section(
        page,
        "Bridges",
        panels.graph(
            "Bridges, ports and what hangs on them",
            "Patch ports lead to the other bridge, tunnels to the other host.",
            f"G.V().Has('Type', 'ovsbridge', {_WHERE}).Neighbors('RelationType', Within('layer2', 'tunnel'), 2).SubGraph()",
        ),
        panels.listing(
            "Bridges",
            "As the database has them.",
            f"G.V().Has('Type', 'ovsbridge', {_WHERE})"
            ".ValueMap('Name', '@Host', 'Ovs.DatapathType', 'Ovs.DatapathID', 'Ovs.FailMode')",
        ),
        panels.listing(
            "Ports and VLANs",
            "Of all bridges.",
            f"G.V().Has('Type', 'ovsport', {_WHERE}).ValueMap('Name', '@Host', 'Vlans', 'Ovs.Tag', 'Ovs.VlanMode')",
        ),
        panels.listing(
            "Interfaces",
            "Of the switch alone, with their options.",
            f"G.V().Has('Driver', 'openvswitch', {_WHERE}).ValueMap('Name', 'Type', '@Host', 'State', 'OfPort', 'RemoteIP')",
        ),
        panels.changes(
            "What changed",
            "Each change of bridges, ports and interfaces in the range.",
            f"G.V().Has({_WHERE}).HasKey('UUID')",
            "each",
            height=8,
        ),
    )
    panels.section(
        page,
        "Counters that only the switch has",
        lines(
            "Bytes",
            "The ten with the most. The switch brings them up to date every 5 s.",
            "Bps",
            Query(top(f"skytrail_openvswitch_interface_bytes_total{{{_AT}}}", _OF), _NAMED),
        ),
        lines(
            "Packets",
            "The ten with the most.",
            "pps",
            Query(top(f"skytrail_openvswitch_interface_packets_total{{{_AT}}}", _OF), _NAMED),
        ),
        lines(
            "Drops and errors",
            "Good packets that it dropped, and bad ones, of interfaces for which it counts them (DPDK). The five with most.",
            "pps",
            Query(f"{top(f'skytrail_openvswitch_interface_drops_total{{{_AT}}}', _OF, 5)} or vector(0)", f"{_NAMED} dropped"),
            Query(f"{top(f'skytrail_openvswitch_interface_errors_total{{{_AT}}}', _OF, 5)} or vector(0)", f"{_NAMED} bad"),
            width=24,
        ),
        largest(
            "Read anew",
            "Times that all of a database was read: at first, and after each gap.",
            "cps",
            f"skytrail_ovsdb_resyncs_total{{{HOST}}}",
            "instance, probe",
        ),
        lines(
            "OpenFlow",
            "Rules and groups beyond topology.ovsdb.openflow, and lines that could not be read; none where that is 0.",
            "short",
            Query(top_now(f"skytrail_openflow_left_out{{{HOST}}}", "instance"), "{{instance}} left out"),
            Query(top(f"skytrail_openflow_malformed_total{{{HOST}}}", "instance"), "{{instance}} not read"),
        ),
    )
    return panels.render(page, [panels.annotation("Switches", f"G.V().Has({_WHERE}).HasKey('UUID')")])
