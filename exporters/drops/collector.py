"""The drops collector: reads the kernel's counters of drops, retransmits and resets, and answers for metrics and flows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from exporters.bpf import drops
from exporters.bpf.drops import DropPrograms
from exporters.drops import metrics
from exporters.drops.conversations import Conversations
from exporters.drops.places import Places
from exporters.drops.reasons import Reasons
from exporters.drops.told import told
from exporters.drops.totals import Totals
from exporters.flows.ends import ends_of_flows
from skytrail.metrics import Family

_log = structlog.get_logger(__name__)

_TCP_NAMES = {
    drops.RETRANSMIT: "Retransmits",
    drops.SYN_AGAIN: "SYNTimeouts",
    drops.SYN_ACK_AGAIN: "SYNACKTimeouts",
    drops.RESET_SENT: "ResetsSent",
    drops.RESET_RECEIVED: "ResetsReceived",
}


class DropsCollector:
    """Everything from the kernel's maps to families and to what a flow says of its drops.

    Args:
        places: gives the present names of namespaces and devices.
        tunnel_ports: gives the UDP destination ports that are tunnels, by kind.
        interval: seconds between readings.
        shared_kernel: others look at this kernel too: what happened in namespaces without a name is theirs.

    Attributes:
        failure: why the last reading failed; None: it did not.

    """

    def __init__(
        self,
        places: Callable[[], Places],
        tunnel_ports: Callable[[], Mapping[str, frozenset[int]]] = dict,
        *,
        interval: float = 1.0,
        shared_kernel: bool = False,
    ) -> None:
        self._places, self._tunnel_ports, self._interval = places, tunnel_ports, interval
        self._shared_kernel = shared_kernel
        self._tunnels: Mapping[str, frozenset[int]] = {}
        self._programs: DropPrograms | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drops", daemon=True)
        self._reasons: Reasons
        self._totals: Totals
        self._conversations = Conversations()
        self._start_ns = 0
        self._seen = 0
        self.failure: str | None = None

    def start(self) -> None:
        """Load the programs, attach them, and begin to read.

        Raises:
            NotSupportedError: libbpf is missing, or this kernel does not say why it drops packets.
            LoadError: the kernel refused the programs.
        """
        self._reasons = Reasons.of_kernel()
        self._start_ns = time.time_ns()
        self._totals = Totals(self._reasons, self._start_ns)
        self._programs = DropPrograms(self._reasons.ends())
        self._learn_tunnel_ports()
        self._thread.start()

    def stop(self) -> None:
        """Detach and end the thread. Twice is the same as once."""
        self._stopping.set()
        if self._programs is None:
            return
        self._thread.join()
        with self._lock:
            self._programs.close()
            self._programs = None

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self.read()
                self.failure = None
            except Exception as error:  # noqa: BLE001 - the next reading is tried
                self.failure = f"reading the counters of drops failed: {error}"
                _log.error("drops_failed", error=str(error), exc_info=True)

    def read(self) -> None:
        """Take in what has happened; next to nothing where nothing has."""
        with self._lock:
            self._read()

    def _read(self) -> None:
        if self._programs is None:
            return
        self._learn_tunnel_ports()
        now = time.monotonic()
        # what is counted in here is in the maps before they are read: the program chooses its side first
        seen = self._programs.tally().seen
        if seen != self._seen:
            reading = self._programs.read()
            self._seen = seen
            if self._shared_kernel:
                reading = reading.of(np.array([*self._places().namespaces], "u8"))
            self._totals.add(reading.places, reading.counts, now)
            self._conversations.add(reading.keys, reading.flows, int(now * 1e9))
        self._conversations.expire(int(now * 1e9))
        if not self._totals.empty:
            self._totals.name(self._places(), now)

    def _learn_tunnel_ports(self) -> None:
        if self._programs is not None and (ports := self._tunnel_ports()) != self._tunnels:
            self._programs.set_tunnel_ports(ports)
            self._tunnels = ports

    def families(self) -> Iterable[Family]:
        """All metrics of this collector, as of now; none while it does not run."""
        with self._lock:
            if self._programs is None:
                return []
            self._read()
            tally = self._programs.tally()
            lost = {"map_full": tally.places_full, "nested": tally.nested}
            without = {
                "unparsable": tally.without_flow,
                "map_full": tally.flows_full,
                "evicted": self._conversations.evicted,
            }
            return [
                *self._totals.families(),
                *(
                    Family(metric, [((reason,), float(count)) for reason, count in counts.items()], self._start_ns)
                    for metric, counts in ((metrics.EVENTS_LOST, lost), (metrics.EVENTS_WITHOUT_FLOW, without))
                ),
            ]

    def memory(self) -> int:
        """Bytes of what happened to which conversation."""
        with self._lock:
            return self._conversations.memory()

    def conversations(self, wanted: Collection[str] | None = None) -> list[dict[str, Any]]:
        """What happened to conversations in the last minutes, as of now: :func:`exporters.drops.told.told`."""
        with self._lock:
            if self._programs is None:
                return []
            self._read()
            rows = self._conversations.all()
        offset = time.time_ns() - time.monotonic_ns()
        return list(told(rows, self._reasons, self._places(), offset, wanted))

    def lossy(self, keys: NDArray[Any], family: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which flows lost packets: those of which :meth:`of_flows` says ``Drops``; arguments as there."""
        found = np.zeros(len(keys), np.bool_)
        with self._lock:
            if not len(self._conversations):
                return found
            owners, rows = self._conversations.find(ends_of_flows(keys, family))
        found[owners[~np.isin(rows["key"]["kind"], list(_TCP_NAMES))]] = True
        return found

    def of_flows(self, keys: NDArray[Any], family: NDArray[np.uint8], reverse: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """What a flow's JSON says of its drops, on this whole host; empty where nothing happened.

        Args:
            keys: of flows, :data:`exporters.bpf.layout.KEY6`.
            family: 4, or 6 for all others.
            reverse: not 0 where A is the key's second end.

        Returns:
            For each ``{"Drops": {reason: {"AB": packets, "BA": packets}}, "DropsAt": [{"Namespace": …, "Interface": …,
            "Reason": …, "AB": packets, "BA": packets}], "Retransmits": {"AB": …}, "SYNTimeouts": …, "SYNACKTimeouts": …,
            "ResetsSent": …, "ResetsReceived": …}``, with only those keys of which there is something.

        """
        with self._lock:
            owners, rows = self._conversations.find(ends_of_flows(keys, family))
        found: list[dict[str, Any]] = [{} for _ in range(len(keys))]
        places = self._places() if len(rows) else None
        key, packets = rows["key"], rows["packets"]
        columns = (owners, key["kind"], key["reason"], packets[:, 0], packets[:, 1], key["netns"], rows["ifindex"])
        for owner, kind, reason, there, back, *place in zip(*(column.tolist() for column in columns), strict=True):
            into = found[owner]
            name = _TCP_NAMES.get(kind)
            ab, ba = (back, there) if reverse[owner] else (there, back)
            if name is None:
                name = self._reasons.drop(reason)
                device, netns = (places and places.find((place[0], place[1]))) or ("", "unknown")
                at = {"Namespace": netns, "Interface": device, "Reason": name, "AB": ab, "BA": ba}
                into.setdefault("DropsAt", []).append(at)
                into = into.setdefault("Drops", {})
            ways = into.setdefault(name, {"AB": 0, "BA": 0})
            ways["AB"] += ab
            ways["BA"] += ba
        return found
