"""GraphSON 2: values ↔ JSON, typed. What clients send in GraphSON 3 is read too. Pure.

Source: TinkerPop's IO documentation, "GraphSON 2.0", and ``GraphSONSerializersV2``, ``TraversalSerializersV2`` and
``JavaUtilSerializersV2`` of 3.7.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from gremlin_api.interpreter.arithmetic import rounded
from gremlin_api.interpreter.javatext import java_text
from gremlin_api.language.grammar import ENUMS, TEXT_PREDICATES
from gremlin_api.language.syntax import EnumValue, Predicate, Strategy
from gremlin_api.numbers import BITS, BigInteger, Byte, Float, Int, Long, Short, fits
from gremlin_api.values import (
    BulkSet,
    Edge,
    Element,
    Entry,
    Explanation,
    Graph,
    Map,
    Metrics,
    OrderedSet,
    Path,
    Property,
    TraversalMetrics,
    Tree,
    Value,
    Vertex,
    VertexProperty,
)
from gremlin_api.wire import graphson
from gremlin_api.wire.graphbinary import (
    CONNECTIVES,
    PLAIN_PREDICATES,
    Binding,
    Bytecode,
    Instruction,
    Traverser,
    enum_value,
    explanation_map,
    predicate,
)
from gremlin_api.wire.graphson import _READ as _READ_OF_THIRD
from gremlin_api.wire.graphson import GraphsonError, Json

_MILLISECOND_NANOSECONDS = 1_000_000
_DEEPEST = 300
"""JSON within JSON; a traversal within a traversal takes four."""
_SEVERAL = frozenset({"within", "without"}) | CONNECTIVES
"""Predicates whose arguments are a list, though it be one."""


# Writing.


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write values as JSON.

    Attributes:
        structures: how what holds other values is written, by type.
        scalar: how all else is.
        named: what is made of a structure's JSON, and its type's name.
    """

    structures: Mapping[type, Callable[[Value, Form], Json]]
    scalar: Callable[[Value], Json]
    named: Callable[[str, Json], Json]

    def __call__(self, value: Value) -> Json:
        """A value's JSON. Raises TypeError: it has none."""
        structures = self.structures
        written = next((structures[base] for base in type(value).__mro__ if base in structures), None)
        return self.scalar(value) if written is None else written(value, self)


def key_text(key: Value) -> str:
    """A map's key as the name that JSON needs. Raises TypeError: it is null."""
    if isinstance(key, str):
        return key
    if key is None:
        raise TypeError("a null key has no form in GraphSON 2")
    return java_text(key.id if isinstance(key, Element) else key)


def metrics_map(value: Metrics | TraversalMetrics) -> Map:
    """What is told of metrics, by name and in the order of Java's ``HashMap``."""
    duration = ("dur", value.duration / _MILLISECOND_NANOSECONDS)
    if isinstance(value, TraversalMetrics):
        return Map([duration, ("metrics", list(value.metrics))])
    counts = Map((key, Long(count)) for key, count in value.counts.items())
    told: list[tuple[Value, Value]] = [duration, ("counts", counts), ("name", value.name)]
    if value.annotations:
        told.append(("annotations", Map(value.annotations.items())))
    told.append(("id", value.id))
    if value.nested:
        told.append(("metrics", list(value.nested)))
    return Map(told)


def _float(value: Float, form: Form) -> Json:
    """As Java writes it: with no more digits than tell it from its neighbours of 32 bits."""
    told: Json = graphson.typed(value)["@value"]
    if math.isfinite(value):
        several = (float(f"{value:.{digits}g}") for digits in range(2, 10))
        told = next(one for one in several if rounded(one) == rounded(value))
    return form.named("g:Float", told)


def _list(value: Iterable[Value], form: Form) -> Json:
    return [form(one) for one in value]


def _map(value: Map, form: Form) -> Json:
    return {key_text(key): form(one) for key, one in value.items()}


def _entry(value: Entry, form: Form) -> Json:
    return {key_text(value.key): form(value.value)}


def _vertex(value: Vertex, form: Form) -> Json:
    told = {"id": form(value.id), "label": value.label}
    if value.properties:
        told["properties"] = {key: _list(several, form) for key, several in value.properties.items()}
    return form.named("g:Vertex", told)


def _vertex_property(value: VertexProperty, form: Form) -> Json:
    told = {"id": form(value.id), "value": form(value.value), "label": value.label}
    if value.properties:
        told["properties"] = {key: form(one) for key, one in value.properties.items()}
    return form.named("g:VertexProperty", told)


def _edge(value: Edge, form: Form) -> Json:
    told = {
        "id": form(value.id),
        "label": value.label,
        "inVLabel": value.into.label,
        "outVLabel": value.out.label,
        "inV": form(value.into.id),
        "outV": form(value.out.id),
    }
    if value.properties:
        told["properties"] = {key: form(Property(key, one)) for key, one in value.properties.items()}
    return form.named("g:Edge", told)


def _property(value: Property, form: Form) -> Json:
    return form.named("g:Property", {"key": value.key, "value": form(value.value)})


def bare_path(value: Path) -> Path:
    """A path whose elements have no properties, nor those in its lists, sets and maps."""
    return Path([_bare(one) for one in value.objects], value.labels)


def _bare(value: Value) -> Value:
    made = _BARE.get(type(value))
    return value if made is None else made(value)


def _bare_pairs(value: Map) -> Iterable[tuple[Value, Value]]:
    return ((_bare(key), _bare(one)) for key, one in value.items())


_BARE: dict[type, Callable[[Value], Value]] = {
    Vertex: lambda one: Vertex(one.id, one.label),
    Edge: lambda one: Edge(one.id, one.label, one.out, one.into),
    VertexProperty: lambda one: VertexProperty(one.id, one.label, one.value),
    Path: bare_path,
    list: lambda several: [_bare(one) for one in several],
    OrderedSet: lambda several: OrderedSet(map(_bare, several)),
    BulkSet: lambda one: BulkSet(Map(_bare_pairs(one.counts))),
    Map: lambda one: Map(_bare_pairs(one)),
    Tree: lambda one: Tree(_bare_pairs(one)),
}


def _path(value: Path, form: Form) -> Json:
    labels = [sorted(several) for several in value.labels]
    return form.named("g:Path", {"labels": labels, "objects": _list(bare_path(value).objects, form)})


def _tree(value: Tree, form: Form) -> Json:
    return form.named("g:Tree", [{"key": form(key), "value": form(below)} for key, below in value.items()])


def _graph(value: Graph, form: Form) -> Json:
    told = {"vertices": _list(value.vertices, form), "edges": _list(value.edges, form)}
    return form.named("tinker:graph", told)


def _instructions(value: Iterable[Instruction], form: Form) -> Json:
    return [[name, *_list(arguments, form)] for name, arguments in value]


def _bytecode(value: Bytecode, form: Form) -> Json:
    told = {"source": _instructions(value.source, form), "step": _instructions(value.steps, form)}
    return form.named("g:Bytecode", {part: several for part, several in told.items() if several})


def _predicate(value: Predicate, form: Form) -> Json:
    several = value.name in _SEVERAL or len(value.arguments) != 1
    told = _list(value.arguments, form) if several else form(value.arguments[0])
    return form.named("g:TextP" if value.name in TEXT_PREDICATES else "g:P", {"predicate": value.name, "value": told})


def _metrics(value: Metrics | TraversalMetrics, form: Form) -> Json:
    return form.named(f"g:{type(value).__name__}", form(metrics_map(value)))


def _explanation(value: Explanation, form: Form) -> Json:
    return form.named("g:TraversalExplanation", form(explanation_map(value)))


def _binding(value: Binding, form: Form) -> Json:
    return form.named("g:Binding", {"key": value.name, "value": form(value.value)})


def _traverser(value: Traverser, form: Form) -> Json:
    return form.named("g:Traverser", {"bulk": form(Long(value.bulk)), "value": form(value.value)})


REMOTE: dict[type, Callable[[Value, Form], Json]] = {
    Bytecode: _bytecode,
    Binding: _binding,
    Predicate: _predicate,
    Traverser: _traverser,
    Explanation: _explanation,
    Metrics: _metrics,
    TraversalMetrics: _metrics,
}
"""What only messages and answers that are no elements hold, by type."""

STRUCTURES: dict[type, Callable[[Value, Form], Json]] = {
    **dict.fromkeys((list, tuple, set, frozenset, OrderedSet, BulkSet), _list),
    Map: _map,
    Tree: _tree,
    Entry: _entry,
    Vertex: _vertex,
    Edge: _edge,
    VertexProperty: _vertex_property,
    Property: _property,
    Path: _path,
    Graph: _graph,
    Float: _float,
    **REMOTE,
}
"""By type."""


def as_type(name: str, told: Json) -> dict[str, Json]:
    """JSON that says its type."""
    return {"@type": name, "@value": told}


_TYPED = Form(STRUCTURES, graphson.typed, as_type)


def typed(value: Value) -> Json:
    """A value as JSON that says its type, but for lists, sets and maps; a BigDecimal's is a ``Decimal``.

    Raises:
        TypeError: it has none.
    """
    return _TYPED(value)


# Reading.


def value_of(told: Json) -> Value:
    """What typed JSON says: an array is a List and an object a Map where no type is told. Raises GraphsonError."""
    try:
        _refuse_depth(told)
        return _value_of(told)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise GraphsonError(f"this is no GraphSON: {type(error).__name__}: {error}") from error


def _refuse_depth(told: Json) -> None:
    level = [told]
    for _ in range(_DEEPEST):
        level = [below for one in level for below in (one.values() if type(one) is dict else one if type(one) is list else ())]
        if not level:
            return
    raise GraphsonError(f"JSON within JSON, more than {_DEEPEST} deep")


def _value_of(told: Json) -> Value:
    kind = type(told)
    if kind is dict:
        if told.keys() == {"@type", "@value"}:
            return _READ[told["@type"]](told["@value"])
        return Map((key, _value_of(one)) for key, one in told.items())
    if kind is list:
        return [_value_of(one) for one in told]
    return float(told) if kind is Decimal else told


def _text(told: Json) -> str:
    found = _value_of(told)
    if not isinstance(found, str):
        raise GraphsonError(f"{found!r} is no text")
    return found


def _read_integer(kind: type[int]) -> Callable[[Json], int]:
    bits = BITS[kind]

    def read(told: Json) -> int:
        if type(told) is not int or not fits(told, bits):
            raise GraphsonError(f"{told!r} is no {kind.__name__}")
        return told if kind is Int else kind(told)

    return read


def _read_big_integer(told: Json) -> BigInteger:
    if type(told) is not int and not (isinstance(told, str) and told.removeprefix("-").isdecimal()):
        raise GraphsonError(f"{told!r} is no BigInteger")
    return BigInteger(told)


def _read_big_decimal(told: Json) -> Decimal:
    found = Decimal(str(told))
    if not found.is_finite():
        raise GraphsonError(f"{told!r} is no BigDecimal")
    return found


def _read_map(told: list[Json]) -> list[tuple[Value, Value]]:
    values = [_value_of(one) for one in told]
    return list(zip(values[::2], values[1::2], strict=True))


def _read_bulk_set(told: list[Json]) -> BulkSet:
    found = BulkSet()
    for item, times in _read_map(told):
        if times < 0:
            raise GraphsonError(f"a thing is {times} times in a BulkSet")
        found.add(item, int(times))
    return found


def _all(kind: type[Value], found: Iterable[Value]) -> list[Value]:
    several = list(found)
    if not all(isinstance(one, kind) for one in several):
        raise GraphsonError(f"something that is no {kind.__name__}")
    return several


def _read_vertex(told: Mapping[str, Json]) -> Vertex:
    properties = {key: _all(VertexProperty, map(_value_of, several)) for key, several in (told.get("properties") or {}).items()}
    return Vertex(_value_of(told["id"]), _text(told.get("label", "vertex")), properties or None)


def _read_vertex_property(told: Mapping[str, Json]) -> VertexProperty:
    properties = {key: _value_of(one) for key, one in (told.get("properties") or {}).items()}
    return VertexProperty(_value_of(told["id"]), _text(told["label"]), _value_of(told["value"]), properties or None)


def _read_edge(told: Mapping[str, Json]) -> Edge:
    out = Vertex(_value_of(told["outV"]), _text(told.get("outVLabel", "vertex")))
    into = Vertex(_value_of(told["inV"]), _text(told.get("inVLabel", "vertex")))
    told_properties = told.get("properties") or {}
    found = _all(Property, map(_value_of, told_properties.values()))
    properties = {key: one.value for key, one in zip(told_properties, found, strict=True)}
    return Edge(_value_of(told["id"]), _text(told.get("label", "edge")), out, into, properties or None)


def _read_path(told: Mapping[str, Json]) -> Path:
    labels = [frozenset(_all(str, one)) for one in _value_of(told["labels"])]
    objects = list(_value_of(told["objects"]))
    if len(labels) != len(objects):
        raise GraphsonError("a path whose labels are not as many as its objects")
    return Path(objects, labels)


def _read_tree(told: list[Mapping[str, Json]]) -> Tree:
    below = _all(Tree, (_value_of(one["value"]) for one in told))
    return Tree((_value_of(one["key"]), found) for one, found in zip(told, below, strict=True))


def _read_graph(told: Mapping[str, Json]) -> Graph:
    vertices, edges = (map(_value_of, told[part]) for part in ("vertices", "edges"))
    return Graph(_all(Vertex, vertices), _all(Edge, edges))


def _read_instructions(told: list[list[Json]]) -> tuple[Instruction, ...]:
    return tuple((_text(name), tuple(map(_value_of, arguments))) for name, *arguments in told)


def _read_bytecode(told: Mapping[str, Json]) -> Bytecode:
    return Bytecode(_read_instructions(told.get("step", [])), _read_instructions(told.get("source", [])))


def _read_predicate(known: Collection[str]) -> Callable[[Mapping[str, Json]], Predicate]:
    def read(told: Mapping[str, Json]) -> Predicate:
        name, found = told["predicate"], _value_of(told["value"])
        if not isinstance(found, list | OrderedSet):
            return predicate(name, [found], known)
        if name not in _SEVERAL and len(found) == 1:
            raise GraphsonError(f"{name} of a list")
        return predicate(name, list(found), known)

    return read


def _read_strategy(name: str) -> Callable[[Json], Strategy]:
    return lambda told: Strategy(name, tuple((_text(key), one) for key, one in _value_of(told).items()))


def _read_lambda(_told: Json) -> Value:
    raise GraphsonError("lambdas are not run here")


def _read_traverser(told: Mapping[str, Json]) -> Traverser:
    return Traverser(int(_value_of(told.get("bulk", 1))), _value_of(told.get("value")))


def _nanoseconds(milliseconds: float) -> int:
    return round(milliseconds * _MILLISECOND_NANOSECONDS)


def _read_metrics(told: Json) -> Metrics:
    found = _value_of(told)
    counts = {key: int(count) for key, count in found.get("counts", Map()).items()}
    annotations, nested = dict(found.get("annotations", Map()).items()), _all(Metrics, found.get("metrics", []))
    return Metrics(found["id"], found["name"], _nanoseconds(found["dur"]), counts, annotations, tuple(nested))


def _read_traversal_metrics(told: Json) -> TraversalMetrics:
    found = _value_of(told)
    return TraversalMetrics(_nanoseconds(found["dur"]), tuple(_all(Metrics, found["metrics"])))


def _read_enum(enum: str) -> Callable[[Json], EnumValue]:
    return lambda told: enum_value(enum, told)


_STRATEGIES = (
    "AdjacentToIncident", "ByModulatorOptimization", "ComputerVerification", "Connective", "Count", "EarlyLimit",
    "EdgeLabelVerification", "ElementId", "Event", "FilterRanking", "GraphFilter", "HaltedTraverser", "IdentityRemoval",
    "IncidentToAdjacent", "InlineFilter", "LambdaRestriction", "LazyBarrier", "MatchAlgorithm", "MatchPredicate", "Options",
    "OrderLimit", "Partition", "PathProcessor", "PathRetraction", "ProductiveBy", "ReadOnly", "RepeatUnroll",
    "ReservedKeysVerification", "Seed", "StandardVerification", "Subgraph", "VertexProgram",
)  # fmt: skip
"""Those that GraphSON has a name for, though not all are known to the language; without ``Strategy`` behind it."""

_SAME = ("g:Double", "g:Date", "g:UUID")

_READ: dict[Json, Callable[[Json], Value]] = {
    **{name: _READ_OF_THIRD[name] for name in _SAME},
    "g:Timestamp": _READ_OF_THIRD["g:Date"],
    "g:Float": lambda told: rounded(_READ_OF_THIRD["g:Float"](told)),
    "g:Int32": _read_integer(Int),
    "g:Int64": _read_integer(Long),
    "gx:BigInteger": _read_big_integer,
    "gx:Byte": _read_integer(Byte),
    "gx:Int16": _read_integer(Short),
    "gx:BigDecimal": _read_big_decimal,
    "g:List": lambda told: [_value_of(one) for one in told],
    "g:Set": lambda told: OrderedSet(map(_value_of, told)),
    "g:Map": lambda told: Map(_read_map(told)),
    "g:BulkSet": _read_bulk_set,
    "g:Vertex": _read_vertex,
    "g:Edge": _read_edge,
    "g:VertexProperty": _read_vertex_property,
    "g:Property": lambda told: Property(_text(told["key"]), _value_of(told["value"])),
    "g:Path": _read_path,
    "g:Tree": _read_tree,
    "tinker:graph": _read_graph,
    "g:Bytecode": _read_bytecode,
    "g:Binding": lambda told: Binding(_text(told["key"]), _value_of(told["value"])),
    "g:P": _read_predicate(PLAIN_PREDICATES),
    "g:TextP": _read_predicate(TEXT_PREDICATES),
    "g:Lambda": _read_lambda,
    "g:Traverser": _read_traverser,
    "g:Metrics": _read_metrics,
    "g:TraversalMetrics": _read_traversal_metrics,
    **{f"g:{enum}": _read_enum(enum) for enum in ENUMS},
    **{f"g:{name}Strategy": _read_strategy(f"{name}Strategy") for name in _STRATEGIES},
}
"""By its type's name."""
