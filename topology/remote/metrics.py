"""The metrics of both ends of the wire, as data, and where they are read. ``docs/metrics.md`` is generated from this."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from skytrail.asking.collecting import ANSWERED, AWAY, FAILED, LATE, REFUSED, RESULTS
from skytrail.metrics import Family, Kind, Metric

if TYPE_CHECKING:
    from topology.remote.receiver import Receiver
    from topology.remote.sender import Sender

HUB_UP = Metric(
    "skytrail_wire_hub_up", "skytrail.wire.hub.up", Kind.GAUGE, "1", "Whether a hub takes this agent's reports: 1 or 0.",
)  # fmt: skip
WAITING = Metric(
    "skytrail_wire_waiting_reports", "skytrail.wire.waiting", Kind.GAUGE, "{report}", "Reports that no hub has taken yet.",
)  # fmt: skip
WAITING_BYTES = Metric(
    "skytrail_wire_waiting_bytes", "skytrail.wire.waiting.size", Kind.GAUGE, "By", "Bytes of them, on disk.",
)  # fmt: skip
COLLAPSED = Metric(
    "skytrail_wire_collapsed_reports_total", "skytrail.wire.collapsed", Kind.COUNTER, "{report}",
    "Reports that became part of others, for want of room: what was between is not in the history.",
)  # fmt: skip
CLOCK_OFFSET = Metric(
    "skytrail_wire_clock_offset_seconds", "skytrail.wire.clock.offset", Kind.GAUGE, "s",
    "By how much the hub's clock is ahead of this host's; 0 while they may be the same.",
)  # fmt: skip
AGENTS = Metric(
    "skytrail_wire_agents", "skytrail.wire.agents", Kind.GAUGE, "{agent}",
    "Agents that have greeted since this hub's start, by whether they report now.", ("state",), "2",
)  # fmt: skip
QUESTIONS = Metric(
    "skytrail_wire_questions_total", "skytrail.wire.questions", Kind.COUNTER, "{question}",
    "Questions to agents, each to each, by what became of them: answered, failed, late, away; refused, where the answer is "
    "none; crowded, where there was no room for it.", ("result",), "6",
)  # fmt: skip
HUBS = Metric(
    "skytrail_wire_hubs", "skytrail.wire.hubs", Kind.GAUGE, "{hub}",
    "Other hubs of the same graph, by whether this one can ask them: met, away.", ("state",), "2",
)  # fmt: skip
HUB_QUESTIONS = Metric(
    "skytrail_wire_hub_questions_total", "skytrail.wire.hub.questions", Kind.COUNTER, "{question}",
    "Questions to other hubs, each to each, by what became of them: answered, failed, late, away; refused, where a part of the "
    "answer is none.", ("result",), "5",
)  # fmt: skip
OF_HUBS = ANSWERED, FAILED, LATE, AWAY, REFUSED
ANSWERS = Metric(
    "skytrail_wire_answers_total", "skytrail.wire.answers", Kind.COUNTER, "{answer}",
    "Questions of hubs that this agent took up, by what became of them: answered, failed.", ("result",), "2",
)  # fmt: skip
REFUSED_REPORTS = Metric(
    "skytrail_wire_refused_reports_total", "skytrail.wire.refused", Kind.COUNTER, "{report}",
    "Reports of agents that could not be read.",
)  # fmt: skip
CROWDED = ("waited", "refused", "ended")
"""What becomes of a large report for which there is no room at once; ended: its agent had its turn for too long."""
CROWDED_REPORTS = Metric(
    "skytrail_wire_crowded_reports_total", "skytrail.wire.crowded", Kind.COUNTER, "{report}",
    "Large reports for which there was no room at once: waited, refused as too many waited, ended as the agent took too long "
    "while others waited. What was not taken in is sent again.", ("result",), "3",
)  # fmt: skip

DECLARED = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


def sender_source(sender: Sender) -> Callable[[], Iterable[Family]]:
    """What gives the families of an agent's end, read at each call."""
    began = time.time_ns()

    def families() -> Iterable[Family]:
        yield Family(HUB_UP, [((), float(sender.hub is not None))])
        yield Family(WAITING, [((), float(sender.outbox.waiting))])
        yield Family(WAITING_BYTES, [((), float(sender.outbox.size))])
        yield Family(CLOCK_OFFSET, [((), sender.clock_offset / 1e6)])
        yield Family(COLLAPSED, [((), float(sender.outbox.collapsed))], began)
        answers = sender.attendant
        yield Family(ANSWERS, [((ANSWERED,), float(answers.answered)), ((FAILED,), float(answers.failed))], began)

    return families


def receiver_source(receiver: Receiver) -> Callable[[], Iterable[Family]]:
    """What gives the families of a hub's end, read at each call."""
    began = time.time_ns()

    def families() -> Iterable[Family]:
        known, results = receiver.agents(), receiver.asker.results
        connected = sum(agent.connected for agent in known)
        yield Family(AGENTS, [(("connected",), float(connected)), (("gone",), float(len(known) - connected))])
        yield Family(QUESTIONS, [((result,), float(results[result])) for result in RESULTS], began)
        hubs, asked = receiver.peers.status(), receiver.peers.results
        met = sum(not failure for _, failure, _ in hubs)
        yield Family(HUBS, [(("met",), float(met)), (("away",), float(len(hubs) - met))])
        yield Family(HUB_QUESTIONS, [((result,), float(asked[result])) for result in OF_HUBS], began)
        yield Family(REFUSED_REPORTS, [((), float(sum(agent.refused for agent in known)))], began)
        yield Family(CROWDED_REPORTS, [((result,), float(receiver.crowded[result])) for result in CROWDED], began)

    return families
