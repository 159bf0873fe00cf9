"""Reads the files that say what this host is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skytrail.kernel.host import Roots
from topology.probes.host.translate import CONTENTS, PRESENCES, host_metadata

_CHUNK_BYTES = 65536  # the kernel refuses to be asked for megabytes of a sysctl (ENOMEM)
_CHUNKS = 128  # of one file, 8 MiB: /proc/cpuinfo has some 1.6 kB a CPU
_VAR = Path("/var")


def read_host_metadata(name: str = "", roots: Roots | None = None, var: Path = _VAR) -> dict[str, Any]:
    """The keys of the host's node; a key is left out where its file is not there, not ours to read, or malformed.

    Args:
        name: the node's Name; empty: the hostname.
        roots: where the host's folders are; None: at their usual places.
        var: where the host's /var is.
    """
    return host_metadata(read_texts(roots or Roots(), var), name)


def read_texts(roots: Roots, var: Path) -> dict[str, str]:
    """The files that :mod:`topology.probes.host.translate` knows: "proc/cpuinfo" → content; "" for those only looked for."""
    folders = {"proc": roots.proc, "sys": roots.sys, "run": roots.run, "etc": roots.etc, "var": var}
    texts = {key: "" for pattern in PRESENCES for key, _ in _paths(folders, pattern)}
    for pattern in CONTENTS:
        for key, path in _paths(folders, pattern):
            text = _text(path)
            if text is not None:
                texts[key] = text
    return texts


def _paths(folders: dict[str, Path], pattern: str) -> Iterator[tuple[str, Path]]:
    """What is there of a pattern: its key (folder's name and path in it) and where it is."""
    folder, _, inside = pattern.partition("/")
    for path in sorted(folders[folder].glob(inside)):
        yield f"{folder}/{path.relative_to(folders[folder])}", path


def _text(path: Path) -> str | None:
    try:
        with path.open("rb", buffering=0) as file:
            chunks = itertools.islice(iter(lambda: file.read(_CHUNK_BYTES), b""), _CHUNKS)
            return b"".join(chunks).decode(errors="replace")
    except OSError:
        return None
