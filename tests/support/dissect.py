"""What tshark says of packets: protocols in their order, with their places and fields."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.capture import Captured, write_pcapng
from support.needs import tool

_OPTIONS = (
    *("-n", "-2"),
    *("-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE"),
    *("-d", "udp.port==8472,vxlan"),
    # what a label means is agreed between routers: these two are pseudowires, with and without a control word
    *("-d", "mpls.label==2001,pwethcw", "-d", "mpls.label==2002,pwethnocw"),
)
_NO_LAYER = {"geninfo", "frame", "fake-field-wrapper", "data", "raw", "pwethheuristic", "pwethcw", "pwethnocw", "_ws.malformed"}


@dataclass(frozen=True)
class Layer:
    """One protocol of a packet.

    Attributes:
        name: tshark's (``ip``).
        pos: offset in the packet.
        fields: text of each field by name (``ip.src``), the first one where there are several.
        quoted: layers of the packet inside an ICMP error.
    """

    name: str
    pos: int
    fields: dict[str, str]
    quoted: list[Layer] = field(default_factory=list)

    def number(self, name: str) -> int:
        """A field as a number."""
        return int(self.fields[name], 0)


@dataclass(frozen=True)
class Dissected:
    """One packet: its length on the wire, its time, its layers, outermost first."""

    length: int
    time_ns: int
    layers: list[Layer]


def dissect(packets: Sequence[Captured], folder: Path) -> list[Dissected]:
    """Have tshark dissect packets, all in one run."""
    path = folder / "packets.pcapng"
    write_pcapng(path, packets)
    command = [tool("tshark", "tshark"), "-r", str(path), *_OPTIONS, "-T", "pdml"]
    text = subprocess.run(command, capture_output=True, check=True, timeout=100).stdout
    found = [_packet(element) for element in ET.fromstring(text)]
    assert len(found) == len(packets)
    return found


def _packet(element: ET.Element) -> Dissected:
    frame = next(child for child in element if child.get("name") == "frame")
    fields = _fields(frame)
    seconds, _, fraction = fields["frame.time_epoch"].partition(".")
    return Dissected(int(fields["frame.len"]), int(seconds) * 10**9 + int(fraction.ljust(9, "0")), _layers(element))


def _layers(element: Iterable[ET.Element]) -> list[Layer]:
    found = []
    for proto in element:
        name = proto.get("name", "")
        if proto.tag != "proto" or name in _NO_LAYER:
            continue
        nested = _layers(_protos_in(proto))
        quotes = name in ("icmp", "icmpv6")
        found.append(Layer(name, int(proto.get("pos", "0")), _fields(proto), nested if quotes else []))
        if not quotes:  # IPv6 extension headers are children of ipv6
            found += nested
    return found


def _protos_in(element: ET.Element) -> list[ET.Element]:
    found = []
    for child in element:
        found += [child] if child.tag == "proto" else _protos_in(child)
    return found


def _fields(element: ET.Element) -> dict[str, str]:
    found: dict[str, str] = {}
    for child in element:
        if child.tag != "field":
            continue
        found.setdefault(child.get("name", ""), child.get("show", ""))
        for name, value in _fields(child).items():
            found.setdefault(name, value)
    return found
