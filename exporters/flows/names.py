"""Who has the addresses at both ends of flows, by the address book, as it was when each flow began.

An address is looked up once for all flows of a batch that have it at one capture point, and more often only where its owner
changed between their beginnings.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.flows.identify import kind_of, proto_of
from exporters.flows.points import Points
from exporters.flows.table import Rows
from exporters.outputs.otlp.columns import Column, ValueKind
from skytrail.addresses.book import Book, Owner, port_of

UNNAMED = Owner("", "")
KEY = "Owner"
"""In a flow's JSON: of ``A`` and ``B``."""

_LOOK = 5.0  # seconds between two looks at which namespaces there are
_SEEN_BYTES = struct.Struct("<iQBI16s")
_SEEN_AS = np.dtype([("point", "<i4"), ("tunnel", "<u8"), ("family", "u1"), ("port", "<u4"), ("address", "u1", 16)])
_ATTRIBUTES = {
    "kind": "kind",
    "name": "name",
    "namespace": "space",
    "host": "host",
    "iface_id": "iface_id",
    "vm": "vm",
    "cluster": "cluster",
}
"""Of a span, behind ``skytrail.source.owner.``: fields of owners."""

Names = tuple[NDArray[np.uint32], list[Owner]]
"""For each row, and each end of its key, the number of an owner; number 0 is nobody."""


class _Seen(NamedTuple):
    """An address, the namespace where it was seen, the network of the tunnel, and the port, where that may matter."""

    address: bytes
    place: str
    tunnel: int
    port: int


class FlowNames:
    """Names the ends of flows.

    Args:
        book: who has which address.
        points: capture points.
        host: TID of this host.
        places: TIDs of its network namespaces by the names that capture points have.
    """

    def __init__(self, book: Book, points: Points, host: str, places: Callable[[], Mapping[str, str]]) -> None:
        self._book, self._points, self._host, self._find_places = book, points, host, places
        self._places: Mapping[str, str] = {}
        self._looked = -_LOOK

    def of(self, rows: Rows, among: NDArray[np.bool_] | None = None) -> Names:
        """The owners of both ends of each row.

        Args:
            rows: records.
            among: of which alone they are wanted; None: of all.
        """
        codes, owners = np.zeros((len(rows), 2), np.uint32), [UNNAMED]
        kind = kind_of(rows["key"])
        wanted = kind != layout.KIND_LINK
        network = np.flatnonzero(wanted if among is None else wanted & among) if self._book else ()
        if not len(network):
            return codes, owners
        self._look()
        seen = np.zeros((len(network), 2), _SEEN_AS)
        for name in ("point", "tunnel", "family"):
            seen[name] = rows[name][network, None]
        seen["address"] = rows["key"]["addr"][network]
        if served := self._book.ports:
            protocols = proto_of(rows["key"][network]).astype(np.uint32) * np.uint32(port_of(1, 0))
            ports = protocols[:, None] + rows["key"]["port"][network]
            matters = np.isin(ports, served) & (kind[network] == layout.KIND_PLAIN)[:, None]
            seen["port"] = np.where(matters, ports, 0)
        unique, which = np.unique(seen.reshape(-1).view(f"V{_SEEN_AS.itemsize}"), return_inverse=True)
        starts = np.repeat(rows["start"][network] // 1000, 2)
        order = np.argsort(which, kind="stable")
        begins = np.searchsorted(which[order], np.arange(len(unique)))
        firsts = np.minimum.reduceat(starts[order], begins).tolist()
        lasts = np.maximum.reduceat(starts[order], begins).tolist()
        numbers: dict[Owner, int] = {UNNAMED: 0}
        of_one, changing = np.zeros(len(unique), np.uint32), []
        for at, (one, first, last) in enumerate(zip(self._seen_as(unique), firsts, lasts, strict=True)):
            if one is None:
                continue
            if self._book.settled(one.address, first, last):
                owner = self._find(one, first)
                of_one[at] = numbers.setdefault(owner, len(numbers))
            else:
                changing.append((at, one))
        found = of_one[which]
        for at, one in changing:
            for row in np.flatnonzero(which == at).tolist():
                owner = self._find(one, int(starts[row]))
                found[row] = numbers.setdefault(owner, len(numbers))
        codes[network] = found.reshape(-1, 2)
        return codes, list(numbers)

    def _find(self, one: _Seen, at: int) -> Owner:
        return self._book.find(one.address, one.place, self._host, at, one.tunnel, one.port) or UNNAMED

    def _seen_as(self, unique: NDArray[Any]) -> Iterator[_Seen | None]:
        """Addresses, with where they were seen, as the book is asked; None: it has nothing of that one."""
        raw, size = unique.tobytes(), _SEEN_AS.itemsize
        spaces = [self._places.get(point.namespace, "") for point in self._points.all]
        for at in range(0, len(raw), size):
            point, tunnel, family, port, octets = _SEEN_BYTES.unpack_from(raw, at)
            address = octets[: 4 if family == 4 else 16]
            yield _Seen(address, spaces[point], tunnel, port) if address in self._book else None

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked >= _LOOK:
            self._looked, self._places = now, self._find_places()

    def shown(self, rows: Rows) -> list[dict[str, Any]]:
        """What each row's JSON says of them."""
        codes, owners = self.of(rows)
        if len(owners) == 1:
            return [{}] * len(rows)
        return [told(pair, owners, int(a)) for pair, a in zip(codes.tolist(), rows["flow"]["reversed"].tolist(), strict=True)]

    def columns(self, rows: Rows, source: NDArray[np.intp]) -> list[Column]:
        """Attributes of spans; ``source``: which end of the key is the source's."""
        codes, owners = self.of(rows)
        if len(owners) == 1:
            return []
        result, every = [], np.arange(len(rows))
        for end, side in (("source", source), ("destination", 1 - source)):
            which = codes[every, side]
            for name, field in _ATTRIBUTES.items():
                texts = np.array([getattr(owner, field).encode() for owner in owners], np.bytes_)[which]
                present = np.asarray(texts != b"")
                if present.any():
                    result.append(Column(f"skytrail.{end}.owner.{name}", ValueKind.STR, texts, present))
        return result


def told(pair: list[int], owners: list[Owner], a: int) -> dict[str, Any]:
    """What a flow's JSON says of the owners of its ends.

    Args:
        pair: numbers of the owners of both ends of its key.
        owners: all.
        a: which end of the key is A.
    """
    sides = {letter: owners[pair[side]].shown() for letter, side in (("A", a), ("B", 1 - a)) if pair[side]}
    return {KEY: sides} if sides else {}
