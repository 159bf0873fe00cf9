"""Flow records as OTLP spans: trace id = tracking ID, one span for each record and window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.bpf.program import FlowProgram
from exporters.conntrack.entries import KINDS
from exporters.flows.applications import Applications
from exporters.flows.ends import seen
from exporters.flows.identify import kind_of, network_id, proto_of, quoted_by, vlans_of
from exporters.flows.names import FlowNames
from exporters.flows.points import Points
from exporters.flows.receivers import Translations
from exporters.flows.records import TCP_MEASURES, AddressTexts
from exporters.flows.subnets import Subnets
from exporters.flows.table import Batch, finish_of
from exporters.flows.totals import FINISHES, NETWORKS, TRANSPORTS, networks, transports
from exporters.flows.whose import whose_columns
from exporters.outputs.otlp.columns import Column, LinkColumn, SpanColumns, ValueKind
from exporters.sockets.known import Known
from exporters.sockets.shown import Described, undescribed
from skytrail.tracking import span_id

_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def hex_texts(octets: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Rows of bytes as lower-case hex, ``S`` of twice the width."""
    width = octets.shape[1]
    digits = np.empty((len(octets), width, 2), np.uint8)
    digits[:, :, 0] = _HEX[octets >> 4]
    digits[:, :, 1] = _HEX[octets & 15]
    return digits.reshape(-1, 2 * width).view(f"S{2 * width}").reshape(-1)


def _named(names: list[str] | tuple[str, ...], numbers: NDArray[Any]) -> NDArray[np.bytes_]:
    result: NDArray[np.bytes_] = np.array([name.encode() for name in names])[numbers]
    return result


class SpanBuilder:
    """Makes span columns of batches of flow records.

    Args:
        points: names of capture points.
        applications: names of applications.
        trace_epoch: fold this period (ns) into trace ids; 0: the trace id is the tracking ID.
        subnets: names of subnets by CIDR.
        program: tells what ICMP errors quote, and the sampling; None: neither.
        sockets: what is known of sockets, by their cookies.
        described: what a control group is: a container, a pod.
        translations: what conversations of flows become and were, by their keys, families and beginnings; None: nobody knows.
        names: who has the addresses of flows; None: nobody knows.

    """

    def __init__(
        self,
        points: Points,
        applications: Applications,
        trace_epoch: int = 0,
        subnets: Mapping[str, str] | None = None,
        program: FlowProgram | None = None,
        sockets: Callable[[NDArray[Any]], Mapping[int, Known]] = lambda _: {},
        described: Described = undescribed,
        translations: Translations | None = None,
        names: FlowNames | None = None,
    ) -> None:
        self._named = names
        self._sockets, self._described, self._translations = sockets, described, translations
        self._subnets, self._program = Subnets(subnets), program
        self._points, self._applications, self._epoch = points, applications, trace_epoch
        self._addresses = AddressTexts()

    def build(self, batch: Batch) -> SpanColumns:
        """One span for each record of the batch."""
        rows = batch.rows
        keys, flow = rows["key"], rows["flow"]
        a = flow["reversed"].astype(np.intp)
        # who asks is the source: the initiator, where it is known, else the sender of the first packet
        source = np.where(flow["initiator"] > 0, flow["initiator"].astype(np.intp) - 1, a)
        starts = rows["previous_at"]
        ids = b"".join(span_id(uuid, start) for uuid, start in zip(_rows_of_bytes(rows["uuid"]), starts.tolist(), strict=True))
        trace = self._fold(rows["tracking"], starts)
        link = np.asarray(kind_of(keys) == layout.KIND_LINK)
        translated, links = self._translated(rows)
        return SpanColumns(
            trace_id=trace,
            span_id=np.frombuffer(ids, np.uint8).reshape(-1, 8),
            name=self._names(rows),
            start=starts.astype(np.uint64),
            end=np.maximum(rows["reported_at"], starts).astype(np.uint64),
            attributes=[
                *self._ends(rows, source, link),
                *self._facts(rows, link),
                *self._counts(rows, batch, source),
                *self._told_by_program(rows),
                *whose_columns(flow["socket"], source, self._sockets(flow["socket"]), self._described),
                *(self._named.columns(rows, source) if self._named else ()),
                *translated,
            ],
            links=[*self._parents(rows), *links],
        )

    def _fold(self, tracking: NDArray[np.uint8], starts: NDArray[np.int64]) -> NDArray[np.uint8]:
        if not self._epoch:
            return tracking
        folded = tracking.copy()
        period = (starts // self._epoch).astype(">u8").view(np.uint8).reshape(-1, 8)
        folded[:, 8:] ^= period
        return folded

    def _names(self, rows: NDArray[Any]) -> NDArray[np.bytes_]:
        network = networks(rows["key"], rows["flow"]["ethertype"], rows["family"])
        transport = transports(rows["key"])
        names = [f"flow {n} {t}" if t != "other" else f"flow {n}" for n in NETWORKS for t in TRANSPORTS]
        return _named(names, network.astype(np.intp) * len(TRANSPORTS) + transport)

    def _ends(self, rows: NDArray[Any], source: NDArray[np.intp], link: NDArray[np.bool_]) -> list[Column]:
        keys, every = rows["key"], np.arange(len(rows))
        proto = proto_of(keys)
        with_ports = np.isin(proto, (6, 17, 132)) & (kind_of(keys) != layout.KIND_FRAGMENT)
        result = []
        for name, side in (("source", source), ("destination", 1 - source)):
            texts = self._address_texts(rows["family"], keys["addr"][every, side])
            port = keys["port"][every, side].astype(np.int64)
            result.append(Column(f"{name}.address", ValueKind.STR, texts, ~link))
            subnet = self._subnets.numbers(rows["family"], keys["addr"][every, side], ~link)
            result.append(Column(f"skytrail.{name}.subnet", ValueKind.STR, _named(self._subnets.names, subnet), subnet > 0))
            result.append(Column(f"{name}.port", ValueKind.INT, port, with_ports & (port > 0)))
        return result

    def _address_texts(self, family: NDArray[np.uint8], addresses: NDArray[np.uint8]) -> NDArray[np.bytes_]:
        packed = np.empty(len(addresses), [("family", "u1"), ("raw", "V16")])
        packed["family"] = family
        packed["raw"] = np.ascontiguousarray(addresses).view("V16").reshape(-1)
        unique, inverse = np.unique(packed.view("V17"), return_inverse=True)
        texts = [self._addresses.text(item[0], item[1:]) for item in (value.tobytes() for value in unique)]
        return np.array([text.encode() for text in texts] or [b""])[inverse]

    def _facts(self, rows: NDArray[Any], link: NDArray[np.bool_]) -> list[Column]:
        keys, flow = rows["key"], rows["flow"]
        kind = kind_of(keys)
        points = self._points.all
        numbers = self._applications.numbers(proto_of(keys), keys["port"][:, 0], keys["port"][:, 1])
        vlans, number = vlans_of(keys), network_id(keys)
        tunnels = np.array([b"", b"vxlan", b"geneve", b"gre"])
        tunnel = np.select([kind == layout.KIND_VXLAN, kind == layout.KIND_GENEVE, proto_of(keys) == 47], [1, 2, 3], 0)
        mac = np.ascontiguousarray(flow["mac"])
        inner: NDArray[np.bool_] = np.asarray(rows["parent_uuid"].any(axis=1))
        ethernet = np.asarray((flow["info"] & layout.INFO_ETHERNET) > 0)
        text = ValueKind.STR
        names = _named([p.name for p in points], rows["point"])
        spaces = _named([p.namespace for p in points], rows["point"])
        return [
            Column("network.type", text, _named(NETWORKS, networks(keys, flow["ethertype"], rows["family"])), ~link),
            Column("network.transport", text, _named(TRANSPORTS, transports(keys)), transports(keys) > 0),
            Column("network.protocol.name", text, np.char.lower(_named(self._applications.names, numbers)), numbers > 0),
            Column("network.interface.name", text, names),
            Column("skytrail.netns", text, spaces, np.asarray(spaces != b"")),
            Column("skytrail.flow.tracking_id", text, hex_texts(rows["tracking"])),
            Column("skytrail.flow.uuid", text, hex_texts(rows["uuid"])),
            Column("skytrail.flow.parent_uuid", text, hex_texts(rows["parent_uuid"]), inner),
            Column("skytrail.flow.node_tid", text, _named([p.tid for p in points], rows["point"])),
            Column("skytrail.link.source", text, _mac_texts(mac[:, 6:]), ethernet),
            Column("skytrail.link.destination", text, _mac_texts(mac[:, :6]), ethernet),
            Column("skytrail.vlan.ids", ValueKind.INT, vlans.astype(np.int64), vlans > 0),
            Column("skytrail.tunnel.type", text, tunnels[tunnel], tunnel > 0),
            Column("skytrail.tunnel.id", ValueKind.INT, number.astype(np.int64), (tunnel > 0) & (kind >= layout.KIND_VXLAN)),
        ]

    def _counts(self, rows: NDArray[Any], batch: Batch, source: NDArray[np.intp]) -> list[Column]:
        flow, every = rows["flow"], np.arange(len(rows))
        whole = ValueKind.INT
        grown = {what: (rows["reported"][what] - rows["previous"][what]).astype(np.int64) for what in ("packets", "bytes")}
        rtt, flags = flow["rtt"], flow["tcp_flags"]
        tcp = proto_of(rows["key"]) == 6
        other = 1 - source
        initiated = flow["initiator"] > 0
        return [
            Column("skytrail.flow.packets", whole, grown["packets"][every, source]),
            Column("skytrail.flow.bytes", whole, grown["bytes"][every, source]),
            Column("skytrail.flow.reverse.packets", whole, grown["packets"][every, other]),
            Column("skytrail.flow.reverse.bytes", whole, grown["bytes"][every, other]),
            Column("skytrail.flow.initiator_known", ValueKind.BOOL, initiated),
            Column("skytrail.flow.rtt", whole, rtt[:, 0].astype(np.int64), rtt[:, 0] > 0),
            Column("skytrail.flow.syn_ack_rtt", whole, rtt[:, 1].astype(np.int64), tcp & (rtt[:, 1] > 0)),
            Column("skytrail.tcp.flags", whole, flags[every, source].astype(np.int64), tcp),
            Column("skytrail.tcp.reverse.flags", whole, flags[every, other].astype(np.int64), tcp),
            *(
                Column(f"skytrail.tcp.{way}{field}", whole, values, tcp & (values > 0))
                for way, side in (("", source), ("reverse.", other))
                for field in TCP_MEASURES.values()
                if (values := flow[field][every, side].astype(np.int64)).any()
            ),
            Column("skytrail.flow.finish_type", ValueKind.STR, _named(FINISHES, finish_of(rows)), batch.ended),
        ]

    def _told_by_program(self, rows: NDArray[Any]) -> list[Column]:
        if self._program is None:
            return []
        quoted = quoted_by(self._program, rows)
        texts = np.array([quoted.get(number, "").encode() for number in rows["id"].tolist()] if quoted else [b""] * len(rows))
        rate = np.full(len(rows), self._program.sampling, np.int64)
        return [
            Column("skytrail.flow.quoted_tracking_id", ValueKind.STR, texts.astype("S"), np.asarray(texts != b"")),
            Column("skytrail.flow.sampling", ValueKind.INT, rate, rate > 1),
        ]

    def _translated(self, rows: NDArray[Any]) -> tuple[list[Column], list[LinkColumn]]:
        """What address translation makes of the conversation, and of which one it made it: attributes and links.

        A link's span id is the first half of the other conversation's tracking ID: which spans there are of it on other
        hosts, nobody knows here; its trace is what is looked up.
        """
        if self._translations is None:
            return [], []
        found = self._translations(rows["key"], rows["family"], seen(rows["flow"]))
        columns, links = [], []
        for role, name in enumerate(("to", "from")):
            chosen = found.rows["role"] == role
            place = found.flow[chosen]
            if not len(place):
                continue
            other, kinds, present = (
                np.zeros((len(rows), 16), np.uint8),
                np.zeros(len(rows), np.uint8),
                np.zeros(len(rows), bool),
            )
            other[place], kinds[place], present[place] = found.tracking[chosen], found.rows["kinds"][chosen], True
            texts = [KINDS.get(kind, "") for kind in range(max(KINDS) + 1)]
            columns += [
                Column(f"skytrail.nat.{name}.tracking_id", ValueKind.STR, hex_texts(other), present),
                Column(f"skytrail.nat.{name}.kind", ValueKind.STR, _named(texts, kinds), present),
            ]
            trace, kind = self._fold(other, rows["previous_at"]), ("skytrail.link.kind", f"nat {name}")
            links.append(LinkColumn(trace, np.ascontiguousarray(other[:, :8]), present, (kind,)))
        return columns, links

    def _parents(self, rows: NDArray[Any]) -> list[LinkColumn]:
        """The outer flow's first span: its id follows from its UUID and start, which is its first window's start."""
        inner: NDArray[np.bool_] = np.asarray(rows["parent_uuid"].any(axis=1))
        if not inner.any():
            return []
        trace = np.zeros((len(rows), 16), np.uint8)
        span = np.zeros((len(rows), 8), np.uint8)
        part = rows[inner]
        trace[inner] = self._fold(part["parent_tracking"], part["parent_start"])
        ids = [
            span_id(uuid, start)
            for uuid, start in zip(_rows_of_bytes(part["parent_uuid"]), part["parent_start"].tolist(), strict=True)
        ]
        span[inner] = np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 8)
        return [LinkColumn(trace, span, inner, (("skytrail.link.kind", "outer"),))]


def _rows_of_bytes(octets: NDArray[np.uint8]) -> list[bytes]:
    data, width = octets.tobytes(), octets.shape[1]
    return [data[at : at + width] for at in range(0, len(data), width)]


def _mac_texts(octets: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    digits = np.full((len(octets), 6, 3), ord(":"), np.uint8)
    digits[:, :, 0] = _HEX[octets >> 4]
    digits[:, :, 1] = _HEX[octets & 15]
    return np.ascontiguousarray(digits.reshape(-1, 18)[:, :17]).view("S17").reshape(-1)
