"""Follows the links of all chosen network namespaces through one netlink socket, on one thread.

The socket subscribes first and dumps after, and both come through the same queue, so what is applied in the order of the
queue is true. When the queue overflowed (ENOBUFS), it is read to its end and everything is dumped anew.
"""

from __future__ import annotations

import errno
import itertools
import os
import selectors
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from skytrail.kernel.census import Census
from skytrail.kernel.host import Roots
from skytrail.kernel.linkmessages import RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, Link, decode_departure, decode_link
from skytrail.kernel.linksocket import LinkSocket
from skytrail.kernel.linktable import (
    DumpBegan,
    DumpEnded,
    Event,
    LinkChanged,
    LinkGone,
    LinkMoved,
    LinkTable,
    NamespaceFound,
    NamespaceGone,
    PendingMoves,
    Resynced,
    Told,
)
from skytrail.kernel.mounts import MountEvents
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import (
    NETNSA_NSID,
    NLM_F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    RTM_DELNSID,
    RTM_NEWNSID,
    Message,
    attributes,
    error_number,
    integer,
)
from skytrail.kernel.worker import NamespaceWorker

__all__ = [
    "Counters",
    "DumpBegan",
    "DumpEnded",
    "Event",
    "Link",
    "LinkChanged",
    "LinkGone",
    "LinkMoved",
    "LinkWatcher",
    "NamespaceFound",
    "NamespaceGone",
    "Resynced",
    "Told",
]

_DEBOUNCE = 0.05
_SCAN_SHARE = 20  # a scan of /proc rests 20 times as long as it took
_LOOK = 30.0  # seconds between dumps of everything, with details: of some changes the kernel tells nobody
_SECOND_LOOK = 1.0  # seconds from an event of a link to a dump of its namespace: what its maker sets after, is not told
_LOOK_SHARE = 20  # and until the next such dump, 20 times as long as one takes
_DUMP_TRIES = 5
_BUSY_DELAY = 0.1
_HOLD = 1.0  # seconds that events wait for the dumps after a loss, at the most
_TURNS = 2  # the first takes what is in the queues, and asks for the links of a namespace that is new; the second takes those

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Counters:
    """What a watcher did since its start.

    Attributes:
        events: events handed to the sink.
        resyncs: full dumps after events were lost.
        malformed: messages that did not parse.
        unattributed: messages of namespaces that are not followed (yet).
        scans: scans of /proc.
        sink_errors: batches that the sink failed on.
    """

    events: int = 0
    resyncs: int = 0
    malformed: int = 0
    unattributed: int = 0
    scans: int = 0
    sink_errors: int = 0


@dataclass(slots=True)
class _Dump:
    cookie: int
    kind: int
    sequence: int
    began: float
    interrupted: bool = False


class LinkWatcher:
    """Follows links and namespaces and hands their events, in order, to a sink.

    Args:
        sink: gets each batch of events on the watcher's thread; it must be quick, and may call :meth:`snapshot`.
        worker: enters namespaces to identify them.
        every_namespace: all namespaces; else only our own.
        roots: where /proc and /run are.
        scan_interval: seconds between scans of /proc for namespaces without a name.
        receive_buffer: bytes of the socket's queue; above net.core.rmem_max if we may.
        details: links carry their whole message (:attr:`Link.raw`), addresses are told too, and changes of routes and rules.
    """

    def __init__(
        self,
        sink: Callable[[Sequence[Event]], None],
        worker: NamespaceWorker,
        *,
        every_namespace: bool = False,
        roots: Roots | None = None,
        scan_interval: float = 30.0,
        receive_buffer: int = 8 << 20,
        details: bool = False,
    ) -> None:
        self._details = details
        self._sink = sink
        self._worker = worker
        self._every = every_namespace
        self._roots = roots or Roots()
        self._scan_interval = scan_interval
        self._receive_buffer = receive_buffer
        self.counters = Counters()
        self._table = LinkTable()
        self._out: list[Event] = []
        self._lock = threading.Lock()  # holds the table and the census between the thread and snapshot()
        self._synced = threading.Event()
        self._stopping = False
        self._hinted = False
        self._thread: threading.Thread | None = None
        self._sequence = itertools.count(1)
        self._dump: _Dump | None = None
        self._dumps: dict[tuple[int, int], int] = {}  # (cookie, kind) → tries so far, in the order to do them
        self._dump_after = 0.0
        self._told: set[int] = set()
        self._moves = PendingMoves()
        self._resyncing = True
        self._hold_until: float | None = None  # after a loss
        self._scan_after = 0.0
        self._scan_at = 0.0
        self._look_at = time.monotonic() + _LOOK
        self._second_looks: dict[int, float] = {}  # cookie → when
        self._rested: dict[int, float] = {}  # cookie → not before
        self._socket: LinkSocket
        self._census: Census
        self._mounts: MountEvents | None = None
        self._wake: int
        self._selector: selectors.BaseSelector
        self._calls = threading.Lock()  # holds what other threads ask for; never for long
        self._behind: list[tuple[int, threading.Event]] = []  # who waits, and the turn after which all is told
        self._turn = 0

    def start(self) -> None:
        """Subscribe and begin. The first batch of events is all that is there, and ends with Resynced.

        Raises:
            NotSupportedError: this kernel has no namespace cookies.
            OSError: a socket is not to be had, or listening to all namespaces is not allowed.
        """
        self._socket = LinkSocket(every_namespace=self._every, receive_buffer=self._receive_buffer, details=self._details)
        try:
            self._mounts = MountEvents(self._roots) if self._every else None
            self._census = Census(self._worker, self._roots, every=self._every)
        except BaseException:
            self._close_sources()
            raise
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ, self._receive)
        self._selector.register(self._wake, selectors.EVENT_READ, self._woken)
        if self._census.names is not None:
            self._selector.register(self._census.names.fileno(), selectors.EVENT_READ, self._read_names)
        if self._mounts is not None:
            self._selector.register(self._mounts.fileno(), selectors.EVENT_READ, self._mounted)
        self._thread = threading.Thread(target=self._run, name="link-watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close what it used. Twice is the same as once."""
        if self._thread is None:
            return
        self._stopping = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        with self._lock, self._calls:
            self._thread = None
        self._selector.close()
        self._census.close()
        self._close_sources()
        os.close(self._wake)

    def _close_sources(self) -> None:
        self._socket.close()
        if self._mounts is not None:
            self._mounts.close()

    def wait_synced(self, timeout: float) -> bool:
        """Wait until all that was there at the start has been told; False after ``timeout`` seconds."""
        return self._synced.wait(timeout)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def hint(self) -> None:
        """Somebody saw that a namespace may have come: scan /proc soon. From any thread, cheap, debounced."""
        if self._hinted:
            return
        with self._calls:
            if self.alive:
                self._hinted = True
                os.eventfd_write(self._wake, 1)

    def catch_up(self, timeout: float) -> bool:
        """Wait until the sink has all that the kernel told before the call. From any thread but the sink's.

        In a storm only what is taken in two turns is waited for, and never longer than ``timeout`` seconds: False.
        """
        told = threading.Event()
        with self._calls:
            if not self.alive:
                return False
            self._behind.append((self._turn + _TURNS, told))
            os.eventfd_write(self._wake, 1)
        return told.wait(timeout)

    def snapshot(self) -> list[Link]:
        """All links that are known now."""
        with self._lock:
            return self._table.links()

    def namespaces(self) -> list[Namespace]:
        """All namespaces that are followed now, our own first."""
        with self._lock:
            return self._census.namespaces()

    # The thread

    def _run(self) -> None:
        try:
            with self._lock:
                self._admit([self._census.own])
                self._scan(time.monotonic())
            while not self._stopping:
                self._flush()  # what came, before what may be asked for because of it
                with self._lock:
                    self._do_due(time.monotonic())
                self._flush()
                for key, _ in self._selector.select(self._tell_who_waits()):
                    with self._lock:
                        key.data()
        except Exception:
            _log.critical("link_watcher_ended", remedy="report this; restart the agent", exc_info=True)
            raise

    def _tell_who_waits(self) -> float | None:
        """Gives what the next turn may wait for something to come: nothing while somebody waits for that turn's end."""
        if self._out:  # held back
            return self._patience()
        with self._calls:
            self._turn += 1
            waiting, self._behind = self._behind, []
            for turn, told in waiting:
                if turn < self._turn:
                    told.set()
                else:
                    self._behind.append((turn, told))
            return 0 if self._behind else self._patience()

    def _flush(self) -> None:
        if self._held_back() or not self._out:
            return
        batch, self._out = self._table.tell(self._out), []
        self.counters.events += len(batch)
        try:
            self._sink(batch)
        except Exception:  # noqa: BLE001  the sink's fault must not end the following of links
            self.counters.sink_errors += 1
            _log.exception("link_events_sink_failed", events=len(batch))
        if any(isinstance(event, Resynced) for event in batch):
            self._synced.set()

    def _held_back(self) -> bool:
        """The first batch is all that was there at the start; after a loss, all that there is, so that moves are seen."""
        if self._resyncing and not self._synced.is_set():
            return True
        losing = self._resyncing or self._socket.losing
        if not losing:
            self._hold_until = None
        elif self._hold_until is None:
            self._hold_until = time.monotonic() + _HOLD
        return self._hold_until is not None and time.monotonic() < self._hold_until

    def _patience(self) -> float | None:
        """Seconds until something is due."""
        due = [] if self._moves.next_deadline is None else [self._moves.next_deadline]
        due += self._second_looks.values()
        if self._details:
            due.append(self._look_at)
        if self._hold_until is not None and self._hold_until > time.monotonic():
            due.append(self._hold_until)
        if self._census.names is not None:
            due.append(self._scan_at)
            if self._census.names.next_retry is not None:
                due.append(self._census.names.next_retry)
        if self._dumps and self._dump is None:
            due.append(self._dump_after)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _do_due(self, now: float) -> None:
        names = self._census.names
        if names is not None:
            if names.retry(now):
                self._admit(self._census.refresh(processes=False))
            if now >= self._scan_at:
                self._scan(now)
        if self._details and now >= self._look_at:
            self._look_at = now + _LOOK
            if not self._resyncing:
                for namespace in self._census.namespaces():
                    self._want_dumps(namespace.cookie)
        for cookie in [cookie for cookie, when in self._second_looks.items() if when <= now]:
            del self._second_looks[cookie]
            self._dumps.setdefault((cookie, RTM_NEWLINK), 0)
        self._out += self._moves.expire(now)
        if self._dump is None:
            self._next_dump(now)

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        if self._hinted:
            self._hinted = False
            self._hint()

    def _hint(self) -> None:
        """A namespace that we don't know may be there: have the next scan of /proc soon."""
        self._scan_at = min(self._scan_at, max(time.monotonic() + _DEBOUNCE, self._scan_after))

    def _read_names(self) -> None:
        if self._census.names is not None and self._census.names.read():
            self._admit(self._census.refresh(processes=False))

    def _mounted(self) -> None:
        if self._census.names is not None and self._census.names.mounted():
            self._admit(self._census.refresh(processes=False))

    def _scan(self, now: float) -> None:
        self._scan_at = now + self._scan_interval
        if self._census.names is None:
            return
        self.counters.scans += 1
        self._admit(self._census.refresh(processes=True))
        end = time.monotonic()
        self._scan_after = end + _SCAN_SHARE * (end - now)

    def _admit(self, found: list[Namespace]) -> None:
        """Tell of namespaces that are new or renamed, and dump the links of the new ones.

        What was sent of a namespace whose number a new one has, and is read only now, is taken for the new one's; the dump
        comes behind it and puts that right.
        """
        for gone in self._census.displaced():
            self._drop(gone)
        # one that was found or renamed may be displaced by another that was found after it
        found = [namespace for namespace in found if self._census.find(namespace.cookie) is not None]
        for namespace in found:
            self._out.append(NamespaceFound(namespace))
            if namespace.cookie not in self._told:
                self._told.add(namespace.cookie)
                self._want_dumps(namespace.cookie)
        if not found:
            return
        self._census.numbers_changed(None)
        self._out += self._moves.resolve(self._table, self._cookie_behind)

    # Messages

    def _receive(self) -> None:
        if self._socket.read(self._take_event, self._take_answer):
            self._resync()
        self.counters.malformed = self._socket.malformed

    def _take_event(self, found: Message, nsid: int | None) -> None:
        cookie = self._census.cookie_of(nsid)
        if found.kind in {RTM_NEWNSID, RTM_DELNSID}:
            self._take_number(found, cookie)
        elif cookie is None:
            self.counters.unattributed += 1
        elif found.kind == RTM_NEWLINK:
            link = decode_link(self._socket.buffer, found.start, found.end, cookie, raw=self._details)
            if link is not None:
                self._moves.forget((cookie, link.ifindex))
                self._out += self._table.update(self._with_functions(self._renumbered(link)))
                if self._details:
                    self._look_again(cookie)
            elif self._details:  # of a bridge's port
                self._out.append(Told(cookie, RTM_NEWLINK, bytes(self._socket.buffer[found.start : found.end])))
        elif found.kind == RTM_DELLINK:
            self._take_departure(found, cookie)
        else:
            self._out.append(Told(cookie, found.kind, bytes(self._socket.buffer[found.start : found.end])))

    def _take_number(self, found: Message, cookie: int | None) -> None:
        """A namespace has got or lost a number; that is in the table of the namespace with that cookie."""
        self._census.numbers_changed(cookie)
        span = attributes(self._socket.buffer, found.start + 4, found.end, {NETNSA_NSID}).get(NETNSA_NSID)
        if cookie != self._census.own.cookie or span is None:
            return
        number = integer(self._socket.buffer, span)
        if found.kind == RTM_NEWNSID:
            if self._census.cookie_of(number) is None:
                self._hint()
            return
        gone = self._census.number_released(number)
        if gone is not None:
            self._drop(gone)

    def _drop(self, gone: Namespace) -> None:
        for key in [key for key in self._dumps if key[0] == gone.cookie]:
            del self._dumps[key]
        self._told.discard(gone.cookie)
        self._second_looks.pop(gone.cookie, None)
        self._rested.pop(gone.cookie, None)
        self._out += self._table.drop(gone.cookie)
        self._hint()  # another namespace may have got its inode before we heard

    def _renumbered(self, link: Link) -> Link:
        """An event numbers as the link's namespace does: give it our own numbering, as a dump has."""
        if link.link_nsid is None or link.cookie == self._census.own.cookie:
            nsid = link.link_nsid
        else:
            nsid = self._census.translate(link.cookie, link.link_nsid)
        if link.link_nsid is not None and (nsid is None or self._census.cookie_of(nsid) is None):
            self._hint()
        return link if nsid == link.link_nsid else replace(link, link_nsid=nsid)

    def _look_again(self, cookie: int) -> None:
        """A link that is down changes unheard (netdev_state_change), and one is told of before all of it is set."""
        if cookie not in self._second_looks:
            self._second_looks[cookie] = max(time.monotonic() + _SECOND_LOOK, self._rested.get(cookie, 0.0))

    def _with_functions(self, link: Link) -> Link:
        """An event does not tell of virtual functions, though it may be about them: a dump does."""
        before = self._table.find((link.cookie, link.ifindex))
        if before is None or not before.functions:
            return link
        self._dumps.setdefault((link.cookie, RTM_NEWLINK), 0)
        return replace(link, functions=before.functions)

    def _cookie_behind(self, cookie: int, nsid: int) -> int | None:
        """The followed namespace that the one with that cookie numbers ``nsid``."""
        ours = self._census.translate(cookie, nsid)
        return None if ours is None else self._census.cookie_of(ours)

    def _take_departure(self, found: Message, cookie: int) -> None:
        departure = decode_departure(self._socket.buffer, found.start, found.end)
        if departure is None:
            return
        if departure.nsid is None or not self._every:
            self._out += self._table.remove((cookie, departure.ifindex))
            return
        link = self._table.depart((cookie, departure.ifindex))
        if link is None:
            return
        if self._details:
            self._ask_about(cookie, departure.ifindex)
        new = self._cookie_behind(cookie, departure.nsid)
        if new is not None:
            self._out += self._table.arrive(link, (new, departure.new_ifindex))
            return
        self._out += self._moves.add(link, departure, departure.nsid, time.monotonic())
        self._hint()

    def _ask_about(self, cookie: int, ifindex: int) -> None:
        """A link moves: those that stand on it are not told of, though they now say otherwise where it is."""
        for link in self._table.links():
            there = link.cookie if link.link_nsid is None else self._census.cookie_of(link.link_nsid)
            if link.link == ifindex and there == cookie:
                self._dumps.setdefault((link.cookie, RTM_NEWLINK), 0)

    # Dumps

    def _resync(self) -> None:
        """Events were lost: look at all namespaces and dump all links anew."""
        self._resyncing = True
        if self._dump is not None:
            self._dump.interrupted = True  # it began before what was lost
        self.counters.resyncs += 1
        _log.info("links_resync", reason="netlink events were lost", resyncs=self.counters.resyncs)
        self._census.numbers_changed(None)
        for gone in self._census.audit():
            self._drop(gone)
        self._scan(time.monotonic())
        for namespace in self._census.namespaces():
            self._want_dumps(namespace.cookie)

    def _want_dumps(self, cookie: int) -> None:
        for kind in (RTM_NEWLINK, RTM_NEWADDR) if self._details else (RTM_NEWLINK,):
            self._dumps[cookie, kind] = 0

    def _next_dump(self, now: float) -> None:
        """Ask for the links of the next namespace: one dump at a time, or the kernel says EBUSY."""
        if not self._dumps:
            if self._resyncing and not self._socket.losing:
                self._resyncing = False
                self._out.append(Resynced())
            return
        cookie, kind = next(iter(self._dumps))
        namespace = self._census.find(cookie)
        if namespace is None:
            del self._dumps[cookie, kind]  # it died meanwhile
            return
        if now < self._dump_after:
            return
        dump = _Dump(cookie, kind, next(self._sequence), now)
        if kind == RTM_NEWLINK:
            self._table.begin(cookie)
        else:
            self._out.append(DumpBegan(cookie, kind))
        try:
            self._socket.request_dump(kind, None if namespace.own else namespace.nsid, dump.sequence)
        except OSError as error:
            self._dump_after = now + _BUSY_DELAY
            _log.warning("links_dump_refused", error=error.strerror, remedy="none: it is tried again")
        else:
            self._dump = dump

    def _take_answer(self, found: Message) -> None:
        dump = self._dump
        if dump is None or found.sequence != dump.sequence:
            return
        dump.interrupted |= bool(found.flags & NLM_F_DUMP_INTR)
        wanted = (dump.cookie, dump.kind) in self._dumps  # else the namespace died meanwhile
        if found.kind == RTM_NEWLINK:
            link = decode_link(self._socket.buffer, found.start, found.end, dump.cookie, raw=self._details)
            if link is not None and wanted:
                self._moves.forget((dump.cookie, link.ifindex))
                self._out += self._table.update(link)
        elif found.kind == dump.kind and wanted:
            self._out.append(Told(dump.cookie, found.kind, bytes(self._socket.buffer[found.start : found.end])))
        elif found.kind in {NLMSG_DONE, NLMSG_ERROR}:
            self._end_dump(dump, error_number(self._socket.buffer, found))

    def _end_dump(self, dump: _Dump, error: int) -> None:
        if error == errno.ENOBUFS:
            return  # the queue was full: the kernel goes on with this dump as we read
        self._dump = None
        tries = self._dumps.pop((dump.cookie, dump.kind), None)
        if tries is None:
            return  # the namespace died meanwhile
        if error == errno.EBUSY or (dump.interrupted and tries < _DUMP_TRIES):
            self._dumps[dump.cookie, dump.kind] = tries + 1
            self._dump_after = time.monotonic() + (_BUSY_DELAY if error else 0.0)
        elif error:
            _log.debug("links_dump_failed", cookie=dump.cookie, error=errno.errorcode.get(error, error))
        elif dump.interrupted:  # again and again: what it missed may be there, and is looked for a little later
            self._look_again(dump.cookie)
        elif dump.kind == RTM_NEWLINK:
            self._out += self._table.finish(dump.cookie)
            now = time.monotonic()
            self._rested[dump.cookie] = now + _LOOK_SHARE * (now - dump.began)
        else:
            self._out.append(DumpEnded(dump.cookie, dump.kind))
