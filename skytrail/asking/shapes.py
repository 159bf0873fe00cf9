"""What an answer must look like: checked once, where it comes in, so that nobody who reads it has to doubt it. Pure.

What stands at keys that are listed here is of the kind that is said. Other keys, as of a later release, may have anything that
is not nested deeply, with whole numbers of 64 bits.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeAlias

import msgspec

from skytrail.asking.answering import LARGEST_ITEM
from skytrail.asking.questions import DropsQuestion, FlowsQuestion, InterfacesQuestion, Question, SocketsQuestion
from skytrail.errors import RunError

Below: TypeAlias = "tuple[str, ...]"
"""What the TIDs begin with of all that is on the host of who answers."""
Check: TypeAlias = "Callable[[bytes, Below], None]"

_SHOWN = 100  # characters of what is refused
_INT = 1 << 63
Int = Annotated[int, msgspec.Meta(ge=-_INT, le=_INT - 1)]
Counters: TypeAlias = dict[str, Int]
Words: TypeAlias = dict[str, str]


class AnswerError(RunError):
    """An answer is none; says why."""


class _Ways(msgspec.Struct, gc=False, frozen=True):
    AB: Int = 0
    BA: Int = 0


class _Link(msgspec.Struct, gc=False):
    A: str = ""
    B: str = ""
    Protocol: str = ""
    ID: Int = 0


class _Network(msgspec.Struct, gc=False):
    A: str = ""
    B: str = ""
    Protocol: str = ""
    ID: Int = 0
    IPProtocol: Int = 0
    ATTL: Int = 0
    BTTL: Int = 0
    ADSCP: Int = 0
    BDSCP: Int = 0


class _Transport(msgspec.Struct, gc=False):
    Protocol: str
    A: Int
    B: Int
    ID: Int = 0


class _Tunnel(msgspec.Struct, gc=False):
    Type: str
    ID: Int


class _Icmp(msgspec.Struct, gc=False):
    Type: str = ""
    Number: Int = 0
    Code: Int = 0
    ID: Int = 0


_COUNTED_EACH_WAY = (
    "SynStart", "SynTTL", "FinStart", "RstStart", "SmoothedRTT", "SegmentSkipped", "SegmentOutOfOrder", "SegmentRepeated",
    "ZeroWindows", "Retransmits",
)  # fmt: skip
_Tcp = msgspec.defstruct(
    "_Tcp",
    [
        *((f"{way}{what}", Int, 0) for way in ("AB", "BA") for what in _COUNTED_EACH_WAY),
        *((name, str, "") for name in ("ABFlags", "BAFlags", "AEnd", "BEnd")),
        *((name, Int, 0) for name in ("SynAckRTT", "ConnectLatency")),
        *((name, _Ways, _Ways()) for name in ("Retransmits", "SYNTimeouts", "SYNACKTimeouts", "ResetsSent", "ResetsReceived")),
    ],
    gc=False,
)


class _Translated(msgspec.Struct, gc=False):
    TrackingID: str


class _Flow(msgspec.Struct, gc=False, kw_only=True):
    UUID: str = ""
    NodeTID: str = ""
    TrackingID: str = ""
    Interface: str = ""
    Namespace: str = ""
    Start: Int = 0
    Last: Int = 0
    LayersPath: str = ""
    Application: str = ""
    L3TrackingID: str = ""
    ParentUUID: str = ""
    NATTrackingID: str = ""
    QuotedTrackingID: str = ""
    CommunityID: str = ""
    FinishType: str = ""
    Initiator: str = ""
    FirstMonotonic: Int = 0
    Sampling: Int = 0
    Seen: Words = {}
    Metric: Counters = {}
    LastUpdateMetric: Counters | None = None
    Link: _Link | None = None
    Network: _Network | None = None
    Transport: _Transport | None = None
    ICMP: _Icmp | None = None
    Tunnel: _Tunnel | None = None
    TCPMetric: _Tcp | None = None  # type: ignore[valid-type]  # mypy knows no types that are made
    Drops: dict[str, _Ways] = {}
    NAT: dict[str, _Translated] = {}
    Process: dict[str, dict[str, str | Int]] = {}
    Container: dict[str, Words] = {}
    Pod: dict[str, Words] = {}
    Unit: dict[str, Words] = {}
    Owner: dict[str, Words] = {}


_OF_EACH_FLOW = {"UUID": str, "NodeTID": str, "TrackingID": str, "Interface": str, "Namespace": str, "Start": Int, "Last": Int}
"""Keys that each flow has, if they are asked for."""


class _Socket(msgspec.Struct, gc=False):
    Protocol: str
    State: str
    Namespace: str
    LocalAddress: str
    LocalPort: Int
    RemoteAddress: str
    RemotePort: Int
    Process: str = ""
    Name: str = ""
    Pid: Int = 0
    UID: Int = 0
    ReceiveQueue: Int = 0
    SendQueue: Int = 0
    Container: Words = {}
    Pod: Words = {}
    Unit: Words = {}


class _Interface(msgspec.Struct, gc=False):
    TID: str
    Metrics: list[Counters]


class _Event(msgspec.Struct, gc=False):
    What: str
    TrackingID: str
    Network: _Network
    AB: Int
    BA: Int
    Last: Int
    Reason: str = ""
    Namespace: str = ""
    Interface: str = ""
    Transport: _Transport | None = None
    ICMP: _Icmp | None = None

    def __post_init__(self) -> None:
        if self.What == "Drop" and not self.Reason:
            raise ValueError("a drop has no reason")


def _anything(depth: int) -> Any:  # noqa: ANN401 - a type
    """A map of anything, nested no deeper."""
    inner: Any = None | bool | Int | float | str
    whole: Any = None
    for _ in range(depth):
        whole = dict[str, inner]
        inner = None | bool | Int | float | str | list[inner] | whole
    return whole


_DEEPEST = 16
_decode = msgspec.json.Decoder(_anything(_DEEPEST)).decode


class _Gap(msgspec.Struct, gc=False):
    begin: Int
    end: Int


def check_of(question: Question) -> Check:
    """What checks parts of answers to a question; of its argument's JSON, and what the TIDs of that host's begin with.

    It raises AnswerError: a part cannot be read, is too large, is of another shape, or tells of another host.
    """
    shape, place = _shape_of(question)

    def check(data: bytes, below: Below) -> None:
        if len(data) > LARGEST_ITEM:
            raise AnswerError(f"a part of it has {len(data) >> 20} MiB: {LARGEST_ITEM >> 20} MiB are allowed")
        try:
            found: list[Any] = msgspec.convert(_decode(data), shape).found
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise AnswerError(" ".join(str(error).split())) from error
        if place is not None:
            _check_places(set(map(place, found)), below)

    return check


def _check_places(tids: Iterable[str], below: Below) -> None:
    for tid in tids:
        if tid and not tid.startswith(below):  # a point that has just gone has none
            raise AnswerError(f"it tells of {tid[:_SHOWN]!r}, which is on another host")


def _shape_of(question: Question) -> tuple[Any, Callable[[Any], str] | None]:
    """The shape of a part, and what gives the place of what is found."""
    match question:
        case FlowsQuestion():
            asked = _OF_EACH_FLOW.keys() if question.fields is None else _OF_EACH_FLOW.keys() & question.fields
            return _shape_of_flows(frozenset(asked)), operator.attrgetter("NodeTID")
        case SocketsQuestion():
            return _SOCKETS, None
        case InterfacesQuestion():
            return _INTERFACES, operator.attrgetter("TID")
        case DropsQuestion():
            return _EVENTS, None


def _part_of(found: Any) -> Any:  # noqa: ANN401 - a type
    fields: list[Any] = [("found", list[found], []), ("since", Int | None, None), ("gaps", list[_Gap], [])]
    return msgspec.defstruct("_Part", fields, gc=False)


_SOCKETS, _INTERFACES, _EVENTS = map(_part_of, (_Socket, _Interface, _Event))


@functools.cache  # there are no more than the subsets of what each flow has
def _shape_of_flows(asked: frozenset[str]) -> Any:  # noqa: ANN401 - a type
    needed = [(name, _OF_EACH_FLOW[name]) for name in sorted(asked)]
    return _part_of(msgspec.defstruct("_Flow", needed, bases=(_Flow,), kw_only=True, gc=False))
