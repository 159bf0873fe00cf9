"""Keeps the flow table's records where they outlive the process, so that one that is killed loses no more than one drain.

The records stand in a file that is mapped into memory: writing them costs what it costs without. It is on a file system in
memory (/run): a killed process is all that it is for. The next agent keeps what was not reported, as the last it knows of it.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.flows.identify import identify
from exporters.flows.points import Point, Points
from exporters.flows.table import ROW, Batch, Rows, in_memory, turn_window

_log = structlog.get_logger(__name__)

_LATELY = 30_000_000_000  # ns
_RECORDS, _LARGER, _ABOUT, _DRAINED, _LOCK = "flows", "flows.new", "about.json", "drained", "lock"
_DRAINED_BYTES = 8  # a time in ns, as this machine has it in memory


class _About(msgspec.Struct, frozen=True):
    """What the records refer to: the run that they are of, their layout, and the capture points."""

    run: int
    layout: str
    points: list[tuple[str, str, str, int]]


class Left(NamedTuple):
    """What a killed agent left.

    Attributes:
        run: which one of the agent it was.
        points: its capture points.
        batch: a last record of each flow that had grown since it was reported.
        told: records of flows that live, as they were reported in its last seconds: the history may not have been written.
        drained: all that was counted until then (ns since the epoch) is in the batch; None: that is not known.
    """

    run: int
    points: Points
    batch: Batch
    told: Rows
    drained: int | None


_decode = msgspec.json.Decoder(_About).decode
_LAYOUT = repr(ROW.descr)


class Rescue:
    """The records of one agent. For one thread at a time.

    Args:
        folder: where they are; of this agent alone.
        points: capture points.
        run: which run of the agent this is.
    """

    def __init__(self, folder: Path, points: Points, run: int) -> None:
        self._folder, self._points, self.run = folder, points, run
        self._noted: Sequence[Point] = ()
        self._drained: NDArray[np.int64] | None = None
        self._larger = False  # there are new records, that no drain has filled yet
        self._said = False
        self._lock: int | None = None

    def left(self) -> Left | None:
        """What a killed agent had not reported, and what it had lately.

        To be called first: from then on the folder is this agent's.
        """
        if not self._own():
            return None
        try:
            about = _decode((self._folder / _ABOUT).read_bytes())
            data, noted = self._read(_RECORDS), self._read(_DRAINED)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("flows_not_rescued", folder=str(self._folder), error=str(error))
            return None
        finally:
            self.discard()
        if about.layout != _LAYOUT:  # another release's
            return None
        rows: Rows = np.frombuffer(data[: len(data) // ROW.itemsize * ROW.itemsize], ROW).copy()
        points = Points(max(len(about.points), 1))
        points.all[:] = [Point(*one) for one in about.points]
        rows = rows[(rows["id"] > 0) & (rows["point"] < len(points.all)) & (rows["point"] >= 0)]
        identify(rows, points)
        rows["flow"]["socket"] = 0  # whose they were, nobody knows any more
        told = rows[rows["reported"]["packets"].any(axis=1)]
        told = told[told["reported_at"] > told["reported_at"].max(initial=0) - _LATELY]
        rows = rows[(rows["flow"]["dir"] != rows["reported"]).any(axis=1)]
        last = rows["offset"] + rows["flow"]["last"].astype(np.int64)
        turn_window(rows, last)
        drained = int.from_bytes(noted, sys.byteorder) if len(noted) == _DRAINED_BYTES else 0
        batch = Batch(rows, rows["flow"]["ended"] > 0, int(last.max(initial=0)))
        return Left(about.run, points, batch, told, drained or None)

    def _read(self, name: str) -> bytes:
        """Empty where there is none: nothing was counted, or noted, yet."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return b""

    def _own(self) -> bool:
        """Whether no other agent has the folder."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._say(error)
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None
        return self._lock is not None

    def allocate(self, count: int) -> Rows:
        """So many empty records, in the file; where that cannot be, in memory alone."""
        if self._lock is None:
            return in_memory(count)
        new = self._folder / _LARGER
        try:
            new.unlink(missing_ok=True)  # where the table grows twice in one drain: it reads from that one still
            file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(file, 0, max(count * ROW.itemsize, 1))  # a page for which there is no room would be a SIGBUS
            finally:
                os.close(file)
            rows: NDArray[Any] = np.memmap(new, ROW, "r+", shape=(count,))
        except OSError as error:
            self.close()
            self._say(error)
            return in_memory(count)
        self._larger = True
        return rows.view(np.ndarray)

    def _say(self, error: OSError) -> None:
        if not self._said:
            effect = "an agent that is killed loses what flows counted since their last report"
            remedy = "name another folder by history.run_dir; let one agent use it"
            _log.warning("flows_not_rescuable", folder=str(self._folder), error=str(error), effect=effect, remedy=remedy)
        self._said = True

    def drained(self, at: int) -> None:
        """Note that all that was counted until a time (ns since the epoch) is in the records."""
        if self._lock is None:
            return
        try:
            self._note()
            if self._larger:
                (self._folder / _LARGER).replace(self._folder / _RECORDS)
                self._larger = False
            if self._drained is None:
                path = self._folder / _DRAINED
                path.write_bytes(bytes(_DRAINED_BYTES))
                self._drained = np.memmap(path, np.int64, "r+", shape=(1,))
        except OSError as error:
            self._say(error)
            return
        self._drained[0] = at

    def _note(self) -> None:
        """Write what capture points there are, if others than before. Raises OSError."""
        points = list(self._points.all)
        if points == self._noted:
            return
        told = [(point.name, point.namespace, point.tid, point.link) for point in points]
        path = self._folder / _ABOUT
        path.with_suffix(".new").write_bytes(msgspec.json.encode(_About(self.run, _LAYOUT, told)))
        path.with_suffix(".new").replace(path)
        self._noted = points

    def discard(self) -> None:
        """Nothing is to be rescued: all was reported."""
        if self._lock is not None:
            for name in (_ABOUT, _RECORDS, _LARGER, _DRAINED):
                (self._folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Discard all, and leave the folder to others."""
        self.discard()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
