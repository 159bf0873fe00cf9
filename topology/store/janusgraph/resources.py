"""What is kept beside the graph: a vertex of its own for each, found by its kind."""

from __future__ import annotations

from gremlin_python.process.graph_traversal import GraphTraversal, GraphTraversalSource, __
from gremlin_python.process.traversal import Cardinality

from topology.store.interface import Note
from topology.store.janusgraph.connection import Connections
from topology.store.janusgraph.schema import INTERNAL


def read(connections: Connections, kind: str) -> dict[str, bytes]:
    """All of a kind, by ID. Raises StoreError."""

    def work(g: GraphTraversalSource) -> list[dict[str, list[str]]]:
        found: list[dict[str, list[str]]] = g.V().has("page", _page(kind)).value_map("system", "doc").to_list()
        return found

    prefix = f"{_page(kind)}/"
    return {one["system"][0].removeprefix(prefix): one["doc"][0].encode() for one in connections.read(work)}


def put(connections: Connections, kind: str, id_: str, body: bytes | None) -> None:
    """Keep one, or keep it no more. Raises ConflictError: another writes it, StoreError."""
    name = name_of(kind, id_)

    def work(g: GraphTraversalSource) -> None:
        if body is None:
            g.V().has("system", name).drop().iterate()
            return
        made = __.add_v(INTERNAL).property("system", name).property("page", _page(kind))
        g.V().has("system", name).fold().coalesce(__.unfold(), made).property("doc", body.decode()).iterate()

    connections.run(work)


def with_note(steps: GraphTraversal, vertex: object, note: Note) -> GraphTraversal:
    """Keep one, its vertex being there, in a transaction."""
    kept = __.V(vertex).property(Cardinality.single, "page", _page(note.kind))
    return steps.side_effect(kept.property(Cardinality.single, "doc", note.body.decode()))


def name_of(kind: str, id_: str) -> str:
    """By which its vertex is known."""
    return f"{_page(kind)}/{id_}"


def _page(kind: str) -> str:
    return f"resource/{kind}"
