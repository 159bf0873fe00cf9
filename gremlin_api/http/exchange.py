"""What endpoints have in common: a body is read, work is done unless the client goes, an answer is sent."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Callable
from typing import TypeVar

from gremlin_api.execution import Executor
from skytrail.http.guard import Headers, Receive, Send

T = TypeVar("T")

_WORTHWHILE = 1400  # bytes: what fits one packet is not made smaller
_FAST = 1  # of gzip's levels


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request; the guard has bounded it."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body)


async def unless_gone(executor: Executor, work: Callable[[threading.Event], T], receive: Receive) -> T | None:
    """What the work gives; None: the client has gone, and the work has ended. Raises BusyError, and what the work raises."""
    cancelled = threading.Event()
    gone = asyncio.create_task(_gone(receive))
    working = asyncio.create_task(executor.answer(work, cancelled))
    try:
        await asyncio.wait((gone, working), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        cancelled.set()
        for task in (gone, working):
            task.cancel()


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Send a whole answer."""
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers + length})
    await send({"type": "http.response.body", "body": body})


def takes_gzip(accept_encoding: str) -> bool:
    """Whether a client takes an answer that gzip made smaller. Source: RFC 9110, 12.5.3."""
    for one in accept_encoding.split(","):
        coding, _, quality = one.strip().partition(";")
        if coding.strip().lower() in ("gzip", "x-gzip", "*"):
            return quality.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def smaller(body: bytes) -> bytes | None:
    """A body as gzip makes it; None: that is not worthwhile."""
    return gzip.compress(body, _FAST, mtime=0) if len(body) > _WORTHWHILE else None
