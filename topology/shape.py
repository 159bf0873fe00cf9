"""Revisions as JSON in Skydive's shape: times in ms since the epoch, ``Nodes`` and ``Edges``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from topology.elements import FOREVER, Kind, Revision, with_volatile
from topology.store.interface import Difference

Json = dict[str, Any]


def element_json(revision: Revision, volatile: Mapping[str, Any] | None = None) -> Json:
    """One node or edge; ``volatile`` is added to its metadata."""
    state = revision.state
    assert state is not None, "a deletion is no element"
    metadata = with_volatile(state.metadata, volatile or {})
    if state.tid:
        metadata["TID"] = state.tid
    return json_of(revision, metadata)


def json_of(revision: Revision, metadata: Mapping[str, Any]) -> Json:
    """One node or edge of which all metadata is told."""
    state = revision.state
    assert state is not None, "a deletion is no element"
    ended = revision.archived_at != FOREVER
    shown: Json = {
        "ID": revision.id,
        "Metadata": metadata,
        "Host": state.host,
        "Origin": state.origin,
        "CreatedAt": revision.created_at // 1000,
        "UpdatedAt": revision.updated_at // 1000,
        "DeletedAt": revision.archived_at // 1000 if ended and revision.deleted else None,
        "Revision": revision.number,
    }
    if ended:
        shown["ArchivedAt"] = revision.archived_at // 1000
    if state.kind is Kind.EDGE:
        shown |= {"Parent": state.parent, "Child": state.child}
    return shown


def graph_json(revisions: Iterable[Revision], volatile: Mapping[str, Mapping[str, Any]] | None = None) -> Json:
    """A graph; ``volatile``: by ID."""
    nodes: list[Json] = []
    edges: list[Json] = []
    for revision in revisions:
        shown = element_json(revision, (volatile or {}).get(revision.id))
        (edges if "Parent" in shown else nodes).append(shown)
    return {"Nodes": nodes, "Edges": edges}


def difference_json(difference: Difference) -> Json:
    """What became of one element: ``added``, ``removed``, or ``changed`` with each key's values before and after."""
    before, after = difference.before, difference.after
    if before is None or after is None:
        shown = after or before
        assert shown is not None
        return {"Change": "added" if before is None else "removed", "Element": element_json(shown)}
    assert before.state is not None
    assert after.state is not None
    old, new = before.state.metadata, after.state.metadata
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    changed = {key: [old.get(key), new.get(key)] for key in keys}
    return {"Change": "changed", "Element": element_json(after), "Keys": changed}
