"""Connections to a Gremlin Server: each on a thread of its own, rebuilt when dead, with time limits.

gremlin_python runs an event loop on the thread that uses it; on threads of ours that works whether the caller has a running
loop or not. A connection that failed is dead for ever (lab/janusgraph.md), so it is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import aiohttp
from gremlin_python.driver.aiohttp.transport import AiohttpTransport
from gremlin_python.driver.client import Client
from gremlin_python.driver.driver_remote_connection import DriverRemoteConnection
from gremlin_python.driver.protocol import GremlinServerError
from gremlin_python.process.anonymous_traversal import traversal
from gremlin_python.process.graph_traversal import GraphTraversalSource
from gremlin_python.statics import long
from janusgraph_python.driver.serializer import JanusGraphBinarySerializersV1

from topology.store.interface import AwayError, StoreError

T = TypeVar("T")

logging.getLogger("gremlinpython").setLevel(logging.CRITICAL)  # it logs each error that it raises, with the request

_CONFLICTS = ("PermanentLockingException", "DeadlockException", "LockConflictException", "LockTimeoutException")
# A multi-query's parts are read by several threads: of one that met a lock no more is told than that it failed.
_PARTS_FAILED = "Could not successfully complete multi-query"
_TRANSIENT = (
    *_CONFLICTS, "TemporaryBackendException", "TemporaryLockingException", "violates a uniqueness constraint", _PARTS_FAILED,
)  # fmt: skip
_TIMED_OUT = 598
_MAX_ANSWER = 64 << 20
_GRACE = 2.0  # seconds that we wait longer than the server does, for its own word on it
_CONNECTING = 5.0
_READ_TRIES = 10
_READ_WAIT = 0.01  # seconds, more each time
_CLOSING = aiohttp.ClientWSTimeout(ws_close=1.0)


class ConflictError(StoreError):
    """Somebody else changed the same at the same time: nothing was done; do all of it again."""


class Connections:
    """A few connections to one server. For any thread.

    Args:
        url: ``ws://host:port/gremlin``.
        source: the name of the traversal source there.
        timeout: seconds that a request may take, here and there.
        count: how many requests run at once.
        username: for servers that ask for one.
        password: likewise.
    """

    def __init__(
        self, url: str, *, source: str = "g", timeout: float = 60.0, count: int = 4, username: str = "", password: str = ""
    ) -> None:
        self._url = url
        self._source = source
        self._timeout = timeout
        self._login = {"username": username, "password": password}
        self._local = threading.local()
        self._places: list[_Place] = []
        self._closed = False
        self._threads = ThreadPoolExecutor(max_workers=count, thread_name_prefix="janusgraph")

    def run(self, work: Callable[[GraphTraversalSource], T]) -> T:
        """Do the work, on a thread of a connection's own, and wait for it.

        Raises:
            AwayError: the server does not answer.
            ConflictError: a lock or a deadlock.
            StoreError: the server refused it.
        """
        return self.begin(work).result()

    def read(self, work: Callable[[GraphTraversalSource], T]) -> T:
        """As :meth:`run`, for what only reads: BerkeleyJE locks what is read, too, so after a conflict it is asked again."""
        for attempt in range(_READ_TRIES):
            try:
                return self.run(work)
            except ConflictError:
                if attempt == _READ_TRIES - 1:
                    raise
                time.sleep(_READ_WAIT * (attempt + random.random()))  # noqa: S311 - only spreads the tries
        raise AssertionError

    def begin(self, work: Callable[[GraphTraversalSource], T]) -> Future[T]:
        """As :meth:`run`, without waiting."""
        if self._closed:
            raise StoreError("the store is closed")
        return self._threads.submit(self._guarded, lambda: work(self._traversal()))

    def script(self, text: str, bindings: Mapping[str, Any]) -> list[Any]:
        """Run a Groovy script of ours; raises as :meth:`run`."""

        def work() -> list[Any]:
            client = Client(self._url, self._source, pool_size=1, max_workers=1, **self._options())
            try:
                return list(client.submit(text, dict(bindings)).all().result())
            finally:
                client.close()

        return self._threads.submit(self._guarded, work).result()

    def close(self) -> None:
        """Close all. Twice is the same as once."""
        if self._closed:
            return
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        with ThreadPoolExecutor(max_workers=1) as closer:
            for place in self._places:
                closer.submit(place.close).result()

    def _options(self) -> dict[str, Any]:
        limit = self._timeout + _GRACE

        def transport() -> _Transport:
            made = _Transport(read_timeout=limit, write_timeout=limit, max_content_length=_MAX_ANSWER, timeout=_CLOSING)
            self._place().transports.append(made)
            return made

        return {"message_serializer": JanusGraphBinarySerializersV1(), "transport_factory": transport, **self._login}

    def _place(self) -> _Place:
        place: _Place | None = getattr(self._local, "place", None)
        if place is None:
            place = self._local.place = _Place()
            self._places.append(place)
        return place

    def _traversal(self) -> GraphTraversalSource:
        place = self._place()
        if place.connection is None:
            place.connection = DriverRemoteConnection(self._url, self._source, pool_size=1, max_workers=1, **self._options())
        return traversal().with_remote(place.connection).with_("evaluationTimeout", long(self._timeout * 1000))

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except GremlinServerError as error:
            raise _refusal(error) from error
        except (OSError, aiohttp.ClientError, RuntimeError, TimeoutError) as error:
            self._place().close()
            raise AwayError(
                f"JanusGraph at {self._url} does not answer ({_words(error)}); start it, or correct the url"
            ) from error


class _Transport(AiohttpTransport):  # type: ignore[misc]
    """Closed by us alone: collected as garbage, gremlin_python's would run its loop within whatever loop runs just then."""

    def connect(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """With a time limit, which gremlin_python's has not."""

        async def connected() -> None:
            self._client_session = aiohttp.ClientSession()
            opening = self._client_session.ws_connect(url, headers=headers, **self._aiohttp_kwargs)
            self._websocket = await asyncio.wait_for(opening, min(self._write_timeout, _CONNECTING))

        self._loop.run_until_complete(connected())

    def __del__(self) -> None:
        """Do nothing."""


class _Place:
    """What one thread has open."""

    def __init__(self) -> None:
        self.connection: DriverRemoteConnection | None = None
        self.transports: list[_Transport] = []

    def close(self) -> None:
        """Close it; on a thread without a running loop."""
        closing: list[Any] = [*([self.connection] if self.connection else []), *self.transports]
        self.connection = None
        self.transports = []
        for one in closing:
            with contextlib.suppress(OSError, aiohttp.ClientError, RuntimeError):
                one.close()


def _words(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _refusal(error: GremlinServerError) -> StoreError:
    told = " ".join((str(error), *(error.status_attributes or {}).get("exceptions", ())))
    if any(name in told for name in _TRANSIENT):
        return ConflictError(f"JanusGraph: another transaction was first: {_words(error)}")
    if error.status_code == _TIMED_OUT:
        return AwayError(f"JanusGraph did not finish in time: {_words(error)}; raise the timeout")
    return StoreError(f"JanusGraph refused: {_words(error)}")
