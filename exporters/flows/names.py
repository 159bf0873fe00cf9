"""Who has the addresses at both ends of flows, by the address book, as it was when each flow began.

An address is looked up once for all flows of a batch that have it at one capture point, and more often only where its owner
changed between their beginnings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.flows.identify import kind_of
from exporters.flows.points import Points
from exporters.flows.table import Rows
from exporters.outputs.otlp.columns import Column, ValueKind
from skytrail.addresses.book import Book, Owner

UNNAMED = Owner("", "")
KEY = "Owner"
"""In a flow's JSON: of ``A`` and ``B``."""

_LOOK = 5.0  # seconds between two looks at which namespaces there are
_SEEN = np.dtype([("point", "<i4"), ("family", "u1"), ("address", "u1", 16)])
_ATTRIBUTES = {"kind": "kind", "name": "name", "namespace": "space", "host": "host"}
"""Of a span, behind ``skytrail.source.owner.``: fields of owners."""

Names = tuple[NDArray[np.uint32], list[Owner]]
"""For each row, and each end of its key, the number of an owner; number 0 is nobody."""


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

    def of(self, rows: Rows) -> Names:
        """The owners of both ends of each row."""
        codes, owners = np.zeros((len(rows), 2), np.uint32), [UNNAMED]
        network = np.flatnonzero(kind_of(rows["key"]) != layout.KIND_LINK) if self._book and len(rows) else ()
        if not len(network):
            return codes, owners
        self._look()
        seen = np.zeros((len(network), 2), _SEEN)
        seen["point"], seen["family"] = rows["point"][network, None], rows["family"][network, None]
        seen["address"] = rows["key"]["addr"][network]
        flat = seen.reshape(-1)
        unique, which = np.unique(flat.view(f"V{_SEEN.itemsize}"), return_inverse=True)
        starts = np.repeat(rows["start"][network] // 1000, 2)
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(unique) + 1))
        numbers: dict[Owner, int] = {UNNAMED: 0}
        found = np.zeros(len(flat), np.uint32)
        for at, one in enumerate(unique.view(_SEEN)):
            mine = order[bounds[at] : bounds[at + 1]]
            self._name(one, mine, starts, found, numbers)
        codes[network] = found.reshape(-1, 2)
        return codes, list(numbers)

    def _name(
        self,
        one: Any,  # noqa: ANN401 - a record of _SEEN
        mine: NDArray[np.intp],
        starts: NDArray[np.int64],
        found: NDArray[np.uint32],
        numbers: dict[Owner, int],
    ) -> None:
        raw = one["address"].tobytes()
        address = raw[:4] if one["family"] == 4 else raw
        if address not in self._book:
            return
        namespace = self._points.all[int(one["point"])].namespace
        place, host = self._places.get(namespace, ""), self._host
        first, last = int(starts[mine].min()), int(starts[mine].max())
        if self._book.settled(address, first, last):
            owner = self._book.find(address, place, host, first) or UNNAMED
            found[mine] = numbers.setdefault(owner, len(numbers))
            return
        for row in mine.tolist():
            owner = self._book.find(address, place, host, int(starts[row])) or UNNAMED
            found[row] = numbers.setdefault(owner, len(numbers))

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
