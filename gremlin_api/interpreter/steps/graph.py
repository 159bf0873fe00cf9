"""Steps to elements and to what they have: V, out, inE, otherV, properties, valueMap, id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from gremlin_api.errors import ILLEGAL_ARGUMENT, ILLEGAL_STATE, WRONG_TYPE, TraversalError
from gremlin_api.graphs.view import BOTH, IN, OUT
from gremlin_api.interpreter.chain import MISSING, FlatMap, Flow, Kept, Map, MapTraverser, Step
from gremlin_api.interpreter.comparison import IncomparableError
from gremlin_api.interpreter.conditions import Condition
from gremlin_api.interpreter.instructions import OF_VERTEX_PROPERTIES, Instruction
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.interpreter.projection import Ring, start
from gremlin_api.interpreter.steps.family import Build
from gremlin_api.interpreter.traverser import NO_LABELS, TrackingTraverser, Traverser
from gremlin_api.language.grammar import CONSTANTS
from gremlin_api.language.render import render_argument
from gremlin_api.language.syntax import EnumValue, Traversal
from gremlin_api.values import Edge, Element, OrderedSet, Property, Value, Vertex, VertexProperty
from gremlin_api.values import Map as MapOfValues
from topology.store.traversal import Direction, Ends, Hop

if TYPE_CHECKING:
    from gremlin_api.interpreter.build import Builder

_OPTIONS = CONSTANTS["WithOptions"]
_IDS, _LABELS, _KEYS, _VALUES, _ALL = (int(_OPTIONS[name]) for name in ("ids", "labels", "keys", "values", "all"))
_ID, _LABEL, _KEY, _VALUE = (EnumValue("T", name) for name in ("id", "label", "key", "value"))


def expect(value: Value, kinds: type | tuple[type, ...], step: str) -> Value:
    """The value, if it is of such a kind. Raises TraversalError."""
    if not isinstance(value, kinds):
        kind = "java.lang.NullPointerException" if value is None else WRONG_TYPE
        raise TraversalError(f"{step}() does not take {java_text(value)}", kind)
    return value


class Elements(Step):
    """All vertices or edges, or those of some IDs, that meet conditions; again for each traverser, in the middle.

    Attributes:
        vertices: whether it gives vertices.
        ids: None: all.
        conditions: that all must meet.
    """

    def __init__(self, builder: Builder, *, vertices: bool, ids: Sequence[Value] | None, first: bool) -> None:
        super().__init__()
        self.name = "V" if vertices else "E"
        self.vertices, self.ids, self.first = vertices, ids, first
        self.conditions: list[Condition] = []
        self._run, self._tracking, self._inner, self._value_of = builder.run, builder.tracking, builder.inner, builder.value

    @property
    def pushes(self) -> bool:
        """Whether an index may answer in its place: it is the beginning, looks at all, and nothing is labelled there."""
        return self.first and self.ids is None and not self.labels and not self._inner

    @property
    def text(self) -> str:
        """It and its conditions."""
        asked = "".join(f".has({one.key or one.about}, {render_argument(one.predicate)})" for one in self.conditions)
        ids = "" if self.ids is None else ", ".join(map(str, self.ids))
        return f"{self.name}({ids}){asked}"

    @property
    def shown(self) -> list[str]:
        """What explain() tells of it: whether an index says where to look."""
        indexed = self.ids is None and self._narrowed() is not None
        return [f"index[{self.text}]" if indexed else self.text]

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Each element."""
        if not self.first:
            for traverser in upstream:
                for element in self._found():
                    yield traverser.to(element)
            return
        sack = self._run.sack
        for _ in upstream:
            for element in self._found():
                if self._tracking:
                    yield TrackingTraverser(element, 1, (None, element, NO_LABELS), sack)
                else:
                    yield Traverser(element, 1, None, sack)

    def _found(self) -> Iterable[Element]:
        graph, tick = self._run.graph, self._run.tick
        every: Iterable[Element | None] | None
        if self.ids is not None:
            one = graph.vertex if self.vertices else graph.edge
            every = (one(id_.id if isinstance(id_, Element) else id_) for id_ in self.ids if id_ is not None)
        else:
            every = self._narrowed()
            if every is None:
                self._run.scan()
                every = graph.vertices() if self.vertices else graph.edges()
        for element in every:
            tick()
            if element is not None and self._meets(element):
                yield element

    def _narrowed(self) -> Iterable[Element] | None:
        """Those that an index tells of; None: all must be looked at."""
        if not self.vertices or not self.conditions or not self._run.pushes or self._inner:
            return None
        return self._run.graph.candidates(self.conditions)

    def _meets(self, element: Element) -> bool:
        try:
            return all(one.test(element) for one in self.conditions)
        except IncomparableError:
            if self._inner:
                raise
            return False

    def take(self, condition: Condition) -> None:
        """Take a condition over from the step after it."""
        name = condition.predicate.name
        if condition.about == "id" and self.ids is None and name in ("eq", "within"):
            self.ids = [value for one in condition.predicate.arguments for value in self._ids_of(one)]
        else:
            self.conditions.append(condition)

    def _ids_of(self, argument: Value) -> list[Value]:
        value = self._value_of(argument)
        return list(value) if isinstance(value, list | OrderedSet) else [value]


def _elements(builder: Builder, instruction: Instruction) -> Step:
    ids = [builder.value(one) for one in instruction.arguments]
    if len(ids) == 1 and isinstance(ids[0], list | OrderedSet):
        ids = list(ids[0])
    return Elements(builder, vertices=instruction.name == "V", ids=ids or None, first=builder.at_source())


def _adjacent(direction: str) -> Build:
    def build(builder: Builder, instruction: Instruction) -> Step:
        return _to_vertices(builder, instruction.name, direction, instruction.arguments)

    return build


def _to_vertices(builder: Builder, name: str, direction: str, labels: Sequence[Value]) -> Step:
    adjacent = builder.run.graph.adjacent
    wanted = [builder.value(one) for one in labels]
    walk = _hop(direction, wanted, to_edges=False)
    return FlatMap(name, builder.run, lambda value: adjacent(expect(value, Vertex, name), direction, wanted), walk)


def _incident(direction: str) -> Build:
    def build(builder: Builder, instruction: Instruction) -> Step:
        return _to_edges(builder, instruction.name, direction, instruction.arguments)

    return build


def _to_edges(builder: Builder, name: str, direction: str, labels: Sequence[Value]) -> Step:
    incident = builder.run.graph.incident
    wanted = [builder.value(one) for one in labels]
    walk = _hop(direction, wanted, to_edges=True)
    return FlatMap(name, builder.run, lambda value: incident(expect(value, Vertex, name), direction, wanted), walk)


def _hop(direction: str, labels: Sequence[Value], *, to_edges: bool) -> Hop | None:
    if not all(isinstance(one, str) for one in labels):
        return None
    return Hop(Direction(direction), tuple(labels), to_edges)


def _to(builder: Builder, instruction: Instruction) -> Step:
    direction, *labels = instruction.arguments
    return _to_vertices(builder, "to", builder.value(direction).name, labels)


def _to_e(builder: Builder, instruction: Instruction) -> Step:
    direction, *labels = instruction.arguments
    return _to_edges(builder, "toE", builder.value(direction).name, labels)


_ENDS: dict[str, Callable[[Edge], tuple[Vertex, ...]]] = {
    OUT: lambda edge: (edge.out,),
    IN: lambda edge: (edge.into,),
    BOTH: lambda edge: (edge.out, edge.into),
}


def _ends(direction: str) -> Build:
    def build(builder: Builder, instruction: Instruction) -> Step:
        return _to_ends(builder, instruction.name, direction)

    return build


def _to_ends(builder: Builder, name: str, direction: str) -> Step:
    ends = _ENDS[direction]
    return FlatMap(name, builder.run, lambda value: ends(expect(value, Edge, name)), Ends(Direction(direction)))


def _to_v(builder: Builder, instruction: Instruction) -> Step:
    return _to_ends(builder, "toV", builder.value(instruction.arguments[0]).name)


def _other(traverser: Traverser) -> Vertex:
    """The end of an edge that was not come from: that is said by the path."""
    trail = traverser.trail
    before = None if trail is None else trail[0]
    while before is not None:
        if isinstance(before[1], Vertex):
            edge: Edge = expect(traverser.value, Edge, "otherV")
            return edge.into if before[1] == edge.out else edge.out
        before = before[0]
    raise TraversalError("otherV(): the path holds no vertex before the edge", ILLEGAL_STATE)


def properties_of(element: Value, keys: Sequence[str | None], step: str) -> list[Value]:
    """The properties of an element, all or those of some keys."""
    if isinstance(element, Vertex):
        there = element.properties or {}
        if not keys:
            return [one for several in there.values() for one in several]
        return [one for key in dict.fromkeys(keys) for one in there.get(key or "", ())]
    expect(element, (Edge, VertexProperty), step)
    own = element.properties or {}
    chosen = own if not keys else [key for key in dict.fromkeys(keys) if key is not None and key in own]
    return [Property(key, own[key], element) for key in chosen]


def _properties(builder: Builder, instruction: Instruction) -> Step:
    keys = [builder.value(one) for one in instruction.arguments]
    return FlatMap("properties", builder.run, lambda value: properties_of(value, keys, "properties"))


def _values(builder: Builder, instruction: Instruction) -> Step:
    keys = [builder.value(one) for one in instruction.arguments]
    if len(keys) == 1 and keys[0] is not None:
        return FlatMap("values", builder.run, _values_of_one(keys[0]))
    return FlatMap("values", builder.run, lambda value: [one.value for one in properties_of(value, keys, "values")])


def _values_of_one(key: str) -> Callable[[Value], Iterable[Value]]:
    def values(element: Value) -> Iterable[Value]:
        if isinstance(element, Vertex):
            several = element.properties.get(key) if element.properties else None
            return [one.value for one in several] if several else ()
        expect(element, (Edge, VertexProperty), "values")
        own = element.properties or {}
        return (own[key],) if key in own else ()

    return values


def _id(_: Builder, __: Instruction) -> Step:
    return Map("id", lambda value: expect(value, Element, "id").id)


def _label(_: Builder, __: Instruction) -> Step:
    return Map("label", lambda value: expect(value, Element, "label").label)


def _key_of(value: Value) -> Value:
    one = expect(value, (Property, VertexProperty), "key")
    return one.key if isinstance(one, Property) else one.label


def _key(_: Builder, __: Instruction) -> Step:
    return Map("key", _key_of)


def _value(_: Builder, __: Instruction) -> Step:
    return Map("value", lambda value: expect(value, (Property, VertexProperty), "value").value)


def _element(_: Builder, __: Instruction) -> Step:
    return Map("element", lambda value: expect(value, (Property, VertexProperty), "element").owner)


def _element_map(builder: Builder, instruction: Instruction) -> Step:
    keys = [builder.value(one) for one in instruction.arguments]

    def tell(value: Value) -> MapOfValues:
        element = expect(value, Element, "elementMap")
        told = MapOfValues([(_ID, element.id)])
        if isinstance(element, VertexProperty):
            told[_KEY], told[_VALUE] = element.label, element.value
        else:
            told[_LABEL] = element.label
        if isinstance(element, Edge):
            for direction, end in ((IN, element.into), (OUT, element.out)):
                told[EnumValue("Direction", direction)] = MapOfValues([(_ID, end.id), (_LABEL, end.label)])
        for one in properties_of(element, keys, "elementMap"):
            told[_key_of(one)] = one.value
        return told

    return Map("elementMap", tell)


def _value_map(builder: Builder, instruction: Instruction) -> Step:
    arguments = [builder.value(one) for one in instruction.arguments]
    tokens = _ALL if arguments and isinstance(arguments[0], bool) else 0
    keys = [one for one in arguments if not isinstance(one, bool)]
    for modulator in instruction.modulators:
        if modulator.name == "with":
            tokens |= _tokens(*map(builder.value, modulator.arguments))
    passes = [builder.chain(one, inner=True) for one in _vertex_properties(instruction)]
    ring = builder.ring(instruction) if instruction.by() else None
    values = instruction.name == "valueMap"

    def tell(value: Value) -> MapOfValues:
        element = expect(value, Element, instruction.name)
        told = MapOfValues(_included(element, tokens) if values else ())
        for one in properties_of(element, keys, instruction.name):
            if isinstance(one, VertexProperty) and not all(chain.test(start(chain, one)) for chain in passes):
                continue
            key, shown = _key_of(one), one.value if values else one
            if not isinstance(element, Vertex):
                told[key] = shown
            elif key in told:
                told[key].append(shown)
            else:
                told[key] = [shown]
        return told if ring is None else _modulated(told, ring)

    return Map(instruction.name, tell)


def _vertex_properties(instruction: Instruction) -> Iterator[Traversal]:
    """What the properties of vertices must pass, under a SubgraphStrategy."""
    for modulator in instruction.modulators:
        if modulator.name == OF_VERTEX_PROPERTIES:
            yield from (one for one in modulator.arguments if isinstance(one, Traversal))


def _modulated(told: MapOfValues, ring: Ring) -> MapOfValues:
    found = MapOfValues()
    for place, (key, value) in enumerate(told.items()):
        shown = ring[place].of(value)
        if shown is not MISSING and shown is not None:
            found[key] = shown
    return found


def _included(element: Element, tokens: int) -> Iterable[tuple[Value, Value]]:
    if tokens & _IDS:
        yield _ID, element.id
    if isinstance(element, VertexProperty):
        if tokens & _KEYS:
            yield _KEY, element.label
        if tokens & _VALUES:
            yield _VALUE, element.value
    elif tokens & _LABELS:
        yield _LABEL, element.label


def _tokens(key: Value, *values: Value) -> int:
    if key != _OPTIONS["tokens"]:
        return 0
    if not values:
        return _ALL
    (value,) = values
    if isinstance(value, bool):
        return _ALL if value else 0
    if not isinstance(value, int):
        raise TraversalError(
            "WithOptions.tokens takes numbers: WithOptions.none, ids, labels, keys, values or all", ILLEGAL_ARGUMENT
        )
    return value


STEPS: dict[str, Build] = {
    "V": _elements,
    "E": _elements,
    "out": _adjacent(OUT),
    "in": _adjacent(IN),
    "both": _adjacent(BOTH),
    "outE": _incident(OUT),
    "inE": _incident(IN),
    "bothE": _incident(BOTH),
    "to": _to,
    "toE": _to_e,
    "outV": _ends(OUT),
    "inV": _ends(IN),
    "bothV": _ends(BOTH),
    "toV": _to_v,
    "otherV": lambda _, __: MapTraverser("otherV", _other),
    "properties": _properties,
    "values": _values,
    "id": _id,
    "label": _label,
    "key": _key,
    "value": _value,
    "element": _element,
    "elementMap": _element_map,
    "valueMap": _value_map,
    "propertyMap": _value_map,
}
