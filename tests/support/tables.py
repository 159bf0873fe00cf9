"""Agents that answer from a recording (``support.recording``), just as ``skytrail.asking.questions`` says."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gremlin_api.skydive.answering import SkydiveAnswerer
from gremlin_api.skydive.answers import Answer, plain
from skytrail.asking.asker import Answers
from skytrail.asking.questions import (
    DropsQuestion,
    FlowsQuestion,
    InterfacesQuestion,
    Part,
    Question,
    Range,
    SocketsQuestion,
    decode_part,
    decode_question,
    encode_part,
    encode_question,
)
from skytrail.asking.terms import compiled, value_at
from support.recording import FOLDER, HOSTS
from support.skydivegraphs import FixedGraphs
from topology.elements import FOREVER, Revision, State
from topology.elements import Part as Said

Json = dict[str, Any]
TIDS = {f"host/{name}": name for name in HOSTS.values()}
"""Names of the hosts, by TID."""


def recorded(name: str) -> list[Json]:
    """What was recorded: ``flows``, ``sockets``, ``nodes`` or ``edges``."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def last_time() -> int:
    """When the recording ended, ms since the epoch."""
    return max(one["Last"] for one in recorded("flows")) + 1


class Tables:
    """An asker of agents that have a recording.

    Args:
        flows: by the host's TID: each update of each flow.
        sockets: the same of sockets.
        series: samples of interfaces, by the host's TID and the interface's.
        missing: who does not answer, and why.
        since: from when on they remember.
        gaps: when none of them ran.

    Attributes:
        asked: what was asked, with the hosts that were.
        told: how many items were answered.
    """

    def __init__(
        self,
        flows: Mapping[str, list[Json]],
        sockets: Mapping[str, list[Json]],
        series: Mapping[str, Mapping[str, list[Json]]] | None = None,
        missing: Mapping[str, str] | None = None,
        since: int | None = None,
        gaps: Iterable[Range] = (),
    ) -> None:
        self._gaps = list(gaps)
        self._flows, self._sockets, self._series, self._since = flows, sockets, series or {}, since
        self._missing = missing or {}
        self.asked: list[tuple[Question, Collection[str] | None]] = []
        self.told = 0

    def hosts(self) -> Mapping[str, str]:
        return {**TIDS, **{f"host/{name}": name for name in self._missing}}

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:
        self.asked.append((question, hosts))
        question = decode_question(encode_question(question))
        known = self.hosts()
        wanted = [tid for tid in known if hosts is None or tid in hosts]
        parts: list[tuple[str, Part]] = []
        for tid in reversed(wanted):  # the order in which they come is nobody's
            if known[tid] in self._missing:
                continue
            found = self._answer(question, tid)
            self.told += len(found)
            middle = len(found) // 2
            since = self._since if getattr(question, "when", None) else None
            gaps = [] if since is None else self._gaps
            halves = (Part(some, since, gaps) for some in (found[:middle], found[middle:]))
            parts += [(tid, decode_part(encode_part(one))) for one in halves]
        return Answers(parts, {known[tid]: self._missing[known[tid]] for tid in wanted if known[tid] in self._missing})

    def _answer(self, question: Question, tid: str) -> list[Json]:
        match question:
            case FlowsQuestion():
                return answered(question, self._flows.get(tid, []))
            case SocketsQuestion():
                found = self._sockets.get(tid, [])
                return [one for one in found if question.term is None or compiled(question.term)(one)]
            case InterfacesQuestion():
                known = self._series.get(tid, {})
                every = known if question.nodes is None else [one for one in question.nodes if one in known]
                return [{"TID": one, "Metrics": _samples(known[one], question.when)} for one in every]
            case DropsQuestion():
                return []


def _samples(samples: list[Json], when: Range | None) -> list[Json]:
    if when is None:
        return samples[-1:]
    return [one for one in samples if one["Start"] <= when.end and one["Last"] >= when.begin]


def answered(question: FlowsQuestion, updates: Iterable[Json]) -> list[Json]:
    """What an agent that has these updates of flows answers."""
    by_id: dict[str, list[Json]] = {}
    for one in updates:
        by_id.setdefault(one["UUID"], []).append(one)
    found: list[Json] = []
    for several in by_id.values():
        found += _of_time(several, question.when, updates=question.updates)
    test = compiled(question.term) if question.term is not None else lambda _: True
    nodes = None if question.nodes is None else set(question.nodes)
    found = [one for one in found if test(one) and (nodes is None or one["NodeTID"] in nodes)]
    found.sort(key=lambda one: one["UUID"])
    if question.sort is not None:
        there = [one for one in found if value_at(one, question.sort or "") is not None]
        there.sort(key=lambda one: _rank(value_at(one, question.sort or "")), reverse=question.descending)
        found = there + [one for one in found if value_at(one, question.sort or "") is None]
    found = found[: question.limit] if question.limit else found
    return found if question.fields is None else [{k: v for k, v in one.items() if k in question.fields} for one in found]


def _rank(value: Any) -> tuple[int, Any]:
    """Truth values before numbers before texts before all else."""
    if isinstance(value, bool):
        return 0, value
    if isinstance(value, int | float):
        return 1, value
    return (2, value) if isinstance(value, str) else (3, str(value))


def _of_time(several: list[Json], when: Range | None, *, updates: bool) -> list[Json]:
    if when is None:
        return several[-1:]
    there = [one for one in several if one["Start"] <= when.end and one["Last"] >= when.begin]
    if updates:
        return there
    known = [one for one in there if one["Last"] <= when.end]
    return known[-1:] or there[:1]


def tables(missing: Mapping[str, str] | None = None, since: int | None = None, gaps: Iterable[Range] = ()) -> Tables:
    """Three agents, one for each namespace of the recording."""

    def by_host(name: str) -> dict[str, list[Json]]:
        found: dict[str, list[Json]] = {}
        for one in recorded(name):
            found.setdefault(f"host/{HOSTS[one['Namespace']]}", []).append(one)
        return found

    series: dict[str, dict[str, list[Json]]] = {}
    for one in recorded("nodes"):
        if (sample := one["Metadata"].get("LastUpdateMetric")) is not None:
            series.setdefault(f"host/{one['Host']}", {})[one["Metadata"]["TID"]] = [sample]
    return Tables(by_host("flows"), by_host("sockets"), series, missing, since, gaps)


class _Then(FixedGraphs):
    """At the end of the recording."""

    def clock(self) -> int:
        return last_time() * 1000


def graphs() -> FixedGraphs:
    """The graph of the recording, below a node for each host."""
    nodes = [_revision(one, one["Metadata"].pop("TID")) for one in recorded("nodes")]
    hosts = [
        _revision({"ID": name, "Metadata": {"Type": "host", "Name": name}, "Host": name, "Origin": f"agent.{name}"}, tid)
        for tid, name in TIDS.items()
    ]
    owns: list[Json] = [
        {"ID": f"o-{one.id}", "Metadata": {"RelationType": "ownership"}, "Host": one.state.host,
         "Origin": one.state.origin, "Parent": one.state.host, "Child": one.id}
        for one in nodes if one.state and one.state.metadata["Type"] == "netns"
    ]  # fmt: skip
    return _Then([*nodes, *hosts, *(_revision(one, "") for one in [*recorded("edges"), *owns])])


def _revision(told: Json, tid: str) -> Revision:
    metadata = {key: value for key, value in told["Metadata"].items() if key not in ("Metric", "LastUpdateMetric")}
    state = State(
        told["Host"], told["Origin"], {"p": Said.of(metadata)}, tid,
        parent=told.get("Parent", ""), child=told.get("Child", ""),
    )  # fmt: skip
    return Revision(told["ID"], 1, 0, 0, FOREVER, 0, 1, state)


def ask(query: str, asker: Tables | None = None, *, pushes: bool = True) -> Answer:
    """The answer to a query about the recording."""
    return SkydiveAnswerer(graphs(), asker=asker or tables(), pushes=pushes).answer(query, threading.Event())


def told(query: str, asker: Tables | None = None, *, pushes: bool = True) -> Any:
    """The same as values of JSON."""
    return plain(ask(query, asker, pushes=pushes))
