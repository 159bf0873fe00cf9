"""All updates of flows that agents remember of a range of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gremlin_api.interpreter.run import Run
from gremlin_api.skydive.asking import Asking
from gremlin_api.skydive.flowsource import ID
from gremlin_api.skydive.seen import Seen
from skytrail.asking.questions import FlowsQuestion, Range
from skytrail.asking.terms import Compare

_AT_ONCE = 5_000  # flows of a question
_FIELDS = (ID, "LastUpdateMetric", "Metric")


def updates_of(run: Run, asking: Asking, when: Range, flows: Iterable[Seen]) -> Iterator[Seen]:
    """The updates of flows, oldest first for each; of those that their host has forgotten meanwhile none.

    Raises:
        RunError: they are more than one question may bring.
    """
    hosts = {str(one.flow.get(ID)): one.host for one in flows}
    ids = list(hosts)
    for at in range(0, len(ids), _AT_ONCE):
        some = tuple(ids[at : at + _AT_ONCE])
        question = FlowsQuestion(when=when, term=Compare(ID, "within", some), fields=_FIELDS, updates=True)
        for host, flow in asking.ask(question, {hosts[id_] for id_ in some}):
            run.hold()
            yield Seen(flow, host)
