"""Asks agents for all that tells where a conversation went."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from skytrail.asking.asker import Answers, Asker
from skytrail.asking.questions import DropsQuestion, FlowsQuestion, InterfacesQuestion, Question, Range, SocketsQuestion
from skytrail.asking.terms import Compare, Either, Every, Term
from topology.trace.sightings import Ends, Flow, ends_of, orientations, parents, related

_ROUNDS = 4  # translations one behind the other, and tunnels in tunnels, that are followed
_AT_ONCE = 4  # questions, of those that do not wait for each other's answers
_SECOND_LOOK = 0.5  # seconds after the first one
_NOW = 1000  # ms that the end of a time may be past to mean now
_ONGOING = 3000  # ms since the last packet within which more are awaited
_SLACK = 1000  # ms between two clocks that are not read at once
MOST = 10_000  # records of flows of each host that are looked at
_LATEST = 1000  # of them, where only the latest conversations are looked for
_REFUSED = ("RxErrors", "RxDropped")
_NAMED_BY = ("UUID", "ParentUUID", "TrackingID", "Last")


Told: TypeAlias = list[tuple[str, Mapping[str, Any]]]
"""What agents tell, each with the TID of its host."""


@dataclass(slots=True)
class Evidence:
    """What agents told of a conversation.

    Attributes:
        flows: its records, also of what address translation makes of it, each with the TID of its host.
        carriers: records of the tunnels that carried it, by UUID, each with the TID of its host.
        errors: records of ICMP errors that quote it.
        drops: what happened to it and to its tunnels.
        outer: what happened to packets of other tunnels with the numbers of those whose ends saw it.
        sockets: of its ends, and that listen for it.
        refused: frames that an interface (TID) did not take from its cable, of whichever conversation, in about that time.
        later: its records at a second look; empty: none was needed.
        hosts: names by TID.
        missing: who did not answer, and why.
        since: from when on a host remembers, ms, where that is later than what was asked about; by name.
        gaps: times in which no agent ran on a host, ms; by name.
        until: ms: records are as they were then; None: as they are now.
    """

    flows: list[tuple[str, Flow]] = field(default_factory=list)
    carriers: dict[str, tuple[str, Flow]] = field(default_factory=dict)
    errors: list[tuple[str, Flow]] = field(default_factory=list)
    drops: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    outer: Sequence[tuple[str, Mapping[str, Any]]] = ()
    sockets: Sequence[tuple[str, Mapping[str, Any]]] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    later: list[tuple[str, Flow]] = field(default_factory=list)
    hosts: Mapping[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    turned: dict[str, Ends] = field(default_factory=dict)
    until: int | None = None


class Collector:
    """Asks, and keeps who did not answer.

    Args:
        asker: knows the agents.
        when: about which time.
        clock: ms since the epoch.
    """

    def __init__(self, asker: Asker, when: Range, clock: Callable[[], int]) -> None:
        self._asker, self._when, self._clock = asker, when, clock
        self._until_now = when.end >= clock() - _NOW
        self.evidence = Evidence(hosts=asker.hosts(), until=None if self._until_now else when.end)

    def _ask(self, *questions: Question) -> list[Told]:
        """What is told in answer to each; they are asked at once."""
        [answers] = self._answers(questions)
        return [self._read(one) for one in answers]

    def _answers(self, *groups: Sequence[Question]) -> list[list[Answers]]:
        """The answers to the questions of each group, which are all asked at once."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="trace") as pool:
            asked = [[pool.submit(self._asker.ask, question) for question in group] for group in groups]
            return [[answer.result() for answer in group] for group in asked]

    def _read(self, answers: Answers) -> Told:
        found: Told = []
        for host, part in answers.parts:
            found += [(host, one) for one in part.found]
            if part.gaps:
                told = self.evidence.gaps.setdefault(self.evidence.hosts.get(host, host), set())
                told.update((gap.begin, gap.end) for gap in part.gaps)
            if part.since is not None and part.since > self._when.begin:
                self.evidence.since[self.evidence.hosts.get(host, host)] = part.since
        self.evidence.missing.update(answers.missing)
        return found

    def _flows(self, term: Term, limit: int = MOST, fields: tuple[str, ...] | None = None) -> list[Question]:
        """About records that meet a condition, the latest ones; of living flows as of now, where the time reaches until now."""
        times = (None, self._when) if self._until_now else (self._when,)
        return [FlowsQuestion(when, term=term, sort="Last", descending=True, limit=limit, fields=fields) for when in times]

    def latest(self, term: Term) -> Sequence[str]:
        """Tracking IDs of conversations that meet a condition, the latest first."""
        *flows, drops = self._ask(*self._flows(term, _LATEST, _NAMED_BY), DropsQuestion(term))
        of_the_time = (told for told in _each_once(flows) if int(told[1]["Last"]) >= self._when.begin)
        return conversations([*of_the_time, *self._of_the_time(drops)])

    def conversation(self, tracking: str, number_of: Callable[[str], int | None]) -> Evidence:
        """All about one conversation.

        Args:
            tracking: its ID.
            number_of: the number of a tunnel whose end an interface (TID) is; None: of none.

        Raises:
            RunError: agents have more to tell than one question may take.
        """
        known, asked = {tracking}, set[str]()
        evidence = self.evidence
        for _ in range(_ROUNDS):
            new = known - asked
            if not new:
                break
            evidence.flows += _each_once(self._ask(*self._flows(_named("TrackingID", new))))
            asked |= new
            known |= related(flow for _, flow in evidence.flows)
        looked = time.monotonic()
        self._around(asked, number_of)
        if any(self._clock() - int(flow["Last"]) < _ONGOING for _, flow in evidence.flows):
            time.sleep(max(0.0, looked + _SECOND_LOOK - time.monotonic()))
            later = _each_once(self._ask(*self._flows(_named("TrackingID", asked))))
            evidence.later = [(host, flow) for host, flow in later if flow["TrackingID"] in evidence.turned]
        return evidence

    def _around(self, tracking: set[str], number_of: Callable[[str], int | None]) -> None:
        evidence = self.evidence
        flows = [flow for _, flow in evidence.flows]
        evidence.turned = orientations(flows)
        tunnels, given, interfaces = parents(flows), self._given(flows, number_of), self._interfaces(flows)
        carriers, errors, drops, outer, counters = self._answers(
            self._flows(_named("UUID", tunnels)) if tunnels else (),
            self._flows(_named("QuotedTrackingID", tracking)),
            [DropsQuestion(_named("TrackingID", tracking))],
            given,
            interfaces,
        )
        evidence.carriers = self._carriers(_each_once([self._read(one) for one in carriers]))
        evidence.errors = _each_once([self._read(one) for one in errors])
        evidence.drops = [one for answers in drops for one in self._of_the_time(self._read(answers))]
        # an agent that keeps no counters has told of the conversation all the same: it is not missing
        evidence.refused = _refused(counters)
        for _, one in evidence.drops:  # of a conversation that never left the host there are only these
            ends = ends_of(one)
            turned = ends if int(one["AB"]) >= int(one["BA"]) else Ends(ends.destination, ends.source)
            if one["TrackingID"] in tracking:
                evidence.turned.setdefault(str(one["TrackingID"]), turned)
        around = {str(flow["TrackingID"]) for _, flow in evidence.carriers.values()} - tracking
        told = [one for answers in outer for one in self._of_the_time(self._read(answers))]
        evidence.outer = [(host, one) for host, one in told if one["TrackingID"] not in around]
        sockets = SocketsQuestion(None if self._until_now else self._when, self._of_ends())
        evidence.sockets, *more = self._ask(sockets, *([DropsQuestion(_named("TrackingID", around))] if around else ()))
        evidence.drops += [one for told in more for one in self._of_the_time(told)]

    def _given(self, flows: Sequence[Flow], number_of: Callable[[str], int | None]) -> Sequence[Question]:
        """About what a tunnel's end gave to its host, and nobody may have seen after that."""
        numbers = {number for flow in flows if (number := number_of(str(flow["NodeTID"]))) is not None}
        return [DropsQuestion(Compare("Network.ID", "within", tuple(sorted(numbers))))] if numbers else ()

    def _interfaces(self, flows: Sequence[Flow]) -> Sequence[Question]:
        """About the interfaces that saw records, in about the same time."""
        if not flows:
            return ()
        begin, end = min(int(one["Start"]) for one in flows), max(int(one["Last"]) for one in flows)
        nodes = tuple(sorted({str(one["NodeTID"]) for one in flows}))
        return [InterfacesQuestion(Range(begin, end + _SLACK), nodes, fresh=self._until_now)]

    def _carriers(self, told: list[tuple[str, Flow]]) -> dict[str, tuple[str, Flow]]:
        """Tunnels, and those that these are in."""
        found: dict[str, tuple[str, Flow]] = {}
        for _ in range(_ROUNDS):  # whatever agents answer, it ends
            found |= {str(flow["UUID"]): (host, flow) for host, flow in told}
            missing = parents(flow for _, flow in told) - found.keys()
            told = _each_once(self._ask(*self._flows(_named("UUID", missing)))) if missing else []
        return found

    def _of_ends(self) -> Term:
        """Sockets that are an end, or listen where the conversation goes."""
        ends = self.evidence.turned.values()
        terms = [
            Every((Compare("LocalPort", "within", (port,)), Compare("RemotePort", "within", (other, 0))))
            for one in ends
            for port, other in ((one.source.port, one.destination.port), (one.destination.port, one.source.port))
            if port
        ]
        return Either(tuple(terms))

    def _of_the_time(self, drops: Told) -> Told:
        """Of what happened to conversations, what did within the time: agents tell of the last minutes as a whole."""
        begin, end = self._when.begin - _SLACK, float("inf") if self._until_now else self._when.end + _SLACK
        return [(host, one) for host, one in drops if begin <= int(one["Last"]) <= end]


def _refused(answers: Sequence[Answers]) -> dict[str, int]:
    return {
        str(one["TID"]): sum(int(sample.get(name, 0)) for sample in one["Metrics"] for name in _REFUSED)
        for answer in answers
        for _, part in answer.parts
        for one in part.found
    }


def _named(key: str, names: set[str]) -> Term:
    return Compare(key, "within", tuple(sorted(names)))


def _each_once(answers: Sequence[Told]) -> Told:
    """Records that are in several answers are taken of the first."""
    found: dict[tuple[str, str], Flow] = {}
    for told in answers:
        for host, flow in told:
            found.setdefault((host, str(flow["UUID"])), flow)
    return [(host, flow) for (host, _), flow in found.items()]


def conversations(flows: Sequence[tuple[str, Mapping[str, Any]]]) -> Sequence[str]:
    """Tracking IDs of conversations, of which there are flows or drops, the latest first; a tunnel that carried one is none."""
    latest: dict[str, int] = {}
    carriers = parents(flow for _, flow in flows)
    for _, flow in flows:
        if flow.get("UUID") not in carriers:
            tracking = str(flow["TrackingID"])
            latest[tracking] = max(latest.get(tracking, 0), int(flow["Last"]))
    return sorted(latest, key=lambda one: -latest[one])
