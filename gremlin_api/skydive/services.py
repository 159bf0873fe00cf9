"""What ``g.call('flows')`` and its kin ask of the agents, from TinkerPop's dialect: each a map.

Which of them are wanted is said in Skydive's words: ``Has('Network.A', '10.0.0.1').Sort(DESC, 'Last').Limit(10)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gremlin_api.graphs.topology import TopologyVertex, value_of
from gremlin_api.interpreter.chain import Chain, Step
from gremlin_api.interpreter.run import Run, Service
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.language.skydive import parse_skydive
from gremlin_api.notes import Noted
from gremlin_api.skydive.asking import Asking
from gremlin_api.skydive.flowsource import POINT, Flows, capture_points
from gremlin_api.skydive.graph import SkydiveGraph
from gremlin_api.skydive.interfaces import series
from gremlin_api.skydive.kinds import Kind
from gremlin_api.skydive.metrics import metrics_of
from gremlin_api.skydive.seen import Seen
from gremlin_api.skydive.sockets import Sockets, sockets_of_nodes
from gremlin_api.skydive.translate import Translation
from gremlin_api.skydive.walks import Walks
from gremlin_api.values import Value
from skytrail.asking.asker import Asker
from skytrail.asking.questions import InterfacesQuestion, Range, SocketsQuestion
from skytrail.asking.terms import Term
from skytrail.errors import UsageError
from skytrail.moments import parse_moment, parse_period

FILTER = "filter"
_FILTERS = ("Has", "HasKey", "HasNot", "HasEither", "Sort", "Limit", "Range", "Dedup")

Found: TypeAlias = "Iterable[tuple[int, Value]]"
Vertices: TypeAlias = "Sequence[Value] | None"


class AgentServices:
    """The services that agents give.

    Args:
        asker: of the agents.
        clock: µs since the epoch.
    """

    def __init__(self, asker: Asker, clock: Callable[[], int]) -> None:
        self._asker, self._clock = asker, clock

    def of(self, at: str | None, noted: Noted) -> Mapping[str, Service]:
        """Those for a traversal about a moment, or a period; None: now. Raises UsageError for one that cannot be."""
        asking = Asking(self._asker)
        noted.follow(lambda: asking.notes)
        when = self._range(at)
        return {name: _AgentService(about, takes, call, asking, when) for name, about, takes, call in _SERVICES}

    def _range(self, at: str | None) -> Range | None:
        if at is None:
            return None
        now = self._clock()
        begin, end = parse_period(at, now) if "/" in at else (parse_moment(at, now),) * 2
        return None if begin >= now else Range(begin // 1000, end // 1000)


@dataclass(frozen=True, slots=True)
class _AgentService:
    about: str
    takes: Sequence[str]
    tell: Callable[[_Asked, Vertices], Found]
    asking: Asking
    when: Range | None

    def call(self, run: Run, parameters: Mapping[str, Value], vertices: Vertices) -> Found:
        """What the agents tell."""
        return self.tell(_Asked(run, self.asking, self.when, str(parameters.get(FILTER, ""))), vertices)


class _Given:
    """The graph that is being asked already."""

    def __init__(self, graph: SkydiveGraph) -> None:
        self._graph = graph

    def clock(self) -> int:
        raise AssertionError("no step of a filter says a time")

    def as_of(self, when: int | None) -> SkydiveGraph:  # noqa: ARG002
        return self._graph

    def during(self, begin: int, end: int, each: Callable[[], object]) -> SkydiveGraph:  # noqa: ARG002
        return self._graph


@dataclass(frozen=True, slots=True)
class _Asked:
    run: Run
    asking: Asking
    when: Range | None
    filter: str

    @property
    def graph(self) -> SkydiveGraph:
        """That of the traversal."""
        graph = self.run.graph
        assert hasattr(graph, "ends")
        return graph  # type: ignore[return-value]  # where there are services the graph is a topology

    def filtered(self, kind: Kind, first: Step) -> Chain:
        """A step, and those that the filter says."""
        translation = Translation(_Given(self.graph), lambda: self.run, self.asking)
        translation.at(None, None)
        translation.when, translation.kind, translation.steps = self.when, kind, [first]
        translation.flows = first if isinstance(first, Flows) else None
        for step in parse_skydive(f"G.{self.filter}") if self.filter else ():
            if step.name not in _FILTERS:
                raise UsageError(f"the filter says {step.name}(): it takes {', '.join(_FILTERS)}")
            translation.add(step)
        return translation.chain()


def _flows(asked: _Asked, vertices: Vertices) -> Found:
    run, walks = asked.run, Walks(asked.run, asked.graph)
    first = Flows(run, asked.asking, asked.when, None if vertices is None else walks, pushes=run.pushes)
    chain = asked.filtered(Kind.FLOWS, first)
    places: dict[str, list[int]] = {}
    for place, node in enumerate(_nodes(vertices)):
        for tid in capture_points(walks, [node]):
            run.hold()
            places.setdefault(tid, []).append(place)
    start = (Traverser(None),) if vertices is None else map(Traverser, _nodes(vertices))
    for one in chain.flow(iter(start)):
        seen = one.value
        assert isinstance(seen, Seen)
        told = value_of(seen.flow)
        for place in (0,) if vertices is None else places.get(str(seen.flow.get(POINT)), ()):
            yield place, told


def _sockets(asked: _Asked, vertices: Vertices) -> Found:
    run, asking, when = asked.run, asked.asking, asked.when

    def find(nodes: Iterator[Value], term: Term | None) -> Iterable[tuple[str, dict[str, Any]]]:
        if vertices is not None:
            return sockets_of_nodes(run, asking, when, nodes, term)
        return (("", socket) for _, socket in asking.ask(SocketsQuestion(when, term)))

    chain = asked.filtered(Kind.SOCKETS, Sockets(find, pushes=run.pushes))
    places = _places(vertices)
    for one in chain.flow(map(Traverser, _nodes(vertices))):
        id_, socket = one.value
        for place in places.get(id_, (0,)):
            yield place, value_of(socket)


def _metrics(asked: _Asked, vertices: Vertices) -> Found:
    if vertices is None:
        for _, one in asked.asking.ask(InterfacesQuestion(asked.when)):
            for metric in metrics_of(one.get("Metrics")):
                asked.run.hold()
                yield 0, value_of({"TID": one.get("TID"), **metric})
        return
    places = _places(vertices)
    for id_, metric in series(asked.run, asked.asking, asked.when, _nodes(vertices)):
        for place in places[id_]:
            yield place, value_of(metric)


def _nodes(vertices: Vertices) -> Iterator[TopologyVertex]:
    return (one for one in vertices or () if isinstance(one, TopologyVertex))


def _places(vertices: Vertices) -> dict[str, list[int]]:
    """Where each node is among the vertices."""
    found: dict[str, list[int]] = {}
    for place, node in enumerate(_nodes(vertices)):
        found.setdefault(node.id, []).append(place)
    return found


_SERVICES: Sequence[tuple[str, str, Sequence[str], Callable[[_Asked, Vertices], Found]]] = (
    ("flows", "flows as agents count them: at the interfaces it follows and at those they own, or all", (FILTER,), _flows),
    ("sockets", "sockets of processes: of the hosts and network namespaces it follows, or all", (FILTER,), _sockets),
    ("metrics", "what went through the interfaces it follows, or through all", (), _metrics),
)
