"""A Gremlin text, its bindings and its moment → answers, whatever endpoint they came by."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from gremlin_api.errors import NO_FORM, UNSUPPORTED, TraversalError
from gremlin_api.execution import Gate
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.graphs.view import GraphView
from gremlin_api.interpreter.evaluate import answers, flow
from gremlin_api.interpreter.run import Allowance, Run, Service, TooMuchError
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.language.parser import Limits, parse
from gremlin_api.language.syntax import Query, Traversal
from gremlin_api.notes import Noted
from gremlin_api.values import Value
from skytrail.errors import UsageError

T = TypeVar("T")
_AT = "at"
_NOTHING = MemoryGraph((), ())


class Graphs(Protocol):
    """Where the graph comes from, as it is now and as it was."""

    def view(self, at: str | None, each: Callable[[], object]) -> GraphView:
        """The graph at a moment; None: now. Raises UsageError for one that cannot be.

        Where elements are read before they are asked for, ``each`` is called for every one; what it raises ends the reading.
        """
        ...


class Services(Protocol):
    """Where the services come from that a traversal can call."""

    def of(self, at: str | None, noted: Noted) -> Mapping[str, Service]:
        """Those for a traversal about a moment; None: now. Raises UsageError for one that cannot be."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        text: statements; the last one's answers are told.
        bindings: values of its variables.
        at: the moment; ``g.with('at', …)`` in the text goes before it. None: now.
        timeout: seconds; None: what is allowed at most.
        noted: what is to be said beside the answer, when all of it is there.
    """

    text: str
    bindings: Mapping[str, Value] = field(default_factory=dict)
    at: str | None = None
    timeout: float | None = None
    noted: Noted = field(default_factory=Noted, compare=False)


class Answerer:
    """Answers questions about a graph.

    Args:
        graphs: where it comes from.
        allowance: how much one question may take.
        limits: how large its text may be.
        gate: lets so many look at a whole graph at a time; None: any number.
        services: that can be called; None: none.

    Attributes:
        limits: these.
    """

    def __init__(
        self,
        graphs: Graphs,
        allowance: Allowance | None = None,
        limits: Limits | None = None,
        gate: Gate | None = None,
        services: Services | None = None,
    ) -> None:
        self._graphs, self._gate, self._services = graphs, gate, services
        self._allowance, self.limits = allowance or Allowance(), limits or Limits()

    def answers(self, question: Question, cancelled: threading.Event) -> Iterator[Value]:
        """The answers, one by one as they are asked for.

        Raises:
            QueryError: the text is none.
            UsageError: the moment is none.
            TraversalError: it cannot be answered.
        """
        queries = parse(question.text, self.limits)
        for query in queries[:-1]:
            if query.traversal is not None and query.traversal.terminal is not None:
                list(self._of(query, question, cancelled))
        return self._of(queries[-1], question, cancelled)

    def _of(self, query: Query, question: Question, cancelled: threading.Event) -> Iterator[Value]:
        if query.traversal is None and query.source is None:
            return iter(("",))
        if query.texts:
            raise TraversalError("toString() is refused: explain() tells how a traversal is run", UNSUPPORTED)
        if query.traversal is None:
            raise TraversalError("'g' alone asks for nothing: begin with g.V() or g.E()", NO_FORM)
        traversal, run = query.traversal, self._run(query.traversal, question, cancelled)
        return _bounded(run, lambda: answers(traversal, run))

    def traversers(self, traversal: Traversal, question: Question, cancelled: threading.Event) -> Iterator[Traverser]:
        """The traversers that come out of a traversal that a client sent; the question's text is not looked at.

        Raises:
            UsageError: the moment is none.
            TraversalError: it cannot be answered.
        """
        run = self._run(traversal, question, cancelled)
        left = run.allowance.results
        for one in _bounded(run, lambda: flow(traversal, run)):
            left -= 1
            if left < 0:
                raise TooMuchError(f"there are more than {run.allowance.results} answers: ask for less")
            yield one

    def _run(self, traversal: Traversal, question: Question, cancelled: threading.Event) -> Run:
        allowance = self._allowance
        if question.timeout is not None:
            allowance = replace(allowance, seconds=min(question.timeout, allowance.seconds))
        run = Run(_NOTHING, question.bindings, allowance, cancelled, gate=self._gate)
        at = _moment(traversal, question)
        if self._services is not None:
            run.services = self._services.of(at, question.noted)
        run.graph = self._graphs.view(at, run.hold)
        return run


def _bounded(run: Run, begin: Callable[[], Iterator[T]]) -> Iterator[T]:
    """What is begun, and the run closed at its end.

    Calls in calls that are too many are told of as an error of the query: steps in a row are such, and nested ones.
    """
    try:
        found = begin()  # a terminal step does all of it here
    except RecursionError as error:
        run.close()
        raise _too_deep() from error
    except BaseException:
        run.close()
        raise
    return _guarded(run, found)


def _guarded(run: Run, found: Iterator[T]) -> Iterator[T]:
    try:
        yield from found
    except RecursionError as error:
        raise _too_deep() from error
    finally:
        run.close()


def _too_deep() -> TraversalError:
    return TraversalError("the query has too many steps in a row, or in each other", "java.lang.StackOverflowError")


def _moment(traversal: Traversal, question: Question) -> str | None:
    """The moment asked about."""
    found = question.at
    for step in traversal.source or ():
        if step.name == "with" and step.arguments[0] == _AT:
            if len(step.arguments) < 2 or not isinstance(step.arguments[1], str | int):
                raise UsageError("g.with('at', …) takes a moment: '-5m', '2026-11-25T14:32:00Z', …")
            found = str(step.arguments[1])
    return found
