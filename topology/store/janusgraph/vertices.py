"""Which vertex an element has: JanusGraph gives the IDs, and finding one by ID is ten times as fast as by an index.

A vertex is made before anything is known of its element: without a document it is not there for anybody. It is made through
the gate of all writers: BerkeleyJE lets two transactions make one each at once, and the unique index then forgets the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gremlin_python.process.graph_traversal import GraphTraversal, __
from gremlin_python.process.traversal import Merge, P, T
from gremlin_python.statics import long

from topology.store.janusgraph.connection import Connections
from topology.store.janusgraph.schema import HISTORY, INTERNAL

Gated = Callable[[Callable[[GraphTraversal], GraphTraversal]], list[Any]]

_AT_ONCE = 500


class Vertices:
    """IDs of vertices, kept. Not for several threads at once.

    Args:
        connections: to the server.
        gated: runs a traversal behind the gate, in one transaction; raises ConflictError where that is shut.

    Attributes:
        known: by the element's ID.
    """

    def __init__(self, connections: Connections, gated: Gated) -> None:
        self._connections = connections
        self._gated = gated
        self.known: dict[str, object] = {}
        self._system: dict[str, object] = {}

    def make(self, wanted: Mapping[str, str]) -> set[str]:
        """Find the vertices of elements, or make them with these labels; returns those with a history. Raises StoreError."""
        rows = [{"m": {"uid": id_}, "n": {"uid": id_, T.label: label}} for id_, label in wanted.items()]
        had: set[str] = set()
        for at in range(0, len(rows), _AT_ONCE):
            part = rows[at : at + _AT_ONCE]
            found = self._gated(
                lambda steps, part=part: (  # type: ignore[misc]
                    steps.constant(part)
                    .unfold()
                    .as_("r")
                    .merge_v(__.select("r").select("m"))
                    .option(Merge.on_create, __.select("r").select("n"))
                    .project("id", "vertex", "had")
                    .by("uid")
                    .by(T.id)
                    .by(__.properties("doc", "doc" + HISTORY, "number").limit(1).count())
                )
            )
            self.known.update((one["id"], _typed(one["vertex"])) for one in found)
            had.update(one["id"] for one in found if one["had"])
        return had

    def find(self, ids: Iterable[str]) -> set[str]:
        """Find those that there are; returns them. Raises StoreError."""
        missing = [id_ for id_ in ids if id_ not in self.known]
        for at in range(0, len(missing), _AT_ONCE):
            part = missing[at : at + _AT_ONCE]
            found = self._connections.run(
                lambda g, part=part: (  # type: ignore[misc]
                    g.V().has("uid", P.within(*part)).project("id", "vertex").by("uid").by(T.id).to_list()
                )
            )
            self.known.update((one["id"], _typed(one["vertex"])) for one in found)
        return {id_ for id_ in ids if id_ in self.known}

    def system(self, name: str) -> object:
        """One of ours, found or made; ``name`` is like ``bucket/7``. Raises StoreError."""
        if name not in self._system:
            made = {"system": name, "page": name.partition("/")[0], T.label: INTERNAL}
            found = self._connections.read(lambda g: g.V().has("system", name).id_().to_list()) or self._gated(
                lambda steps: steps.constant([{"system": name}]).unfold().merge_v().option(Merge.on_create, made).id_()
            )
            self._system[name] = _typed(found[0])
        return self._system[name]

    def forget(self, id_: str) -> None:
        """Let go of one that is there no more."""
        self.known.pop(id_, None)


def _typed(vertex: object) -> object:
    """As JanusGraph's Long, even where it would fit an Integer: IDs are compared as objects."""
    return long(vertex) if isinstance(vertex, int) else vertex
