"""Flows of a capture file: the kernel's own parser by BPF_PROG_TEST_RUN, the file's clock for all times.

The call takes packets of 34 bytes, or 54 where bytes 12 and 13 say IPv6, to about 3,500 (net/bpf/test_run.c): shorter ones
are padded, longer ones cut; their true lengths go in beside them. Link types that the program does not understand make
link-layer flows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout
from exporters.bpf.program import FlowProgram
from exporters.bpf.syscall import TestRun
from exporters.flows.capture_file import Packets
from exporters.flows.identify import quoted_by
from exporters.flows.points import Points
from exporters.flows.table import Batch, FlowTable, Timeouts
from exporters.flows.totals import Totals

SHORTEST, LONGEST = 54, 3400

# LINKTYPE_… (https://www.tcpdump.org/linktypes.html) → enum link_type
LINK_TYPES = {
    1: layout.LINK_ETHERNET,
    12: layout.LINK_RAW,
    14: layout.LINK_RAW,
    101: layout.LINK_RAW,
    228: layout.LINK_RAW,
    229: layout.LINK_RAW,
    113: layout.LINK_COOKED,
    276: layout.LINK_COOKED2,
    0: layout.LINK_LOOPBACK,
    108: layout.LINK_LOOPBACK,
}


class Replay:
    """Runs packets through a program loaded with ``replay``.

    Args:
        program: its maps are this replay's own.
        totals: counters to feed (not shown for files, but the table keeps them).
        points: numbers are indexes of the file's interfaces.
        timeouts: by the file's clock.

    """

    _DRAIN_PACKETS, _DRAIN_NS = 65536, 5_000_000_000

    def __init__(self, program: FlowProgram, totals: Totals, points: Points, timeouts: Timeouts) -> None:
        self._program, self._run = program, program.test_run(4096)
        self._now = 0
        self.unknown_links: set[int] = set()
        """LINKTYPE_s that were met and are not understood."""
        self.table = FlowTable(program, points, totals, timeouts, clock=lambda: self._now, offset=lambda: 0, grace_ns=-1)
        self._since_drain = 0
        self._next_drain = 0
        self._room = self._packets_before_full()

    def packets(self, batch: Packets) -> Iterator[Batch]:
        """Count a batch; yields what ended meanwhile, by the file's clock."""
        data, context = self._run.data, self._run.context
        view = memoryview(data).cast("B")
        buffer = memoryview(batch.buffer)
        pack, run = struct.Struct("=IIII").pack_into, self._run.run
        pack_time, cb, tstamp = struct.Struct("=Q").pack_into, TestRun.CB, TestRun.TSTAMP
        columns = zip(
            batch.offset.tolist(),
            np.minimum(batch.caplen, LONGEST).tolist(),
            batch.length.tolist(),
            np.maximum(batch.time_ns, 0).tolist(),  # nothing was captured before the epoch
            self._links(batch).tolist(),
            np.minimum(batch.interface, self._program.max_points - 1).tolist(),
            strict=True,
        )
        now, since, room, next_drain = self._now, self._since_drain, self._room, self._next_drain
        for offset, captured, length, time_ns, link, point in columns:
            if time_ns >= next_drain or since >= room:
                self._now = now
                yield from self._drain(time_ns)
                now, since, room, next_drain = self._now, 0, self._room, self._next_drain
            since += 1
            view[:captured] = buffer[offset : offset + captured]
            size = captured
            if captured < SHORTEST:
                view[captured:SHORTEST] = bytes(SHORTEST - captured)
                size = SHORTEST
            pack(context, cb, link, length, captured, point)
            pack_time(context, tstamp, time_ns)
            if run(size) == layout.REPLAY_CROWDED:
                next_drain = 0
            if time_ns > now:  # noqa: PLR1730 - a call less for each packet
                now = time_ns
        self._now, self._since_drain, self._next_drain = now, since, next_drain

    def _links(self, batch: Packets) -> Any:  # noqa: ANN401 - int array
        kinds = np.full(len(batch.linktype), layout.LINK_OTHER)
        for number, kind in LINK_TYPES.items():
            kinds[batch.linktype == number] = kind
        if (kinds == layout.LINK_OTHER).any():
            self.unknown_links |= set(batch.linktype[kinds == layout.LINK_OTHER].tolist())
        return kinds

    def _drain(self, time_ns: int) -> Iterator[Batch]:
        """Nobody else counts here: what is to be closed is closed before the next packet comes."""
        self._now = max(self._now, time_ns)
        self._next_drain = self._now + self._DRAIN_NS
        yield self.table.drain()
        if self.table.closing:
            yield self.table.drain()
        self._room = self._packets_before_full()

    def _packets_before_full(self) -> int:
        """How many packets may come before the next drain: each makes at most so many flows as there are levels."""
        return min(self._DRAIN_PACKETS, (self._program.max_flows - max(self.table.sizes())) // layout.LEVELS)

    def lost(self) -> dict[str, int]:
        """Packets that are on no flow, or on no inner one, by reason."""
        points = self._program.points()
        lost = points["lost"]["segments"].sum(axis=0) + points["inner_lost"].sum(axis=0)
        return {reason: count for reason, count in zip(layout.LOST_REASONS, lost.tolist(), strict=True) if count}

    def quoted(self, rows: NDArray[Any]) -> dict[int, str]:
        """Tracking IDs of the packets that ICMP errors among the rows quote, by the kernel's id of the flow."""
        return quoted_by(self._program, rows)

    def finish(self) -> Batch:
        """All flows that are left, those among them that ended before the last packet."""
        gone = np.concatenate([batch.rows[batch.ended] for batch in self._drain(self._now)])
        rest = self.table.finish()
        return Batch(np.concatenate([gone, rest.rows]), np.concatenate([np.ones(len(gone), np.bool_), rest.ended]), rest.now)
