"""GraphBinary 1.0: values ↔ bytes. Pure.

Source: TinkerPop's IO documentation, "GraphBinary", and the classes of
``org.apache.tinkerpop.gremlin.structure.io.binary.types`` of 3.7.3.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import TypeAlias, TypeVar

from gremlin_api.language.grammar import ENUMS, PREDICATES, SAME_AS, TEXT_PREDICATES
from gremlin_api.language.syntax import EnumValue, Predicate, Strategy
from gremlin_api.numbers import BigInteger, Byte, Float, Int, Long, Short, integer_type
from gremlin_api.values import (
    BulkSet,
    Edge,
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
    hashable,
)

_One = TypeVar("_One")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DEEPEST = 100
"""Values within values: with them a request's stay far from what Python's stack holds."""
_LARGEST_NUMBER = 1785
"""Bytes of an integer of any size: 4299 digits, for Python writes no more than 4300."""
_SMALLEST_VALUE = 2
"""Bytes: its type and whether it is null."""
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_NULL = b"\xfe\x01"
_TEXT = 0x03

Instruction: TypeAlias = tuple[str, tuple[Value, ...]]
"""A step's name and its arguments."""


class GraphbinaryError(ValueError):
    """Bytes that are no GraphBinary, or of a type that has no value here."""


@dataclass(frozen=True, slots=True)
class Bytecode:
    """A traversal as clients send it; among the arguments there may be others.

    Attributes:
        steps: its steps.
        source: what is said of the source.
    """

    steps: tuple[Instruction, ...]
    source: tuple[Instruction, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """A value that the client gave a name."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Traverser:
    """An answer to a bytecode, and how often it is one."""

    bulk: int
    value: Value


CONNECTIVES = frozenset({"and", "or"})
PLAIN_PREDICATES = PREDICATES.keys() - TEXT_PREDICATES | CONNECTIVES
_ANY_NUMBER = frozenset({"within", "without"}) | CONNECTIVES


def predicate(name: str, arguments: Sequence[Value], known: Collection[str]) -> Predicate:
    """A predicate that is one of those known. Raises ValueError."""
    if name not in known:
        raise ValueError(f"there is no predicate {name!r}")
    if name not in _ANY_NUMBER and len(arguments) != len(PREDICATES[name].split()):
        raise ValueError(f"{name} of {len(arguments)}")
    if (name in CONNECTIVES or name == "not") and not all(isinstance(one, Predicate) for one in arguments):
        raise ValueError(f"{name} of what is no predicate")
    return Predicate(name, tuple(arguments))


def enum_value(enum: str, name: str) -> EnumValue:
    """One of an enum's values. Raises ValueError."""
    if name not in ENUMS[enum] or (enum, name) in SAME_AS:
        raise ValueError(f"{enum} has no value {name!r}")
    return EnumValue(enum, name)


# Reading.


def decode(data: bytes | memoryview, at: int = 0) -> tuple[Value, int]:
    """The value that begins there, and where it ends. Moments of all types become Dates, of milliseconds.

    Raises:
        GraphbinaryError: there is none.
    """
    reader = Reader(data, at)
    return reader.guarded(Reader.value), reader.at


class Reader:
    """Bytes that are read from their beginning on; all methods but ``guarded`` may raise other errors than GraphbinaryError."""

    __slots__ = ("_data", "_depth", "at")

    def __init__(self, data: bytes | memoryview, at: int = 0) -> None:
        self._data = memoryview(data)
        self._depth = 0
        self.at = at

    def guarded(self, read: Callable[[Reader], _One]) -> _One:
        """What it reads. Raises GraphbinaryError."""
        try:
            return read(self)
        except GraphbinaryError:
            raise
        except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError, struct.error) as error:
            raise GraphbinaryError(f"this is no GraphBinary: {type(error).__name__}: {error}") from error

    def value(self) -> Value:
        """A value that says its type."""
        code, flag = self.take(_SMALLEST_VALUE)
        read = _READ.get(code)
        if read is None:
            raise GraphbinaryError(f"GraphBinary's type 0x{code:02x}{_NAMES.get(code, '')} is not known here")
        return None if flag & 1 else self.within(read)

    def within(self, read: Callable[[Reader], _One]) -> _One:
        """What is one deeper."""
        if self._depth == _DEEPEST:
            raise GraphbinaryError(f"values within values, more than {_DEEPEST} deep")
        self._depth += 1
        found = read(self)
        self._depth -= 1
        return found

    def take(self, size: int) -> memoryview:
        """So many bytes."""
        end = self.at + size
        if size < 0 or self.at < 0 or end > len(self._data):
            raise GraphbinaryError(f"{size} bytes are told at {self.at}, of {len(self._data)}")
        found = self._data[self.at : end]
        self.at = end
        return found

    def number(self, form: struct.Struct) -> Value:
        """A number of a fixed size."""
        return form.unpack(self.take(form.size))[0]

    def integer(self) -> int:
        """An Integer, which does not say its type."""
        return int(self.number(_INT))

    def count(self, smallest: int = _SMALLEST_VALUE) -> int:
        """How many things of at least so many bytes follow."""
        count = self.integer()
        if not 0 <= count * smallest <= len(self._data) - self.at:
            raise GraphbinaryError(f"{count} things are told at {self.at}, of {len(self._data)} bytes")
        return count

    def text(self) -> str:
        """A String, which does not say its type. What is no UTF-8 is replaced, as Java does."""
        return str(self.take(self.integer()), "utf-8", "replace")

    def values(self) -> list[Value]:
        """A List, which does not say its type."""
        return [self.value() for _ in range(self.count())]

    def pairs(self) -> list[tuple[Value, Value]]:
        """A Map's pairs."""
        return [(self.value(), self.value()) for _ in range(self.count(2 * _SMALLEST_VALUE))]

    def named(self) -> dict[str, Value]:
        """A Map whose keys are texts, which does not say its type."""
        found = dict(self.pairs())
        if not all(isinstance(key, str) for key in found):
            raise GraphbinaryError("a name that is no text")
        return found

    def uuid(self) -> uuid.UUID:
        """A UUID, which does not say its type."""
        return uuid.UUID(bytes=bytes(self.take(16)))


_BYTE, _SHORT, _INT, _LONG = struct.Struct(">b"), struct.Struct(">h"), struct.Struct(">i"), struct.Struct(">q")
_FLOAT, _DOUBLE = struct.Struct(">f"), struct.Struct(">d")


def _read_fixed(form: struct.Struct, kind: type | None = None) -> Callable[[Reader], Value]:
    if kind is None:
        return lambda reader: reader.number(form)
    return lambda reader: kind(reader.number(form))


def _read_big_integer(reader: Reader) -> int:
    size = reader.integer()
    if not 0 < size <= _LARGEST_NUMBER:
        raise GraphbinaryError(f"a number of {size} bytes")
    return int.from_bytes(reader.take(size), signed=True)


def _read_big_decimal(reader: Reader) -> Decimal:
    scale = reader.integer()
    return _EXACT.scaleb(Decimal(_read_big_integer(reader)), -scale)


def _read_date(reader: Reader) -> datetime:
    return _EPOCH + int(reader.number(_LONG)) * _MILLISECOND


def _microseconds(nanoseconds: int) -> int:
    if nanoseconds % 1000:
        raise GraphbinaryError("times that tell nanoseconds are not known here")
    return nanoseconds // 1000


def _read_duration(reader: Reader) -> timedelta:
    return timedelta(seconds=reader.number(_LONG), microseconds=_microseconds(reader.integer()))


def _read_local_date(reader: Reader) -> date:
    return date(reader.integer(), *reader.take(2))


def _read_local_time(reader: Reader) -> time:
    seconds, nanoseconds = divmod(int(reader.number(_LONG)), 1_000_000_000)
    return time(seconds // 3600, seconds // 60 % 60, seconds % 60, _microseconds(nanoseconds))


def _read_local_moment(reader: Reader) -> datetime:
    return datetime.combine(_read_local_date(reader), _read_local_time(reader))


def _read_instant(reader: Reader) -> datetime:
    seconds, nanoseconds = int(reader.number(_LONG)), reader.integer()
    return _EPOCH + (seconds * 1000 + nanoseconds // 1_000_000) * _MILLISECOND


def _read_moment_of_a_zone(reader: Reader) -> datetime:
    day, nanoseconds, offset = _read_local_date(reader), int(reader.number(_LONG)), reader.integer()
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start + nanoseconds // 1_000_000 * _MILLISECOND - timedelta(seconds=offset)


def _read_char(reader: Reader) -> str:
    first = reader.take(1)[0]
    more = 0 if first < 0x80 else 3 if first >= 0xF0 else 2 if first >= 0xE0 else 1
    return (bytes([first]) + bytes(reader.take(more))).decode()


def _labelled(properties: Iterable[VertexProperty]) -> dict[str, list[VertexProperty]]:
    found: dict[str, list[VertexProperty]] = {}
    for one in properties:
        found.setdefault(one.label, []).append(one)
    return found


def _keyed(properties: Iterable[Property]) -> dict[str, Value]:
    return {one.key: one.value for one in properties}


def _some(found: Value, kind: type[_One]) -> list[_One] | None:
    """Properties, or None where they are not told."""
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(one, kind) for one in found):
        raise GraphbinaryError(f"properties that are no {kind.__name__}")
    return found


def _read_vertex(reader: Reader) -> Vertex:
    id_, label, properties = reader.value(), reader.text(), _some(reader.value(), VertexProperty)
    return Vertex(id_, label, None if properties is None else _labelled(properties))


def _read_vertex_property(reader: Reader) -> VertexProperty:
    id_, label, value, _vertex = reader.value(), reader.text(), reader.value(), reader.value()
    properties = _some(reader.value(), Property)
    return VertexProperty(id_, label, value, None if properties is None else _keyed(properties))


def _read_edge(reader: Reader) -> Edge:
    id_, label = reader.value(), reader.text()
    into, out = (Vertex(reader.value(), reader.text()) for _ in range(2))
    _parent, properties = reader.value(), _some(reader.value(), Property)
    return Edge(id_, label, out, into, None if properties is None else _keyed(properties))


def _read_property(reader: Reader) -> Property:
    key, value, _element = reader.text(), reader.value(), reader.value()
    return Property(key, value)


def _read_path(reader: Reader) -> Path:
    labels, objects = reader.value(), reader.value()
    if not (isinstance(labels, list) and isinstance(objects, list) and len(labels) == len(objects)):
        raise GraphbinaryError("a path whose labels are not as many as its objects")
    found = [frozenset(one) for one in labels]
    if not all(isinstance(label, str) for several in found for label in several):
        raise GraphbinaryError("a label that is no text")
    return Path(objects, found)


def _read_tree(reader: Reader) -> Tree:
    return Tree((reader.value(), reader.within(_read_tree)) for _ in range(reader.count(_SMALLEST_VALUE + _INT.size)))


def _read_bulk_set(reader: Reader) -> BulkSet:
    found = BulkSet()
    for _ in range(reader.count(_SMALLEST_VALUE + _LONG.size)):
        item, times = reader.value(), int(reader.number(_LONG))
        if times < 0:
            raise GraphbinaryError(f"a thing is {times} times in a BulkSet")
        found.add(item, times)
    return found


def _read_vertex_of_graph(reader: Reader) -> Vertex:
    id_, label = reader.value(), reader.text()
    several = [_read_property_of_graph(reader) for _ in range(reader.count())]
    return Vertex(id_, label, _labelled(several))


def _read_property_of_graph(reader: Reader) -> VertexProperty:
    id_, label, value, _vertex = reader.value(), reader.text(), reader.value(), reader.value()
    return VertexProperty(id_, label, value, _keyed(_some(reader.values(), Property) or ()))


def _read_graph(reader: Reader) -> Graph:
    vertices = {hashable(one.id): one for one in (_read_vertex_of_graph(reader) for _ in range(reader.count()))}
    edges = [_read_edge_of_graph(reader, vertices) for _ in range(reader.count())]
    return Graph(list(vertices.values()), edges)


def _read_edge_of_graph(reader: Reader, vertices: Mapping[Value, Vertex]) -> Edge:
    id_, label = reader.value(), reader.text()
    into, _, out, _, _parent = (reader.value() for _ in range(5))
    properties = _keyed(_some(reader.values(), Property) or ())
    return Edge(id_, label, vertices[hashable(out)], vertices[hashable(into)], properties)


def _read_enum(enum: str) -> Callable[[Reader], EnumValue]:
    return lambda reader: enum_value(enum, reader.value())


def _read_predicate(known: Collection[str]) -> Callable[[Reader], Predicate]:
    return lambda reader: predicate(reader.text(), reader.values(), known)


def _read_instructions(reader: Reader) -> tuple[Instruction, ...]:
    return tuple((reader.text(), tuple(reader.values())) for _ in range(reader.count(2 * _INT.size)))


def _read_bytecode(reader: Reader) -> Bytecode:
    return Bytecode(_read_instructions(reader), _read_instructions(reader))


def _read_strategy(reader: Reader) -> Strategy:
    name = reader.text().rpartition(".")[2]
    return Strategy(name, tuple(reader.named().items()))


def _read_lambda(_reader: Reader) -> Value:
    raise GraphbinaryError("lambdas are not run here")


def _read_traverser(reader: Reader) -> Traverser:
    return Traverser(reader.number(_LONG), reader.value())


def _metrics(found: list[Value]) -> tuple[Metrics, ...]:
    return tuple(_some(found, Metrics) or ())


def _read_metrics(reader: Reader) -> Metrics:
    id_, name, duration = reader.text(), reader.text(), int(reader.number(_LONG))
    counts = {key: int(count) for key, count in reader.named().items()}
    return Metrics(id_, name, duration, counts, reader.named(), _metrics(reader.values()))


def _read_traversal_metrics(reader: Reader) -> TraversalMetrics:
    return TraversalMetrics(int(reader.number(_LONG)), _metrics(reader.values()))


_ENUM_CODES = {
    "Barrier": 0x13, "Cardinality": 0x16, "Column": 0x17, "Direction": 0x18, "Operator": 0x19, "Order": 0x1A, "Pick": 0x1B,
    "Pop": 0x1C, "Scope": 0x1F, "T": 0x20, "Merge": 0x2E, "DT": 0x2F,
}  # fmt: skip

_READ: dict[int, Callable[[Reader], Value]] = {
    0x01: _read_fixed(_INT),
    0x02: _read_fixed(_LONG, Long),
    _TEXT: Reader.text,
    0x04: _read_date,
    0x05: _read_date,
    0x07: _read_fixed(_DOUBLE),
    0x08: _read_fixed(_FLOAT, Float),
    0x09: Reader.values,
    0x0A: lambda reader: Map(reader.pairs()),
    0x0B: lambda reader: OrderedSet(reader.values()),
    0x0C: Reader.uuid,
    0x0D: _read_edge,
    0x0E: _read_path,
    0x0F: _read_property,
    0x10: _read_graph,
    0x11: _read_vertex,
    0x12: _read_vertex_property,
    0x14: lambda reader: Binding(reader.text(), reader.value()),
    0x15: _read_bytecode,
    0x1D: _read_lambda,
    0x1E: _read_predicate(PLAIN_PREDICATES),
    0x21: _read_traverser,
    0x22: _read_big_decimal,
    0x23: lambda reader: BigInteger(_read_big_integer(reader)),
    0x24: _read_fixed(_BYTE, Byte),
    0x25: lambda reader: bytes(reader.take(reader.integer())),
    0x26: _read_fixed(_SHORT, Short),
    0x27: _read_fixed(_BYTE, bool),
    0x28: _read_predicate(PREDICATES.keys() | CONNECTIVES),
    0x29: _read_strategy,
    0x2A: _read_bulk_set,
    0x2B: _read_tree,
    0x2C: _read_metrics,
    0x2D: _read_traversal_metrics,
    0x80: _read_char,
    0x81: _read_duration,
    0x83: _read_instant,
    0x84: _read_local_date,
    0x85: _read_local_moment,
    0x86: _read_local_time,
    0x88: _read_moment_of_a_zone,
    0x8D: _read_moment_of_a_zone,
    0xFE: lambda _reader: None,
    **{code: _read_enum(enum) for enum, code in _ENUM_CODES.items()},
}
"""By its type's code: a value that is not null."""

_NAMES = {
    0x00: " (custom)", 0x06: " (Class)", 0x82: " (InetAddress)", 0x87: " (MonthDay)", 0x89: " (OffsetTime)",
    0x8A: " (Period)", 0x8B: " (Year)", 0x8C: " (YearMonth)", 0x8E: " (ZoneOffset)",
}  # fmt: skip
"""Of types that have no value here."""


# Writing.


def encode(value: Value) -> bytes:
    """A value as bytes that say its type.

    Raises:
        TypeError: it has no form in GraphBinary.
    """
    into = bytearray()
    write(into, value)
    return bytes(into)


def write(into: bytearray, value: Value) -> None:
    """Write a value that says its type. Raises TypeError."""
    kind = type(value)
    written = _WRITTEN.get(kind)
    if written is None:
        written = next((_WRITTEN[base] for base in kind.__mro__ if base in _WRITTEN), None)
        if written is None:
            raise TypeError(f"{kind.__name__} has no form in GraphBinary")
        _WRITTEN[kind] = written
    written(into, value)


def write_integer(into: bytearray, value: int) -> None:
    """Write an Integer that does not say its type."""
    into += _INT.pack(value)


def write_text(into: bytearray, value: str) -> None:
    """Write a String that does not say its type. Half a character is replaced, as Java does."""
    told = value.encode("utf-8", "replace")
    into += _INT.pack(len(told))
    into += told


def write_pairs(into: bytearray, pairs: Collection[tuple[Value, Value]]) -> None:
    """Write a Map that does not say its type."""
    into += _INT.pack(len(pairs))
    for key, value in pairs:
        write(into, key)
        write(into, value)


_Written: TypeAlias = Callable[[bytearray, Value], None]


def _as(code: int, write_it: _Written) -> _Written:
    """One that says its type, and that it is not null."""
    prefix = bytes((code, 0))

    def written(into: bytearray, value: Value) -> None:
        into += prefix
        write_it(into, value)

    return written


def _fixed(form: struct.Struct) -> _Written:
    def written(into: bytearray, value: Value) -> None:
        into += form.pack(value)

    return written


def _write_big_integer(into: bytearray, value: int) -> None:
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    into += _INT.pack(size)
    into += int(value).to_bytes(size, signed=True)


def _write_big_decimal(into: bytearray, value: Decimal) -> None:
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise TypeError(f"{value} has no form in GraphBinary")
    into += _INT.pack(-exponent)
    _write_big_integer(into, int(_EXACT.scaleb(value, -exponent)))


def _write_sequence(into: bytearray, value: Collection[Value]) -> None:
    into += _INT.pack(len(value))
    for one in value:
        write(into, one)


def _write_map(into: bytearray, value: Map) -> None:
    write_pairs(into, list(value.items()))


def _write_tree(into: bytearray, value: Tree) -> None:
    into += _INT.pack(len(value))
    for key, below in value.items():
        write(into, key)
        _write_tree(into, below)


def _write_bulk_set(into: bytearray, value: BulkSet) -> None:
    into += _INT.pack(len(value.counts))
    for item, times in value.counts.items():
        write(into, item)
        into += _LONG.pack(times)


def _write_element(into: bytearray, value: Vertex | Edge | VertexProperty) -> None:
    write(into, value.id)
    write_text(into, value.label)


def _several(properties: Mapping[str, Sequence[VertexProperty]]) -> list[VertexProperty]:
    return [one for several in properties.values() for one in several]


def _properties(properties: Mapping[str, Value]) -> list[Property]:
    return [Property(key, one) for key, one in properties.items()]


def _write_vertex(into: bytearray, value: Vertex) -> None:
    _write_element(into, value)
    write(into, None if value.properties is None else _several(value.properties))


def _write_vertex_property(into: bytearray, value: VertexProperty) -> None:
    _write_element(into, value)
    write(into, value.value)
    into += _NULL  # its vertex
    write(into, None if value.properties is None else _properties(value.properties))


def _write_edge(into: bytearray, value: Edge) -> None:
    _write_element(into, value)
    _write_element(into, value.into)
    _write_element(into, value.out)
    into += _NULL  # its parent
    write(into, None if value.properties is None else _properties(value.properties))


def _write_property(into: bytearray, value: Property) -> None:
    write_text(into, value.key)
    write(into, value.value)
    into += _NULL  # its element


def _write_path(into: bytearray, value: Path) -> None:
    write(into, [OrderedSet(sorted(several)) for several in value.labels])
    write(into, list(value.objects))


def _write_graph(into: bytearray, value: Graph) -> None:
    into += _INT.pack(len(value.vertices))
    for vertex in value.vertices:
        _write_element(into, vertex)
        several = _several(vertex.properties or {})
        into += _INT.pack(len(several))
        for one in several:
            _write_element(into, one)
            write(into, one.value)
            into += _NULL  # its vertex
            _write_sequence(into, _properties(one.properties or {}))
    into += _INT.pack(len(value.edges))
    for edge in value.edges:
        _write_element(into, edge)
        for end in (edge.into, edge.out):
            write(into, end.id)
            into += _NULL  # its label
        into += _NULL  # its parent
        _write_sequence(into, _properties(edge.properties or {}))


def _write_date(into: bytearray, value: datetime) -> None:
    into += _LONG.pack((value - _EPOCH) // _MILLISECOND)


def _write_duration(into: bytearray, value: timedelta) -> None:
    into += _LONG.pack(value.days * 86_400 + value.seconds)
    into += _INT.pack(value.microseconds * 1000)


def _write_local_date(into: bytearray, value: date) -> None:
    into += _INT.pack(value.year)
    into += bytes((value.month, value.day))


def _write_local_time(into: bytearray, value: time) -> None:
    seconds = value.hour * 3600 + value.minute * 60 + value.second
    into += _LONG.pack((seconds * 1_000_000 + value.microsecond) * 1000)


def _write_local_moment(into: bytearray, value: datetime) -> None:
    _write_local_date(into, value)
    _write_local_time(into, value.time())


def _write_bytes(into: bytearray, value: bytes) -> None:
    into += _INT.pack(len(value))
    into += value


def _write_instructions(into: bytearray, value: Collection[Instruction]) -> None:
    into += _INT.pack(len(value))
    for name, arguments in value:
        write_text(into, name)
        _write_sequence(into, arguments)


def _write_bytecode(into: bytearray, value: Bytecode) -> None:
    _write_instructions(into, value.steps)
    _write_instructions(into, value.source)


def _write_binding(into: bytearray, value: Binding) -> None:
    write_text(into, value.name)
    write(into, value.value)


def _write_predicate(into: bytearray, value: Predicate) -> None:
    write_text(into, value.name)
    _write_sequence(into, value.arguments)


def _write_traverser(into: bytearray, value: Traverser) -> None:
    into += _LONG.pack(value.bulk)
    write(into, value.value)


def _write_metrics(into: bytearray, value: Metrics) -> None:
    write_text(into, value.id)
    write_text(into, value.name)
    into += _LONG.pack(value.duration)
    write_pairs(into, [(key, Long(count)) for key, count in value.counts.items()])
    write_pairs(into, value.annotations.items())
    _write_sequence(into, value.nested)


def _write_traversal_metrics(into: bytearray, value: TraversalMetrics) -> None:
    into += _LONG.pack(value.duration)
    _write_sequence(into, value.metrics)


_INTEGERS: dict[type[int], _Written] = {
    Int: _as(0x01, _fixed(_INT)),
    Long: _as(0x02, _fixed(_LONG)),
    BigInteger: _as(0x23, _write_big_integer),
}
_WRITTEN_DATE, _WRITTEN_LOCAL = _as(0x04, _write_date), _as(0x85, _write_local_moment)
_WRITTEN_P, _WRITTEN_TEXT_P = _as(0x1E, _write_predicate), _as(0x28, _write_predicate)
_WRITTEN_ENUMS: dict[str, _Written] = {
    enum: _as(code, lambda into, value: write(into, value.name)) for enum, code in _ENUM_CODES.items()
}


def explanation_map(value: Explanation) -> Map:
    """What is told of an explanation, by name and in the order of Java's ``HashMap``."""
    stages = [Map([("traversal", one.steps), ("strategy", one.strategy), ("category", one.category)]) for one in value.stages]
    return Map([("original", value.original), ("intermediate", stages), ("final", value.final)])


def _write_null(into: bytearray, _value: None) -> None:
    into += _NULL


_WRITTEN: dict[type, _Written] = {
    type(None): _write_null,
    bool: _as(0x27, _fixed(_BYTE)),
    int: lambda into, value: _INTEGERS[integer_type(value)](into, value),
    Long: _INTEGERS[Long],
    BigInteger: _INTEGERS[BigInteger],
    Byte: _as(0x24, _fixed(_BYTE)),
    Short: _as(0x26, _fixed(_SHORT)),
    float: _as(0x07, _fixed(_DOUBLE)),
    Float: _as(0x08, _fixed(_FLOAT)),
    Decimal: _as(0x22, _write_big_decimal),
    str: _as(_TEXT, write_text),
    list: _as(0x09, _write_sequence),
    tuple: _as(0x09, _write_sequence),
    set: _as(0x0B, _write_sequence),
    frozenset: _as(0x0B, _write_sequence),
    OrderedSet: _as(0x0B, _write_sequence),
    Map: _as(0x0A, _write_map),
    Entry: _as(0x0A, lambda into, value: write_pairs(into, [(value.key, value.value)])),
    Tree: _as(0x2B, _write_tree),
    BulkSet: _as(0x2A, _write_bulk_set),
    Vertex: _as(0x11, _write_vertex),
    Edge: _as(0x0D, _write_edge),
    VertexProperty: _as(0x12, _write_vertex_property),
    Property: _as(0x0F, _write_property),
    Path: _as(0x0E, _write_path),
    Graph: _as(0x10, _write_graph),
    EnumValue: lambda into, value: _WRITTEN_ENUMS[value.enum](into, value),
    datetime: lambda into, value: (_WRITTEN_DATE if value.tzinfo else _WRITTEN_LOCAL)(into, value),
    date: _as(0x84, _write_local_date),
    time: _as(0x86, _write_local_time),
    timedelta: _as(0x81, _write_duration),
    uuid.UUID: _as(0x0C, lambda into, value: into.extend(value.bytes)),
    bytes: _as(0x25, _write_bytes),
    Bytecode: _as(0x15, _write_bytecode),
    Binding: _as(0x14, _write_binding),
    Predicate: lambda into, value: (_WRITTEN_TEXT_P if value.name in TEXT_PREDICATES else _WRITTEN_P)(into, value),
    Traverser: _as(0x21, _write_traverser),
    Explanation: lambda into, value: write(into, explanation_map(value)),
    Metrics: _as(0x2C, _write_metrics),
    TraversalMetrics: _as(0x2D, _write_traversal_metrics),
}
"""By type; types that are met are added."""
