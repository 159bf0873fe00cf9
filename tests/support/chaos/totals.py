"""Judges what agents remember of flows by what programs sent and interfaces counted, packet by packet.

What is missing must have passed in a gap that the agent tells of, and each gap be where the script ended that agent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from support.chaos.counters import Counters
from support.chaos.laboratory import DRAIN, NODES, Chaos, Part
from support.chaos.talk import Conversation

_MARGIN = int(0.15e9)  # ns between noting a packet's time and its passing, on a busy machine
_WRITTEN = int(0.5e9)  # ns by which a drain, or its noting, may be late on a busy machine
_RANGE_MS = 4 * 3_600_000

Span = tuple[int, int]
Flow = dict[str, Any]


@dataclass(frozen=True)
class Gap:
    """When nobody counted on a host, by the true clock, ns since the epoch.

    Attributes:
        told: as the agent says.
        dead: surely no packet was counted.
    """

    told: Span
    dead: Span


def wrong(chaos: Chaos, conversations: list[Conversation]) -> tuple[list[str], str]:
    """What is wrong, and a line about what was looked at."""
    found: list[str] = []
    sent = counted = missing = gaps = 0
    for node in NODES:
        now = time.time_ns() // 1_000_000
        flows, headers = chaos.ask(node, f"/api/v1/flows?at={now + _RANGE_MS // 2}&duration={_RANGE_MS}ms&limit=0")
        lines, of_node = _gaps(chaos.agents[node], headers.get("skytrail-gaps", ""))
        found += [f"{node}: {line}" for line in lines]
        gaps += len(of_node)
        by_ends = _by_ends(flows)
        for one in conversations:
            for host, netns, interface in one.points:
                if host != node:
                    continue
                got = by_ends.get((netns, interface, frozenset(one.ends)), {})
                for line in _compared(one, of_node, got):
                    found.append(f"{node}/{netns}/{interface}: {one.ends}: {line}")
                counted += sum(got.values())
                passed = len(one.sent) + len(one.received)
                sent, missing = sent + passed, missing + passed - sum(got.values())
        found += [f"{node}: {line}" for line in _of_interfaces(flows, of_node, chaos.counters[node])]
    return found, f"{sent} packets of programs at their capture points, {counted} counted, {missing} in {gaps} gaps"


def _by_ends(flows: list[Flow]) -> dict[tuple[str, str, frozenset[tuple[str, int]]], dict[tuple[str, int], int]]:
    """Packets by capture point and conversation, by who sent them."""
    found: dict[tuple[str, str, frozenset[tuple[str, int]]], dict[tuple[str, int], int]] = {}
    for flow in flows:
        if "Transport" not in flow or "Network" not in flow:
            continue
        a, b = ((flow["Network"][side], int(flow["Transport"][side])) for side in "AB")
        packets = found.setdefault((flow["Namespace"], flow["Interface"], frozenset((a, b))), {})
        packets[a] = packets.get(a, 0) + flow["Metric"]["ABPackets"]
        packets[b] = packets.get(b, 0) + flow["Metric"]["BAPackets"]
    return found


def _gaps(agent: Part, told: str) -> tuple[list[str], list[Gap]]:
    """What is wrong with the gaps that an agent tells of; and all, the time before its first start being one."""
    spans = [
        (int(begin) * 1_000_000, int(end) * 1_000_000)
        for begin, _, end in (one.partition("-") for one in told.split(",") if one)
    ]
    runs = agent.runs
    gaps = [Gap((0, runs[0].ready), (0, runs[0].spawned))]
    if len(spans) != len(runs) - 1:
        return [f"{len(spans)} gaps are told of, of {len(runs) - 1}: {told}"], gaps
    lines = []
    for number, (before, after) in enumerate(pairwise(runs)):
        begin, end = spans[number]
        # Where the clock was set back meanwhile, a gap ends before it begins: it is told as a moment.
        backwards = after.spawned + after.shift < before.ended + before.shift
        begin, end = begin - before.shift, after.ready if backwards else end - after.shift
        earliest = before.ending - int(DRAIN * 1e9) - _WRITTEN - _MARGIN
        if not earliest <= begin <= before.ended + 1_000_000:
            lines.append(f"gap {number} begins {(begin - before.ending) / 1e9:+.3f} s from its agent's end")
        if not after.spawned <= end + 1_000_000 or end > after.ready + _MARGIN:
            lines.append(f"gap {number} ends {(end - after.spawned) / 1e9:+.3f} s from its agent's start")
        gaps.append(Gap((begin, end), (before.ended, after.spawned)))
    return lines, gaps


def _compared(one: Conversation, gaps: list[Gap], got: dict[tuple[str, int], int]) -> Iterator[str]:
    ours, theirs = one.ends
    answered = len(one.received) == len(one.sent)
    # Every answer left at once: it passed between its question's sending and its own coming.
    ways = {ours: one.sent, theirs: [(sent[0], came) for sent, came in zip(one.sent, one.received, strict=False)]}
    for who, packets in ways.items():
        count = got.get(who, 0)
        sure = sum(not any(_touches(gap.told, span) for gap in gaps) for span in packets)
        most = sum(not any(_within(gap.dead, span) for gap in gaps) for span in packets)
        if who == theirs and not answered:
            most = max(most, len(one.sent))
            sure = 0
        if not sure <= count <= most:
            yield f"{count} packets of {who} are counted, of {sure} to {most}"


def _touches(gap: Span, packet: Span) -> bool:
    return packet[0] <= gap[1] + _MARGIN and packet[1] >= gap[0] - _MARGIN


def _within(gap: Span, packet: Span) -> bool:
    return packet[0] > gap[0] + _MARGIN and packet[1] < gap[1] - _MARGIN


def _of_interfaces(flows: list[Flow], gaps: list[Gap], counters: Counters) -> Iterator[str]:
    """All packets of an interface, whatever they were."""
    end = time.time_ns()
    for name in counters.interfaces:
        counted = sum(
            flow["Metric"]["ABPackets"] + flow["Metric"]["BAPackets"]
            for flow in flows
            if (flow["Namespace"], flow["Interface"]) == ("", name) and not flow["ParentUUID"]
        )
        most = counters.at_most(name, end) - counters.at_least(name, gaps[0].dead[1])
        lost = 0
        for gap in gaps:
            begin = max(gap.told[0], gaps[0].dead[1]) - _MARGIN
            lost += counters.at_most(name, gap.told[1] + _MARGIN) - counters.at_least(name, begin)
        if not most - lost <= counted <= most:
            yield f"{name}: {counted} packets are counted, of {most - lost} to {most}"
