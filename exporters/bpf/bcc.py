"""The second loader, for kernels without BTF: the same C source, compiled on the node by bcc (Debian: python3-bpfcc).

Needs the headers of the running kernel, or of any close one under ``BCC_KERNEL_SOURCE`` (bcc's own variable). bcc's Python
package is Debian's, outside our virtual environment: it is pure Python over libbcc.so.0 and is found by its path.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from exporters.bpf import layout, syscall
from exporters.bpf.object import LoadedObject, Parameters
from skytrail.errors import LoadError, NotSupportedError
from skytrail.kernel.capabilities import while_starting

SOURCE = Path(__file__).with_name("flows.bpf.c")
DEBIAN_PACKAGES = Path("/usr/lib/python3/dist-packages")

_FLAGS = ("-DSKYTRAIL_BCC", "-fno-strict-aliasing", "-Wno-everything")


def source_text(path: Path = SOURCE, seen: set[str] | None = None) -> str:
    """The program with our own headers in their places, as bcc's rewriter needs it: it looks at the main file only."""
    seen = set() if seen is None else seen
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        include = re.match(r'\s*#include "([\w.]+)"', line)
        if not include:
            lines.append(line)
        elif include[1] not in seen and not include[1].endswith(("vmlinux.h", "_libbpf.h")):
            seen.add(include[1])
            lines.append(source_text(path.with_name(include[1]), seen))
    return "".join(lines)


class BccLoader:
    """Compiles and loads ``flows.bpf.c``.

    Raises:
        NotSupportedError: bcc is not installed.

    """

    name = "bcc"

    def __init__(self) -> None:
        self._bcc = _import()

    @while_starting
    def load(
        self,
        parameters: Parameters,
        programs: frozenset[str],
        max_entries: Mapping[str, int],
        shared: LoadedObject | None = None,
    ) -> LoadedObject:
        """Compile and load; see :class:`exporters.bpf.program.Loader`.

        Further programs of an object come from its own bcc module, which holds them compiled.

        Raises:
            LoadError: it does not compile (no kernel headers?), or the kernel refused it.

        """
        try:
            module = shared.module if shared else self._compile(parameters, max_entries)
            loaded = {name: os.dup(module.load_func(name, self._kind(name)).fd) for name in programs}
        except Exception as error:  # bcc raises Exception itself
            raise LoadError(f"bcc could not load the program: {_line(error)}", str(error)) from error
        maps = {name: os.dup(self._table(module, name)) for name in layout.MAPS}
        return LoadedObject(loaded, maps, module)

    def _compile(self, parameters: Parameters, max_entries: Mapping[str, int]) -> Any:  # noqa: ANN401 - bcc has no types
        flags = [*_FLAGS, f"-DMAX_FLOWS={max_entries['flows4']}", f"-DMAX_POINTS={max_entries['points']}"]
        module = self._bcc.BPF(text=f"#define BPF_LICENSE GPL\n{source_text()}", cflags=flags)
        record = np.array([parameters.values()], layout.PARAMETERS)
        syscall.map_update(self._table(module, "parameters"), np.zeros(1, "u4"), record)
        return module

    def _table(self, module: Any, name: str) -> int:  # noqa: ANN401 - bcc has no types
        """The descriptor of a map. Not by bcc's table objects: they rebuild C structs, and stumble over packed ones."""
        return int(self._bcc.lib.bpf_table_fd(module.module, name.encode()))

    def _kind(self, name: str) -> int:
        kinds = self._bcc.BPF
        return int(kinds.SOCKET_FILTER if name == "flows_socket" else kinds.SCHED_CLS)


def _import() -> ModuleType:
    try:
        return importlib.import_module("bcc")
    except ImportError:
        pass
    if DEBIAN_PACKAGES.joinpath("bcc").is_dir():
        sys.path.append(str(DEBIAN_PACKAGES))
        try:
            return importlib.import_module("bcc")
        except (ImportError, OSError) as error:
            raise NotSupportedError("bcc cannot be imported", f"install libbpfcc ({error})") from error
        finally:
            sys.path.remove(str(DEBIAN_PACKAGES))
    raise NotSupportedError("bcc is not installed", "install it (Debian and Ubuntu: apt install python3-bpfcc)")


def _line(error: Any) -> str:  # noqa: ANN401 - bcc raises Exception itself
    text = str(error).strip().splitlines()
    reason = text[0] if text else type(error).__name__
    if "Failed to compile" in reason:
        return f"{reason}: install this kernel's headers, or point BCC_KERNEL_SOURCE at some"
    return reason
