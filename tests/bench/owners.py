"""Counting flows by owner: what it costs beside the table's own work, by the CPU time of the drains."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import sockets
from exporters.flows.owners import Owners
from exporters.flows.points import Point, Points
from exporters.flows.receivers import senders
from exporters.flows.table import ROW, Growth, Rows, whole
from exporters.sockets.known import Sockets
from exporters.sockets.processes import Process
from tests.bench.report import Line

RATE = 5_000
SECONDS, WARM = 90, 60  # the first minute fills what is kept of events
STEADY = 100_000
EVENTS = (sockets.CONNECTED, sockets.ACCEPTED, sockets.CLOSED, sockets.CLOSED)


class _Lab:
    """Owners and what is known of sockets; time is simulated, a drain each second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows = np.zeros(STEADY, ROW)
        self.known = Sockets(lambda: self.now)
        points = Points(zero=Point("bench0", "", ""))
        self.owners = Owners(points, self.known.whose, senders, lambda _: {}, 200, lambda: self.now)

    def tell(self, cookies: NDArray[np.uint64]) -> None:
        """Events of connections, of whose ends these are the cookies, [n, 2]: of one client and one server."""
        people = [Process(1, "client"), Process(2, "server")]
        for kind, end in zip(EVENTS, (0, 1, 0, 1), strict=True):
            events = np.zeros(len(cookies), sockets.EVENT)
            events["cookie"], events["kind"] = cookies[:, end], kind
            self.known.happened(events, (people, np.full(len(cookies), end)))

    def drain(self, slots: NDArray[np.intp], cookies: NDArray[np.uint64]) -> float:
        """Seconds of CPU for what a drain brings."""
        counts = np.full((len(slots), 2), 5, np.uint64)
        for what in ("packets", "bytes"):
            self.rows["flow"]["dir"][what][slots] += counts
        self.rows["flow"]["socket"][slots] = cookies
        flows, proto = self.rows["flow"][slots], np.full(len(slots), 6, np.uint8)
        growth = Growth(slots, flows, proto, counts, counts, self._records, self._records)
        before = time.thread_time()
        self.owners.grew(growth)
        return time.thread_time() - before

    def end(self, slots: NDArray[np.intp]) -> float:
        """Seconds of CPU for flows that end."""
        before = time.thread_time()
        self.owners.ended(slots, self._records)
        spent = time.thread_time() - before
        self.rows[slots] = np.zeros(1, ROW)
        return spent

    def _records(self, slots: NDArray[np.intp]) -> Rows:
        return whole(self.rows)[slots].view(ROW)


def owners() -> Iterator[Line]:
    """New connections each second, that end six seconds later; then many flows that all grow, half of them not of this host."""
    lab, took, linger = _Lab(), [], 6
    for second in range(SECONDS):
        lab.now = float(second)
        slots = np.arange(RATE) + RATE * (second % (linger + 1))
        cookies = np.arange(2 * RATE, dtype=np.uint64).reshape(-1, 2) + np.uint64(1 + 2 * RATE * second)
        lab.tell(cookies)
        spent = lab.drain(slots, cookies)
        if second >= linger:
            spent += lab.end(np.arange(RATE) + RATE * ((second - linger) % (linger + 1)))
        took.append(spent)
    told = sum(value for family in lab.owners.families(0) for _, value in family.samples if isinstance(value, float))
    assert told == SECONDS * RATE * (2 + 2 * 2 * 5 + 2 * 2 * 5)
    yield Line(f"{RATE:,} connections/s by owner", 100 * statistics.mean(took[WARM:]), "% core", most=3)
    lab = _Lab()
    slots = np.arange(STEADY)
    cookies = np.zeros((STEADY, 2), np.uint64)
    cookies[:, 0] = np.arange(1, STEADY + 1)
    cookies[::2] = 0
    lab.tell(cookies[1::2])
    took = []
    for second in range(30):
        lab.now = float(second)
        took.append(lab.drain(slots, cookies))
    yield Line(f"{STEADY:,} flows that grow, by owner", 100 * statistics.mean(took[1:]), "% core")
