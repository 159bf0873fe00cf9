"""A real process that serves a graph's file."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

from support.ports import free_port


@contextlib.contextmanager
def served(option: str, *words: str) -> Iterator[str]:
    """The address at which ``skytrail`` with these words, and the option that says where, serves 2 nodes and an edge."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "skytrail", *words, option, address]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        line = next((line for line in process.stderr if "served at" in line), "")
        assert re.search(rf"\(.*\): 2 nodes, 1 edges, served at http://{address} ", line), line
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
