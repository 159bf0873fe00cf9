"""The identities of flow records: tracking ID, community ID, UUID, from what the kernel's keys say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.bpf.program import FlowProgram
from exporters.flows.points import Points
from skytrail.addresses.book import network_of
from skytrail.tracking import Class, community_id, messages, record_uuid, tracking_ids

_ICMP, _ICMP6, _WITH_PORTS = 1, 58, (6, 17, 132)
_ECHO = {_ICMP: 8, _ICMP6: 128}
_TUNNELS = {layout.KIND_VXLAN: "vxlan", layout.KIND_GENEVE: "geneve", layout.KIND_GRE_KEY: "gre"}


def kind_of(keys: NDArray[Any]) -> NDArray[np.uint8]:
    """``enum flow_kind`` of each key."""
    return (keys["tags"] & layout.KIND_MASK).astype(np.uint8)


def proto_of(keys: NDArray[Any]) -> NDArray[np.uint8]:
    """IP protocol of each key."""
    return ((keys["tags"] >> np.uint64(8)) & np.uint64(0xFF)).astype(np.uint8)


def vlans_of(keys: NDArray[Any]) -> NDArray[np.uint64]:
    """VLAN ids of each key, packed: 12 bits each, the outermost lowest (Skydive's ``Link.ID``)."""
    return np.asarray(keys["tags"] >> np.uint64(16))


def class_of(keys: NDArray[Any]) -> NDArray[np.uint8]:
    """The :class:`skytrail.tracking.Class` of each key."""
    kind, proto = kind_of(keys), proto_of(keys)
    with_ports = np.isin(proto, (*_WITH_PORTS, _ICMP, _ICMP6))
    result = np.where(with_ports, Class.PORTS, Class.PROTOCOL).astype(np.uint8)
    ports = keys["port"]
    for icmp, request in _ECHO.items():
        echo = (proto == icmp) & ((ports[:, 0] == request) | (ports[:, 1] == request))
        result[echo] = Class.PORTS_ID
        # an ICMP header that was cut has no type: then both are 0, and no type pairs 0 with 0
        result[(proto == icmp) & (ports[:, 0] == 0) & (ports[:, 1] == 0)] = Class.PROTOCOL
    for of_kind, of_class in (
        (layout.KIND_ONE_WAY, Class.ONE_WAY),
        (layout.KIND_FRAGMENT, Class.PROTOCOL),
        (layout.KIND_VXLAN, Class.TUNNEL),
        (layout.KIND_GENEVE, Class.TUNNEL),
        (layout.KIND_GRE_KEY, Class.PROTOCOL_KEY),
        (layout.KIND_LINK, Class.LINK),
    ):
        result[kind == of_kind] = of_class
    return result


def _hashed(keys: NDArray[Any], family: NDArray[np.uint8], *, public: bool) -> list[bytes]:
    """What is hashed for each key, in order; with ``public``, Community ID's part alone (empty where it has none)."""
    found: list[bytes] = [b""] * len(keys)
    of_class = class_of(keys)
    proto = proto_of(keys)
    for number in np.unique(of_class).tolist():
        for width in (4, 6, 16):
            wide = (family == 4) if width == 4 else (family != 4)
            if width != 4:
                wide &= (of_class == Class.LINK) == (width == 6)
            rows = np.flatnonzero(wide & (of_class == number))
            if not len(rows):
                continue
            kind = Class(number)
            if public:
                if kind in (Class.LINK, Class.TUNNEL):
                    continue
                kind = {Class.PORTS_ID: Class.PORTS, Class.PROTOCOL_KEY: Class.PROTOCOL}.get(kind, kind)
            part = keys[rows]
            made = messages(kind, part["addr"][:, :, :width], proto[rows], part["port"], part["id"])
            for row, message in zip(rows.tolist(), made, strict=True):
                found[row] = message
    return found


def tracking_of(keys: NDArray[Any], family: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tracking IDs of keys (:data:`layout.KEY6`): uint8[n, 16]. ``family``: 4, or 6 for all others."""
    return np.frombuffer(tracking_ids(_hashed(keys, family, public=False)), np.uint8).reshape(-1, 16)


def identify(rows: NDArray[Any], points: Points) -> None:
    """Fill in ``tracking`` and ``uuid`` of table rows whose ``uuid`` is still empty. ``parent_uuid`` is there already."""
    missing = np.flatnonzero(~rows["identified"])
    if not len(missing):
        return
    part = rows[missing]
    tracking = tracking_of(part["key"], part["family"])
    ids = tracking.tobytes()
    hexes = [ids[at : at + 16].hex() for at in range(0, len(ids), 16)]
    parents = [uuid.tobytes().hex() if uuid.any() else "" for uuid in part["parent_uuid"]]
    uuids = b"".join(
        record_uuid(points.all[point].tid, parent, vlans, number, tracking_id, start)
        for point, parent, vlans, number, tracking_id, start in zip(
            part["point"].tolist(),
            parents,
            vlans_of(part["key"]).tolist(),
            network_id(part["key"]).tolist(),
            hexes,
            part["start"].tolist(),
            strict=True,
        )
    )
    rows["tracking"][missing] = tracking
    rows["uuid"][missing] = np.frombuffer(uuids, np.uint8).reshape(-1, 16)
    rows["identified"][missing] = True


def network_id(keys: NDArray[Any]) -> NDArray[np.uint32]:
    """``Network.ID``: VNI or GRE key; of a link-layer flow the bottom MPLS label; else 0."""
    kind = kind_of(keys)
    has = np.isin(kind, (layout.KIND_VXLAN, layout.KIND_GENEVE, layout.KIND_GRE_KEY, layout.KIND_LINK))
    return np.where(has, keys["id"], 0).astype(np.uint32)


def tunnel_of(keys: NDArray[Any]) -> NDArray[np.uint64]:
    """Of outer flows' keys the network of the tunnel (:func:`skytrail.addresses.book.network_of`); of others 0."""
    kind = kind_of(keys)
    tunnels = [np.uint64(network_of(name, 0)) for name in _TUNNELS.values()]
    found = np.select([kind == number for number in _TUNNELS], tunnels, np.uint64(0))
    return np.where(found > 0, found | keys["id"].astype(np.uint64), np.uint64(0))


def community_ids(keys: NDArray[Any], family: NDArray[np.uint8]) -> list[str]:
    """Community ID of each key, empty where it is not defined (no network layer; the outer flow of a UDP tunnel)."""
    return [community_id(message) if message else "" for message in _hashed(keys, family, public=True)]


def quoted_tracking_id(quote: NDArray[Any]) -> str:
    """The tracking ID (hex) of the packet that an ICMP error quotes.

    Args:
        quote: one record of :data:`layout.QUOTE`.

    """
    family, kind, proto = (int(quote[name]) for name in ("family", "kind", "proto"))
    key, width = np.zeros(1, layout.KEY6), 4 if family == 4 else 16
    ends = [(quote["addr"][side, :width].tobytes(), int(quote[port])) for side, port in ((0, "source"), (1, "destination"))]
    if kind in (layout.KIND_VXLAN, layout.KIND_GENEVE):
        ports = (0, ends[1][1])
        ends.sort(key=lambda end: end[0])
    elif kind == layout.KIND_ONE_WAY:
        ports = (ends[0][1], ends[1][1])
    else:
        ends.sort()
        ports = (ends[0][1], ends[1][1])
    key["tags"], key["port"][0], key["id"] = proto << 8 | kind, ports, int(quote["id"])
    for side, (address, _) in enumerate(ends):
        key["addr"][0, side, :width] = list(address)
    [message] = _hashed(key, np.array([family], np.uint8), public=False)
    return tracking_ids([message]).hex()


def quoted_by(program: FlowProgram, rows: NDArray[Any]) -> dict[int, str]:
    """Tracking IDs of the packets that ICMP errors among table rows quote, by the kernel's id of the flow."""
    errors = rows["id"][(rows["flow"]["info"] & layout.INFO_QUOTES) > 0]
    return {number: quoted_tracking_id(quote) for number, quote in program.quotes(errors).items()}
