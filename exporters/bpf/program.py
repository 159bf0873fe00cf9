"""The flows program as its readers see it: maps as arrays, capture points, closing, replay."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import layout, syscall
from exporters.bpf.entry import EntryLoader
from exporters.bpf.object import LoadedObject, Parameters

_MEMBARRIER, _MEMBARRIER_GLOBAL = {"x86_64": 324}.get(os.uname().machine, 283), 1


class Loader(Protocol):
    """Loads flows.bpf.c: libbpf or bcc."""

    name: str

    def load(
        self,
        parameters: Parameters,
        programs: frozenset[str],
        max_entries: Mapping[str, int],
        shared: LoadedObject | None = None,
    ) -> LoadedObject:
        """Load programs and maps; with ``shared``, programs that use the maps of an object loaded before. Raises LoadError."""
        ...


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of one flow map, valid until the next are read.

    ``family``: 4, or 6 for all others; ``keys``: :data:`layout.KEY4` or :data:`layout.KEY6`; ``flows``: :data:`layout.FLOW`.
    """

    family: int
    keys: NDArray[Any]
    flows: NDArray[Any]

    def wide_keys(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        """Some of the keys as :data:`layout.KEY6`, IPv4 addresses in the first 4 bytes of each."""
        keys = self.keys.view(f"V{self.keys.dtype.itemsize}")[chosen].view(self.keys.dtype)
        if self.family != 4:
            return keys
        result = np.zeros(len(keys), layout.KEY6)
        for name in ("parent", "tags", "point", "port", "id"):
            result[name] = keys[name]
        result["addr"][:, :, :4] = keys["addr"]
        return result


class FlowProgram:
    """Loaded programs and their maps.

    Args:
        loader: libbpf or bcc.
        max_flows: entries of each flow map.
        max_points: capture points at once, and one more.
        sampling: 1 of N packets.
        replay: for capture files, not for interfaces.

    Raises:
        LoadError: the kernel refused the object.

    """

    def __init__(
        self, loader: Loader, *, max_flows: int = 262144, max_points: int = 1024, sampling: int = 1, replay: bool = False
    ) -> None:
        self._loader, self._parameters, self._replay = loader, Parameters(sampling, replay), replay
        self._sizes = {"flows4": max_flows, "flows6": max_flows, "points": max_points}
        self.max_flows, self.max_points, self.sampling = max_flows, max_points, sampling
        self._main = loader.load(self._parameters, frozenset({"flows_tc", "close_flow"}), self._sizes)
        self._objects = [self._main]
        self._entries: dict[bool, EntryLoader] = {}
        maps = self._main.maps
        self._reader4 = syscall.BatchReader(maps["flows4"], layout.KEY4, layout.FLOW)
        self._reader6 = syscall.BatchReader(maps["flows6"], layout.KEY6, layout.FLOW)
        self._cpus = syscall.possible_cpus()
        self._points = syscall.BatchReader(maps["points"], np.dtype("u4"), np.dtype((layout.POINT, (self._cpus,))), 256)
        self._closer = syscall.TestRun(self._main.programs["close_flow"], 64)

    @property
    def loader(self) -> str:
        """Name of the loader in use."""
        return self._loader.name

    def entry(self, point: int, direction: int, *, socket: bool = False) -> int:
        """The program to attach at a capture point, for one direction (a socket's sees both); the caller closes it.

        Raises:
            LoadError: the kernel refuses.

        """
        return self._entry_loader(socket=socket).load(point, direction)

    @property
    def owner(self) -> int:
        """Under what number the entry programs of interfaces tell that they are this program's."""
        return self._entry_loader(socket=False).owner

    def _entry_loader(self, *, socket: bool) -> EntryLoader:
        entries = self._entries.get(socket)
        if entries is None:
            name, loaded = "flows_tc", self._main
            if socket:
                name = "flows_socket"
                loaded = self._loader.load(self._parameters, frozenset({name}), self._sizes, self._main)
                self._objects.append(loaded)
            entries = EntryLoader(loaded.programs[name], self._main.maps["scratches"], socket=socket)
            self._entries[socket] = entries
        return entries

    def entries(self) -> Iterator[Entries]:
        """Read both flow maps, part by part."""
        for family, reader in ((4, self._reader4), (6, self._reader6)):
            for keys, flows in reader.read():
                yield Entries(family, keys, flows)

    def close_flows(self, keys: NDArray[Any], ids: NDArray[Any], family: NDArray[np.uint8]) -> None:
        """Mark flows: nobody counts on them any more once this returns. Their last counts are in the next :meth:`entries`."""
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

    def set_point(self, point: int, link: int) -> None:
        """Begin a capture point (1 … max_points - 1): its counters at zero, its ``enum link_type``."""
        value = np.zeros(self._cpus, layout.POINT)
        value["link"] = link
        syscall.map_update(self._main.maps["points"], np.array([point], "u4"), value)

    def points(self, most: int | None = None) -> NDArray[Any]:
        """The counters of capture points (the first ``most`` numbers; 0: replays), summed over CPUs: :data:`layout.POINT`."""
        result = np.zeros(most or self.max_points, layout.POINT)
        for numbers, values in self._points.read():
            part = result[numbers[0] : numbers[-1] + 1]
            of_cpus = values[: len(part)]
            part["link"] = of_cpus["link"][:, 0]
            for name in ("header_bytes", "inner_lost"):
                part[name] = of_cpus[name].sum(axis=1)
            for name in ("seen", "lost"):
                for field in layout.TALLY.names or ():
                    part[name][field] = of_cpus[name][field].sum(axis=1)
            if numbers[-1] + 1 >= len(result):
                break
        return result

    def test_run(self, capacity: int = 4096) -> syscall.TestRun:
        """A BPF_PROG_TEST_RUN of the packet program."""
        return syscall.TestRun(self._main.programs["flows_tc"], capacity)

    def memory(self) -> dict[str, int]:
        """Kernel memory of each map, bytes."""
        return {name: syscall.map_memory(fd) for name, fd in self._main.maps.items()}

    def close(self) -> None:
        """Close all programs and maps."""
        for entries in self._entries.values():
            entries.close()
        for loaded in self._objects:
            loaded.close()
        self._entries.clear()
        self._objects.clear()


def _key4(keys: NDArray[Any]) -> NDArray[Any]:
    result = np.zeros(len(keys), layout.KEY4)
    for name in ("parent", "tags", "point", "port", "id"):
        result[name] = keys[name]
    result["addr"] = keys["addr"][:, :, :4]
    return result
