"""An element of a snapshot in the shape that Skydive's JSON has, and as a revision. Times in ms since the epoch. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec

from skytrail.errors import RunError
from topology.elements import FOREVER, Part, Revision, State, node_id

_PART = "snapshot"

DEEPEST = 100
"""How deep lists and maps may be nested in a value of the metadata."""

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=FOREVER // 1000 - 1)]
"""Since the epoch."""


class SnapshotError(RunError):
    """A file that is no snapshot, or a damaged one; says where, and what was expected."""


class Element(msgspec.Struct, omit_defaults=True):
    """A node or, with ``Parent`` and ``Child``, an edge: the names are those in the file.

    Attributes:
        ID: of the element.
        Metadata: its keys; the topology ID is ``TID`` among them.
        Host: Name of the host whose probes saw it.
        Origin: ``<service>.<host>``.
        CreatedAt: when it came to be.
        UpdatedAt: when it became as it is.
        DeletedAt: when it was deleted, where that is past.
        ArchivedAt: when that state ended, where that is past.
        Revision: counts its states.
        Parent: of an edge: ID of the node it comes from.
        Child: of an edge: ID of the node it goes to.
    """

    ID: str
    Metadata: dict[str, Any]
    Host: str = ""
    Origin: str = ""
    CreatedAt: Milliseconds = 0
    UpdatedAt: Milliseconds = 0
    DeletedAt: Milliseconds | None = None
    ArchivedAt: Milliseconds | None = None
    Revision: Annotated[int, msgspec.Meta(ge=0, le=2**62)] = 1
    Parent: str = ""
    Child: str = ""


def checked(elements: Iterable[Element]) -> list[Element]:
    """Elements of which a graph can be made: nodes, then edges.

    Raises:
        SnapshotError: an ID stands there twice, an edge has an end that is no node, a node has no name or type, a value is
            nested too deeply.
    """
    nodes: dict[str, Element] = {}
    edges: dict[str, Element] = {}
    seen: set[str] = set()
    for element in elements:
        kept = edges if element.Parent or element.Child else nodes
        one = _uuid(element.ID)  # a UUID in capitals is the same
        if one in seen:
            raise SnapshotError(f"the ID {_quoted(element.ID)} stands there twice")
        if not all(fits(value, DEEPEST) for value in element.Metadata.values()):
            raise SnapshotError(f"the element {_quoted(element.ID)} has a value that is nested more than {DEEPEST} deep")
        seen.add(one)
        kept[element.ID] = element
    for node in nodes.values():
        if missing := [key for key in ("Name", "Type") if not isinstance(node.Metadata.get(key), str)]:
            raise SnapshotError(f"the node {_quoted(node.ID)} has no {missing[0]} that is text")
    for edge in edges.values():
        if not isinstance(edge.Metadata.get("RelationType"), str):
            raise SnapshotError(f"the edge {_quoted(edge.ID)} has no RelationType that is text")
        for end in (edge.Parent, edge.Child):
            if end not in nodes:
                raise SnapshotError(f"the edge {_quoted(edge.ID)} has an end that is not there: {_quoted(end)}")
    return [*nodes.values(), *edges.values()]


def revisions(elements: Iterable[Element]) -> list[Revision]:
    """Elements as revisions, in their order.

    An ID that is no UUID (of another program's graph) becomes the UUIDv5 that is made of it as of a TID.
    """
    made = []
    for sequence, element in enumerate(elements, 1):
        metadata = dict(element.Metadata)
        tid = metadata.pop("TID", "") if isinstance(metadata.get("TID"), str) else ""
        ends = [_uuid(end) if end else "" for end in (element.Parent, element.Child)]
        state = State(element.Host, element.Origin, {_PART: Part.of(metadata)}, tid, *ends)
        updated = element.UpdatedAt * 1000
        ended = element.DeletedAt if element.ArchivedAt is None else element.ArchivedAt
        made.append(
            Revision(
                _uuid(element.ID),
                element.Revision,
                element.CreatedAt * 1000,
                updated,
                FOREVER if ended is None else ended * 1000,
                updated,
                sequence,
                state,
                element.DeletedAt is not None,
            )
        )
    return made


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return node_id(text)


def fits(value: object, levels: int) -> bool:
    """Whether lists and maps are nested in a value so deep at most."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(fits(one, levels - 1) for one in inner)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
