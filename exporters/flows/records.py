"""Flow records as people see them: Skydive's Flow JSON, with our additions.

Keys keep Skydive's names and shapes (times in ms since the epoch, RTT in ns). A is the side that sent the first packet
seen. New keys: ``CommunityID``, ``Initiator``, ``Interface``, ``Namespace``, ``IPMetric.Fragments``, ``Metric.*Skbs``,
``TCPMetric.*Flags``, ``TCPMetric.SynAckRTT``, ``TCPMetric.*SmoothedRTT`` (ns), ``TCPMetric.*SegmentRepeated``,
``TCPMetric.*ZeroWindows``, ``Network.*DSCP``, ``Network.*TTL``, ``QuotedTrackingID``, ``Sampling``; ``Seen``: at which of the
interface's hooks each way; ``FirstMonotonic`` (ns): of the first packet, by the host's CLOCK_MONOTONIC, to the order of which
capture points of one host saw it; and
where a socket is on this host: ``Process.A`` and ``.B``, ``TCPMetric.ConnectLatency`` (ns), ``.AEnd`` and ``.BEnd`` (how it
ended), ``.ABRetransmits`` and ``.BARetransmits``. On this whole host: ``Drops`` by the kernel's reason, and
``TCPMetric.Retransmits``, ``.SYNTimeouts``, ``.SYNACKTimeouts``, ``.ResetsSent``, ``.ResetsReceived``, with ``AB`` and ``BA``;
``NATTrackingID`` and ``NAT``: what address translation makes of the conversation, and of which one it made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.flows.applications import Applications
from exporters.flows.identify import community_ids, kind_of, network_id, proto_of, vlans_of
from exporters.flows.points import Points
from exporters.flows.table import finish_of
from exporters.flows.totals import FINISHES
from exporters.sockets.known import Known
from exporters.sockets.shown import Described, address_text, undescribed
from skytrail.addresses.book import tunnel_shown

_MS = 1_000_000
_HOOKS = ("", "ingress", "egress", "both")
IDENTIFIED = range(13, 19)  # time stamp, information, address mask
TRANSPORT = {6: "TCP", 17: "UDP", 132: "SCTP"}
ICMP, ICMP6 = 1, 58
TCP_FLAGS = (
    (0x02, "SYN"),
    (0x10, "ACK"),
    (0x08, "PSH"),
    (0x01, "FIN"),
    (0x04, "RST"),
    (0x20, "URG"),
    (0x40, "ECE"),
    (0x80, "CWR"),
)

TCP_MEASURES = {
    "SmoothedRTT": "smoothed_rtt",
    "SegmentSkipped": "skipped",
    "SegmentOutOfOrder": "out_of_order",
    "SegmentRepeated": "repeated",
    "ZeroWindows": "zero_windows",
}
"""Behind ``AB`` or ``BA`` in ``TCPMetric``, where there is something to tell → the kernel's field."""

# Skydive's ICMPType (flow/flow.proto), by protocol and type.
ICMP_TYPES = {
    (ICMP, 0): "ECHO", (ICMP, 8): "ECHO", (ICMP, 3): "DESTINATION_UNREACHABLE", (ICMP, 4): "SOURCE_QUENCH",
    (ICMP, 5): "REDIRECT", (ICMP, 9): "ROUTER", (ICMP, 10): "ROUTER", (ICMP, 11): "TIME_EXCEEDED",
    (ICMP, 12): "PARAMETER_PROBLEM", (ICMP, 13): "TIMESTAMP", (ICMP, 14): "TIMESTAMP", (ICMP, 15): "INFO",
    (ICMP, 16): "INFO", (ICMP, 17): "ADDRESS_MASK", (ICMP, 18): "ADDRESS_MASK",
    (ICMP6, 1): "DESTINATION_UNREACHABLE", (ICMP6, 2): "PACKET_TOO_BIG", (ICMP6, 3): "TIME_EXCEEDED",
    (ICMP6, 4): "PARAMETER_PROBLEM", (ICMP6, 128): "ECHO", (ICMP6, 129): "ECHO", (ICMP6, 133): "ROUTER",
    (ICMP6, 134): "ROUTER", (ICMP6, 135): "NEIGHBOR", (ICMP6, 136): "NEIGHBOR", (ICMP6, 137): "REDIRECT",
}  # fmt: skip

# gopacket's layer names, which Skydive shows.
_ETHERTYPES = {0x0806: "ARP", 0x88CC: "LinkLayerDiscovery", 0x888E: "EAPOL", 0x8863: "PPPoE", 0x8864: "PPPoE", 0: "LLC"}
_PROTOCOLS = {
    1: "ICMPv4",
    2: "IGMP",
    6: "TCP",
    17: "UDP",
    47: "GRE",
    50: "IPSecESP",
    58: "ICMPv6",
    89: "OSPF",
    112: "VRRP",
    132: "SCTP",
}
_EXTENSIONS = (
    (1, "IPv6HopByHop"),
    (8, "IPv6Destination"),
    (2, "IPv6Routing"),
    (4, "IPv6Fragment"),
    (16, "IPSecAH"),
    (32, "IPv6Extension"),
)
_ICMP6_LAYERS = {
    128: "ICMPv6Echo", 129: "ICMPv6Echo", 133: "ICMPv6RouterSolicitation", 134: "ICMPv6RouterAdvertisement",
    135: "ICMPv6NeighborSolicitation", 136: "ICMPv6NeighborAdvertisement", 137: "ICMPv6Redirect",
}  # fmt: skip


def flags_text(flags: int) -> str:
    """TCP flags as names, joined by ``|``."""
    return "|".join(name for bit, name in TCP_FLAGS if flags & bit)


def icmp_type(row: Any) -> int:  # noqa: ANN401 - one record of ROW
    """The type of the first packet seen: with a counterpart, the sender's side of the pair."""
    ports = row["key"]["port"]
    if int(row["key"]["tags"]) & layout.KIND_MASK == layout.KIND_ONE_WAY:
        return int(ports[0])
    return int(ports[1 if row["flow"]["reversed"] else 0])


def layers_path(row: Any) -> str:  # noqa: ANN401 - one record of ROW
    """The layers of the flow's first packet, outermost first, in gopacket's words (``Ethernet/IPv4/TCP``)."""
    flow, tags = row["flow"], int(row["key"]["tags"])
    kind, proto, info, ext = tags & layout.KIND_MASK, (tags >> 8) & 0xFF, int(flow["info"]), int(flow["ext"])
    path = ["Ethernet"] if info & layout.INFO_ETHERNET else []
    path += ["Dot1Q"] * int(flow["vlans"])
    if kind == layout.KIND_LINK:
        path += ["MPLS"] if info & layout.INFO_MPLS else []
        ethertype = int(flow["ethertype"])
        if ethertype in _ETHERTYPES and (ethertype or info & layout.INFO_ETHERNET):
            path.append(_ETHERTYPES[ethertype])
        return "/".join(path)
    four = int(row["family"]) == 4
    path.append("IPv4" if four else "IPv6")
    path += [name for bit, name in _EXTENSIONS if ext & bit]
    if four and info & layout.INFO_FRAGMENTED:
        path.append("Fragment")
    if kind != layout.KIND_FRAGMENT and proto in _PROTOCOLS:
        path.append(_PROTOCOLS[proto])
    if proto == ICMP6 and kind != layout.KIND_FRAGMENT and icmp_type(row) in _ICMP6_LAYERS:
        path.append(_ICMP6_LAYERS[icmp_type(row)])
    if kind in (layout.KIND_VXLAN, layout.KIND_GENEVE):
        path.append("VXLAN" if kind == layout.KIND_VXLAN else "Geneve")
    if info & layout.INFO_ERSPAN:
        path.append("ERSPANII")
    if info & layout.INFO_MPLS:
        path.append("MPLS")
    return "/".join(path)


class AddressTexts:
    """Addresses as text, each made once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes], str] = {}

    def text(self, family: int, raw: bytes) -> str:
        """An address of 16 bytes (IPv4: the first 4) as text."""
        found = self._known.get((family, raw))
        if found is None:
            if len(self._known) > 65536:
                self._known.clear()
            found = address_text(family, raw)
            self._known[family, raw] = found
        return found


def mac_text(raw: bytes) -> str:
    """A MAC in the usual form."""
    return raw.hex(":")


class Renderer:
    """Makes Skydive's Flow JSON of table rows.

    Args:
        points: names of capture points.
        applications: names of applications.
        sampling: 1 of N packets was counted; shown as ``Sampling`` where it is not 1.
        described: what a process's control group is: a container, a pod, a unit.

    """

    def __init__(
        self, points: Points, applications: Applications, sampling: int = 1, described: Described = undescribed
    ) -> None:
        self._described = described
        self._points, self._applications, self._addresses = points, applications, AddressTexts()
        self._sampling = sampling

    def render(
        self,
        rows: NDArray[Any],
        *,
        ended: NDArray[np.bool_] | None = None,
        quoted: Mapping[int, str] | None = None,
        sockets: Mapping[int, Known] | None = None,
    ) -> list[dict[str, Any]]:
        """One JSON object for each row (:data:`exporters.flows.table.ROW`, identified).

        Args:
            rows: the records.
            ended: which have ended: ``FinishType`` says how; None: those that say so themselves.
            quoted: tracking ID of the packet that an ICMP error quotes, by the kernel's id of the flow.
            sockets: what is known of sockets, by their cookies.

        """
        keys = rows["key"]
        columns = zip(
            rows,
            kind_of(keys).tolist(),
            proto_of(keys).tolist(),
            vlans_of(keys).tolist(),
            network_id(keys).tolist(),
            community_ids(keys, rows["family"]),
            self._applications.numbers(proto_of(keys), keys["port"][:, 0], keys["port"][:, 1]).tolist(),
            finish_of(rows).tolist(),
            (rows["flow"]["ended"] > 0 if ended is None else ended).tolist(),
            strict=True,
        )
        result = []
        for row, kind, proto, vlans, number, community, application, finish, finished in columns:
            flow = self._flow(row, kind, proto, vlans, number)
            path = layers_path(row)
            flow["LayersPath"] = path
            flow["Application"] = self._applications.names[application] or path.rsplit("/", 1)[-1]
            if self._sampling > 1:
                flow["Sampling"] = self._sampling
            if community:
                flow["CommunityID"] = community
            flow["FinishType"] = FINISHES[finish] if finished else "NOT_FINISHED"
            if sockets:
                _add_sockets(flow, row, sockets, self._described)
            if quoted and int(row["id"]) in quoted:
                flow["QuotedTrackingID"] = quoted[int(row["id"])]
            result.append(flow)
        return result

    def _flow(self, row: Any, kind: int, proto: int, vlans: int, number: int) -> dict[str, Any]:  # noqa: ANN401
        point = self._points.all[int(row["point"])]
        flow, a = row["flow"], int(row["flow"]["reversed"])
        tracking = row["tracking"].tobytes().hex()
        link = kind == layout.KIND_LINK
        parent = row["parent_uuid"].tobytes()
        result: dict[str, Any] = {
            "UUID": row["uuid"].tobytes().hex(),
            "LayersPath": "",
            "Application": "",
            "TrackingID": tracking,
            "L3TrackingID": "" if link else tracking,
            "ParentUUID": parent.hex() if any(parent) else "",
            "NodeTID": point.tid,
            "Interface": point.name,
            "Namespace": point.namespace,
            "Start": int(row["start"]) // _MS,
            "Last": (int(row["offset"]) + int(flow["last"])) // _MS,
            "FirstMonotonic": int(flow["first"]),
            "Seen": _seen(int(flow["hooks"]), a),
            "Metric": _metric(row, a),
            "LastUpdateMetric": _last_update(row, a),
        }
        if row["tunnel"]:
            of_tunnel, network = tunnel_shown(int(row["tunnel"]))
            result["Tunnel"] = {"Type": of_tunnel, "ID": network}
        if flow["initiator"]:
            result["Initiator"] = "A" if (int(flow["initiator"]) == 1) == (a == 0) else "B"
        if int(flow["info"]) & layout.INFO_ETHERNET or link:
            mac = flow["mac"].tobytes()
            result["Link"] = {"Protocol": "ETHERNET", "A": mac_text(mac[6:]), "B": mac_text(mac[:6]), "ID": vlans}
            if link and number:
                result["MPLSLabel"] = number
        if link:
            return result
        family, addresses = int(row["family"]), row["key"]["addr"]
        result["Network"] = {
            "Protocol": "IPV4" if family == 4 else "IPV6",
            "A": self._addresses.text(family, addresses[a].tobytes()),
            "B": self._addresses.text(family, addresses[1 - a].tobytes()),
            "ID": number,
            "IPProtocol": proto,
            "ATTL": int(flow["ttl"][a]),
            "BTTL": int(flow["ttl"][1 - a]),
            "ADSCP": int(flow["dscp"][a]),
            "BDSCP": int(flow["dscp"][1 - a]),
        }
        if flow["fragments"]:
            result["IPMetric"] = {"Fragments": int(flow["fragments"])}
        result.update(_transport(row, kind, proto, a))
        return result


def _seen(hooks: int, a: int) -> dict[str, str]:
    """Where packets of each way were seen: as they came in (``ingress``), as they went out, at both."""
    ways = (("AB", hooks >> 2 * a & 3), ("BA", hooks >> 2 * (1 - a) & 3))
    return {way: _HOOKS[bits] for way, bits in ways if bits}


def _add_sockets(
    flow: dict[str, Any],
    row: Any,  # noqa: ANN401 - one record of ROW
    sockets: Mapping[int, Known],
    described: Described,
) -> None:
    """Whose the ends are that are on this host, and how their sockets fared."""
    a = int(row["flow"]["reversed"])
    for side, way, number in (("A", "AB", a), ("B", "BA", 1 - a)):
        known = sockets.get(int(row["flow"]["socket"][number]))
        if known is None:
            continue
        process = known.process
        if process.pid:
            told = {"Pid": process.pid, "Name": process.name, "Executable": process.executable, "Cgroup": process.cgroup}
            flow.setdefault("Process", {})[side] = {key: value for key, value in told.items() if value}
            for key, more in described(process.cgroup).items() if process.cgroup else ():
                flow.setdefault(key, {})[side] = dict(more)
        if "TCPMetric" not in flow:
            continue
        if known.latency is not None:
            flow["TCPMetric"]["ConnectLatency"] = known.latency
        if known.end is not None:
            flow["TCPMetric"][f"{side}End"] = known.end
        if known.retransmits is not None:
            flow["TCPMetric"][f"{way}Retransmits"] = known.retransmits


def _transport(row: Any, kind: int, proto: int, a: int) -> dict[str, Any]:  # noqa: ANN401 - one record of ROW
    flow, ports = row["flow"], row["key"]["port"]
    if kind == layout.KIND_FRAGMENT:
        return {"Fragment": True}
    if proto in (ICMP, ICMP6):
        if kind == layout.KIND_PLAIN and not ports.any():  # its header was cut, or is the other IP version's
            return {}
        number = icmp_type(row)
        identified = proto == ICMP and number in IDENTIFIED
        return {
            "ICMP": {
                "Type": ICMP_TYPES.get((proto, number), "UNKNOWN"),
                "Number": number,
                "Code": int(flow["icmp_code"]),
                "ID": int(flow["expect"] if identified else row["key"]["id"]),
            }
        }
    if proto not in TRANSPORT:
        return {}
    swap = a if kind == layout.KIND_PLAIN else 0
    result: dict[str, Any] = {
        "Transport": {"Protocol": TRANSPORT[proto], "A": int(ports[swap]), "B": int(ports[1 - swap]), "ID": 0}
    }
    if proto == 6:
        result["TCPMetric"] = _tcp(row, a)
    return result


def _metric(row: Any, a: int) -> dict[str, int]:  # noqa: ANN401 - one record of ROW
    flow = row["flow"]
    ab, ba = flow["dir"][a], flow["dir"][1 - a]
    result = {
        "ABPackets": int(ab["packets"]),
        "ABBytes": int(ab["bytes"]),
        "BAPackets": int(ba["packets"]),
        "BABytes": int(ba["bytes"]),
        "ABSkbs": int(ab["packets"]) - int(flow["merged"][a]),
        "BASkbs": int(ba["packets"]) - int(flow["merged"][1 - a]),
        "Start": int(row["start"]) // _MS,
        "Last": (int(row["offset"]) + int(flow["last"])) // _MS,
    }
    if flow["rtt"][0]:
        result["RTT"] = int(flow["rtt"][0])
    return result


def _last_update(row: Any, a: int) -> dict[str, int] | None:  # noqa: ANN401 - one record of ROW
    now, then = row["reported"], row["previous"]
    if int(row["reported_at"]) == int(row["start"]) and not now["packets"].any():  # what has one packet has no length
        return None
    result = {
        "ABPackets": int(now[a]["packets"]) - int(then[a]["packets"]),
        "ABBytes": int(now[a]["bytes"]) - int(then[a]["bytes"]),
        "BAPackets": int(now[1 - a]["packets"]) - int(then[1 - a]["packets"]),
        "BABytes": int(now[1 - a]["bytes"]) - int(then[1 - a]["bytes"]),
        "Start": int(row["previous_at"]) // _MS,
        "Last": int(row["reported_at"]) // _MS,
    }
    if row["flow"]["rtt"][0]:
        result["RTT"] = int(row["flow"]["rtt"][0])
    return result


def _tcp(row: Any, a: int) -> dict[str, Any]:  # noqa: ANN401 - one record of ROW
    flow, offset = row["flow"], int(row["offset"])
    first = offset + int(flow["first"])
    result: dict[str, Any] = {}
    for side, number in (("AB", a), ("BA", 1 - a)):
        if flow["asked"][number]:
            result[f"{side}SynStart"] = (offset + int(flow["asked"][number])) // _MS
            result[f"{side}SynTTL"] = int(flow["syn_ttl"][number])
        if flow["fin"][number]:
            result[f"{side}FinStart"] = first // _MS + int(flow["fin"][number]) - 1
        if flow["rst"][number]:
            result[f"{side}RstStart"] = first // _MS + int(flow["rst"][number]) - 1
        result[f"{side}Flags"] = flags_text(int(flow["tcp_flags"][number]))
        for name, field in TCP_MEASURES.items():
            if flow[field][number]:
                result[f"{side}{name}"] = int(flow[field][number])
    if flow["rtt"][1]:
        result["SynAckRTT"] = int(flow["rtt"][1])
    return result


SORT_KEYS = ("bytes", "packets", "last", "start", "rtt")


def sort_values(rows: NDArray[Any], sort: str) -> NDArray[Any]:
    """What to sort rows by, for one of :data:`SORT_KEYS`."""
    flow = rows["flow"]
    if sort == "start":
        return np.asarray(rows["start"])
    if sort == "last":
        return np.asarray(flow["last"])
    if sort == "rtt":
        return np.asarray(flow["rtt"][:, 0])
    return np.asarray(flow["dir"][sort].sum(axis=1))
