"""What was reported of flows, kept and found again.

A record is what an output is given: a living flow's update, or its end. It has what is counted, and what was known beside it at
the time: interface, processes, containers, drops, translations. What follows from these (identities, texts) is made again when
somebody asks; of tracking ID and UUID three bytes are kept, to look for them.

A flow lived from its first packet to its last. Of a range it is shown as of its last record until the range's end; one that
has none by then as of its first record after that, which has counted all since its beginning. One whose time had not run out
by then has not finished.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporters.bpf.program import FlowProgram
from exporters.flows.answering import PART_ROWS, LiveFlows, finish, of_nodes
from exporters.flows.applications import Applications
from exporters.flows.collector import Fates, add_fate
from exporters.flows.columns import DROPS, FlowColumns, id_number
from exporters.flows.conditions import Column, Marks, bounds
from exporters.flows.identify import identify, quoted_by
from exporters.flows.names import UNNAMED, FlowNames, told
from exporters.flows.points import Point, Points
from exporters.flows.records import Renderer
from exporters.flows.table import ROW, Batch, Rows
from exporters.history.packing import Packed, Table, coder
from exporters.history.store import History
from exporters.history.whose import Whose, decode_whose, encode, whose_word
from exporters.sockets.known import Known
from exporters.sockets.processes import NOBODY
from exporters.sockets.shown import Described, undescribed
from skytrail.addresses.book import Owner
from skytrail.asking.questions import FlowsQuestion, Range
from skytrail.asking.terms import compiled
from skytrail.errors import UsageError

KIND = "flows"
GROWS = frozenset({"id", "start"})

_MS = 1_000_000
_STAY = 100 * _MS  # ns; how exactly it is kept how long a flow without packets stayed in the table
_MOST = 1_000_000  # flows of one question: 40 MB while they are looked for
_KEPT = (
    "id", "family", "key.tags", "key.addr", "key.port", "key.id", "parent_uuid", "tunnel",
    *(
        f"flow.{name}"
        for name in (
            "merged", "rtt", "fin", "rst", "smoothed_rtt", "skipped", "out_of_order", "repeated", "zero_windows", "expect",
            "fragments", "mac", "ethertype", "vlans", "ext", "tcp_flags", "ttl", "dscp", "syn_ttl", "initiator", "reversed",
            "info", "icmp_code", "hooks",
        )
    ),
)  # fmt: skip
"""Fields of ``ROW`` that are kept as they are."""
_SINCE = ("tunnel",)
"""Those that a release before did not keep: nothing is there."""
_UNKNOWN = Known(NOBODY)

Flow = dict[str, Any]


class _More(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of one flow alone: as ``add_fate`` takes it, and what stands at the first level."""

    fate: dict[str, Any] = {}
    told: dict[str, Any] = {}


_MORE = msgspec.json.Decoder(_More)
_OWNERS = msgspec.json.Decoder(Owner)
_OWNER = "owner"
_POINT = msgspec.json.Decoder(tuple[str, str, str, int])


class FlowRecorder:
    """Makes tables of what is reported.

    Args:
        history: keeps them.
        points: capture points.
        program: tells what ICMP errors quote, and the sampling; None: neither.
        sockets: what is known of sockets, by their cookies.
        described: what a control group is.
        fates: what happened to packets of flows.
        run: tells flows of one run of the agent from those of another; None: a new one.
        names: who has the addresses of flows; None: nobody knows.
    """

    def __init__(
        self,
        history: History,
        points: Points,
        program: FlowProgram | None = None,
        sockets: Callable[[NDArray[Any]], Mapping[int, Known]] = lambda _: {},
        described: Described = undescribed,
        fates: Fates = lambda rows: [{}] * len(rows),
        run: int | None = None,
        names: FlowNames | None = None,
    ) -> None:
        self._names = names
        self._history, self._points, self._program = history, points, program
        self._sockets, self._described, self._fates = sockets, described, fates
        self.run = time.time_ns() if run is None else run

    def take(self, batch: Batch) -> None:
        """Keep a batch; a sink of the flows collector."""
        if len(batch.rows):
            reported = batch.rows["reported_at"]
            self._history.add(KIND, self.table(batch), int(reported.min()), int(reported.max()))

    def take_missing(self, told: Rows) -> None:
        """Keep those reports of living flows that are not kept yet."""
        if not len(told):
            return
        reported, there = told["reported_at"], set[tuple[int, int]]()
        with self._history.reading(KIND, int(reported.min()), int(reported.max())) as tables:
            for table in tables():
                kept = Kept(table)
                mine = kept("run") == self.run
                there.update(zip(kept("id")[mine].tolist(), kept("reported_at")[mine].tolist(), strict=True))
        pairs = zip(told["id"].tolist(), reported.tolist(), strict=True)
        missing = told[np.fromiter((pair not in there for pair in pairs), np.bool_, len(told))]
        self.take(Batch(missing, np.zeros(len(missing), np.bool_), int(reported.max())))

    def table(self, batch: Batch) -> Table:
        """The batch as it is kept."""
        rows, flow = batch.rows, batch.rows["flow"]
        start, first, last = _times(rows)
        columns = {name: np.ascontiguousarray(_field(rows, name)) for name in _KEPT}
        asked = rows["offset"][:, None] + flow["asked"].astype(np.int64) - start[:, None]
        columns |= {
            "run": np.full(len(rows), self.run),
            "start": start,
            "first": first - start,
            "clock": np.ascontiguousarray(rows["offset"]),
            "last": last - start,
            "reported": rows["reported_at"] - last,
            "previous": rows["previous_at"] - start,
            "asked": np.where(flow["asked"] > 0, asked << 1 | 1, 0),
            "ended": batch.ended | (flow["ended"] > 0),
            "stayed": np.where(batch.ended, np.maximum(batch.now - rows["reported_at"], 0) // _STAY, 0).astype(np.uint32),
            "tracking": _marks(rows["tracking"]),
            "uuid": _marks(rows["uuid"]),
            **{what: np.ascontiguousarray(rows["reported"][what]) for what in ("packets", "bytes")},
            **{f"before_{what}": np.ascontiguousarray(rows["previous"][what]) for what in ("packets", "bytes")},
        }
        words: dict[str, Sequence[bytes]] = {}
        for name, codes, of_column in (
            self._places(rows),
            self._more(rows),
            *self._whose(flow["socket"]),
            *self._owners(rows),
        ):
            columns[name] = codes
            if of_column:
                words[name] = of_column
        return Table(columns, words)

    def _places(self, rows: Rows) -> tuple[str, NDArray[Any], Sequence[bytes]]:
        numbers, which = np.unique(rows["point"], return_inverse=True)
        points = [self._points.all[number] for number in numbers.tolist()]
        return "point", which.astype(np.uint32), [encode((one.name, one.namespace, one.tid, one.link)) for one in points]

    def _more(self, rows: Rows) -> tuple[str, NDArray[Any], Sequence[bytes]]:
        quoted = quoted_by(self._program, rows) if self._program else {}
        always = {"Sampling": self._program.sampling} if self._program and self._program.sampling > 1 else {}
        known, code = coder()
        nothing = code(encode(_More(told=always)))
        codes = np.full(len(rows), nothing, np.uint32)
        told = {at: fate for at, fate in enumerate(self._fates(rows)) if fate}
        ids = rows["id"].tolist() if quoted else []
        quotes = {at: {"QuotedTrackingID": quoted[number]} for at, number in enumerate(ids) if number in quoted}
        for at in told.keys() | quotes.keys():
            codes[at] = code(encode(_More(dict(told.get(at, {})), always | quotes.get(at, {}))))
        return "more", codes, list(known)

    def _owners(self, rows: Rows) -> Iterator[tuple[str, NDArray[Any], Sequence[bytes]]]:
        codes, owners = self._names.of(rows) if self._names else (np.zeros((len(rows), 2), np.uint32), [UNNAMED])
        yield _OWNER, codes, [encode(owner) for owner in owners]

    def _whose(self, cookies: NDArray[Any]) -> Iterator[tuple[str, NDArray[Any], Sequence[bytes]]]:
        """Columns of both ends of the key; a socket of which nothing is known is none."""
        unique, which = np.unique(cookies, return_inverse=True)
        which = which.reshape(cookies.shape)
        found = self._sockets(unique)
        known = [found.get(cookie) for cookie in unique.tolist()]
        processes, process_code = coder()
        ends, end_code = coder()
        told = [_UNKNOWN if one is None else one for one in known]
        codes = {
            "process": [process_code(whose_word(one.process, self._described)) for one in told],
            "end": [end_code(encode(one.end)) for one in told],
            "latency": [0 if one.latency is None else one.latency + 1 for one in told],
            "retransmits": [0 if one.retransmits is None else one.retransmits + 1 for one in told],
            "socket": [one is not None for one in known],
        }
        words: dict[str, Sequence[bytes]] = {"process": list(processes), "end": list(ends)}
        for name, values in codes.items():
            kind: Any = np.uint32 if name in words else np.bool_ if name == "socket" else np.uint64
            yield name, np.array(values, kind)[which], words.get(name, ())


def _field(rows: Rows, name: str) -> NDArray[Any]:
    found = rows
    for part in name.split("."):
        found = found[part]
    return found


def _times(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """When a flow began, and its first and last packet were seen; ns since the epoch."""
    first, last = (rows["offset"] + rows["flow"][name].astype(np.int64) for name in ("first", "last"))
    return np.ascontiguousarray(rows["start"]), first, last


def _marks(ids: NDArray[np.uint8]) -> NDArray[np.uint32]:
    octets = ids[:, :3].astype(np.uint32)
    return np.asarray(octets[:, 0] << np.uint32(16) | octets[:, 1] << np.uint32(8) | octets[:, 2], np.uint32)


def _mark(text: str) -> int | None:
    number = id_number(text)
    return None if number is None else number >> 104


class Kept:
    """The fields of ``ROW`` that a kept table has, or from which they follow; each made once.

    Args:
        table: that it is.
        until: as of when, ns; None: as it was reported.
    """

    def __init__(self, table: Table | Packed, until: int | None = None) -> None:
        self.table, self.until, self._made = table, until, dict[str, NDArray[Any]]()

    def __call__(self, name: str) -> NDArray[Any]:
        """One field of all rows."""
        found = self._made.get(name)
        if found is None:
            made = _DERIVED.get(name)
            if made is None and name in _SINCE and name not in self.table:
                found = np.zeros(len(self.table), ROW[name])
            else:
                found = made(self) if made else self.table.column(name)
            self._made[name] = found
        return found


def _ended(kept: Kept) -> NDArray[np.bool_]:
    ended = kept.table.column("ended").astype(np.bool_)
    if kept.until is None:
        return ended
    closed = kept("flow.rst").any(axis=1) | kept("flow.fin").all(axis=1)
    left = kept("reported_at") + kept.table.column("stayed").astype(np.int64) * _STAY
    return ended & (closed | (left <= kept.until))


_DERIVED: dict[str, Callable[[Kept], NDArray[Any]]] = {
    "offset": lambda kept: np.zeros(len(kept.table), np.int64),  # the kernel's times are made ones of the epoch
    "flow.first": lambda kept: kept("start") + kept.table.column("first"),
    "flow.last": lambda kept: kept("start") + kept.table.column("last"),
    "reported_at": lambda kept: kept("flow.last") + kept.table.column("reported"),
    "previous_at": lambda kept: kept("start") + kept.table.column("previous"),
    "flow.asked": lambda kept: _asked(kept.table.column("asked"), kept("start")),
    "flow.ended": _ended,
    **{
        f"{of}.{what}": lambda kept, what=what: kept.table.column(what)  # type: ignore[misc]
        for of in ("flow.dir", "reported")
        for what in ("packets", "bytes")
    },
    **{
        f"previous.{what}": lambda kept, what=what: kept.table.column(f"before_{what}")  # type: ignore[misc]
        for what in ("packets", "bytes")
    },
}
_RESTORED = (*_KEPT, "start", *_DERIVED)


def _asked(kept: NDArray[np.int64], start: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(kept != 0, (kept >> 1) + start[:, None], 0)


def _points_of(table: Table | Packed) -> list[Point]:
    return [Point(*_POINT.decode(word)) for word in table.words["point"]]


def _dropped(kept: Kept) -> NDArray[np.bool_]:
    lost = [not DROPS.isdisjoint(_MORE.decode(word).fate) for word in kept.table.words["more"]]
    return np.asarray(np.array(lost, np.bool_)[kept("more")])


def _owners_of(words: Sequence[bytes]) -> list[Owner]:
    return [_OWNERS.decode(word) for word in words]


class _Columns(FlowColumns):
    """Of tracking ID and UUID only a mark is kept; whose addresses they were as it was told then."""

    def __init__(self, kept: Kept, points: Sequence[Point], applications: Applications) -> None:
        words = kept.table.words.get(_OWNER, ())
        owners = (lambda: (kept(_OWNER), _owners_of(words))) if words else None
        super().__init__(kept, len(kept.table), points, applications, owners, lambda: _dropped(kept))

    def column(self, key: str) -> Column | None:
        """What is at a key; None: that is not known."""
        if key in ("TrackingID", "L3TrackingID"):
            return Marks(self.leaf("tracking"), _mark) if key == "TrackingID" else None
        return Marks(self.leaf("uuid"), _mark) if key == "UUID" else super().column(key)


@dataclass(slots=True)
class _Found:
    """Records that may tell of flows: where they are (number of the table, place in it), and their times."""

    table: NDArray[np.int64]
    place: NDArray[np.int64]
    run: NDArray[np.int64]
    id: NDArray[np.uint64]
    reported: NDArray[np.int64]
    lived: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.id)

    def some(self, chosen: NDArray[Any]) -> _Found:
        return _Found(*(getattr(self, name)[chosen] for name in self.__slots__))


class FlowHistory:
    """Answers about the past.

    Args:
        history: what is kept.
        recorder: says which flows are of this run.
        live: what there is now.
        applications: names of applications.
        horizon: seconds within which a living flow is reported again, or ends.
        clock: ns since the epoch.
    """

    def __init__(
        self,
        history: History,
        recorder: FlowRecorder,
        live: LiveFlows,
        applications: Applications,
        horizon: float,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._history, self._run, self._live, self._applications = history, recorder.run, live, applications
        self._horizon, self._clock = int(horizon * 1e9), clock

    def answer(self, question: FlowsQuestion, when: Range) -> Iterator[list[Flow]]:
        """Flows of a range, part by part. Raises UsageError: the condition says what cannot be, or asks for too much."""
        test = compiled(question.term) if question.term else None
        begin, end = when.begin * _MS, when.end * _MS + _MS - 1  # a millisecond is meant to its end
        found = self._updates(question, begin, end) if question.updates else self._last(question, begin, end)
        yield from finish((flow for flow in found if test is None or test(flow)), question, sorted_already=False)

    def _updates(self, question: FlowsQuestion, begin: int, end: int) -> Iterator[Flow]:
        asked = time.monotonic()
        with contextlib.ExitStack() as closers:
            with self._live.still():
                recent = end + self._horizon >= self._clock()
                pending = self._live.pending(question, begin, end, asked) if recent else np.zeros(0, ROW)
                tables = closers.enter_context(self._history.reading(KIND, begin, end + self._horizon))
            for table in tables():
                kept = Kept(table)
                within = (kept("reported_at") >= begin) & (kept("previous_at") <= end)
                places = np.flatnonzero(within & self._may_be(kept, question, stable=False))
                yield from self._render(kept, places)
            yield from self._live.shown(pending, question)

    def _last(self, question: FlowsQuestion, begin: int, end: int) -> Iterator[Flow]:
        asked = time.monotonic()
        with contextlib.ExitStack() as closers:
            with self._live.still():
                now = self._clock()
                living = self._live.rows(question, end, asked) if end + self._horizon >= now else np.zeros(0, ROW)
                tables = closers.enter_context(self._history.reading(KIND, begin - self._horizon, end + self._horizon))
            found = [self._of_living(living, begin, now)]
            for number, table in enumerate(tables()):
                found.append(self._of_table(number, table, question, begin, end))
                if sum(map(len, found)) > _MOST:
                    found = [_latest(_joined(found), end)]
                    if len(found[0]) > _MOST:
                        raise UsageError(f"more than {_MOST} flows: ask for a shorter time, or with a condition")
            chosen = _latest(_joined(found), end)
            chosen = chosen.some(chosen.lived)
            yield from self._live.shown(living[chosen.place[chosen.table < 0]], question)
            numbers = set(chosen.table.tolist())
            for number, table in enumerate(tables() if numbers - {-1} else ()):
                if number in numbers:
                    places = chosen.place[chosen.table == number]
                    kept = Kept(table, end)
                    may = self._may_be(kept, question, stable=False)
                    yield from self._render(kept, places[may[places]])

    def _may_be(self, kept: Kept, question: FlowsQuestion, *, stable: bool) -> NDArray[np.bool_]:
        points = _points_of(kept.table)
        columns = _Columns(kept, points, self._applications)
        maybe = bounds(question.term, columns.stable if stable else columns.column, len(kept.table)).maybe
        if question.nodes is not None:
            maybe = maybe & of_nodes(points, question.nodes)[kept("point")]
        return maybe

    def _of_table(self, number: int, table: Table | Packed, question: FlowsQuestion, begin: int, end: int) -> _Found:
        kept = Kept(table)
        reported = kept("reported_at")
        near = (reported >= begin - self._horizon) & (reported <= end + self._horizon) & (kept("start") <= end)
        places = np.flatnonzero(near & self._may_be(kept, question, stable=True)) if near.any() else np.flatnonzero(near)
        return _Found(
            np.full(len(places), number, np.int64),
            places.astype(np.int64),
            kept("run")[places],
            kept("id")[places],
            reported[places],
            kept("flow.last")[places] >= begin,
        )

    def _of_living(self, rows: Rows, begin: int, now: int) -> _Found:
        every = np.arange(len(rows))
        last = rows["offset"] + rows["flow"]["last"].astype(np.int64)
        run, reported = np.full(len(rows), self._run), np.full(len(rows), now)
        return _Found(np.full(len(rows), -1, np.int64), every, run, rows["id"], reported, last >= begin)

    def _render(self, kept: Kept, places: NDArray[np.int64]) -> Iterator[Flow]:
        if len(places):
            yield from restore(kept, places, self._applications)


def _joined(found: Sequence[_Found]) -> _Found:
    return _Found(*(np.concatenate([getattr(one, name) for one in found]) for name in _Found.__slots__))


def _latest(found: _Found, end: int) -> _Found:
    """Of each flow the last record until the end, or else the first after it; it lived if any of its records says so."""
    if not len(found):
        return found
    found = found.some(np.lexsort((found.reported, found.id, found.run)))
    new = np.ones(len(found), np.bool_)
    new[1:] = (found.id[1:] != found.id[:-1]) | (found.run[1:] != found.run[:-1])
    first = np.flatnonzero(new)
    until = np.add.reduceat((found.reported <= end).astype(np.int64), first)
    chosen = found.some(first + np.maximum(until - 1, 0))
    chosen.lived = np.logical_or.reduceat(found.lived, first)
    return chosen


def restore(kept: Kept, places: NDArray[np.int64], applications: Applications) -> Iterator[Flow]:
    """Flow JSON of some records, as it was when they were made; a part of them stands in memory at a time."""
    restorer = _Restorer(kept, applications)
    for at in range(0, len(places), PART_ROWS):
        yield from restorer.flows(places[at : at + PART_ROWS])


class _Restorer:
    def __init__(self, kept: Kept, applications: Applications) -> None:
        table = kept.table
        self._kept, self._points = kept, Points()
        self._points.all[:] = _points_of(table)
        self._renderer = Renderer(self._points, applications)
        self._whose = [decode_whose(word) for word in table.words["process"]]
        self._ends = [msgspec.json.decode(word) for word in table.words["end"]]
        self._more = [_MORE.decode(word) for word in table.words["more"]]
        self._owners = _owners_of(table.words.get(_OWNER, ()))  # a release before kept none

    def flows(self, places: NDArray[np.int64]) -> Iterator[Flow]:
        kept, rows = self._kept, np.zeros(len(places), ROW)
        for name in _RESTORED:
            _field(rows, name)[:] = kept(name)[places]
        rows["point"] = kept("point")[places]
        identify(rows, self._points)
        codes = {name: kept(name)[places] for name in ("process", "end", "latency", "retransmits", "socket")}
        known: dict[int, Known] = {}
        described: dict[int, list[tuple[int, Whose]]] = {}
        for at, side in np.argwhere(codes["socket"]).tolist():
            process, latency, sent = (int(codes[name][at, side]) for name in ("process", "latency", "retransmits"))
            of = self._whose[process]
            cookie = 2 * at + side + 1
            rows["flow"]["socket"][at, side] = cookie
            known[cookie] = Known(
                of.process() if of.pid else NOBODY,
                latency - 1 if latency else None,
                self._ends[int(codes["end"][at, side])],
                sent - 1 if sent else None,
            )
            if of.more:
                described.setdefault(at, []).append((side, of))
        flows = self._renderer.render(rows, sockets=known)
        clock = kept("clock")[places].tolist()
        owners = kept(_OWNER)[places].tolist() if len(self._owners) > 1 else None
        for at, (flow, code) in enumerate(zip(flows, kept("more")[places].tolist(), strict=True)):
            flow["FirstMonotonic"] -= clock[at]
            for side, of in described.get(at, ()):
                letter = "A" if side == int(rows["flow"]["reversed"][at]) else "B"
                for key, more in of.more.items():
                    flow.setdefault(key, {})[letter] = more
            add_fate(flow, self._more[code].fate)
            flow.update(self._more[code].told)
            if owners is not None:
                flow.update(told(owners[at], self._owners, int(rows["flow"]["reversed"][at])))
            yield flow
