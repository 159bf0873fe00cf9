"""A text of Skydive's dialect → its answer, whatever way it came by."""

from __future__ import annotations

import threading

from gremlin_api.errors import TraversalError
from gremlin_api.execution import Gate
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.interpreter.chain import Chain
from gremlin_api.interpreter.run import Allowance, Run, TooMuchError
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.language.parser import Limits
from gremlin_api.language.skydive import parse_skydive
from gremlin_api.skydive.answers import Answer
from gremlin_api.skydive.asking import Asking
from gremlin_api.skydive.graph import Graphs
from gremlin_api.skydive.translate import Translation, translated
from gremlin_api.values import Value
from skytrail.asking.asker import Asker

_NOTHING = MemoryGraph((), ())


class SkydiveAnswerer:
    """Answers queries about a graph.

    Args:
        graphs: where it comes from.
        allowance: how much one query may take.
        limits: how large its text may be.
        gate: lets so many look at a whole graph at a time; None: any number.
        asker: of the agents; None: there are none to ask.
        pushes: whether the graph's indexes are asked, and agents for no more than is needed; the answers are the same without.
    """

    def __init__(
        self,
        graphs: Graphs,
        allowance: Allowance | None = None,
        limits: Limits | None = None,
        gate: Gate | None = None,
        asker: Asker | None = None,
        *,
        pushes: bool = True,
    ) -> None:
        self._graphs, self._gate, self._asker, self._pushes = graphs, gate, asker, pushes
        self._allowance, self._limits = allowance or Allowance(), limits or Limits()

    def answer(self, text: str, cancelled: threading.Event) -> Answer:
        """The answer to a query.

        Raises:
            QueryError: the text is none; says where and why.
            TraversalError: it cannot be answered.
            SkytrailError: the graph is not to be had, or not as of then.
        """
        translation = self._translation(cancelled)
        try:
            chain = translated(text, parse_skydive(text, self._limits), translation)
            return Answer(translation.kind, self._values(chain), translation.asking.notes)
        except RecursionError as error:
            raise TraversalError("the query has too many steps in a row") from error
        finally:
            _close(translation)

    def explain(self, text: str) -> list[str]:
        """The steps that would be run, ``index[…]`` what an index answers. Raises QueryError, SkytrailError."""
        translation = self._translation(threading.Event())
        try:
            chain = translated(text, parse_skydive(text, self._limits), translation)
            return [shown for step in chain.steps for shown in step.shown]
        finally:
            _close(translation)

    def _translation(self, cancelled: threading.Event) -> Translation:
        def run() -> Run:
            return Run(_NOTHING, allowance=self._allowance, cancelled=cancelled, pushes=self._pushes, gate=self._gate)

        return Translation(self._graphs, run, None if self._asker is None else Asking(self._asker))

    def _values(self, chain: Chain) -> list[Value]:
        found: list[Value] = []
        for one in chain.flow(iter((Traverser(None),))):
            found.extend([one.value] * one.bulk)
            if len(found) > self._allowance.results:
                raise TooMuchError(f"there are more than {self._allowance.results} answers: ask for less")
        return found


def _close(translation: Translation) -> None:
    for run in translation.runs:
        run.close()
