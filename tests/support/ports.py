"""Ports for servers of tests: free now, and none that the kernel gives to a connection before the server has it."""

from __future__ import annotations

import contextlib
import random
import socket

_PORTS = range(18_000, 32_000)  # below Linux's ip_local_port_range


def free_ports(count: int) -> list[int]:
    """So many, all different."""
    with contextlib.ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            port = random.choice(_PORTS)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found


def free_port() -> int:
    """One."""
    return free_ports(1)[0]
