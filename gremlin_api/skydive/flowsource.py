"""The step that asks agents for flows, and what of the steps after it is pushed to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from gremlin_api.graphs.topology import TopologyVertex
from gremlin_api.graphs.view import OUT
from gremlin_api.interpreter.chain import Flow, Kept, Step
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.skydive.asking import Asking
from gremlin_api.skydive.conditions import conditions
from gremlin_api.skydive.seen import Seen
from gremlin_api.skydive.terms import every
from gremlin_api.skydive.walks import Walks, once
from skytrail.asking.questions import FlowsQuestion, Range
from skytrail.asking.terms import Compare, Either, Term

ID, POINT = "UUID", "NodeTID"

Places: TypeAlias = "dict[str, str]"
"""The names of hosts, by the TIDs of what is on them."""

_IDLE = 600_000  # ms that a flow may stay in a table without a packet: Skydive's flow.expire; our agents' is shorter
_OWNERSHIP = conditions(("RelationType", "ownership"))
_MOST_NODES = 2_000  # of a question: beyond them agents are asked for all, and what is not wanted is left out here


class Flows(Step):
    """The flows of all capture points, or of those that nodes are.

    Args:
        run: that it belongs to.
        asking: of the agents.
        when: None: now.
        walks: from nodes to what they own; None: it stands at the beginning, and all capture points are meant.
        pushes: whether agents are asked for no more than is needed; the answers are the same without.

    Attributes:
        opened: whether what follows may still be pushed.
    """

    name = "Flows"
    gathers = True

    def __init__(self, run: Run, asking: Asking, when: Range | None, walks: Walks | None, *, pushes: bool) -> None:
        super().__init__()
        self._run, self._asking, self._when, self._walks = run, asking, when, walks
        self._moment = when.end if when is not None and when.begin == when.end else None
        self.opened = self._pushes = pushes
        self._terms: list[Term] = []
        self._sort: tuple[str, bool] | None = None
        self._limit = 0
        self._fields: set[str] | None = {ID, POINT} if pushes else None

    @property
    def text(self) -> str:
        """It, and what the agents are asked for."""
        question = self._question(None)
        asked = {name: getattr(question, name) for name in ("term", "sort", "descending", "limit", "fields")}
        return f"{self.name}({', '.join(f'{name}={value}' for name, value in asked.items() if value)})"

    def take(self, term: Term) -> bool:
        """Take a condition over from the step after it, if that may be."""
        if self.opened:
            self._terms.append(term)
        return self.opened

    def order(self, key: str, *, descending: bool) -> None:
        """Let the agents tell the first in an order, if a limit follows; the step after it sorts what they found together."""
        if self.opened and self._sort is None:
            self._sort = key, descending
        else:
            self.opened = False

    def at_most(self, many: int) -> None:
        """Let each agent tell no more than so many; the step after it takes so many of all."""
        if self.opened and many > 0:
            self._limit = many
        self.opened = False

    def need(self, keys: Iterable[str] | None) -> None:
        """What a later step looks at: keys; None: all."""
        if keys is None:
            self._fields = None
        elif self._fields is not None:
            self._fields.update(key.partition(".")[0] for key in keys)

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Each flow: by host, and by UUID."""
        if self._walks is None:
            for _ in upstream:
                yield from self._found(None)
        else:
            places = capture_points(self._walks, (one.value for one in upstream))
            if places:
                yield from self._found(places)

    def _found(self, places: Places | None) -> Iterator[Traverser]:
        hosts = None if places is None else self._asking.named(set(places.values()))
        if hosts == []:
            return
        found: list[Seen] = []
        for host, flow in self._asking.ask(self._question(places), hosts, self._moment):
            if places is None or str(flow.get(POINT)) in places:
                self._run.hold()
                found.append(Seen(flow, host))
        starts = {one.host: place for place, one in reversed(list(enumerate(found)))}
        found.sort(key=lambda one: (starts[one.host], str(one.flow.get(ID))))
        for one in found:
            yield Traverser(one)

    def _question(self, places: Places | None) -> FlowsQuestion:
        key, descending = self._sort or (None, False)
        nodes = None if places is None or len(places) > _MOST_NODES else tuple(sorted(places))
        limit = 0 if places is not None and nodes is None else self._limit
        when, terms = self._when, self._terms
        if self._moment is not None:
            when, terms = Range(max(0, self._moment - _IDLE), self._moment), [*terms, _in_table(self._moment)]
        return FlowsQuestion(
            when=when,
            nodes=nodes,
            term=every(terms),
            sort=key if limit else None,
            descending=descending and limit > 0,
            limit=limit,
            fields=None if self._fields is None else tuple(sorted({*self._fields, *self._sorted_by()})),
        )

    def _sorted_by(self) -> Iterable[str]:
        return () if self._sort is None else (self._sort[0].partition(".")[0],)


def _in_table(moment: int) -> Term:
    """That a flow was in its agent's table at a moment: it had not ended, or had more packets, or was reported, after it."""
    later = (Compare(key, "gte", (moment,)) for key in ("Last", "LastUpdateMetric.Last"))
    return Either((Compare("FinishType", "within", ("NOT_FINISHED",)), *later))


def capture_points(walks: Walks, nodes: Iterable[TopologyVertex]) -> Places:
    """The interfaces among nodes, and those that the others own."""
    points: Places = {}
    owners = [node for node in once(nodes).values() if not add_point(points, node)]
    for node in walks.spread(owners, OUT, _OWNERSHIP, None) if owners else ():
        add_point(points, node)
    return points


def add_point(points: Places, node: TopologyVertex) -> bool:
    """Add a node, if it is an interface; whether it is one."""
    state = node.revision.state
    is_interface = "IfIndex" in node.metadata
    if is_interface and state is not None and state.tid:
        points[state.tid] = state.host
    return is_interface
