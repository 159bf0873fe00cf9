"""How steps are built that ask agents: flows and what is made of them, sockets, interfaces' metrics.

Source: Skydive's gremlin/traversal/flow.go and socket.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from gremlin_api.interpreter.chain import Filter, FlatMap, Step
from gremlin_api.interpreter.steps.filters import Has
from gremlin_api.skydive.conditions import conditions
from gremlin_api.skydive.flownodes import A, B, FlowNodes, Nodes
from gremlin_api.skydive.flowsource import ID, POINT, Flows
from gremlin_api.skydive.interfaces import REMEMBERED, series, series_key
from gremlin_api.skydive.kinds import Kind
from gremlin_api.skydive.metrics import by_id, metrics_of
from gremlin_api.skydive.seen import Seen
from gremlin_api.skydive.sockets import Sockets, sockets_of_flows, sockets_of_nodes
from gremlin_api.skydive.steps import All
from gremlin_api.skydive.terms import term_of
from gremlin_api.skydive.updates import updates_of
from gremlin_api.values import Value
from skytrail.asking.terms import compiled
from skytrail.errors import UsageError

if TYPE_CHECKING:
    from gremlin_api.skydive.translate import Arguments, Build, Translation, Values, Ways

TRACKING, LAST = "TrackingID", "Last"

_METRIC, _LAST_UPDATE = "Metric", "LastUpdateMetric"


def _flows(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    walks = None if translation.kind is Kind.GRAPH else translation.walks
    run = translation.run
    if translation.kind is Kind.PATHS:
        yield FlatMap("V", run, lambda path: path)
    source = Flows(run, translation.asking, translation.when, walks, pushes=run.pushes)
    translation.flows = source
    yield source
    if arguments:
        yield from filtered("Has")(translation, arguments)


def filtered(name: str) -> Build:
    """A filter of flows: pushed to the agents where that may be."""

    def build(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        term, source = term_of(name, arguments), _source(translation)
        if source.take(term):
            return ()
        source.need(map(str, arguments[::2]))
        test = compiled(term)
        return (Filter(name, lambda traverser: test(traverser.value.flow)),)

    return build


def _source(translation: Translation) -> Flows:
    assert translation.flows is not None
    return translation.flows


def pushing_sort(build: Build, key_of: Callable[[Arguments], tuple[str, bool]]) -> Build:
    """A sort of flows, that the agents begin.

    Args:
        build: of the step that sorts all.
        key_of: what it sorts by, and whether the largest come first.
    """

    def pushed(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        key, descending = key_of(arguments)
        _source(translation).order(key, descending=descending)
        return build(translation, arguments)

    return pushed


def pushing_range(build: Build) -> Build:
    """A range of flows, of which each agent tells no more than could be in it."""

    def pushed(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        steps = list(build(translation, arguments))  # refuses what is no range
        high = arguments[-1]
        assert isinstance(high, int)
        _source(translation).at_most(high)
        return steps

    return pushed


def closing(build: Build) -> Build:
    """A step after which nothing is pushed."""

    def closed(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        _source(translation).opened = False
        return build(translation, arguments)

    return closed


# Groups


def _group(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    key, run = str(arguments[0]) if arguments else TRACKING, translation.run

    def grouped(flows: Values) -> Iterator[Value]:
        for one in flows:
            run.hold()
            found = one.at(key)
            if found is not None:
                yield _as_key(found), one

    return (All("Group", grouped),)


def _as_key(value: Any) -> str:  # noqa: ANN401 - a value of JSON
    return str(value).lower() if isinstance(value, bool) else str(value)


def _more_than(_: Translation, arguments: Arguments) -> Iterable[Step]:
    least = arguments[0] if arguments else 1
    assert isinstance(least, int)

    def larger(pairs: Values) -> Iterator[Value]:
        return ((key, one) for key, flows in by_id(pairs).items() if len(flows) > least for one in flows)

    return (All("MoreThan", larger),)


# Nodes


def _nodes(name: str, nodes: Callable[[FlowNodes], Nodes]) -> Ways:
    def build(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        yield All(name, nodes(FlowNodes(translation.run, translation.graph)))
        if arguments:
            yield Has(conditions(arguments), inner=False)

    return {Kind.FLOWS: (Kind.NODES, build)}


# Packets: there are none before captures are


def _packets(_: Translation, __: Arguments) -> Iterable[Step]:
    def none(flows: Values) -> Iterator[Value]:
        for _ in flows:
            pass
        return iter(())

    return (All("RawPackets", none),)


def _same(_: Translation, __: Arguments) -> Iterable[Step]:
    return ()


# Metrics


def _metrics_of_flows(translation: Translation, arguments: Arguments) -> Iterable[Step]:
    key = str(arguments[0]) if arguments else _LAST_UPDATE
    if key not in (_METRIC, _LAST_UPDATE):
        raise UsageError(f"Metrics() of flows gives {_LAST_UPDATE} or {_METRIC}, not '{key}'")
    run, asking, when = translation.run, translation.asking, translation.when

    def metrics(flows: Values) -> Iterator[Value]:
        every: dict[str, list[Seen]] = {}
        for one in flows if when is None or key == _METRIC else updates_of(run, asking, when, flows):
            run.hold()
            every.setdefault(str(one.flow.get(ID)), []).append(one)
        for id_, several in every.items():
            told = [metric for one in several for metric in metrics_of(one.at(key))]
            # what was not reported yet has grown since its beginning
            yield from ((id_, metric) for metric in told or metrics_of(several[-1].at(_METRIC)))

    return (All("Metrics", metrics),)


def metrics_of_nodes(build: Build) -> Build:
    """Metrics of nodes over a time, of which agents remember those of interfaces; ``build``: those that the graph shows."""

    def of_agents(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        when, key = translation.when, series_key(arguments)
        if when is None or key not in REMEMBERED or not translation.asks:
            return build(translation, arguments)
        run, asking = translation.run, translation.asking
        return (All("Metrics", lambda nodes: series(run, asking, when, nodes, key)),)

    return of_agents


# Sockets


def _of_flows(translation: Translation, _: Arguments) -> Iterable[Step]:
    run, asking, when = translation.run, translation.asking, translation.when
    return (Sockets(lambda flows, term: sockets_of_flows(run, asking, when, flows, term), pushes=run.pushes),)


def _of_nodes(translation: Translation, _: Arguments) -> Iterable[Step]:
    run, when = translation.run, translation.when
    asking = translation.asking if translation.asks else None
    return (Sockets(lambda nodes, term: sockets_of_nodes(run, asking, when, nodes, term), pushes=run.pushes),)


def pushing_sockets(name: str, build: Build) -> Build:
    """A filter of sockets, which the agents are told of too."""

    def pushed(translation: Translation, arguments: Arguments) -> Iterable[Step]:
        last = translation.steps[-1]
        if isinstance(last, Sockets):
            last.take(term_of(name, arguments))
        return build(translation, arguments)

    return pushed


FLOW_STEPS: dict[str, Ways] = {
    "Flows": dict.fromkeys((Kind.GRAPH, Kind.NODES, Kind.PATHS), (Kind.FLOWS, _flows)),
    "Group": {Kind.FLOWS: (Kind.GROUPS, _group)},
    "MoreThan": {Kind.GROUPS: (None, _more_than)},
    **{name: _nodes(name, lambda nodes: nodes.capture) for name in ("CaptureNode", "Hops", "Node")},
    "In": _nodes("In", lambda nodes: nodes.ends(A)),
    "Out": _nodes("Out", lambda nodes: nodes.ends(B)),
    "Both": _nodes("Both", lambda nodes: nodes.ends(A, B)),
    "Nodes": _nodes("Nodes", lambda nodes: nodes.ends(A, B, capture=True)),
    "RawPackets": {Kind.FLOWS: (Kind.PACKETS, _packets)},
    "BPF": {Kind.PACKETS: (None, _same)},
    "Metrics": {Kind.FLOWS: (Kind.METRICS, _metrics_of_flows)},
    "Sockets": {Kind.FLOWS: (Kind.SOCKETS, _of_flows), Kind.NODES: (Kind.SOCKETS, _of_nodes)},
}
"""By name: what a step may follow, what it then gives, and how it is built."""

_ENDS = ("Link", "Network", POINT)

_NEEDS: dict[str, Callable[[Arguments], Iterable[str] | None]] = {
    **dict.fromkeys(("Has", "HasEither", "HasKey", "HasNot"), lambda _: ()),  # see filtered()
    **dict.fromkeys(("Values", "ValueMap", "Sum"), lambda arguments: map(str, arguments)),
    "Dedup": lambda arguments: map(str, arguments or (TRACKING,)),
    "Sort": lambda arguments: [*(one for one in arguments if isinstance(one, str)), LAST][:1],
    **dict.fromkeys(("Limit", "Range", "Count", "RawPackets", "G", "CaptureNode", "Hops", "Node"), lambda _: ()),
    **dict.fromkeys(("In", "Out", "Both", "Nodes"), lambda _: _ENDS),
    "Metrics": lambda _: (_METRIC, _LAST_UPDATE),
    "Sockets": lambda _: ("Network", "Transport"),
}


def needs(name: str, arguments: Arguments) -> Iterable[str] | None:
    """The keys of flows that a step looks at; None: all."""
    looks = _NEEDS.get(name)
    return None if looks is None else looks(arguments)
