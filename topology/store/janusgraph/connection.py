"""Connections to a Gremlin Server, kept for the next who asks, rebuilt when dead, with time limits."""

from __future__ import annotations

import contextlib
import queue
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from gremlin_python.driver.protocol import GremlinServerError
from gremlin_python.process.anonymous_traversal import traversal
from gremlin_python.process.graph_traversal import GraphTraversalSource

from topology.store.interface import AwayError, StoreError
from topology.store.janusgraph.wire import Wire

T = TypeVar("T")

_CONFLICTS = ("PermanentLockingException", "DeadlockException", "LockConflictException", "LockTimeoutException")
# A multi-query's parts are read by several threads: of one that met a lock no more is told than that it failed.
_PARTS_FAILED = "Could not successfully complete multi-query"
_TRANSIENT = (
    *_CONFLICTS, "TemporaryBackendException", "TemporaryLockingException", "violates a uniqueness constraint", _PARTS_FAILED,
)  # fmt: skip
_TIMED_OUT = 598
_MAX_ANSWER = 64 << 20
_GRACE = 2.0  # seconds that we wait longer than the server does, for its own word on it
_READ_TRIES = 10
_READ_WAIT = 0.01  # seconds, more each time


class ConflictError(StoreError):
    """Somebody else changed the same at the same time: nothing was done; do all of it again."""


class Connections:
    """A few connections to one server. For any thread.

    Args:
        url: ``ws://host:port/gremlin``.
        source: the name of the traversal source there.
        timeout: seconds that a request may take, here and there.
        count: how many requests run at once; more wait.
        username: for servers that ask for one.
        password: likewise.
    """

    def __init__(
        self, url: str, *, source: str = "g", timeout: float = 60.0, count: int = 4, username: str = "", password: str = ""
    ) -> None:
        self._url, self._source, self._timeout = url, source, timeout
        self._login = {"username": username, "password": password}
        self._closed = False
        self._count = count
        self._free: queue.LifoQueue[Wire | None] = queue.LifoQueue()  # None: room for one that is not open
        for _ in range(count):
            self._free.put(None)

    def run(self, work: Callable[[GraphTraversalSource], T]) -> T:
        """Do the work.

        Raises:
            AwayError: the server does not answer.
            ConflictError: a lock or a deadlock.
            StoreError: the server refused it.
        """
        with self._wire() as wire:
            return work(traversal().with_remote(wire))

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

    def script(self, text: str, bindings: Mapping[str, Any]) -> list[Any]:
        """Run a Groovy script of ours; raises as :meth:`run`."""
        with self._wire() as wire:
            return wire.script(text, bindings)

    def close(self) -> None:
        """Wait for what runs and close all. Twice is the same as once."""
        if self._closed:
            return
        self._closed = True
        for _ in range(self._count):
            if wire := self._free.get():
                wire.close()
        self._free.put(None)  # whoever waits for one is told, and tells the next

    @contextlib.contextmanager
    def _wire(self) -> Iterator[Wire]:
        wire = self._free.get()
        try:
            wire = wire or self._opened()
            yield wire
        except GremlinServerError as error:
            raise _refusal(error) from error
        except OSError as error:
            wire = None  # it has closed itself
            raise AwayError(
                f"JanusGraph at {self._url} does not answer ({_words(error)}); start it, or correct the url"
            ) from error
        except BaseException:
            if wire is not None:
                wire.close()
            wire = None  # an answer may be on its way
            raise
        finally:
            self._free.put(wire)

    def _opened(self) -> Wire:
        if self._closed:
            raise StoreError("the store is closed")
        return Wire(
            self._url,
            self._source,
            seconds=self._timeout,
            patience=self._timeout + _GRACE,
            largest=_MAX_ANSWER,
            **self._login,
        )


def _words(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _refusal(error: GremlinServerError) -> StoreError:
    told = " ".join((str(error), *(error.status_attributes or {}).get("exceptions", ())))
    if any(name in told for name in _TRANSIENT):
        return ConflictError(f"JanusGraph: another transaction was first: {_words(error)}")
    if error.status_code == _TIMED_OUT:
        return AwayError(f"JanusGraph did not finish in time: {_words(error)}; raise the timeout")
    return StoreError(f"JanusGraph refused: {_words(error)}")
