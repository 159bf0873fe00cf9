"""Sockets of the past: from which pass to which each was there, in the same state and of the same process.

What a socket counted is as of the last pass that saw it so, or as of a note of it, every five minutes, whichever comes first
after the time that is asked about. Sockets that nobody has open any more are not among them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from exporters.bpf.sockets import RECORD
from exporters.history.packing import Packed, Table, coder, joined
from exporters.history.store import History
from exporters.history.whose import decode_whose, encode, whose_word
from exporters.sockets.known import Whose
from exporters.sockets.shown import Described, socket_json, undescribed
from skytrail.asking.questions import Range, SocketsQuestion
from skytrail.asking.terms import compiled
from skytrail.errors import UsageError

KIND = "sockets"
GROWS = frozenset({"from", "cookie", "inode"})

_MS = 1_000_000
_NOTED = 300 * 1_000_000_000  # ns; so often those that are still there are written too, for an agent that is killed
_PART = 500
_MOST = 400_000  # rows that are looked at together: some 150 MB
_FIELDS = (
    "owner.started", "owner.pid", "owner.uid",
    *(f"ends.{name}" for name in ("netns", "inode", "addr", "port", "family", "state", "proto")),
    *(f"tcp.{name}" for name in ("sent", "received", "rtt", "rtt_deviation", "cwnd", "mss", "retransmits")),
    *("cookie", "inode", "fd", "receive_queue", "send_queue", "drops", "device", "type"),
)  # fmt: skip
"""Fields of ``RECORD`` that are kept."""
_ODD = tuple(np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5))

Found = dict[str, Any]


class SocketHistory:
    """Watches passes, keeps what went, and answers.

    Args:
        history: keeps it.
        namespaces: names of those that have one, by cookie.
        described: what a control group is.
        clock: ns since the epoch.
    """

    def __init__(
        self,
        history: History,
        namespaces: Callable[[], Mapping[int, str]],
        described: Described = undescribed,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._history, self._namespaces, self._described, self._clock = history, namespaces, described, clock
        self._lock = threading.Lock()
        self._there: Table | None = None  # as of the last pass
        self._noted = clock()

    def watch(self, rows: NDArray[Any], whose: Whose) -> None:
        """Take a pass: a row of ``RECORD`` for each descriptor."""
        now = self._clock()
        table = self._table(rows, whose, now)
        with self._lock:
            before, self._there = self._there, table
            if before is None:
                return
            ours, theirs = _keys(table), _keys(before)
            order = np.argsort(theirs)
            at = np.minimum(np.searchsorted(theirs, ours, sorter=order), max(len(theirs) - 1, 0))
            if len(theirs):
                stayed = theirs[order[at]] == ours
                table.column("from")[stayed] = before.column("from")[order[at]][stayed]
            self._keep(before.rows(~np.isin(theirs, ours)), now)
            if now - self._noted >= _NOTED:
                self._note(now)

    def stop(self) -> None:
        """Keep those that are there, too: nothing more is heard of them."""
        with self._lock:
            self._note(self._clock())

    def _note(self, now: int) -> None:
        if self._there is not None:
            self._keep(self._there, now)
        self._noted = now

    def _keep(self, table: Table, until: int) -> None:
        if len(table):
            kept = Table({**table.columns, "to": np.full(len(table), until)}, table.words)
            self._history.add(KIND, kept, int(table.column("from").min()), until)

    def _table(self, rows: NDArray[Any], whose: Whose, now: int) -> Table:
        processes, which = whose
        names = self._namespaces()
        spaces, space = np.unique(rows["ends"]["netns"], return_inverse=True)
        known, code = coder()
        codes = [code(whose_word(process, self._described)) for process in processes]
        columns = {name: np.ascontiguousarray(_field(rows, name)) for name in _FIELDS}
        columns |= {
            "process": np.array(codes, np.uint32)[which],
            "namespace": space.astype(np.uint32),
            "from": np.full(len(rows), now),
            "to": np.full(len(rows), now),
        }
        return Table(columns, {"process": list(known), "namespace": [encode(names.get(one)) for one in spaces.tolist()]})

    def answer(self, question: SocketsQuestion, when: Range) -> Iterator[list[Found]]:
        """Sockets that were there in a range, each as it was last in it; part by part.

        Raises:
            UsageError: a wrong condition; too many sockets.
        """
        test = compiled(question.term) if question.term else None
        begin, end = when.begin * _MS, when.end * _MS + _MS - 1
        parts: list[Table] = []
        with self._lock:
            there = self._there
        with self._history.reading(KIND, begin, end) as tables:
            for table in tables():
                chosen = _during(table, begin, end)
                if chosen.any():
                    parts.append((table.table() if isinstance(table, Packed) else table).rows(chosen))
                    if sum(map(len, parts)) > _MOST:
                        parts = [_fewer(joined(parts), end)]
        if there is not None:
            now = Table({**there.columns, "to": np.full(len(there), max(self._clock(), end))}, there.words)
            parts.append(now.rows(_during(now, begin, end)))
        if not parts:
            return
        found = joined(parts)
        found = found.rows(_last(found, end))
        part: list[Found] = []
        for socket in _restored(found):
            if test is None or test(socket):
                part.append(socket)
                if len(part) == _PART:
                    yield part
                    part = []
        if part:
            yield part


def _field(rows: NDArray[Any], name: str) -> NDArray[Any]:
    found = rows
    for part in name.split("."):
        found = found[part]
    return found


def _keys(table: Table, *, state: bool = True) -> NDArray[np.uint64]:
    """One number for each socket, its descriptor and process, and its state: two that are equal are the same."""
    names = ("cookie", "owner.started", "fd", "owner.pid")
    key = np.zeros(len(table), np.uint64)
    for name, odd in zip(names, _ODD, strict=True):
        key = (key ^ table.column(name).astype(np.uint64)) * odd
        key ^= key >> np.uint64(29)
    return (key ^ table.column("ends.state")) * _ODD[0] if state else key


def _during(table: Table | Packed, begin: int, end: int) -> NDArray[np.bool_]:
    return np.asarray((table.column("from") <= end) & (table.column("to") >= begin))


def _fewer(table: Table, end: int) -> Table:
    found = table.rows(_last(table, end))
    if len(found) > _MOST:
        raise UsageError(f"more than {_MOST} sockets: ask for a shorter time")
    return found


def _last(table: Table, end: int) -> NDArray[np.intp]:
    """Of each socket the row that tells of it at the end of a range: what was noted next after it, or else the last before."""
    keys, to = _keys(table, state=False), table.column("to")
    after = to >= end
    order = np.lexsort((np.where(after, -to, to), after, table.column("from"), keys))
    last = np.ones(len(order), np.bool_)
    last[:-1] = keys[order[1:]] != keys[order[:-1]]
    return np.sort(order[last])


def _restored(table: Table) -> Iterator[Found]:
    rows = np.zeros(len(table), RECORD)
    for name in _FIELDS:
        _field(rows, name)[:] = table.column(name)
    whose = [decode_whose(word) for word in table.words["process"]]
    names = [msgspec.json.decode(word) for word in table.words["namespace"]]
    processes = [one.process() for one in whose]
    codes = table.column("process")
    shown = socket_json(rows, (processes, codes), {})
    for socket, process, space in zip(shown, codes.tolist(), table.column("namespace").tolist(), strict=True):
        if names[space] is not None:
            socket["Namespace"] = names[space]
        yield socket | whose[process].more
