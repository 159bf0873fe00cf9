"""Strategies that change what a traversal asks: SubgraphStrategy, PartitionStrategy. Source: those of TinkerPop 3.7.3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gremlin_api.errors import ILLEGAL_STATE, TraversalError
from gremlin_api.interpreter.instructions import OF_VERTEX_PROPERTIES
from gremlin_api.language.syntax import Argument, EnumValue, ListValue, Predicate, Step, Strategy, Traversal

_ENDS = frozenset({"inV", "outV", "bothV", "toV", "otherV"})
_ADJACENT = {"out": ("outE", "inV"), "in": ("inE", "outV"), "both": ("bothE", "otherV")}
_DIRECTIONS = {"OUT": "out", "IN": "in", "BOTH": "both"}
_EDGES = {"outE": "inV", "inE": "outV", "bothE": "otherV"}
"""By step to edges: the step to their other ends."""

Rewrite = Callable[[Sequence[Step], int], list[Step]]
"""Gives the steps that take the place of one."""


def decorated(traversal: Traversal, strategies: Sequence[Strategy]) -> Traversal:
    """The traversal as it is under its strategies. Raises TraversalError."""
    for strategy in strategies:
        make = _STRATEGIES.get(strategy.name)
        if make is not None:
            traversal = _rewritten(traversal, make(dict(strategy.arguments)))
    return traversal


def _rewritten(traversal: Traversal, rewrite: Rewrite) -> Traversal:
    steps = [_nested(step, rewrite) for step in traversal.steps]
    found = [new for place in range(len(steps)) for new in rewrite(steps, place)]
    return replace(traversal, steps=tuple(found))


def _nested(step: Step, rewrite: Rewrite) -> Step:
    if not any(isinstance(one, Traversal) for one in step.arguments):
        return step
    arguments = tuple(_rewritten(one, rewrite) if isinstance(one, Traversal) else one for one in step.arguments)
    return replace(step, arguments=arguments)


def _filter(*traversals: Traversal) -> list[Step]:
    return [Step("filter", (one,)) for one in traversals]


def _as_edges(step: Step) -> tuple[str, tuple[Argument, ...]] | None:
    """The name, and the labels, of a step to adjacent vertices."""
    if step.name in _ADJACENT:
        return step.name, step.arguments
    if step.name == "to" and step.arguments and isinstance(step.arguments[0], EnumValue):
        return _DIRECTIONS[step.arguments[0].name], step.arguments[1:]
    return None


@dataclass(frozen=True, slots=True)
class _Subgraph:
    """Only vertices, edges and properties of vertices that pass."""

    vertices: Traversal | None
    edges: Traversal | None
    properties: Traversal | None
    adjacent: bool

    def __call__(self, steps: Sequence[Step], place: int) -> list[Step]:
        step = steps[place]
        to_vertices = _as_edges(step)
        if to_vertices is not None:
            return self._to_vertices(step, *to_vertices)
        if step.name in ("V", *_ENDS):
            return [step, *self._of_vertices()]
        if step.name in ("E", "toE", *_EDGES):
            return [step, *self._of_edges(step)]
        if self.properties is not None:
            return list(self._of_properties(steps, place, self.properties))
        return [step]

    def _of_vertices(self) -> list[Step]:
        return [] if self.vertices is None else _filter(self.vertices)

    def _to_vertices(self, step: Step, name: str, labels: tuple[Argument, ...]) -> list[Step]:
        if self.edges is None:
            return [step, *self._of_vertices()]
        to_edges, to_end = _ADJACENT[name]
        return [Step(to_edges, labels), *_filter(self.edges), Step(to_end), *self._of_vertices()]

    def _of_edges(self, step: Step) -> list[Step]:
        found = [] if self.edges is None else _filter(self.edges)
        if not self.adjacent or self.vertices is None:
            return found
        passes = _filter(self.vertices)
        if step.name == "E":
            return [*found, *_filter(*(Traversal((Step(end), *passes)) for end in ("inV", "outV")))]
        name = step.name
        if name == "toE":
            assert isinstance(step.arguments[0], EnumValue)
            name = _DIRECTIONS[step.arguments[0].name] + "E"
        return [*found, *_filter(Traversal((Step(_EDGES[name]), *passes)))]

    @staticmethod
    def _of_properties(steps: Sequence[Step], place: int, passes: Traversal) -> Iterator[Step]:
        step = steps[place]
        if step.name in ("properties", "values"):
            yield replace(step, name="properties")
            yield Step(OF_VERTEX_PROPERTIES, (passes,))
            if step.name == "values":
                yield Step("value")
        elif step.name in ("valueMap", "propertyMap"):
            yield step
            yield Step(OF_VERTEX_PROPERTIES, (passes,))
        elif step.name == "by" and step.arguments and isinstance(step.arguments[0], str):
            way = Traversal((Step("properties", step.arguments[:1]), Step(OF_VERTEX_PROPERTIES, (passes,)), Step("value")))
            yield replace(step, arguments=(way, *step.arguments[1:]))
        else:
            yield step


def _subgraph(arguments: dict[str, Argument]) -> Rewrite:
    found = {name: arguments.get(name) for name in ("vertices", "edges", "vertexProperties")}
    if not any(found.values()):
        raise TraversalError("SubgraphStrategy takes vertices, edges or vertexProperties, one at least", ILLEGAL_STATE)
    vertices, edges, properties = (one if isinstance(one, Traversal) else None for one in found.values())
    return _Subgraph(vertices, edges, properties, arguments.get("checkAdjacentVertices", True) is True)


@dataclass(frozen=True, slots=True)
class _Partition:
    """Only elements, and with ``properties`` only properties of vertices, whose key has one of the values."""

    key: str
    reads: Predicate
    properties: bool

    def __call__(self, steps: Sequence[Step], place: int) -> list[Step]:
        step = steps[place]
        has = Step("has", (self.key, self.reads))
        if step.name in ("V", "E", "toE", *_ENDS, *_EDGES) or _as_edges(step) is not None:
            return [step, has]
        if not self.properties or step.name not in ("properties", "values", "valueMap", "propertyMap"):
            return [step]
        if self.key in step.arguments:
            raise TraversalError("PartitionStrategy: the key of the partition cannot be asked for", ILLEGAL_STATE)
        passes = Traversal((has, Step("hasKey", (Predicate("neq", (self.key,)),))))
        return list(_Subgraph._of_properties(steps, place, passes))  # noqa: SLF001 - the same for both


def _partition(arguments: dict[str, Argument]) -> Rewrite:
    key, reads = arguments.get("partitionKey"), arguments.get("readPartitions")
    if not isinstance(key, str) or not key:
        raise TraversalError("PartitionStrategy takes a partitionKey", ILLEGAL_STATE)
    some = reads.items if isinstance(reads, ListValue) else ()
    return _Partition(key, Predicate("within", some), arguments.get("includeMetaProperties") is True)


_STRATEGIES: dict[str, Callable[[dict[str, Argument]], Rewrite]] = {
    "SubgraphStrategy": _subgraph,
    "PartitionStrategy": _partition,
}
