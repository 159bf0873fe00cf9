"""The schema in JanusGraph, as tables; made and migrated by :func:`migrate`.

Vertices: ``node`` for each of the graph (``element`` is a reserved word there), ``edge_record`` for the
history of each edge, and ``internal`` for ours, told apart by ``system``: ``head`` (how far the
log is committed), ``writer/<name>`` (lease), ``bucket/<n>`` (the log), ``checkpoint/<sequence>``. Edges: one for each revision
of an edge, with the RelationType as label.

A declared key is twice on a vertex: its value now (gone when the element is) and ``<key>_was`` (LIST): each value it had.
``doc`` is the whole state, as declared keys are. All carry ``valid_from`` and ``valid_to``, half-open,
:data:`~topology.elements.FOREVER` for an open end, so that both together, as of a time, are
``properties(key, key_was).has('valid_from', lte(t)).has('valid_to', gt(t))``; the twin has an index of the vertex's own on
``valid_from``. (With the open value in the twin too, closing it means searching the history: measured half as fast, and slower
with each revision.) Labels and keys cannot change in JanusGraph: a later version only adds.

The head's ``odd`` names the keys at which some state ever had a value that stands in ``doc`` alone: of those the declared keys
tell not all.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gremlin_python.statics import long

from topology.elements import State
from topology.store.interface import StoreError
from topology.store.janusgraph.connection import ConflictError, Connections
from topology.store.traversal import values_at

VERSION = 2
"""Of the schema below. A graph that version 1 began has no ``odd`` and no index of what was: it is never asked by key."""

_TRIES = 10
_LONG = 1 << 63

HEAD_KEYS = (
    "version", "committed", "applied", "revisions", "size", "pending", "until", "generation", "checkpoint", "forgotten",
)  # fmt: skip
"""Numbers on the head's vertex: see :class:`topology.store.janusgraph.log.Head`."""

HISTORY = "_was"
"""Ends the name of a key's LIST twin."""

NODE = "node"
EDGE = "edge_record"
INTERNAL = "internal"
OTHER = "related"
"""The label of edges whose RelationType is none of :data:`RELATIONS`."""

RELATION = "RelationType"
"""The key of an edge that JanusGraph's edge has, too; empty: it has none."""

RELATIONS = frozenset({
    "ownership", "layer2", "association", "service", "endpoint", "networkpolicy", "storage", "ingress", "veth", "vlan", "vxlan",
    "macvlan", "bond", "peer", "mapping", "connection", "pod", "cluster", "routing",
})  # fmt: skip
"""Labels of edges."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A key that people filter by.

    Attributes:
        name: of the property.
        path: where it stands in Metadata; empty: in the state itself.
        kind: type of its values.
        several: a list of values; each has its own property.
        indexed: the current value has a composite index, and what was has one.
    """

    name: str
    path: tuple[str, ...]
    kind: type
    several: bool = False
    indexed: bool = False


DECLARED = (
    Declared("Name", ("Name",), str, indexed=True),
    Declared("Type", ("Type",), str, indexed=True),
    Declared("Host", (), str, indexed=True),
    Declared("Origin", (), str),
    Declared("TID", (), str, indexed=True),
    Declared("MAC", ("MAC",), str, indexed=True),
    Declared("IPV4", ("IPV4",), str, several=True, indexed=True),
    Declared("IPV6", ("IPV6",), str, several=True, indexed=True),
    Declared("State", ("State",), str),
    Declared("Driver", ("Driver",), str),
    Declared("IfIndex", ("IfIndex",), int),
    Declared("MTU", ("MTU",), int),
    Declared("Vlan", ("Vlan",), int),
    Declared("K8s.Namespace", ("K8s", "Namespace"), str, indexed=True),
    Declared("K8s.Name", ("K8s", "Name"), str, indexed=True),
    Declared("Docker.ContainerName", ("Docker", "ContainerName"), str),
)
"""In the order in which they are written."""

_OF_STATE = {"Host": "host", "Origin": "origin", "TID": "tid"}


def declared_values(state: State) -> dict[str, Any]:
    """The declared keys that a state has, by name. A value of another type than declared stays in ``doc`` alone.

    The state's own that are empty are none.
    """
    metadata = state.metadata
    values: dict[str, Any] = {}
    for key in DECLARED:
        value = _at(metadata, key.path) if key.path else getattr(state, _OF_STATE[key.name]) or None
        items = value if key.several and isinstance(value, list) else [] if key.several else [value]
        if items and all(_is_of(key.kind, item) for item in items):
            values[key.name] = long(value) if key.kind is int else value
    return values


def odd_keys(state: State) -> set[str]:
    """The keys of a state, those of edges among them, of which :func:`declared_values` or the edge itself does not tell all."""
    metadata = state.metadata
    if state.parent:
        relations = values_at(metadata, RELATION)
        return {RELATION} if relations and not (len(relations) == 1 and relations[0] and _is_of(str, relations[0])) else set()
    values = declared_values(state)
    odd = {"TID"} if not state.tid and values_at(metadata, "TID") else set()
    for key in DECLARED:
        if key.path:
            told = values.get(key.name, [])
            if values_at(metadata, key.name) != (told if isinstance(told, list) else [told]):
                odd.add(key.name)
    return odd


def _is_of(kind: type, value: Any) -> bool:  # noqa: ANN401 - a value of JSON
    return type(value) is kind and not (isinstance(value, int) and not -_LONG <= value < _LONG)


def _at(metadata: Mapping[str, Any], path: tuple[str, ...]) -> Any:  # noqa: ANN401 - a value of JSON
    value: Any = metadata
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


@dataclass(frozen=True, slots=True)
class _Key:
    name: str
    type: str
    cardinality: str = "SINGLE"
    index: str = "none"
    history: bool = False
    lock: bool = False


_INTERNAL_KEYS = (
    _Key("valid_from", "integer"),
    _Key("valid_to", "integer"),
    _Key("number", "integer"),
    _Key("sequence", "integer"),
    _Key("stamp", "text"),
    _Key("uid", "text", index="unique"),
    _Key("edge_uid", "text"),
    _Key(RELATION, "text"),
    _Key("doc", "text"),
    _Key("doc" + HISTORY, "text", "LIST", history=True),
    _Key("system", "text", index="unique"),
    _Key("version", "integer", lock=True),
    *(_Key(name, "integer") for name in HEAD_KEYS if name != "version"),
    _Key("owner", "text"),
    _Key("odd", "text"),
    _Key("schema", "integer"),
    _Key("lease", "text"),
    _Key("page", "text", index="plain"),
    _Key("place", "text"),
    _Key("heads", "text", "LIST"),
    _Key("docs", "text", "LIST"),
)


def _keys() -> list[_Key]:
    kinds = {str: "text", int: "integer"}
    keys = list(_INTERNAL_KEYS)
    for key in DECLARED:
        kind = kinds[key.kind]
        index = "plain" if key.indexed else "none"
        keys.append(_Key(key.name, kind, "LIST" if key.several else "SINGLE", index))
        keys.append(_Key(key.name + HISTORY, kind, "LIST", index, history=True))
    return keys


def migrate(connections: Connections) -> None:
    """Make what is missing of the schema. Raises StoreError where a later version of ours made it, or it cannot be made."""
    script = Path(__file__).with_name("schema.groovy").read_text(encoding="utf-8")
    bindings = {
        "propertyKeys": [asdict(key) for key in _keys()],
        "vertexLabels": [NODE, EDGE, INTERNAL],
        "edgeLabels": sorted(RELATIONS | {OTHER}),
        "headKeys": list(HEAD_KEYS),
        "schemaVersion": long(VERSION),
    }
    for attempt in range(_TRIES):
        try:
            [made] = connections.script(script, bindings)
        except ConflictError:  # another hub makes it, too
            if attempt == _TRIES - 1:
                raise
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - only spreads the retries
        else:
            break
    if made > VERSION:
        raise StoreError(f"a later Skytrail made the schema in JanusGraph (version {made}, ours {VERSION}): use that one")
