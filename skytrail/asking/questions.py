"""What can be asked of an agent, and what it answers; JSON on the wire. Pure.

Times are ms since the epoch. A question without a time is about now: what the agent's tables have. One with a range is about
what the agent remembers of it: what was at any time from ``begin`` to ``end``, both included, each as it was at its end.
An answer comes in parts, each a part of the whole list; a question that cannot be answered is answered by its failure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from skytrail.asking.terms import Term


class Range(msgspec.Struct, frozen=True):
    """A range of time, both ends included."""

    begin: int
    end: int


class FlowsQuestion(msgspec.Struct, frozen=True, tag="flows"):
    """Which flows.

    Attributes:
        when: None: now.
        nodes: TIDs of capture points; None: all.
        term: a condition on the flow's JSON; None: none.
        sort: a dotted key; None: in no order. What has nothing there comes last, and equals are in the order of their UUIDs.
        descending: the largest come first; what has nothing there is last all the same, and equals stay as they are.
        limit: at most so many, the first in that order; 0: all.
        fields: keys of the first level that are wanted; None: all.
        updates: all updates of each flow that the agent remembers of the range, oldest first, not only the last.
    """

    when: Range | None = None
    nodes: tuple[str, ...] | None = None
    term: Term | None = None
    sort: str | None = None
    descending: bool = False
    limit: int = 0
    fields: tuple[str, ...] | None = None
    updates: bool = False


class SocketsQuestion(msgspec.Struct, frozen=True, tag="sockets"):
    """Which sockets.

    Attributes:
        when: None: now.
        term: a condition on the socket's JSON; None: none.
    """

    when: Range | None = None
    term: Term | None = None


class InterfacesQuestion(msgspec.Struct, frozen=True, tag="interfaces"):
    """How much went through interfaces: each sample since the one before, as Skydive's ``LastUpdateMetric``.

    Attributes:
        when: None: the latest sample.
        nodes: TIDs of the interfaces; None: all.
        fresh: of a range: what they counted since the last sample is read, too.
    """

    when: Range | None = None
    nodes: tuple[str, ...] | None = None
    fresh: bool = False


class DropsQuestion(msgspec.Struct, frozen=True, tag="drops"):
    """Which packets the kernel dropped, what TCP sent again, and resets: by conversation, where, in the last minutes.

    Attributes:
        term: a condition on the JSON of one; None: none.
    """

    term: Term | None = None


Question = FlowsQuestion | SocketsQuestion | InterfacesQuestion | DropsQuestion


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of an answer.

    Attributes:
        found: flows, or sockets, or interfaces as ``{"TID": …, "Metrics": [{…, "Start": ms, "Last": ms}]}``, or drops.
        since: of what was asked about a range: from when on the agent remembers, ms; what was before it does not know.
        gaps: times within the range in which no agent ran there, as one that was killed: what was then it does not know.
    """

    found: list[dict[str, Any]] = []
    since: int | None = None
    gaps: list[Range] = []


encode_question = msgspec.json.Encoder().encode
decode_question = msgspec.json.Decoder(Question).decode
"""Raises msgspec.MsgspecError: it is none, or one of a later release."""
encode_part = msgspec.json.Encoder().encode
decode_part = msgspec.json.Decoder(Part).decode
