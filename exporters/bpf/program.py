"""The flows program as its readers see it: maps as arrays, capture points, closing, replay.

One set of maps serves all instances of the program. Where the kernel can tell a program the namespace of a packet, or
only one namespace is captured, there is one instance; else each namespace gets its own, with a constant of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout, syscall
from exporters.bpf.object import LoadedObject, Parameters
from skytrail.errors import LoadError
from skytrail.kernel.worker import current_cookie

TC_PROGRAMS = frozenset({"flows_ingress", "flows_egress"})
SOCKET_PROGRAMS = frozenset({"flows_socket"})

_MEMBARRIER, _MEMBARRIER_GLOBAL = {"x86_64": 324}.get(os.uname().machine, 283), 1
_HASH = 0x9E3779B97F4A7C15


class Loader(Protocol):
    """Loads flows.bpf.c: libbpf or bcc."""

    name: str

    def load(
        self,
        parameters: Parameters,
        programs: frozenset[str],
        max_entries: Mapping[str, int],
        shared: Mapping[str, int] | None = None,
    ) -> LoadedObject:
        """Load programs and maps; ``shared`` maps are used in the place of new ones. Raises LoadError."""
        ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All entries of the flow maps at one moment; arrays of equal length, valid until the next snapshot.

    ``family``: 4, or 6 for all others; ``keys``: :data:`layout.KEY6`, IPv4 addresses in the first 4 bytes of each.
    """

    keys: NDArray[Any]
    flows: NDArray[Any]
    family: NDArray[np.uint8]


class FlowProgram:
    """Loaded programs and their maps.

    Args:
        loader: libbpf or bcc.
        max_flows: entries of each flow map.
        point_slots: slots for capture points, a power of two; keep it at 4 times the points.
        sampling: 1 of N packets.
        replay: for capture files, not for interfaces.

    Raises:
        LoadError: the kernel refused the object.

    """

    def __init__(
        self,
        loader: Loader,
        *,
        max_flows: int = 262144,
        point_slots: int = 1024,
        sampling: int = 1,
        replay: bool = False,
    ) -> None:
        self._loader, self._sampling, self._slots, self._replay = loader, sampling, point_slots, replay
        self._sizes = {"flows4": max_flows, "flows6": max_flows, "points": point_slots}
        self.max_flows = max_flows
        self._instances: dict[tuple[int, frozenset[str]], LoadedObject] = {}
        self.cookie_by_kernel = False
        # The instance that owns the maps. It also proves, where it can, that the kernel tells the namespace.
        self._main = self._load_main()
        maps = self._main.maps
        self._reader4 = syscall.BatchReader(maps["flows4"], layout.KEY4, layout.FLOW)
        self._reader6 = syscall.BatchReader(maps["flows6"], layout.KEY6, layout.FLOW)
        self._cpus = _possible_cpus()
        per_cpu = np.dtype((layout.POINT, (self._cpus,)))
        self._points = syscall.BatchReader(maps["points"], np.dtype("u4"), per_cpu, point_slots, point_slots)
        self._slot_tags = np.zeros(point_slots, "u8")
        self._closer = syscall.TestRun(self._main.programs["close_flow"], 64)

    @property
    def loader(self) -> str:
        """Name of the loader in use."""
        return self._loader.name

    def _load_main(self) -> LoadedObject:
        if self._replay:
            return self._loader.load(self._parameters(0), frozenset({"close_flow", "flows_ingress"}), self._sizes)
        own = current_cookie()
        loaded = self._loader.load(self._parameters(own), TC_PROGRAMS | {"close_flow"}, self._sizes)
        self._instances[own, TC_PROGRAMS] = loaded
        return loaded

    def _parameters(self, netns: int) -> Parameters:
        # a capture file's program must not ask the kernel for a namespace: any constant will do
        return Parameters(netns or int(self._replay), self._slots, self._sampling, self._replay)

    def instance(self, netns: int, *, socket: bool = False) -> LoadedObject:
        """The instance whose programs may be attached in a namespace (given by cookie); loaded when first asked for."""
        wanted = SOCKET_PROGRAMS if socket else TC_PROGRAMS
        if not socket and self.cookie_by_kernel:
            netns = 0
        found = self._instances.get((netns, wanted))
        if found is None:
            found = self._loader.load(self._parameters(netns), wanted, self._sizes, self._main.maps)
            self._instances[netns, wanted] = found
        return found

    def serve_all_namespaces(self) -> None:
        """Prepare for several namespaces: one instance for all where the kernel can tell them apart (about Linux 6.15)."""
        if self.cookie_by_kernel:
            return
        with contextlib.suppress(LoadError):
            self._instances[0, TC_PROGRAMS] = self._loader.load(self._parameters(0), TC_PROGRAMS, self._sizes, self._main.maps)
            self.cookie_by_kernel = True

    def snapshot(self) -> Snapshot:
        """Read both flow maps."""
        keys4, flows4 = self._reader4.read()
        keys6, flows6 = self._reader6.read()
        total = len(keys4) + len(keys6)
        keys = np.zeros(total, layout.KEY6)
        for name in ("parent", "tags", "netns", "ifindex", "port", "id"):
            keys[name][: len(keys4)] = keys4[name]
        keys["addr"][: len(keys4), :, :4] = keys4["addr"]
        keys[len(keys4) :] = keys6
        flows = np.concatenate([flows4, flows6])
        family = np.full(total, 6, np.uint8)
        family[: len(keys4)] = 4
        self._reader4.shrink(len(keys4))
        self._reader6.shrink(len(keys6))
        return Snapshot(keys, flows, family)

    def close_flows(self, keys: NDArray[Any], ids: NDArray[Any], family: NDArray[np.uint8]) -> None:
        """Mark flows: nobody counts on them any more once this returns. Their last counts are in the next snapshot."""
        for at in range(0, len(ids), layout.CLOSE_BATCH):
            part = slice(at, at + layout.CLOSE_BATCH)
            count = len(ids[part])
            requests = np.zeros(count, layout.CLOSE_REQUEST)
            requests["id"], requests["family"] = ids[part], family[part]
            requests["key"] = np.ascontiguousarray(keys[part]).view(np.uint8).reshape(count, -1)
            four = family[part] == 4
            key4 = _key4(keys[part][four]).view(np.uint8).reshape(-1, layout.KEY4.itemsize)
            requests["key"][four, : layout.KEY4.itemsize] = key4
            maps = self._main.maps
            syscall.map_update_batch(maps["close_requests"], np.arange(count, dtype="u4"), requests)
            syscall.map_update(maps["close_cursor"], np.zeros(1, "u4"), np.zeros(1, "u4"))
            self._closer.run(64, repeat=count)
        if len(ids) and not self._replay:
            # Programs that looked an entry up before it was marked have left when an RCU grace period has passed; that is
            # what MEMBARRIER_CMD_GLOBAL waits for (membarrier(2), kernel/sched/membarrier.c: synchronize_rcu).
            ctypes.CDLL(None).syscall(_MEMBARRIER, _MEMBARRIER_GLOBAL, 0)

    def delete_flows(self, keys: NDArray[Any], family: NDArray[np.uint8]) -> None:
        """Delete entries that were closed and read once more."""
        four = family == 4
        syscall.map_delete_batch(self._main.maps["flows4"], _key4(keys[four]))
        syscall.map_delete_batch(self._main.maps["flows6"], np.ascontiguousarray(keys[~four]))

    def quotes(self, ids: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """What ICMP errors quote, by the id of their flow."""
        found = {}
        for number in ids.tolist():
            value = np.zeros(1, layout.QUOTE)
            if syscall.map_lookup(self._main.maps["quotes"], np.array([number], "u8"), value):
                found[number] = value[0]
        return found

    def set_tunnel_ports(self, ports: Mapping[str, frozenset[int]]) -> None:
        """Tell the program which UDP destination ports are tunnels, by kind (``vxlan``, ``geneve``)."""
        table = np.zeros(65536, "u1")
        for kind, numbers in ports.items():
            table[list(numbers)] = layout.TUNNELS[kind]
        syscall.map_update(self._main.maps["tunnels"], np.zeros(1, "u4"), table)

    def add_point(self, netns: int, ifindex: int, link: int) -> bool:
        """Register a capture point; False where the table has no room (its packets are counted on slot 0)."""
        tag = point_tag(netns, ifindex)
        first = ((tag * _HASH) & (2**64 - 1)) >> 40
        candidates = [((first & 0xFFFFFFFF) + i) & (self._slots - 1) for i in range(layout.POINT_PROBES)]
        candidates = [slot for slot in candidates if slot]
        for slot in candidates:
            if self._slot_tags[slot] == tag:
                return True
        for slot in candidates:
            if not self._slot_tags[slot]:
                self._write_point(slot, tag, link)
                return True
        return False

    def _write_point(self, slot: int, tag: int, link: int) -> None:
        value = np.zeros(self._cpus, layout.POINT)
        value["tag"], value["link"] = tag, link
        syscall.map_update(self._main.maps["points"], np.array([slot], "u4"), value)
        self._slot_tags[slot] = tag

    def remove_point(self, netns: int, ifindex: int) -> None:
        """Forget a capture point and its counters."""
        tag = point_tag(netns, ifindex)
        for slot in np.flatnonzero(self._slot_tags == tag).tolist():
            self._write_point(slot, 0, 0)

    def points(self) -> NDArray[Any]:
        """The counters of all registered capture points, summed over CPUs, and of slot 0 (tag 0) as the first."""
        _, values = self._points.read()
        used = np.flatnonzero(self._slot_tags)
        slots = np.concatenate([[0], used]).astype(np.intp)
        result = np.zeros(len(slots), layout.POINT)
        chosen = values[slots]
        result["tag"], result["link"] = chosen["tag"][:, 0], chosen["link"][:, 0]
        result["header_bytes"] = chosen["header_bytes"].sum(axis=1)
        for name in ("seen", "lost"):
            for field in layout.TALLY.names or ():
                result[name][field] = chosen[name][field].sum(axis=1)
        return result

    def test_run(self, capacity: int = 4096) -> syscall.TestRun:
        """A BPF_PROG_TEST_RUN of the packet program."""
        return syscall.TestRun(self._main.programs["flows_ingress"], capacity)

    def memory(self) -> dict[str, int]:
        """Kernel memory of each map, bytes."""
        return {name: syscall.map_memory(fd) for name, fd in self._main.maps.items()}

    def close(self) -> None:
        """Close all programs and maps."""
        for loaded in self._instances.values():
            if loaded is not self._main:
                loaded.close()
        self._instances.clear()
        self._main.close()


def _key4(keys: NDArray[Any]) -> NDArray[Any]:
    result = np.zeros(len(keys), layout.KEY4)
    for name in ("parent", "tags", "netns", "ifindex", "port", "id"):
        result[name] = keys[name]
    result["addr"] = keys["addr"][:, :, :4]
    return result


def point_tag(netns: int, ifindex: int) -> int:
    """The tag of a capture point in the table of points."""
    return (netns & 0xFFFFFFFF) << 32 | ifindex


def _possible_cpus() -> int:
    """How many values a per-CPU map has (/sys/devices/system/cpu/possible)."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as ranges:  # noqa: PTH123 - a short read of sysfs
        return max(int(part.split("-")[-1]) for part in ranges.read().strip().split(",")) + 1
