"""BPF programs in this kernel, as bpftool and procfs tell of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.needs import tool


def loaded() -> dict[int, str]:
    """All BPF programs in the kernel, id and name, by bpftool."""
    done = subprocess.run([tool("bpftool", "bpftool"), "-j", "prog", "list"], capture_output=True, check=True)
    return {program["id"]: program.get("name", "") for program in json.loads(done.stdout)}


def held_by(pid: int) -> set[int]:
    """Ids of the programs that a process holds, by itself or by a link, by procfs.

    Not those that came since an earlier look: other processes load programs meanwhile.
    """
    found = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            info = path.read_text()
        except FileNotFoundError:  # closed meanwhile
            continue
        if "prog_id:" in info:
            found.add(int(info.split("prog_id:")[1].split()[0]))
    return found
