"""Follows the store's feed and keeps the address book of now: its latest changes, for who follows it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import structlog

from skytrail.addresses.book import Book, Changes, Entry, Key
from skytrail.errors import SkytrailError
from topology.addresses.entries import Entries
from topology.store.interface import Store

_log = structlog.get_logger(__name__)

_LOOK = 0.2  # seconds between two looks at what changed
_AGAIN = 5.0  # seconds until the next try after the store failed
_AT_ONCE = 2000  # changes that are read from the feed at once
_LOG = 20_000  # entries of changes that are kept: who lags behind further gets the whole book


class AddressFollower:
    """The book of a hub, numbered by its changes; an :class:`skytrail.wire.bookstreams.Source`.

    Args:
        store: whose graph it follows from.
        clock: µs since the epoch.

    Attributes:
        failure: why it is not that of now; None: it is.
        number: of its latest change; 0: nothing is known yet.
        seconds: that following has taken.
    """

    def __init__(self, store: Store, clock: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self._store, self.clock = store, clock
        self._entries = Entries()
        self._sequence: int | None = None  # None: the graph has to be read as a whole
        self._log: deque[tuple[int, Changes]] = deque()
        self._logged = 0  # entries in it
        self._whole_at = 0  # the number at which the graph was read as a whole
        self._lock = threading.Lock()
        self._watchers: list[Callable[[], None]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="addresses", daemon=True)
        self.number = 0
        self.seconds = 0.0
        self.failure: str | None = None

    def __len__(self) -> int:
        """Entries."""
        with self._lock:
            return len(self._entries)

    def watch(self, told: Callable[[], None]) -> Callable[[], None]:
        """Have it called, on our thread, after each change; returns what ends that."""
        with self._lock:
            self._watchers.append(told)

        def end() -> None:
            with self._lock:
                self._watchers.remove(told)

        return end

    def since(self, number: int) -> tuple[int, Changes]:
        """What became of the book after a change of that number, and the number of the latest; 0: all that there is."""
        with self._lock:
            if number == self.number:
                return number, Changes()
            oldest = self._log[0][0] if self._log else self.number + 1
            if number < oldest - 1 or number < self._whole_at or number > self.number:
                return self.number, Changes(tuple(self._entries.current()), whole=True)
            later = list(islice(self._log, number - oldest + 1, None))
        return later[-1][0], _together(later)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            began = time.monotonic()
            try:
                self.step()
                wait, self.failure = _LOOK, None
            except SkytrailError as error:
                self._fail(str(error))
                wait = _AGAIN
            except Exception as error:  # noqa: BLE001 - whatever one element says, the book is made anew
                _log.exception("addresses_failed")
                self._fail(repr(error))
                wait = _AGAIN
            self.seconds += time.monotonic() - began

    def _fail(self, reason: str) -> None:
        if self.failure != reason:
            _log.warning("addresses_wait", reason=reason)
        self.failure, self._sequence = reason, None

    def step(self) -> None:
        """Take in what changed since the last time. Raises StoreError."""
        if self._sequence is None:
            sequence = self._store.health().sequence  # first: what comes meanwhile is taken twice rather than never
            entries = Entries()
            entries.load(self._store.current())
            with self._lock:
                self._entries, self._sequence = entries, sequence
                self.number += 1
                self._whole_at = self.number
                self._log.clear()
                self._logged = 0
            self._tell()
        while not self._stopping.is_set():
            found = self._store.feed(self._sequence, _AT_ONCE)
            with self._lock:
                news = False
                for revision in found:
                    if changes := self._entries.take(revision):
                        self._note(changes)
                        news = True
            if news:
                self._tell()
            if found:
                self._sequence = found[-1].sequence
            if len(found) < _AT_ONCE:
                return

    def _note(self, changes: Changes) -> None:
        self.number += 1
        self._log.append((self.number, changes))
        self._logged += len(changes.put) + len(changes.gone)
        while self._logged > _LOG:
            _, oldest = self._log.popleft()
            self._logged -= len(oldest.put) + len(oldest.gone)

    def _tell(self) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for told in watchers:
            told()


def _together(later: list[tuple[int, Changes]]) -> Changes:
    """As one change, in which what ended is ended before what began begins."""
    put: dict[Key, Entry] = {}
    gone: dict[Key, Entry] = {}
    for _, changes in later:
        for entry in changes.gone:
            put.pop(entry.key, None)
            gone[entry.key] = entry
        put |= {entry.key: entry for entry in changes.put}
    return Changes(tuple(put.values()), tuple(gone.values()))


def keep_as(follower: AddressFollower, book: Book) -> Callable[[], None]:
    """Keep a book of the same process as that of a follower; returns what ends that."""
    known, lock = [0], threading.Lock()

    def told() -> None:
        with lock:
            known[0], changes = follower.since(known[0])
            if changes:
                book.apply(changes, follower.clock())

    end = follower.watch(told)
    told()
    return end
