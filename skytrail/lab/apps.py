"""The programs of workloads: a server, one that does not accept, and clients that count what they do.

It runs by its path, without the rest of Skytrail: ``python -I apps.py serve --tcp 80 --udp 53``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple, cast

_LARGEST = 60_000
_PATIENCE = 2.0  # seconds


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """HTTP/1.0: ``GET /N`` is answered by N bytes."""
    with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        head = (await reader.readuntil(b"\r\n\r\n")).split()
        size = int(head[1].lstrip(b"/") or b"3")
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(b"ok\n".ljust(size, b".")[:size])
        await writer.drain()
    writer.close()


class _Echo(asyncio.DatagramProtocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # asyncio's own is no subclass of it in 3.11

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        self._transport.sendto(data, addr)


def _bound(family: int, kind: int, port: int) -> socket.socket:
    """A socket of one family alone, at all addresses."""
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(("", port))
    return made


async def _serve(tcp: int, udp: int) -> None:
    server = await asyncio.start_server(_answer, ["0.0.0.0", "::"], tcp) if tcp else None  # noqa: S104 - a namespace's own
    if udp:
        for family in (socket.AF_INET, socket.AF_INET6):
            taken = _bound(family, socket.SOCK_DGRAM, udp)
            taken.setblocking(False)
            await asyncio.get_running_loop().create_datagram_endpoint(_Echo, sock=taken)
    print("ready", flush=True)
    if server is None:
        await asyncio.Event().wait()
    else:
        await server.serve_forever()


def _stuck(tcp: int) -> None:
    """Listen, with room for one that waits, and never accept; the room is taken at once."""
    held = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        listener = _bound(family, socket.SOCK_STREAM, tcp)
        listener.listen(0)
        held.append(listener)
        for _ in range(3):  # the kernel takes one more than it was told
            client = socket.socket(family)
            client.setblocking(False)
            client.connect_ex((address, tcp))
            held.append(client)
    print("ready", flush=True)
    while True:
        time.sleep(3600)


class Task(NamedTuple):
    """What a client is to do: ``proto`` tcp or udp, bytes wanted, times a second."""

    proto: str
    address: str
    port: int
    size: int
    rate: float


async def _fetch(task: Task) -> int:
    """Bytes of an answer over TCP. Raises OSError, TimeoutError."""
    async with asyncio.timeout(_PATIENCE + task.size / 20_000):
        reader, writer = await asyncio.open_connection(task.address, task.port)
        try:
            writer.write(b"GET /%d HTTP/1.0\r\n\r\n" % task.size)
            _, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
    if len(body) != task.size:
        raise OSError("the answer was cut")
    return len(body)


class _Waiting(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        if not self.came.done():
            self.came.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.came.done():
            self.came.set_exception(exc)


async def _ask(task: Task) -> int:
    """Bytes of an answer over UDP. Raises OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    transport, waiting = await loop.create_datagram_endpoint(_Waiting, remote_addr=(task.address, task.port))
    try:
        transport.sendto(bytes(min(task.size, _LARGEST)))
        return len(await asyncio.wait_for(waiting.came, _PATIENCE))
    finally:
        transport.close()


async def _ping(task: Task) -> int:
    """Bytes of an answer to ping. Raises OSError."""
    words = ["ping", "-n", "-q", "-c", "1", "-W", str(int(_PATIENCE)), "-s", str(task.size), task.address]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*words, stdin=quiet, stdout=quiet, stderr=quiet)
    if await process.wait():
        raise OSError("no answer")
    return task.size


_WAYS: dict[str, Callable[[Task], Awaitable[int]]] = {"tcp": _fetch, "udp": _ask, "icmp": _ping}


async def _once(task: Task, counts: Counter[str]) -> None:
    counts["asked"] += 1
    try:
        came = await _WAYS[task.proto](task)
        counts["answered"] += 1
        counts["bytes"] += came
    except (OSError, TimeoutError):
        counts["failed"] += 1


async def _repeat(task: Task, until: float, seed: int) -> Counter[str]:
    """As often as it says, at times that the seed gives."""
    counts = Counter(asked=0, answered=0, failed=0, bytes=0)
    when = random.Random(f"{seed} {task}")  # noqa: S311 - traffic, no secrets
    running: set[asyncio.Task[None]] = set()
    while (wait := when.expovariate(task.rate)) < until - time.monotonic():
        await asyncio.sleep(wait)
        started = asyncio.create_task(_once(task, counts))
        running.add(started)
        started.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return counts


async def _load(tasks: list[Task], seconds: float, seed: int) -> None:
    until = time.monotonic() + seconds
    counts = await asyncio.gather(*(_repeat(task, until, seed) for task in tasks))
    print(json.dumps([{**task._asdict(), **count} for task, count in zip(tasks, counts, strict=True)]))


async def _try(task: Task, count: int) -> None:
    counts: Counter[str] = Counter()
    for _ in range(count):
        await _once(task, counts)
    print(counts["answered"])


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser()
    what = parser.add_subparsers(dest="what", required=True)
    serve = what.add_parser("serve")
    serve.add_argument("--tcp", type=int, default=0)
    serve.add_argument("--udp", type=int, default=0)
    stuck = what.add_parser("stuck")
    stuck.add_argument("--tcp", type=int, required=True)
    load = what.add_parser("load")
    load.add_argument("--seconds", type=float, required=True)
    load.add_argument("--seed", type=int, default=0)
    once = what.add_parser("try")
    for name, kind in (("proto", str), ("address", str), ("port", int), ("size", int), ("count", int)):
        once.add_argument(name, type=kind)
    given = parser.parse_args()
    if given.what == "serve":
        asyncio.run(_serve(given.tcp, given.udp))
    elif given.what == "stuck":
        _stuck(given.tcp)
    elif given.what == "load":
        asyncio.run(_load([Task(*row) for row in json.load(sys.stdin)], given.seconds, given.seed))
    else:
        asyncio.run(_try(Task(given.proto, given.address, given.port, given.size, 1.0), given.count))


if __name__ == "__main__":
    main()
