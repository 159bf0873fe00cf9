"""The drops programs: what packets died of, what TCP sent again, resets; counted by place and by conversation.

The programs hang on links that only this process holds: nothing stays in the kernel when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.bpf import syscall
from exporters.bpf.layout import TUNNELS, BtfType
from exporters.bpf.libbpf import load_object, open_library
from skytrail.errors import LoadError, NotSupportedError

OBJECT = Path(__file__).with_name("drops.bpf.o")

PROGRAMS = ("dropped", "retransmitted", "synack_retransmitted", "reset_sent", "reset_received")
"""The names that the kernel lists; all are attached to tracepoints."""

# drops.h
PLACE = np.dtype(
    [
        ("netns", "u8"),
        ("ifindex", "u4"),
        ("reason", "u4"),
        ("kind", "u1"),
        ("side", "u1"),
        ("pad", "u1", 6),
    ]
)
FLOW_KEY = np.dtype(
    [
        ("netns", "u8"),
        ("addr", "u1", (2, 16)),
        ("port", ">u2", 2),
        ("reason", "u4"),
        ("id", "u4"),
        ("family", "u1"),
        ("proto", "u1"),
        ("kind", "u1"),
        ("side", "u1"),
        ("way", "u1"),
        ("pad", "u1", 7),
    ]
)
FLOW = np.dtype([("packets", "u8", 2), ("ifindex", "u4"), ("pad", "u4")])
TALLY = np.dtype([("seen", "u8"), ("places_full", "u8"), ("flows_full", "u8"), ("without_flow", "u8")])
_STRUCTS = {"drop_place": PLACE, "drop_flow_key": FLOW_KEY, "drop_flow": FLOW, "drop_tally": TALLY}

PACKET, RETRANSMIT, SYN_AGAIN, SYN_ACK_AGAIN, RESET_SENT, RESET_RECEIVED = range(6)
"""``enum drop_kind``."""
COUNTED, NORMAL, NORMAL_REPLY = range(3)
"""``enum drop_end``."""
PLAIN, ONE_WAY = 0, 1
"""How the ports of a conversation are to be read."""

REASONS = 1024
_MEMBARRIER, _MEMBARRIER_GLOBAL = {"x86_64": 324}.get(os.uname().machine, 283), 1
_KIND_ENUM = 6  # BTF_KIND_ENUM


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted since the last one: growth, not totals.

    Attributes:
        places: rows of :data:`PLACE`, ``side`` without meaning.
        counts: uint64[n], what happened there.
        keys: rows of :data:`FLOW_KEY`, ``side`` without meaning.
        flows: rows of :data:`FLOW`, one for each key.

    """

    places: NDArray[Any]
    counts: NDArray[np.uint64]
    keys: NDArray[Any]
    flows: NDArray[Any]

    def of(self, namespaces: NDArray[np.uint64]) -> Reading:
        """What happened in some namespaces, by their cookies."""
        here, there = np.isin(self.places["netns"], namespaces), np.isin(self.keys["netns"], namespaces)
        return Reading(self.places[here], self.counts[here], self.keys[there], self.flows[there])


@dataclass(frozen=True, slots=True)
class Tally:
    """Totals since the start.

    ``seen`` = counts of all places + ``places_full`` = packets of all flows + ``flows_full`` + ``without_flow``.

    Attributes:
        seen: what was counted at all.
        places_full: found no room in the map of places.
        flows_full: found no room in the map of conversations.
        without_flow: neither IP nor of a socket, or cut.
        nested: not even seen: the kernel does not run a program that runs on that CPU already.

    """

    seen: int
    places_full: int
    flows_full: int
    without_flow: int
    nested: int


class _EnumValue(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint32), ("value", ctypes.c_uint32))


def kernel_enums(*names: str) -> list[dict[int, str]]:
    """The values of enumerations of the running kernel, by number; of one that it has not: none.

    Raises:
        NotSupportedError: there is no libbpf, or the kernel does not describe its types.
    """
    library = open_library()
    btf = library.btf__load_vmlinux_btf()
    if not btf:
        raise NotSupportedError("this kernel does not describe its types", "use one with CONFIG_DEBUG_INFO_BTF")
    try:
        return [_values(library, btf, name) for name in names]
    finally:
        library.btf__free(btf)


def _values(library: ctypes.CDLL, btf: int, name: str) -> dict[int, str]:
    number = library.btf__find_by_name_kind(btf, name.encode(), _KIND_ENUM)
    if number < 0:
        return {}
    address: Any = library.btf__type_by_id(btf, number)
    head = BtfType.from_address(address)
    values = (_EnumValue * (head.info & 0xFFFF)).from_address(address + ctypes.sizeof(BtfType))
    return {value.value: library.btf__name_by_offset(btf, value.name).decode() for value in values}


class DropPrograms:
    """The programs, loaded and attached. For one thread at a time.

    Args:
        ends: ``enum drop_end`` by the number of a reason; reasons that are not in it are always drops.

    Raises:
        NotSupportedError: libbpf is missing.
        LoadError: the kernel refused the programs.
    """

    def __init__(self, ends: Mapping[int, int]) -> None:
        with contextlib.ExitStack() as closers:
            loaded = load_object(OBJECT, _STRUCTS)
            closers.callback(loaded.close)
            self._maps, self._programs = loaded.maps, dict(loaded.programs)
            self._places = syscall.BatchReader(loaded.maps["places"], PLACE, np.dtype("u8"))
            self._flows = syscall.BatchReader(loaded.maps["flows"], FLOW_KEY, FLOW)
            self._cpus = syscall.possible_cpus()
            self._side = 0
            try:
                self._set_ends(ends)
                for name in PROGRAMS:
                    closers.callback(os.close, syscall.tracing_attach(loaded.programs[name]))
            except OSError as error:
                raise LoadError(f"the kernel did not attach {OBJECT.name} ({error.strerror}): run as root") from error
            self._closers = closers.pop_all()

    def _set_ends(self, ends: Mapping[int, int]) -> None:
        known = np.array([item for item in ends.items() if item[0] < REASONS], "u4").reshape(-1, 2)
        syscall.map_update_batch(self._maps["reason_ends"], known[:, 0].copy(), known[:, 1].copy())

    def set_tunnel_ports(self, ports: Mapping[str, frozenset[int]]) -> None:
        """Tell the programs which UDP destination ports are tunnels, by kind (``vxlan``, ``geneve``)."""
        table = np.zeros(65536, "u1")
        for kind, numbers in ports.items():
            table[list(numbers)] = TUNNELS[kind]
        syscall.map_update(self._maps["tunnels"], np.zeros(1, "u4"), table)

    def read(self) -> Reading:
        """What came since the last call; it makes room. Raises OSError.

        From the change of sides on, programs count on the other one. When those that had looked up a counter before have
        left (an RCU grace period: membarrier(2), MEMBARRIER_CMD_GLOBAL), nobody writes what is read and deleted here.
        """
        old, self._side = self._side, self._side ^ 1
        syscall.map_update(self._maps["control"], np.zeros(1, "u4"), np.array([self._side], "u4"))
        ctypes.CDLL(None).syscall(_MEMBARRIER, _MEMBARRIER_GLOBAL, 0)
        places, counts = _taken(self._places, self._maps["places"], old, PLACE, np.dtype("u8"))
        keys, flows = _taken(self._flows, self._maps["flows"], old, FLOW_KEY, FLOW)
        return Reading(places, counts, keys, flows)

    def tally(self) -> Tally:
        """What the programs count of themselves."""
        values = np.zeros(self._cpus, TALLY)
        syscall.map_lookup(self._maps["tallies"], np.zeros(1, "u4"), values)
        total = {name: int(values[name].sum()) for name in TALLY.names or ()}
        return Tally(**total, nested=sum(syscall.program_misses(self._programs[name]) for name in PROGRAMS))

    def close(self) -> None:
        """Detach. Twice is the same as once."""
        self._closers.close()


def _taken(
    reader: syscall.BatchReader, fd: int, side: int, key: np.dtype[Any], value: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The entries of one side of a map, which are deleted."""
    width = f"V{key.itemsize}"  # as bytes: joining structs would turn ports into the host's order
    keys, values = [np.zeros(0, width)], [np.zeros(0, value)]
    for some, their in reader.read():
        chosen = some["side"] == side
        keys.append(some.view(width)[chosen])
        values.append(their[chosen])
    found = np.concatenate(keys).view(key)
    syscall.map_delete_batch(fd, found)
    return found, np.concatenate(values)
