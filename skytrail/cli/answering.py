"""What an agent answers when a hub, or somebody on its host, asks: now from its tables, of the past from its history."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from exporters.flows.answering import LiveFlows
from exporters.history import flows, interfaces, sockets
from exporters.history.flows import FlowHistory, FlowRecorder
from exporters.history.interfaces import InterfaceHistory
from exporters.history.rescue import Rescue
from exporters.history.sockets import SocketHistory
from exporters.history.store import History
from skytrail.asking.questions import DropsQuestion, FlowsQuestion, InterfacesQuestion, Part, Question, Range, SocketsQuestion
from skytrail.asking.terms import Compare, compiled
from skytrail.errors import RunError
from skytrail.metrics import Family

if TYPE_CHECKING:
    from exporters.bpf.program import FlowProgram
    from exporters.drops.collector import DropsCollector
    from exporters.flows.applications import Applications
    from exporters.flows.collector import Fates, FlowsCollector
    from exporters.flows.points import Points
    from exporters.sockets.collector import SocketsCollector
    from exporters.sockets.shown import Described
    from skytrail.kernel.namespaces import Namespace
    from skytrail.kernel.tid_state import TidRegistry
    from skytrail.settings.tree import Settings

_log = structlog.get_logger(__name__)

_MS = 1_000_000
_LAST = 2**62 // _MS
"""ms: later times are as late."""
_SLACK = 10.0  # seconds: drains, and an agent that was busy
_KINDS = {flows.KIND: flows.GROWS, sockets.KIND: sockets.GROWS, interfaces.KIND: interfaces.GROWS}
_OF = {FlowsQuestion: flows.KIND, SocketsQuestion: sockets.KIND, InterfacesQuestion: interfaces.KIND}

Found = list[dict[str, Any]]
OfTime = FlowsQuestion | SocketsQuestion | InterfacesQuestion
"""Questions about a time."""


def rescue_of(settings: Settings, points: Points) -> Rescue | None:
    """What keeps this agent's flow table; None: the settings want no history."""
    if not settings.history.size:
        return None
    name = hashlib.sha256(str(Path(settings.state_dir).resolve()).encode()).hexdigest()[:16]
    return Rescue(Path(settings.history.run_dir) / name, points, time.time_ns())


class Answering:
    """The agent's side of questions.

    Args:
        settings: the effective ones.
        collector: of flows; the history is one of its outputs.
        points: capture points.
        applications: names of applications.
        tids: of interfaces.
        rescue: keeps the flow table's records; None: nobody does.
    """

    def __init__(
        self,
        settings: Settings,
        collector: FlowsCollector,
        points: Points,
        applications: Applications,
        tids: TidRegistry,
        rescue: Rescue | None,
    ) -> None:
        self._rescue = rescue
        self._settings, self._collector, self._points = settings, collector, points
        self._applications, self._tids = applications, tids
        self._live = LiveFlows(collector, points, applications)
        self._flows: FlowHistory | None = None
        self._sockets: SocketHistory | None = None
        self._interfaces: InterfaceHistory | None = None
        self._asked: SocketsCollector | None = None
        self._drops: DropsCollector | None = None
        self._closers = contextlib.ExitStack()
        self.history: History | None = None
        if settings.history.size:
            kept, folder = settings.history, Path(settings.state_dir) / "history"
            self.history = History(folder, kept.size, kept.age, _KINDS)
            self._closers.callback(self.history.stop)

    def remember_flows(self, program: FlowProgram, known: Any, described: Described, fates: Fates) -> None:  # noqa: ANN401
        """Keep what is reported of flows; arguments as :class:`FlowRecorder` takes them."""
        if self.history is None:
            return
        flow = self._settings.flow
        run = self._take_over(self.history)
        recorder = FlowRecorder(self.history, self._points, program, known, described, fates, run)
        horizon = flow.update + max(flow.idle.tcp, flow.idle.udp, flow.idle.other) + flow.linger + 2 * flow.drain + _SLACK
        self._flows = FlowHistory(self.history, recorder, self._live, self._applications, horizon)
        self._collector.add_sink(recorder.take)

    def _take_over(self, history: History) -> int | None:
        """Keep what a killed agent had not reported; returns the number of this run."""
        if self._rescue is None:
            return None
        if found := self._rescue.left():
            recorder = FlowRecorder(history, found.points, run=found.run)
            if found.drained is not None:
                history.counted(found.drained)
            history.write()  # which opens it
            if history.failure is None:  # else nobody knows what it has
                recorder.take_missing(found.told)
            recorder.take(found.batch)
            _log.info("flows_rescued", flows=len(found.batch.rows))
        self._closers.callback(self._rescue.close)
        return self._rescue.run

    def remember_sockets(
        self, collector: SocketsCollector, namespaces: Callable[[], Mapping[int, str]], described: Described
    ) -> None:
        """Answer about sockets, and keep what comes and goes."""
        self._asked = collector
        if self.history is not None:
            self._sockets = SocketHistory(self.history, namespaces, described)
            self._closers.callback(self._sockets.stop)
            collector.add_watcher(self._sockets.watch)

    def remember_interfaces(
        self, namespaces: Callable[[], Sequence[Namespace]], others: Mapping[str, interfaces.Others] | None = None
    ) -> None:
        """Keep what went through interfaces; ``others``: as :class:`InterfaceHistory` takes them."""
        if self.history is None:
            return
        from exporters.interfaces.source import read_counters  # noqa: PLC0415
        from skytrail.kernel.worker import NamespaceWorker  # noqa: PLC0415

        worker = NamespaceWorker()
        self._closers.callback(worker.close)
        self._interfaces = InterfaceHistory(
            self.history,
            lambda namespace: worker.run(namespace, read_counters),
            namespaces,
            self._tids.devices,
            self._settings.history.interfaces,
            others=others,
        )
        self._closers.callback(self._interfaces.stop)

    def tell_drops(self, collector: DropsCollector) -> None:
        """Answer about drops."""
        self._drops = collector

    def start(self) -> None:
        """Begin to keep, now that all is counted; what came before waits in memory."""
        if self.history is not None:
            self.history.start()
        if self._interfaces is not None:
            self._interfaces.start()

    def ending(self) -> None:
        """Nothing is counted from now on."""
        if self.history is not None:
            self.history.ending()

    def stop(self) -> None:
        """Keep the last, and close the file."""
        self._closers.close()

    def families(self) -> Iterable[Family]:
        """The metrics of the history."""
        return self.history.families() if self.history else ()

    def answer(self, question: Question) -> Iterator[Part]:
        """The parts of an answer. Raises SkytrailError: why there is none."""
        if isinstance(question, DropsQuestion):
            yield Part(self._dropped(question))
            return
        if question.when is None:
            yield from map(Part, self._now(question))
            return
        when = Range(max(0, question.when.begin), min(question.when.end, _LAST))
        known = self._known(question, when)
        yield known  # though nothing is found
        for found in self._past(question, when):
            yield Part(found, known.since)

    def _dropped(self, question: DropsQuestion) -> Found:
        if self._drops is None:
            raise RunError("this agent does not count drops: see its log, and agent.collectors")
        term = question.term
        test = compiled(term) if term else None
        wanted = None
        if isinstance(term, Compare) and (term.key, term.operator) == ("TrackingID", "within"):
            wanted = set(map(str, term.values))  # there may be many, of which few are told
        return [one for one in self._drops.conversations(wanted) if test is None or test(one)]

    def _known(self, question: OfTime, when: Range) -> Part:
        if self.history is None:
            raise RunError("this agent remembers nothing: set history.size")
        gaps = self.history.gaps_within(when.begin * _MS, when.end * _MS)
        since = self.history.since(_OF[type(question)]) // _MS
        return Part([], since, [Range(gap.begin // _MS, gap.end // _MS) for gap in gaps])

    def _now(self, question: OfTime) -> Iterator[Found]:
        match question:
            case FlowsQuestion():
                yield from self._live.answer(question)
            case SocketsQuestion():
                if self._asked is None:
                    raise RunError("this agent reads no sockets: see its log, and agent.collectors")
                test = compiled(question.term) if question.term else None
                yield [socket for socket in self._asked.sockets() if test is None or test(socket)]
            case InterfacesQuestion():
                if self._interfaces is None:
                    raise RunError("this agent notes nothing of interfaces: see agent.collectors and history.size")
                yield from self._interfaces.answer(question)

    def _past(self, question: OfTime, when: Range) -> Iterator[Found]:
        match question:
            case FlowsQuestion() if self._flows:
                yield from self._flows.answer(question, when)
            case SocketsQuestion() if self._sockets:
                yield from self._sockets.answer(question, when)
            case InterfacesQuestion() if self._interfaces:
                yield from self._interfaces.answer(msgspec.structs.replace(question, when=when))
            case _:
                raise RunError("this agent does not remember that: see agent.collectors")
