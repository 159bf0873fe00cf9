"""Two answers to one query compared: what a real Gremlin Server 3.7.3 says, and what we say."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path as File
from typing import Any

from lab.gremlinserver import Server

from gremlin_api.language.errors import QueryError
from gremlin_api.language.parser import parse
from gremlin_api.language.syntax import EnumValue, Step
from gremlin_api.numbers import integer_type
from gremlin_api.values import (
    BulkSet,
    Edge,
    Entry,
    Explanation,
    Graph,
    Map,
    OrderedSet,
    Path,
    Property,
    TraversalMetrics,
    Tree,
    Vertex,
    VertexProperty,
)
from gremlin_api.wire.graphson import value_of

QUERIES = File(__file__).parents[1] / "gremlin_api" / "agreement" / "queries"
REFUSED = "refused"
"""The file of those that we refuse on purpose; they are never asked of the server, for they change its graphs."""
CLOSE = 1e-9
"""How far, of the larger one, two sums may lie apart."""

KINDS = {
    "org.apache.tinkerpop.gremlin.language.grammar.GremlinParserException": "parse",
    "org.apache.tinkerpop.gremlin.process.traversal.strategy.verification.VerificationException": "verification",
    "java.lang.IllegalStateException": "illegal state",
    "java.lang.ClassCastException": "wrong type",
    "java.lang.NullPointerException": "wrong type",
    "java.lang.IllegalArgumentException": "illegal argument",
    "java.lang.NumberFormatException": "illegal argument",
    "java.lang.IndexOutOfBoundsException": "illegal argument",
    "java.lang.StringIndexOutOfBoundsException": "illegal argument",
    "java.time.format.DateTimeParseException": "illegal argument",
    "java.util.regex.PatternSyntaxException": "illegal argument",
    "net.objecthunter.exp4j.tokenizer.UnknownFunctionOrVariableException": "illegal argument",
    "java.util.EmptyStackException": "illegal argument",
    "java.util.NoSuchElementException": "missing",
    "org.apache.tinkerpop.gremlin.process.traversal.util.FastNoSuchElementException": "missing",
    "org.apache.tinkerpop.gremlin.process.traversal.step.Scoping$KeyNotFoundException": "missing",
    "org.apache.tinkerpop.gremlin.language.grammar.VariableResolverException": "missing",
    "java.time.DateTimeException": "illegal argument",
    "java.time.temporal.UnsupportedTemporalTypeException": "illegal argument",
    "org.apache.tinkerpop.gremlin.util.ser.SerializationException": "unserializable",
    "java.lang.ArithmeticException": "arithmetic",
    "org.apache.tinkerpop.gremlin.process.traversal.step.sideEffect.FailStep$FailException": "fail",
    "java.lang.UnsupportedOperationException": "unsupported",
    "org.apache.tinkerpop.gremlin.process.traversal.util.TraversalInterruptedException": "timeout",
    "java.util.concurrent.TimeoutException": "timeout",
}
"""The kind of failure by Java's class."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a query.

    Attributes:
        status: ``ok``, ``refused`` (it is no query) or ``failed``.
        kind: of the failure, one of those of :data:`KINDS`, or the class itself where that has none; empty where it is ok.
        values: all answers.
    """

    status: str
    kind: str = ""
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A query of the corpus.

    Attributes:
        theme: the file's name.
        graph: on which it is asked.
        text: the query.
        loose: the order in lists within its answers is not determined.
    """

    theme: str
    graph: str
    text: str
    loose: bool = False

    @property
    def id(self) -> str:
        """What a test says of it."""
        return f"{self.theme}: {self.graph}: {self.text}"


@dataclass(frozen=True, slots=True)
class Shape:
    """A value of which only the kind is compared, and its members' names."""

    kind: str
    members: tuple[str, ...] = ()


def corpus() -> list[Asked]:
    """Every query that was written by hand: ``graph<TAB>query`` a line, ``~ `` before it where lists within are bags."""
    found = []
    for file in sorted(QUERIES.glob("*.txt")):
        for line in file.read_text("utf-8").splitlines():
            if line and not line.startswith("#"):
                graph, text = line.removeprefix("~ ").split("\t", 1)
                found.append(Asked(file.stem, graph, text, line.startswith("~ ")))
    return found


def failure(exception: str) -> Answer:
    """The answer that is a failure of a class of Java's."""
    kind = KINDS.get(exception, exception)
    return Answer("refused" if kind == "parse" else "failed", kind)


def theirs(server: Server, query: str, graph: str) -> Answer:
    """What the Gremlin Server says. Raises TimeoutError where it says nothing."""
    status, body = server.submit(query, graph)
    if status == 200:
        return Answer("ok", "", tuple(map(_read, body["result"]["data"]["@value"])))
    return failure(body.get("Exception-Class", f"HTTP {status}: {body.get('message')}"))


def _read(told: Any) -> Any:
    if isinstance(told, dict):
        kind = told.get("@type")
        if kind is None:
            return Shape("Optional", (str(told.get("present")),))
        if kind in ("g:TraversalMetrics", "g:TraversalExplanation"):
            return Shape(kind.removeprefix("g:"))
        if kind in ("g:Map", "g:List", "g:Set") and _holds_shape(told["@value"]):
            return Shape("holds TraversalMetrics")
    return value_of(told)


def _holds_shape(items: list[Any]) -> bool:
    return any(isinstance(one, dict) and one.get("@type") == "g:TraversalMetrics" for one in items)


@dataclass(frozen=True, slots=True)
class How:
    """How answers are compared.

    Attributes:
        ordered: their order counts.
        maps: so does the order within maps.
        loose: the order in lists does not.
        close: how far, of the larger one, floating-point numbers may lie apart.
    """

    ordered: bool = False
    maps: bool = False
    loose: bool = False
    close: float = 0.0


KEEPING = frozenset(
    {"as", "by", "elementMap", "filter", "has", "hasId", "hasLabel", "id", "identity", "is", "label", "limit", "map", "math"}
    | {"path", "project", "propertyMap", "range", "select", "skip", "tail", "valueMap", "values", "where", "format", "count"}
    | {"order", "barrier", "concat", "constant", "length", "value", "key"}
)  # fmt: skip
"""Steps that leave the order as it is, and make of each at most one."""
_SUMMING = re.compile(r"\b(?:sum|mean|math|sack|withSack|fold|mult)\b")
_LOCAL_ORDER = re.compile(r"order\((?:Scope\.)?local\)")


def how(asked: Asked) -> How:
    """How its answers are to be compared."""
    return How(
        ordered(asked.text),
        bool(_LOCAL_ORDER.search(asked.text)),
        asked.loose,
        CLOSE if _SUMMING.search(asked.text) else 0.0,
    )


def ordered(query: str) -> bool:
    """Whether the order of its answers is determined: by an ``order()`` of its own, which no later step breaks."""
    try:
        traversal = parse(query)[-1].traversal
    except QueryError:
        return False
    if traversal is None or (traversal.terminal is not None and traversal.terminal.name in ("toSet", "toBulkSet")):
        return False
    steps = traversal.steps
    at = max((at for at, step in enumerate(steps) if _orders(step)), default=None)
    return at is not None and not _shuffled(steps[at + 1 :]) and all(step.name in KEEPING for step in steps[at + 1 :])


def _orders(step: Step) -> bool:
    return step.name == "order" and EnumValue("Scope", "local") not in step.arguments


def _shuffled(steps: tuple[Step, ...]) -> bool:
    return any(step.name == "by" and EnumValue("Order", "shuffle") in step.arguments for step in steps)


def differences(theirs: Answer, ours: Answer, how: How = How()) -> str | None:
    """What tells the answers apart; None: nothing does."""
    if (theirs.status, theirs.kind) != (ours.status, ours.kind):
        return f"theirs {theirs.status} {theirs.kind}, ours {ours.status} {ours.kind}"
    left = [form(value, how) for value in theirs.values]
    right = [form(value, how) for value in ours.values]
    if how.ordered:
        return _in_order(left, right, how)
    return _as_bags(left, right, how)


def _in_order(left: list[Hashable], right: list[Hashable], how: How) -> str | None:
    if len(left) != len(right):
        return f"theirs are {len(left)}, ours {len(right)}: {left[:5]} and {right[:5]}"
    for at, (one, other) in enumerate(zip(left, right, strict=True)):
        if not same(one, other, how.close):
            return f"at {at}: theirs {one}, ours {other}"
    return None


def _as_bags(left: list[Hashable], right: list[Hashable], how: How) -> str | None:
    here, there = Counter(left), Counter(right)
    only_left, only_right = list((here - there).elements()), list((there - here).elements())
    missing = []
    for one in only_left:
        at = next((at for at, other in enumerate(only_right) if same(one, other, how.close)), None)
        if at is None:
            missing.append(one)
        else:
            del only_right[at]
    if missing or only_right:
        return f"only theirs ({len(missing)}): {missing[:5]}; only ours ({len(only_right)}): {only_right[:5]}"
    return None


def same(one: Any, other: Any, close: float) -> bool:
    """Whether two forms are equal, numbers with a fraction as far as they are close."""
    if one == other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, frozenset):
        return _as_bags(list(one), list(other), How(close=close)) is None
    if isinstance(one, tuple):
        if one and one[0] in ("map", "bag"):
            return bool(one[0] == other[0]) and _as_bags(list(one[1]), list(other[1]), How(close=close)) is None
        return len(one) == len(other) and all(same(a, b, close) for a, b in zip(one, other, strict=True))
    if isinstance(one, Decimal):  # the server's was read as a double
        return math.isclose(one, other, rel_tol=max(close, 1e-15))
    return isinstance(one, float) and math.isclose(one, other, rel_tol=close)


def form(value: Any, how: How = How()) -> Hashable:
    """A value as tuples that are equal where the values are the same, with their types."""
    for kind, formed in _FORMS:
        if isinstance(value, kind):
            return formed(value, how)
    raise TypeError(f"{type(value).__name__} is no answer")


def _bag(items: Iterator[Hashable]) -> tuple[Hashable, ...]:
    return tuple(sorted(items, key=repr))


def _number(value: Any, how: How) -> Hashable:
    if isinstance(value, int):
        return integer_type(value).__name__, int(value)
    name = "Double" if type(value) is float else type(value).__name__
    if isinstance(value, Decimal):
        return name, value.normalize()
    return name, "NaN" if math.isnan(value) else "-0.0" if value == 0 and math.copysign(1, value) < 0 else float(value)


def _list(value: Any, how: How) -> Hashable:
    items = (form(one, how) for one in value)
    return ("bag", _bag(items)) if how.loose else ("list", *items)


def _map(value: Map, how: How) -> Hashable:
    pairs = ((form(key, how), form(one, how)) for key, one in value.items())
    name = "tree" if isinstance(value, Tree) else "entries" if how.maps else "map"
    return ("map", _bag(pairs)) if name == "map" else (name, *pairs) if how.maps else (name, ("map", _bag(pairs)))


def _bulk(value: BulkSet, how: How) -> Hashable:
    return "bulk", ("map", _bag((form(one, how), times) for one, times in value.counts.items()))


def _edge(value: Edge, how: How) -> Hashable:
    return "edge", form(value.id, how), value.label, form(value.out.id, how), form(value.into.id, how)


def _path(value: Path, how: How) -> Hashable:
    labels = tuple(tuple(sorted(several)) for several in value.labels)
    return "path", labels, *(form(one, how) for one in value.objects)


def _graph(value: Graph, how: How) -> Hashable:
    return (
        "graph",
        ("bag", _bag(form(one, how) for one in value.vertices)),
        ("bag", _bag(form(one, how) for one in value.edges)),
    )


def _as_itself(value: Any, how: How) -> Hashable:
    return type(value).__name__, value


_FORMS: tuple[tuple[type | tuple[type, ...], Callable[[Any, How], Hashable]], ...] = (
    (type(None), lambda _value, _how: None),
    (bool, _as_itself),
    (str, _as_itself),
    ((int, float, Decimal), _number),
    ((list, tuple), _list),
    ((set, frozenset, OrderedSet), lambda value, how: ("set", ("bag", _bag(form(one, how) for one in value)))),
    (BulkSet, _bulk),
    (Map, _map),
    (Entry, lambda value, how: _map(Map([(value.key, value.value)]), how)),  # as GraphSON tells it
    (Vertex, lambda value, how: ("vertex", form(value.id, how), value.label)),
    (VertexProperty, lambda value, how: ("vertex property", form(value.id, how), value.label, form(value.value, how))),
    (Edge, _edge),
    (Property, lambda value, how: ("property", value.key, form(value.value, how))),
    (Path, _path),
    (Graph, _graph),
    (TraversalMetrics, lambda _value, _how: Shape("TraversalMetrics")),
    (Explanation, lambda _value, _how: Shape("TraversalExplanation")),
    (object, _as_itself),
)
"""The first that fits."""
