"""Asks agents for all that tells where a conversation went."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skytrail.asking.asker import Asker
from skytrail.asking.questions import DropsQuestion, FlowsQuestion, InterfacesQuestion, Question, Range, SocketsQuestion
from skytrail.asking.terms import Compare, Either, Every, Term
from topology.trace.sightings import Ends, Flow, ends_of, orientations, parents, related

_ROUNDS = 4  # translations one behind the other, and tunnels in tunnels, that are followed
_SECOND_LOOK = 0.5  # seconds
_NOW = 1000  # ms that the end of a time may be past to mean now
_ONGOING = 3000  # ms since the last packet within which more are awaited
_SLACK = 1000  # ms between two clocks that are not read at once
MOST = 10_000  # records of flows of each host that are looked at
_LATEST = 1000  # of them, where only the latest conversations are looked for
_REFUSED = ("RxErrors", "RxDropped")
_NAMED_BY = ("UUID", "ParentUUID", "TrackingID", "Last")


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
    drops: Sequence[tuple[str, Mapping[str, Any]]] = ()
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

    def _ask(self, question: Question) -> list[tuple[str, Mapping[str, Any]]]:
        answers = self._asker.ask(question)
        found: list[tuple[str, Mapping[str, Any]]] = []
        for host, part in answers.parts:
            found += [(host, one) for one in part.found]
            if part.gaps:
                told = self.evidence.gaps.setdefault(self.evidence.hosts.get(host, host), set())
                told.update((gap.begin, gap.end) for gap in part.gaps)
            if part.since is not None and part.since > self._when.begin:
                self.evidence.since[self.evidence.hosts.get(host, host)] = part.since
        self.evidence.missing.update(answers.missing)
        return found

    def flows(self, term: Term, limit: int = MOST, fields: tuple[str, ...] | None = None) -> list[tuple[str, Flow]]:
        """Records that meet a condition, the latest ones; of living flows as of now, where the time reaches until now."""
        times = (None, self._when) if self._until_now else (self._when,)
        found: dict[tuple[str, str], Flow] = {}
        for when in times:
            question = FlowsQuestion(when, term=term, sort="Last", descending=True, limit=limit, fields=fields)
            for host, flow in self._ask(question):
                found.setdefault((host, str(flow["UUID"])), flow)
        return [(host, flow) for (host, _), flow in found.items()]

    def latest(self, term: Term) -> Sequence[str]:
        """Tracking IDs of conversations that meet a condition, the latest first."""
        return conversations([*self.flows(term, _LATEST, _NAMED_BY), *self.drops(term)])

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
            evidence.flows += self.flows(Compare("TrackingID", "within", tuple(sorted(new))))
            asked |= new
            known |= related(flow for _, flow in evidence.flows)
        self._around(asked, number_of)
        return evidence

    def _around(self, tracking: set[str], number_of: Callable[[str], int | None]) -> None:
        evidence = self.evidence
        flows = [flow for _, flow in evidence.flows]
        evidence.turned = orientations(flows)
        evidence.carriers = self._carriers(parents(flows))
        evidence.errors = self.flows(Compare("QuotedTrackingID", "within", tuple(sorted(tracking))))
        outer = {str(flow["TrackingID"]) for _, flow in evidence.carriers.values()}
        evidence.drops = self.drops(Compare("TrackingID", "within", tuple(sorted(tracking | outer))))
        numbers = {number for flow in flows if (number := number_of(str(flow["NodeTID"]))) is not None}
        if numbers:  # what a tunnel's end gave to its host, and nobody saw after that
            told = self.drops(Compare("Network.ID", "within", tuple(sorted(numbers))))
            evidence.outer = [(host, one) for host, one in told if one["TrackingID"] not in outer]
        for _, one in evidence.drops:  # of a conversation that never left the host there are only these
            ends = ends_of(one)
            turned = ends if int(one["AB"]) >= int(one["BA"]) else Ends(ends.destination, ends.source)
            if one["TrackingID"] in tracking:
                evidence.turned.setdefault(str(one["TrackingID"]), turned)
        evidence.sockets = self._ask(SocketsQuestion(None if self._until_now else self._when, self._of_ends()))
        evidence.refused = self._refused(flows)
        if any(self._clock() - int(flow["Last"]) < _ONGOING for flow in flows):
            time.sleep(_SECOND_LOOK)
            later = self.flows(Compare("TrackingID", "within", tuple(sorted(tracking))))
            evidence.later = [(host, flow) for host, flow in later if flow["TrackingID"] in evidence.turned]

    def _carriers(self, uuids: set[str]) -> dict[str, tuple[str, Flow]]:
        """Tunnels in tunnels, too."""
        found: dict[str, tuple[str, Flow]] = {}
        for _ in range(_ROUNDS):
            missing = uuids - found.keys()
            told = self.flows(Compare("UUID", "within", tuple(sorted(missing)))) if missing else []
            found |= {str(flow["UUID"]): (host, flow) for host, flow in told}
            uuids = parents(flow for _, flow in told)
        return found

    def _refused(self, flows: Sequence[Flow]) -> dict[str, int]:
        if not flows:
            return {}
        begin, end = min(int(one["Start"]) for one in flows), max(int(one["Last"]) for one in flows)
        nodes = tuple(sorted({str(one["NodeTID"]) for one in flows}))
        # an agent that keeps no counters has told of the conversation all the same: it is not missing
        answers = self._asker.ask(InterfacesQuestion(Range(begin, end + _SLACK), nodes, fresh=self._until_now))
        return {
            str(one["TID"]): sum(int(sample.get(name, 0)) for sample in one["Metrics"] for name in _REFUSED)
            for _, part in answers.parts
            for one in part.found
        }

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

    def drops(self, term: Term) -> list[tuple[str, Mapping[str, Any]]]:
        """What happened to conversations that meet a condition, within the time: agents tell of the last minutes as a whole."""
        begin, end = self._when.begin - _SLACK, float("inf") if self._until_now else self._when.end + _SLACK
        return [(host, one) for host, one in self._ask(DropsQuestion(term)) if begin <= int(one["Last"]) <= end]


def conversations(flows: Sequence[tuple[str, Mapping[str, Any]]]) -> Sequence[str]:
    """Tracking IDs of conversations, of which there are flows or drops, the latest first; a tunnel that carried one is none."""
    latest: dict[str, int] = {}
    carriers = parents(flow for _, flow in flows)
    for _, flow in flows:
        if flow.get("UUID") not in carriers:
            tracking = str(flow["TrackingID"])
            latest[tracking] = max(latest.get(tracking, 0), int(flow["Last"]))
    return sorted(latest, key=lambda one: -latest[one])
