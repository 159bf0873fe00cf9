"""The default loader: the committed CO-RE object by Debian's libbpf (``libbpf.so.1``), through ctypes.

Needs neither compiler nor kernel headers on the node. Function signatures: bpf/libbpf.h and bpf/btf.h of libbpf 1.1.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from exporters.bpf import layout
from exporters.bpf.object import LoadedObject, Parameters
from skytrail.errors import LoadError, NotSupportedError
from skytrail.kernel.capabilities import while_starting

OBJECT = Path(__file__).with_name("flows.bpf.o")

_POINTER = ctypes.c_void_p
_SIGNATURES: dict[str, tuple[list[Any], Any]] = {
    "bpf_object__open_file": ([ctypes.c_char_p, _POINTER], _POINTER),
    "bpf_object__load": ([_POINTER], ctypes.c_int),
    "bpf_object__close": ([_POINTER], None),
    "bpf_object__btf": ([_POINTER], _POINTER),
    "bpf_object__next_program": ([_POINTER, _POINTER], _POINTER),
    "bpf_object__next_map": ([_POINTER, _POINTER], _POINTER),
    "bpf_program__name": ([_POINTER], ctypes.c_char_p),
    "bpf_program__fd": ([_POINTER], ctypes.c_int),
    "bpf_program__set_autoload": ([_POINTER, ctypes.c_bool], ctypes.c_int),
    "bpf_map__name": ([_POINTER], ctypes.c_char_p),
    "bpf_map__fd": ([_POINTER], ctypes.c_int),
    "bpf_map__set_max_entries": ([_POINTER, ctypes.c_uint], ctypes.c_int),
    "bpf_map__reuse_fd": ([_POINTER, ctypes.c_int], ctypes.c_int),
    "bpf_map__initial_value": ([_POINTER, ctypes.POINTER(ctypes.c_size_t)], _POINTER),
    "btf__find_by_name_kind": ([_POINTER, ctypes.c_char_p, ctypes.c_uint32], ctypes.c_int),
    "btf__type_by_id": ([_POINTER, ctypes.c_uint32], _POINTER),
    "btf__name_by_offset": ([_POINTER, ctypes.c_uint32], ctypes.c_char_p),
    "btf__load_vmlinux_btf": ([], _POINTER),
    "btf__free": ([_POINTER], None),
    "libbpf_set_print": ([_POINTER], _POINTER),
}
_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, _POINTER)


def open_library() -> ctypes.CDLL:
    """Debian's libbpf, with the signatures of what is called, and what it prints kept. Raises NotSupportedError."""
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise NotSupportedError("libbpf.so.1 is missing", "install it (Debian and Ubuntu: apt install libbpf1)") from error
    for name, (arguments, result) in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    library.libbpf_set_print(_PRINTED.callback)
    return library


class _Printed:
    """What libbpf prints on each thread: the verifier's log, too. One for the process, for ever: it prints at any time."""

    LIMIT = 1 << 20

    def __init__(self) -> None:
        self._local = threading.local()
        self._libc = ctypes.CDLL(None)
        self._libc.free.argtypes = [_POINTER]
        self.callback = _PRINT(self._write)

    def clear(self) -> None:
        """Begin anew, on this thread."""
        self._local.text = ""

    @property
    def text(self) -> str:
        """What was printed on this thread since it was cleared, the end of it: the reason is last."""
        return getattr(self._local, "text", "")

    def _write(self, level: int, text: bytes, arguments: int) -> int:
        if level < 2:  # 2: debugging
            made = ctypes.c_char_p()
            if self._libc.vasprintf(ctypes.byref(made), text, ctypes.c_void_p(arguments)) >= 0:
                self._local.text = (self.text + (made.value or b"").decode(errors="replace"))[-self.LIMIT :]
                self._libc.free(made)
        return 0


_PRINTED = _Printed()


@while_starting
def load_object(path: Path, structs: Mapping[str, np.dtype[Any]] | None = None) -> LoadedObject:
    """Load an object with all of its programs and maps, as they are.

    Args:
        path: of the object.
        structs: layouts that it must have, by their names in C.

    Raises:
        NotSupportedError: there is no libbpf.
        LoadError: the kernel refused it; carries the verifier's log.
    """
    library = open_library()
    _PRINTED.clear()
    handle = library.bpf_object__open_file(os.fsencode(path), None)
    if not handle:
        raise LoadError(f"{path.name} cannot be opened: {os.strerror(ctypes.get_errno())}", _PRINTED.text)
    try:
        layout.check(library, library.bpf_object__btf(handle), structs or {})
        result = library.bpf_object__load(handle)
        if result:
            raise _refused(-result, _PRINTED.text)
        programs = _walk(handle, library.bpf_object__next_program, library.bpf_program__name)
        maps = _walk(handle, library.bpf_object__next_map, library.bpf_map__name)
        return LoadedObject(
            programs={name: os.dup(library.bpf_program__fd(program)) for name, program in programs},
            maps={name: os.dup(library.bpf_map__fd(bpf_map)) for name, bpf_map in maps},
        )
    finally:
        library.bpf_object__close(handle)


class LibbpfLoader:
    """Loads ``flows.bpf.o``."""

    name = "libbpf"

    def __init__(self) -> None:
        self._library = open_library()

    @while_starting
    def load(
        self,
        parameters: Parameters,
        programs: frozenset[str],
        max_entries: Mapping[str, int],
        shared: LoadedObject | None = None,
    ) -> LoadedObject:
        """Load the object.

        Args:
            parameters: the program's read-only globals.
            programs: which programs to load.
            max_entries: sizes of maps by name.
            shared: an object loaded before, whose maps are used in the place of new ones.

        Raises:
            LoadError: the kernel refused it; carries the verifier's log.
        """
        library = self._library
        _PRINTED.clear()
        handle = library.bpf_object__open_file(os.fsencode(OBJECT), None)
        if not handle:
            raise LoadError(f"{OBJECT.name} cannot be opened: {os.strerror(ctypes.get_errno())}", _PRINTED.text)
        try:
            layout.check(library, library.bpf_object__btf(handle), layout.STRUCTS)
            self._prepare(handle, parameters, programs, max_entries, shared.maps if shared else {})
            result = library.bpf_object__load(handle)
            if result:
                raise _refused(-result, _PRINTED.text)
            return LoadedObject(
                programs={name: os.dup(library.bpf_program__fd(p)) for name, p in self._programs(handle) if name in programs},
                maps={name: os.dup(library.bpf_map__fd(m)) for name, m in self._maps(handle) if name in layout.MAPS},
            )
        finally:
            library.bpf_object__close(handle)

    def _programs(self, handle: int) -> list[tuple[str, int]]:
        return _walk(handle, self._library.bpf_object__next_program, self._library.bpf_program__name)

    def _maps(self, handle: int) -> list[tuple[str, int]]:
        return _walk(handle, self._library.bpf_object__next_map, self._library.bpf_map__name)

    def _prepare(
        self,
        handle: int,
        parameters: Parameters,
        programs: frozenset[str],
        max_entries: Mapping[str, int],
        shared: Mapping[str, int],
    ) -> None:
        for name, program in self._programs(handle):
            self._library.bpf_program__set_autoload(program, name in programs)
        for name, bpf_map in self._maps(handle):
            if name.endswith(".rodata"):
                size = ctypes.c_size_t()
                address = self._library.bpf_map__initial_value(bpf_map, ctypes.byref(size))
                record = np.array([parameters.values()], layout.PARAMETERS)
                if size.value < record.nbytes:
                    raise LoadError("the BPF object has other parameters than this version: rebuild it by 'make bpf'")
                ctypes.memmove(address, record.tobytes(), record.nbytes)
            elif name in shared:
                self._library.bpf_map__reuse_fd(bpf_map, shared[name])
            elif name in max_entries:
                self._library.bpf_map__set_max_entries(bpf_map, max_entries[name])


def _walk(handle: int, following: Callable[[int, int | None], int], name_of: Callable[[int], bytes]) -> list[tuple[str, int]]:
    found, item = [], following(handle, None)
    while item:
        found.append((name_of(item).decode(), item))
        item = following(handle, item)
    return found


def _refused(number: int, log: str) -> LoadError:
    if number == errno.EPERM:
        return LoadError("the kernel refused the BPF program (EPERM): run as root, or with CAP_BPF and CAP_NET_ADMIN", log)
    return LoadError(
        f"the kernel refused the BPF program ({errno.errorcode.get(number, number)}): -v shows the verifier's log", log
    )
