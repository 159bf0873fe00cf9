"""A query of Skydive's dialect → the chain of steps that answers it.

:data:`STEPS` says of each step what it may follow, what it then gives, and how it is built. Source: Skydive's
graffiti/graph/traversal and the traversal extensions of its topology.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from gremlin_api.errors import NO_SUCH_ELEMENT, TraversalError
from gremlin_api.graphs.topology import TopologyVertex
from gremlin_api.graphs.view import BOTH, IN, OUT
from gremlin_api.interpreter.build import BUILD, Builder
from gremlin_api.interpreter.chain import MISSING, Chain, Filter, FlatMap, MapTraverser, Step
from gremlin_api.interpreter.conditions import Condition
from gremlin_api.interpreter.instructions import Instruction
from gremlin_api.interpreter.pushdown import pushed
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.steps.filters import Has, Range
from gremlin_api.interpreter.steps.graph import Elements
from gremlin_api.language import syntax
from gremlin_api.language.errors import QueryError
from gremlin_api.language.syntax import Argument, EnumValue, Predicate
from gremlin_api.skydive import routing
from gremlin_api.skydive.asking import Asking
from gremlin_api.skydive.conditions import (
    ATTRIBUTES,
    EDGE_ATTRIBUTES,
    Item,
    conditions,
    either,
    has_key,
    has_not,
    value_of,
)
from gremlin_api.skydive.flowsource import Flows
from gremlin_api.skydive.flowsteps import (
    FLOW_STEPS,
    LAST,
    TRACKING,
    closing,
    filtered,
    metrics_of_nodes,
    needs,
    pushing_range,
    pushing_sockets,
    pushing_sort,
)
from gremlin_api.skydive.graph import Graphs, SkydiveGraph
from gremlin_api.skydive.interfaces import series_key
from gremlin_api.skydive.kinds import Kind
from gremlin_api.skydive.metrics import Metric, aggregated, by_id, by_time, metrics_of, span, total
from gremlin_api.skydive.moments import Period, period_of
from gremlin_api.skydive.seen import Seen
from gremlin_api.skydive.steps import Again, All, Once, Sorted
from gremlin_api.skydive.walks import Part, Walks, key_of
from gremlin_api.values import Value
from skytrail.asking.asker import Nobody
from skytrail.asking.questions import Range as AskedRange
from skytrail.errors import UsageError
from topology.store.traversal import Direction, Ends, Hop

Arguments: TypeAlias = "Sequence[Argument]"
Values: TypeAlias = "Iterator[Value]"


ASKING_STEPS = frozenset({"Flows"})
"""Steps that cannot be where there are no agents to ask."""

_OWNERSHIP = conditions(("RelationType", "ownership"))
_SLICE = 30  # seconds of Aggregates()
_AGGREGATED = "Aggregated"


class Translation:
    """A query that is being built.

    Args:
        graphs: where the graph comes from.
        run: makes a run, whose graph is then set.
        asking: of the agents; None: there are none to ask.

    Attributes:
        steps: so far.
        kind: what they give.
        saved: what ``As`` keeps, when the query runs.
        kinds: of what it keeps.
        period: the range of time that is asked about, µs; None: a moment.
        when: the moment, or the range, as agents are asked about it; None: now.
        asking: this.
        asks: whether there are any to ask.
        flows: the step that asks for the flows that the next step follows.
        runs: to be closed when the query has ended.
    """

    def __init__(self, graphs: Graphs, run: Callable[[], Run], asking: Asking | None = None) -> None:
        self._graphs, self._make_run = graphs, run
        self.asking, self.asks = asking or Asking(Nobody()), asking is not None
        self.flows: Flows | None = None
        self.when: AskedRange | None = None
        self.steps: list[Step] = []
        self.kind = Kind.GRAPH
        self.saved: dict[str, list[Item]] = {}
        self.kinds: dict[str, Kind] = {}
        self.period: Period | None = None
        self.runs: list[Run] = []
        self._opened: tuple[Run, SkydiveGraph] | None = None

    def at(self, when: int | None, period: Period | None) -> None:
        """Ask from here on about a moment, or a range. Raises SkytrailError."""
        run = self._make_run()
        self.runs.append(run)
        if period is None:
            graph = self._graphs.as_of(when)
        else:
            run.scan()
            graph = self._graphs.during(*period, run.hold)
        run.graph, self.period, self._opened = graph, period, (run, graph)
        begin, end = period or (when, when)
        self.when = None if begin is None or end is None else AskedRange(begin // 1000, end // 1000)

    def _open(self) -> tuple[Run, SkydiveGraph]:
        if self._opened is None:
            self.at(None, None)
        assert self._opened is not None
        return self._opened

    @property
    def run(self) -> Run:
        """The run of what is being asked."""
        return self._open()[0]

    @property
    def graph(self) -> SkydiveGraph:
        """The graph that is being asked."""
        return self._open()[1]

    @property
    def walks(self) -> Walks:
        """Walks on it."""
        return Walks(*self._open())

    def clock(self) -> int:
        """µs since the epoch."""
        return self._graphs.clock()

    def add(self, step: syntax.Step) -> None:
        """Add a step. Raises UsageError: it cannot stand there, or its arguments say nothing."""
        if step.name in ASKING_STEPS and not self.asks:
            raise UsageError(f"{step.name}() asks the flow tables of agents: a hub answers that, at /api/topology")
        if step.name == "Workflow":
            raise UsageError("Workflow() is refused: text of others is never run")
        ways = STEPS[step.name]
        if self.kind not in ways:
            known = ", ".join(sorted(one.value for one in ways))
            raise UsageError(f"{step.name}() cannot follow what gives {self.kind.value}: it takes {known}")
        kind, build = ways[self.kind]
        if self.kind is Kind.FLOWS and self.flows is not None:
            self.flows.need(needs(step.name, step.arguments))
        self.steps += build(self, step.arguments)
        self.kind = self.kind if kind is None else kind

    def chain(self) -> Chain:
        """All steps; those at the beginning that an index answers as one."""
        if self.kind is Kind.GRAPH:
            self.steps.append(_whole(self.run, self.graph))
            self.kind = Kind.PART
        if self.kind is Kind.FLOWS and self.flows is not None:
            self.flows.need(None)  # they are told whole
        return Chain(self.run, pushed(self.run, self.steps, tracking=False) if len(self.runs) == 1 else self.steps)


def translated(text: str, steps: Iterable[syntax.Step], translation: Translation) -> Chain:
    """The chain of a query's steps.

    Raises:
        QueryError: a step cannot stand where it does, or its arguments say nothing.
        SkytrailError: the graph is not to be had.
    """
    for step in steps:
        try:
            translation.add(step)
        except QueryError:
            raise
        except UsageError as error:
            raise QueryError(text, step.at, str(error)) from error
    return translation.chain()


Build: TypeAlias = Callable[[Translation, Arguments], "Iterable[Step]"]
Ways: TypeAlias = "dict[Kind, tuple[Kind | None, Build]]"


def _whole(run: Run, graph: SkydiveGraph) -> Step:
    def whole(_: Values) -> Iterator[Part]:
        run.scan()
        part = Part(list(graph.vertices()), list(graph.edges()))
        run.hold(len(part.nodes) + len(part.edges))
        yield part

    return All("G", whole)


# Where a query begins


def _at(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    if translation.steps and not isinstance(translation.steps[-1], Again):
        raise UsageError("At() and Context() stand right after G")
    translation.at(*period_of(arguments, translation.clock()))
    return ()


def _again(translation: Translation, _: Arguments) -> Iterable[Step]:
    return (Again(),) if translation.steps else ()


def _elements(*, vertices: bool) -> Build:
    def build(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        ids = list(arguments) if arguments and not vertices and translation.period is None else None
        elements = Elements(Builder(translation.run, tracking=False), vertices=vertices, ids=ids, first=True)
        if not arguments:
            return (elements,)
        if ids is None:
            elements.take(conditions(("@ID", arguments[0]))[0])
        return elements, All(elements.name, _there("Node" if vertices else "Edge", arguments[0]))

    return build


def _there(what: str, id_: Argument) -> Callable[[Values], Values]:
    def there(values: Values) -> Values:
        found = list(values)
        if not found:
            raise TraversalError(f"{what} '{id_}' does not exist", NO_SUCH_ELEMENT)
        return iter(found)

    return there


def _of_part(of: Callable[[Part], Sequence[Item]]) -> Build:
    def build(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        id_ = arguments[0] if arguments else None
        return (FlatMap("V", translation.run, lambda part: [one for one in of(part) if id_ in (None, one.id)]),)

    return build


# Filters


def _kept(found: Sequence[Condition], item: Callable[[Value], Value]) -> Step:
    return Filter("Has", lambda traverser: all(one.test(item(traverser.value)) for one in found))


def _itself(value: Value) -> Value:
    return value


def _second(pair: Value) -> Value:
    return pair[1]


def _filter(said: Callable[[Arguments], Sequence[Condition]], item: Callable[[Value], Value] = _itself) -> Build:
    def build(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        found = said(arguments)
        last = translation.steps[-1] if translation.steps else None
        if not isinstance(last, Elements):
            return (Has(found, inner=False) if translation.kind in _ELEMENTS else _kept(found, item),)
        for one in found:
            last.take(one)
        return ()

    return build


def _has(arguments: Arguments) -> Sequence[Condition]:
    return conditions(arguments) if len(arguments) > 1 else [has_key(str(arguments[0]))]


_FILTERS: dict[str, Callable[[Arguments], Sequence[Condition]]] = {
    "Has": _has,
    "HasEither": lambda arguments: [either(conditions(arguments))],
    "HasKey": lambda arguments: [has_key(str(arguments[0]))],
    "HasNot": lambda arguments: [has_not(str(arguments[0]))],
}


# From element to element


def _to(find: Callable[[SkydiveGraph], Callable[[Any], Iterable[Value]]], name: str, walk: Hop | Ends) -> Build:
    def build(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        yield FlatMap(name, translation.run, find(translation.graph), walk)
        if arguments:
            yield Has(conditions(arguments), inner=False)

    return build


def _adjacent(name: str, direction: str) -> Ways:
    walk = Hop(Direction(direction))
    return {Kind.NODES: (Kind.NODES, _to(lambda graph: lambda vertex: graph.adjacent(vertex, direction, ()), name, walk))}


def _incident(name: str, direction: str) -> Ways:
    walk = Hop(Direction(direction), to_edges=True)
    return {Kind.NODES: (Kind.EDGES, _to(lambda graph: lambda vertex: graph.incident(vertex, direction, ()), name, walk))}


def _ends(name: str, direction: str) -> Ways:
    walk = Ends(Direction(direction))
    return {Kind.EDGES: (Kind.NODES, _to(lambda graph: lambda edge: graph.ends(edge, direction), name, walk))}


def _spread(name: str, direction: str, *, endless: bool) -> Ways:
    """``endless``: a depth of 0 means as far as there is anything."""

    def build(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        pairs, depth = (arguments, 1) if len(arguments) % 2 == 0 else (arguments[:-1], arguments[-1])
        assert isinstance(depth, int)
        if depth < 0:
            raise UsageError(f"{name}() goes {depth} far: give 0 or more")
        through = [either(conditions(pairs))] if pairs else _OWNERSHIP
        walks, far = translation.walks, None if endless and depth == 0 else depth
        return (All(name, lambda nodes: walks.spread(nodes, direction, through, far)),)

    return {Kind.NODES: (Kind.NODES, build)}


def _shortest_path(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    wanted, through = ([] if one is None else _said(one) for one in (arguments[0], [*arguments, None][1]))
    graph, run, walks = translation.graph, translation.run, translation.walks
    targets: list[Callable[[TopologyVertex], bool]] = []

    def path(vertex: TopologyVertex) -> Iterable[Value]:
        if not targets:
            targets.append(_target(run, graph, wanted))
        found = walks.shortest_path(vertex, targets[0], through)
        return () if found is None else (found,)

    return (FlatMap("ShortestPathTo", run, path),)


def _said(metadata: Argument) -> Sequence[Condition]:
    assert isinstance(metadata, Predicate)
    return conditions(metadata.arguments)


def _target(run: Run, graph: SkydiveGraph, wanted: Sequence[Condition]) -> Callable[[TopologyVertex], bool]:
    """Whether a node is one of those wanted: looked up where an index tells of them."""
    found = graph.candidates(wanted) if run.pushes else None
    if found is None:
        return lambda vertex: all(one.test(vertex) for one in wanted)
    there = {key_of(one) for one in found if isinstance(one, TopologyVertex) and all(each.test(one) for each in wanted)}
    return lambda vertex: key_of(vertex) in there


def _nodes_of_paths(translation: Translation, _: Arguments) -> Iterable[Step]:
    return (FlatMap("V", translation.run, _itself),)


def _among(nodes: Callable[[Values], Iterable[TopologyVertex]]) -> Build:
    def build(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        walks, wanted = translation.walks, conditions(arguments)
        return (All("SubGraph", lambda values: (walks.among(nodes(values), wanted),)),)

    return build


def _joined(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    walks, wanted = translation.walks, conditions(arguments)
    return (All("SubGraph", lambda edges: (walks.joined(edges, wanted),)),)


# What is kept


def _as(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    name, saved, run = str(arguments[0]), translation.saved, translation.run
    translation.kinds[name] = translation.kind

    def save(values: Values) -> Values:
        saved[name] = []
        for value in values:
            run.hold()
            saved[name].append(value)
        return iter(saved[name])

    return (All("As", save),)


def _select(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    names, saved = [str(one) for one in arguments], translation.saved
    for name in names:
        if name not in translation.kinds:
            known = ", ".join(translation.kinds) or "none"
            raise UsageError(f"nothing is kept as '{name}': As() has kept {known}")
    kinds = {translation.kinds[name] for name in names}
    if len(kinds) > 1:
        raise UsageError("Select() takes what is of one kind: nodes, or edges")
    translation.kind = kinds.pop()

    def select(values: Values) -> Iterable[Value]:
        for _ in values:
            pass
        return {key_of(one): one for name in names for one in saved.get(name, ())}.values()

    return (All("Select", select),)


# Order and number


def _dedup(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    keys = [str(one) for one in arguments]
    return (Once(translation.run, _tuple_of(keys) if keys else lambda item: item.id),)


def _dedup_flows(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    return _dedup(translation, arguments or (TRACKING,))


def _tuple_of(keys: Sequence[str]) -> Callable[[Value], Hashable]:
    def told(item: Value) -> Hashable:
        found = tuple(value_of(item, key) for key in keys)
        return None if all(one is None for one in found) else _written(found)

    return told


def _dedup_values(translation: Translation, _: Arguments) -> Iterable[Step]:
    return (Once(translation.run, _written),)


def _written(value: Value) -> Hashable:
    return msgspec.json.encode(value, order="deterministic")


def _dedup_paths(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    return *_nodes_of_paths(translation, ()), *_dedup(translation, arguments)


def _sort(key_of_kind: str) -> Build:
    def build(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        key, descending = _order_of(arguments, key_of_kind)
        told = (lambda item: value_of(item, key)) if key else _itself
        return (Sorted(translation.run, told, descending=descending),)

    return build


def _order_of(arguments: Arguments, key_of_kind: str) -> tuple[str, bool]:
    """What is sorted by, and whether the largest come first."""
    order = next((one.name for one in arguments if isinstance(one, EnumValue)), "ASC")
    return next((one for one in arguments if isinstance(one, str)), key_of_kind), order == "DESC"


def _limit(_: Translation, arguments: Arguments) -> Iterable[Step]:
    return _between(0, *arguments)


def _range(_: Translation, arguments: Arguments) -> Iterable[Step]:
    return _between(*arguments)


def _between(low: Argument, high: Argument) -> Iterable[Step]:
    assert isinstance(low, int)
    assert isinstance(high, int)
    if low < 0 or high < low:
        raise UsageError(f"from {low} to {high} is no range: it begins at 0 or later, and ends no sooner than it begins")
    return (Range(low, high),)


def _count(translation: Translation, _: Arguments) -> Iterable[Step]:
    return (BUILD["count"](Builder(translation.run, tracking=False), Instruction("count")),)


# Values


def _values(item: Callable[[Value], Value] = _itself) -> Build:
    def build(_: Translation, arguments: Arguments) -> Iterable[Step]:
        key = str(arguments[0])

        def value(traverser: Any) -> Value:  # noqa: ANN401
            found = value_of(item(traverser.value), key)
            return MISSING if found is None else found

        return (MapTraverser("Values", value),)

    return build


def _value_map(_: Translation, arguments: Arguments) -> Iterable[Step]:
    keys = [str(one) for one in arguments]

    def told(traverser: Any) -> Value:  # noqa: ANN401
        found = {key: value for key in keys if (value := value_of(traverser.value, key)) is not None}
        return found or MISSING

    return (MapTraverser("ValueMap", told),)


def _keys(attributes: Iterable[str]) -> Build:
    def build(translation: Translation, _: Arguments) -> Iterable[Step]:
        run = translation.run

        def keys(items: Values) -> Iterable[str]:
            found: set[str] = set()
            for item in items:
                run.tick()
                found.update(attributes)
                found.update(_leaves(item.flow if isinstance(item, Seen) else item.metadata))
            return sorted(found)

        return (All("Keys", keys),)

    return build


def _leaves(value: Any, before: str = "") -> Iterator[str]:  # noqa: ANN401 - JSON
    """The keys by which something is found; of lists of maps those within."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{before}.{key}" if before else key)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for one in value:
            yield from _leaves(one, before)
    elif value is not None:
        yield before


def _sum(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    if not arguments:
        raise UsageError("Sum() takes the key whose values are added")
    key, run = str(arguments[0]), translation.run

    def added(items: Values) -> Iterable[Value]:
        found: int | float = 0
        for item in items:
            run.tick()
            found += _number(value_of(item, key), key)
        return (_finite(found),)

    return (All("Sum", added),)


def _sum_of_values(_: Translation, arguments: Arguments) -> Iterable[Step]:
    if arguments:
        raise UsageError("Sum() of values takes no key")
    return (All("Sum", lambda values: (_finite(sum(_number(one, "the values") for one in values)),)),)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise TraversalError("the sum is beyond what a double holds")
    return value


def _number(value: Value, where: str) -> int | float:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TraversalError(f"{where}: only numbers can be added, not {str(value)[:60]!r}")
    return value


# Metrics, sockets, next hops: pairs of an ID and what belongs to it


def _next_hop(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    address = routing.parse_address(str(arguments[0]))

    def hop(vertex: TopologyVertex) -> Iterable[Value]:
        found = routing.next_hop(vertex.metadata, address)
        return () if found is None else ((vertex.id, found),)

    return (FlatMap("NextHop", translation.run, hop),)


def _metrics(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    key = series_key(arguments)

    def metrics(item: Item) -> Iterable[Value]:
        return [(item.id, one) for one in metrics_of(value_of(item, key))]

    return (FlatMap("Metrics", translation.run, metrics),)


def _aggregates(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    width = arguments[0] if arguments else _SLICE
    assert isinstance(width, int)
    if width < 1:
        raise UsageError("Aggregates() takes slices of 1 s or longer")
    run, period = translation.run, translation.period

    def aggregates(pairs: Values) -> Iterable[Value]:
        metrics = _each_once(pairs)
        begin, end = span(metrics)  # of a moment, and of FOREVER, what there is
        if period is not None:
            since, end = (when // 1000 for when in period)
            begin = since or begin or end
        slices = aggregated(metrics, begin, end, width * 1000, run.tick)
        return [(_AGGREGATED, one) for one in slices]

    return (All("Aggregates", aggregates),)


def _each_once(pairs: Values) -> list[Metric]:
    """Metrics: of each element those that several of its revisions tell of once."""
    return [one for several in by_id(pairs).values() for one in by_time(several)]


def _sum_of_metrics(_: Translation, arguments: Arguments) -> Iterable[Step]:
    if not arguments:
        return (All("Sum", lambda pairs: (total(_each_once(pairs)),)),)
    raise UsageError("Sum() of metrics takes no key: it adds each counter")


_ELEMENTS = (Kind.NODES, Kind.EDGES)
_ITEMS = (*_ELEMENTS, Kind.FLOWS)
_SEVERAL = (*_ELEMENTS, Kind.VALUES, Kind.PATHS, Kind.METRICS, Kind.SOCKETS, Kind.HOPS, Kind.PACKETS)


def _on(kinds: Iterable[Kind], kind: Kind | None, build: Build) -> Ways:
    """One way for several; None: what is given stays of its kind."""
    return dict.fromkeys(kinds, (kind, build))


def _filtering(name: str) -> Ways:
    said = _FILTERS[name]
    return {
        **_on((*_ELEMENTS, Kind.VALUES), None, _filter(said)),
        Kind.SOCKETS: (None, pushing_sockets(name, _filter(said, _second))),
        Kind.FLOWS: (None, filtered(name)),
    }


_GRAPH_STEPS: dict[str, Ways] = {
    "G": _on(Kind, Kind.GRAPH, _again),
    **dict.fromkeys(("At", "Context"), _on((Kind.GRAPH,), None, _at)),
    "V": {
        Kind.GRAPH: (Kind.NODES, _elements(vertices=True)),
        Kind.PART: (Kind.NODES, _of_part(lambda part: part.nodes)),
        Kind.PATHS: (Kind.NODES, _nodes_of_paths),
    },
    "E": {
        Kind.GRAPH: (Kind.EDGES, _elements(vertices=False)),
        Kind.PART: (Kind.EDGES, _of_part(lambda part: part.edges)),
    },
    **{name: _filtering(name) for name in _FILTERS},
    "Out": _adjacent("out", OUT),
    "In": _adjacent("in", IN),
    "Both": _adjacent("both", BOTH),
    "OutE": _incident("outE", OUT),
    "InE": _incident("inE", IN),
    "BothE": _incident("bothE", BOTH),
    # the end that Skydive calls In is the one that the edge comes from
    "InV": _ends("inV", OUT),
    "OutV": _ends("outV", IN),
    "BothV": _ends("bothV", BOTH),
    "Descendants": _spread("Descendants", OUT, endless=True),
    "Ascendants": _spread("Ascendants", IN, endless=True),
    "Neighbors": _spread("Neighbors", BOTH, endless=False),
    "ShortestPathTo": {Kind.NODES: (Kind.PATHS, _shortest_path)},
    "SubGraph": {
        Kind.NODES: (Kind.PART, _among(_itself)),
        Kind.EDGES: (Kind.PART, _joined),
        Kind.PATHS: (Kind.PART, _among(lambda paths: (one for path in paths for one in path))),
        Kind.PART: (Kind.PART, _among(lambda parts: (one for part in parts for one in part.nodes))),
    },
    "As": _on(_ELEMENTS, None, _as),
    "Select": _on((Kind.GRAPH, *_ELEMENTS), None, _select),
    "Dedup": _on(_ELEMENTS, None, _dedup)
    | {Kind.PATHS: (Kind.NODES, _dedup_paths)}
    | _on((Kind.VALUES, Kind.SOCKETS), None, _dedup_values)
    | {Kind.FLOWS: (None, closing(_dedup_flows))},
    "Sort": _on(_ELEMENTS, None, _sort("@CreatedAt"))
    | {Kind.VALUES: (None, _sort("")), Kind.FLOWS: (None, pushing_sort(_sort(LAST), lambda said: _order_of(said, LAST)))},
    "Limit": _on(_SEVERAL, None, _limit) | {Kind.FLOWS: (None, pushing_range(_limit))},
    "Range": _on(_SEVERAL, None, _range) | {Kind.FLOWS: (None, pushing_range(_range))},
    "Count": _on((*_SEVERAL, Kind.FLOWS), Kind.NUMBER, _count),
    "Values": _on((*_ITEMS, Kind.VALUES), Kind.VALUES, _values()) | {Kind.SOCKETS: (Kind.VALUES, _values(_second))},
    "ValueMap": _on(_ITEMS, Kind.VALUES, _value_map),
    "Keys": {
        Kind.NODES: (Kind.VALUES, _keys(ATTRIBUTES)),
        Kind.EDGES: (Kind.VALUES, _keys([*ATTRIBUTES, *EDGE_ATTRIBUTES])),
        Kind.FLOWS: (Kind.VALUES, _keys(())),
    },
    "Sum": _on(_ITEMS, Kind.NUMBER, _sum)
    | {Kind.VALUES: (Kind.NUMBER, _sum_of_values), Kind.METRICS: (Kind.TOTAL, _sum_of_metrics)},
    "NextHop": {Kind.NODES: (Kind.HOPS, _next_hop)},
    "Metrics": {Kind.NODES: (Kind.METRICS, metrics_of_nodes(_metrics)), Kind.EDGES: (Kind.METRICS, _metrics)},
    "Aggregates": {Kind.METRICS: (Kind.METRICS, _aggregates)},
}

STEPS: dict[str, Ways] = {name: _GRAPH_STEPS.get(name, {}) | FLOW_STEPS.get(name, {}) for name in [*_GRAPH_STEPS, *FLOW_STEPS]}
"""By name: what a step may follow, what it then gives (None: what it followed), and how it is built."""
