"""Elements of the graph, their states and revisions: the values that facts become, stores keep and queries answer.

Times are µs since the epoch. An interval is half-open: [from, to); :data:`FOREVER` is an end that is not known yet.
"""

from __future__ import annotations

import functools
import sys
import uuid
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Self

import msgspec

from skytrail.errors import RunError
from skytrail.tid import element_id

FOREVER = 2**63 - 1
"""The open end of an interval; JanusGraph's Long.MAX."""

Metadata = Mapping[str, Any]
"""Skydive's Metadata: values of JSON, nested. Keys in capitals as Skydive writes them (``Name``, ``IPV4`` …)."""


_REMEMBERED = 1 << 16
_PREVAILING = frozenset({"ovsdb"})
"""Probes that are believed rather than who defines the element: what a port of Open vSwitch is, the switch knows."""

_encoder = msgspec.json.Encoder(order="deterministic")
_metadata_decoder = msgspec.json.Decoder(dict[str, Any])


class Kind(Enum):
    """What an element is."""

    NODE = "node"
    EDGE = "edge"


class DamagedStateError(RunError):
    """What a store gave cannot be read."""


# Trees that hold no cycles, by the ten thousand: the collector of cycles need not look at them (gc=False).


class Part(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one probe says of an element: see :meth:`of`.

    Attributes:
        raw: keys of its own, as JSON with its keys in order: equal metadata is equal bytes. It is decoded only where it is
            looked at: a graph of a hundred thousand elements would take a gigabyte.
        enriches: it only adds to an element that another probe defines, and keeps none alive.
    """

    raw: msgspec.Raw
    enriches: bool = False

    @classmethod
    def of(cls, metadata: Metadata, *, enriches: bool = False) -> Self:
        """A part that says these keys."""
        return cls(msgspec.Raw(_encoder.encode(metadata)), enriches)

    @property
    def metadata(self) -> dict[str, Any]:
        """Its keys, decoded at each call. Raises DamagedStateError."""
        try:
            found: dict[str, Any] = _metadata_decoder.decode(self.raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DamagedStateError(
                f"a state is damaged ({error}): bring a backup back with 'skytrail restore FILE'"
            ) from error
        return found


class State(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename={"parts": "p", "parent": "a", "child": "b"}):
    """What an element is during one revision, apart from its identity.

    Attributes:
        host: Name of the host whose probes saw it; empty for what belongs to none.
        origin: ``<service>.<host>``, as Skydive says who made it.
        tid: its topology ID; empty for edges.
        parts: what each probe says of it, by the probe's name.
        parent: of an edge: the ID of the node it comes from.
        child: of an edge: the ID of the node it goes to.
    """

    host: str
    origin: str
    parts: dict[str, Part]
    tid: str = ""
    parent: str = ""
    child: str = ""

    @property
    def kind(self) -> Kind:
        """Edges have ends."""
        return Kind.EDGE if self.parent else Kind.NODE

    @property
    def metadata(self) -> dict[str, Any]:
        """The parts as one, decoded at each call.

        Of two probes that say the same key, the one that defines the element is believed, or the one that knows it better.

        Raises:
            DamagedStateError: what a store gave cannot be read.
        """
        if len(self.parts) == 1:
            return next(iter(self.parts.values())).metadata
        merged: dict[str, Any] = {}
        for _, part in sorted(self.parts.items(), key=_credit):
            merged |= part.metadata
        return merged


def _credit(item: tuple[str, Part]) -> tuple[bool, bool, str]:
    """Who is believed comes last: parts by their probes' names, behind which a place may stand (``ovsdb/tcp:…``)."""
    name, part = item
    return name.partition("/")[0] in _PREVAILING, not part.enriches, name


def with_volatile(metadata: Metadata, volatile: Metadata) -> dict[str, Any]:
    """Metadata and what is shown beside it; a key of that with a dot stands within a map (``Ovs.Metric``)."""
    made = dict(metadata)
    for key, value in volatile.items():
        name, dot, within = key.partition(".")
        there = made.get(name) if dot else None
        made[name] = {**(there if isinstance(there, dict) else {}), within: value} if dot else value
    return made


class Revision(msgspec.Struct, frozen=True, gc=False):
    """One state of an element and when it was so.

    Attributes:
        id: of the element, a UUID.
        number: counts the element's revisions in the order they were recorded, from 1; never given twice.
        created_at: when the element came to be (again, after it had been deleted).
        updated_at: when this state began: its interval's from.
        archived_at: when it ended: its interval's to, or :data:`FOREVER`.
        recorded_at: when the store took it.
        sequence: its place in the feed of changes.
        state: None in the feed, for the deletion of the element at ``updated_at``.
        deleted: whether its end was the element's end.
    """

    id: str
    number: int
    created_at: int
    updated_at: int
    archived_at: int
    recorded_at: int
    sequence: int
    state: State | None
    deleted: bool = False


_decoder = msgspec.json.Decoder(State)


def encode_state(state: State) -> bytes:
    """The state as bytes: equal states have equal bytes."""
    return _encoder.encode(state)


decode_state: Callable[[bytes], State] = _decoder.decode
"""Gives what :func:`encode_state` made. Raises msgspec.ValidationError or msgspec.DecodeError for anything else."""


def node_id(tid: str) -> str:
    """The ID of the node with that TID."""
    return element_id(tid)


@functools.lru_cache(_REMEMBERED)
def edge_id(parent: str, child: str, relation: str, key: str = "") -> str:
    """The ID of an edge, as Skydive makes it: UUIDv5 of the ends' IDs and the relation.

    Args:
        parent: ID of the node it comes from.
        child: ID of the node it goes to.
        relation: its RelationType.
        key: tells apart several of one relation between the same two nodes.
    """
    said = "/".join((parent, child, relation, key) if key else (parent, child, relation))
    return sys.intern(str(uuid.uuid5(uuid.NAMESPACE_OID, said)))
