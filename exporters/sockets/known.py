"""What is known of sockets by their cookies: whose they are, and how they went; for as long as flows ask."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import sockets
from exporters.sockets.processes import NOBODY, Process
from exporters.sockets.tally import end_of, failure_of

_SLICE = 5.0  # seconds of events that are sorted together
_KEPT = 12  # slices: a minute, longer than an ended flow is kept; fewer, where there are more events
_MOST = 1 << 20  # events in all of them: 24 MB
_NOTE = np.dtype(
    [
        ("cookie", "u8"),
        ("latency", "u8"),
        ("process", "u4"),
        ("retransmits", "u4"),
        ("error", "u2"),
        ("kind", "u1"),
        ("before", "u1"),
    ]
)

Whose = tuple[Sequence[Process], NDArray[Any]]
"""As ``Processes.of`` gives it."""


@dataclass(frozen=True, slots=True)
class Known:
    """Of one socket.

    Attributes:
        process: that has it.
        latency: from connect() to the connection, or to its failure, ns; None: it was opened by others, or before our time.
        end: how its connection ended, or why there never was one; None: it has not ended.
        retransmits: segments that it sent again; None: not known.
    """

    process: Process
    latency: int | None = None
    end: str | None = None
    retransmits: int | None = None


@dataclass(slots=True)
class _Slice:
    begun: float
    parts: list[NDArray[Any]] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    joined: NDArray[Any] | None = None
    told: tuple[NDArray[np.uint64], NDArray[np.uint32]] | None = None

    def rows(self) -> NDArray[Any]:
        """All of it, by cookie, and of one cookie in the order in which it happened."""
        if self.joined is None:
            rows = np.concatenate(self.parts) if self.parts else np.zeros(0, _NOTE)
            self.joined = rows[np.argsort(rows["cookie"], kind="stable")]
            self.parts, self.told = [self.joined], None
        return self.joined

    def owned(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """The cookies, ascending, of what tells whose a socket is, and the numbers of the processes."""
        rows = self.rows()
        if self.told is None:
            somebody = np.array([process is not NOBODY for process in self.processes], np.bool_)
            rows = rows[somebody[rows["process"]]]
            self.told = rows["cookie"].copy(), rows["process"].copy()
        return self.told


class Sockets:
    """Living sockets and those of the last minute. For one thread at a time.

    Args:
        clock: seconds.

    Attributes:
        dropped: events that found no room.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._passes: deque[_Slice] = deque()
        self._slices: deque[_Slice] = deque(maxlen=_KEPT)
        self._count = 0
        self.dropped = 0

    def memory(self) -> int:
        """Bytes of what is known."""
        return sum(part.nbytes for one in (*self._passes, *self._slices) for part in one.parts)

    def live(self, rows: NDArray[Any], whose: Whose) -> None:
        """Take in a pass: rows of ``exporters.bpf.sockets.RECORD``.

        Those of the last minute are kept: a flow is told of for a while after its socket, of which UDP has no other trace.
        """
        now = self._clock()
        while len(self._passes) > 1 and self._passes[1].begun + _SLICE * _KEPT <= now:
            self._passes.popleft()
        if len(self._passes) > 1 and self._passes[-2].begun + _SLICE > now:  # somebody asks again and again
            self._passes.pop()
        notes = np.zeros(len(rows), _NOTE)
        notes["cookie"], notes["process"], notes["retransmits"] = rows["cookie"], whose[1], rows["tcp"]["retransmits"]
        self._passes.append(_Slice(now, [notes], list(whose[0])))

    def happened(self, events: NDArray[Any], whose: Whose) -> None:
        """Take in rows of ``exporters.bpf.sockets.EVENT``."""
        now = self._clock()
        if not self._slices or now >= self._slices[-1].begun + _SLICE:
            self._slices.append(_Slice(now))
            self._count = sum(map(_size, self._slices))
        while self._slices[0].begun + _SLICE * _KEPT <= now or (
            len(self._slices) > 1 and self._count + len(events) > _MOST  # the oldest are the least asked for
        ):
            self._count -= _size(self._slices.popleft())
        room = max(0, _MOST - self._count)
        self.dropped += max(0, len(events) - room)
        events, which = events[:room], whose[1][:room]
        if not len(events):
            return
        into = self._slices[-1]
        notes = np.zeros(len(events), _NOTE)
        notes["cookie"], notes["latency"], notes["process"] = events["cookie"], events["latency"], which + len(into.processes)
        notes["retransmits"], notes["error"] = events["tcp"]["retransmits"], events["error"]
        notes["kind"], notes["before"] = events["kind"], events["ends"]["state"]
        into.parts.append(notes)
        into.processes += whose[0]
        into.joined = None
        self._count += len(notes)

    def of(self, cookies: NDArray[Any]) -> dict[int, Known]:
        """What is known of sockets, by cookie; of some nothing is."""
        wanted = np.unique(cookies)
        wanted = wanted[wanted > 0]
        found: dict[int, Known] = {}
        for part in (*self._passes, *self._slices):
            rows = part.rows()
            low, high = (np.searchsorted(rows["cookie"], wanted, side) for side in ("left", "right"))
            for place in np.flatnonzero(high > low).tolist():
                cookie = int(wanted[place])
                for note in rows[low[place] : high[place]].tolist():
                    found[cookie] = _with(found.get(cookie), note, part.processes)
        return found

    def whose(self, cookies: NDArray[Any]) -> Whose:
        """Whose sockets are; nobody's, where nothing is known. As :meth:`of`, but without a step for each socket."""
        every = [NOBODY]
        which = np.zeros(len(cookies), np.intp)
        left = np.arange(len(cookies))
        for part in (*reversed(self._slices), *reversed(self._passes)):  # the newest tells
            told, processes = part.owned()
            if len(told) and len(left):
                wanted = cookies[left]
                at = np.searchsorted(told, wanted, "right") - 1
                here = told[at] == wanted
                which[left[here]] = len(every) + processes[at[here]]
                every += part.processes
                left = left[~here]
        used, which = np.unique(which, return_inverse=True)
        return [every[number] for number in used.tolist()], which


def _size(part: _Slice) -> int:
    return sum(map(len, part.parts))


def _with(before: Known | None, note: tuple[Any, ...], processes: Sequence[Process]) -> Known:
    """What is known, once this is too."""
    _, latency, process, retransmits, error, kind, state = note
    known = before or Known(NOBODY)
    who = processes[process]
    return Known(
        who if who is not NOBODY else known.process,
        latency if kind in (sockets.CONNECTED, sockets.FAILED) else known.latency,
        end_of(error, state) if kind == sockets.CLOSED else failure_of(error) if kind == sockets.FAILED else known.end,
        retransmits if kind != sockets.CREATED else known.retransmits,
    )
