"""One kind of object, followed: a list, then a watch that goes on where it was; a list again where it cannot. I/O.

A watch that ends or breaks is taken up at the resource version that was seen last, so that what happened meanwhile is told in
its order. Bookmarks keep that version young where nothing changes. A server that has forgotten it (410 Gone: etcd was
compacted) is asked for a list anew.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import msgspec
import structlog

from skytrail.errors import RunError
from topology.probes.kubernetes import objects
from topology.probes.kubernetes.connection import Connection, RefusedError, TooLongError, UnreachableError, lines, whole
from topology.probes.kubernetes.kinds import DECODERS, METADATA, Kind
from topology.probes.kubernetes.packing import pack
from topology.probes.kubernetes.stamps import Stamps

_log = structlog.get_logger(__name__)

_PAGE = 500  # objects that are asked for at once; fewer, where these are more than an answer may be
_MOST = 250_000  # objects of a kind; a cluster has 150,000 pods at most
_MOST_BYTES = 1 << 28  # of them, packed; a pod has about 1 KB
_LIST_SILENCE = 60.0  # seconds
_WATCH_SECONDS = (300, 600)  # at random, so that not all watches end at once
_WATCH_GRACE = 15.0  # a watch that is not ended by then is dead
_FIRST_WAIT = 0.2
_LONGEST_WAIT = 5.0
_ASK_AGAIN = 60.0  # seconds until what is not permitted is tried again


class State(Enum):
    """How a kind is.

    ``FORBIDDEN``, ``ABSENT`` (the server has no such kind) and ``TOO_MANY`` are answers, too: the graph does not wait for them.
    """

    STARTING = "starting"
    LISTED = "listed"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"
    TOO_MANY = "too many"


@dataclass(frozen=True, slots=True)
class Seen:
    """Something about a kind.

    Attributes:
        kind: of which.
        observed: when it happened, µs since the epoch.
        put: an object is so, packed.
        gone: UID of one that is no more.
        listed: the UIDs of all that are there: what is not among them is no more.
        state: the kind cannot be read.
    """

    kind: Kind
    observed: int
    put: bytes | None = None
    gone: str = ""
    listed: Collection[str] | None = None
    state: State | None = None


class _ListMeta(msgspec.Struct, gc=False, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, gc=False, rename="camel"):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[msgspec.Raw] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


class _Versioned(msgspec.Struct, gc=False):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)


class _Status(msgspec.Struct, gc=False):
    code: int = 0
    message: str = ""


class _GoneError(RunError):
    """What we know is too old: 410."""


class _TooManyError(RunError):
    """There is more of a kind than is followed."""


class _Objects:
    """UIDs of a kind's objects, and how much these are."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}  # bytes
        self._sum = 0

    def put(self, uid: str, size: int) -> None:
        """One is there, of so many bytes. Raises _TooManyError."""
        others = self._sum - self._sizes.get(uid, 0)
        if others + size > _MOST_BYTES:
            raise _TooManyError(f"more than {_MOST_BYTES:,} bytes of")
        if len(self._sizes) >= _MOST and uid not in self._sizes:
            raise _TooManyError(f"more than {_MOST:,}")
        self._sizes[uid], self._sum = size, others + size

    def remove(self, uid: str) -> None:
        """One is no more, if it was there."""
        self._sum -= self._sizes.pop(uid, 0)

    def __contains__(self, uid: str) -> bool:
        return uid in self._sizes

    def uids(self) -> frozenset[str]:
        """Of all."""
        return frozenset(self._sizes)


_Given: TypeAlias = "tuple[objects.Meta, bytes]"
"""An object's metadata, and the whole of it, packed."""

_page = msgspec.json.Decoder(_Page)
_event = msgspec.json.Decoder(_Event)
_versioned = msgspec.json.Decoder(_Versioned)
_status = msgspec.json.Decoder(_Status)


@dataclass(slots=True)
class Counters:
    """What a kind's source did since it began."""

    events: int = 0
    lists: int = 0
    watches: int = 0
    malformed: int = 0


class KindSource:
    """Follows one kind on a thread of its own.

    Args:
        kind: which.
        connection: to the API server.
        take: takes what is seen, on this thread; it may wait.
        annotations: whether one of that key is kept.
        clock: µs since the epoch.

    Attributes:
        state: how it is.
        failure: why what was told may not be as it is now; None: it is.
        word: why it cannot be read, and the remedy, where it cannot.
    """

    def __init__(
        self,
        kind: Kind,
        connection: Connection,
        take: Callable[[Seen], object],
        annotations: Callable[[str], bool],
        clock: Callable[[], int],
    ) -> None:
        self.kind, self._connection, self._sink, self._annotations, self._clock = kind, connection, take, annotations, clock
        self.counters = Counters()
        self.state = State.STARTING
        self.failure: str | None = None
        self.word: str | None = None
        self._version = ""
        self._objects = _Objects()
        self._stamps = Stamps(clock)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"kube-{kind.name}"[:15], daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more; the connection is to be closed, too."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Wait until it has ended."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            began = time.monotonic()
            try:
                if not self._version:
                    self._list()
                self._watch()
                wait = 0.0
            except _GoneError:
                self._version, wait = "", 0.0
            except RefusedError as error:
                wait = self._refused(error, wait)
            except _TooManyError as error:
                word = f"there are {error} {self.kind.resource}: leave them out of kubernetes.kinds"
                wait = self._leave_out(State.TOO_MANY, word)
            except UnreachableError as error:
                wait = self._failed(str(error), wait if self.failure else 0.0)  # no failure: it was there meanwhile
            except Exception as error:  # noqa: BLE001 - whatever an answer holds: begin anew
                self._version, wait = "", self._failed(repr(error), wait)
                _log.exception("kubernetes_failed", kind=self.kind.name)
            if wait == 0.0 and time.monotonic() - began < _FIRST_WAIT:
                wait = _FIRST_WAIT  # a server that ends every watch at once is not asked without a rest

    def _failed(self, reason: str, waited: float) -> float:
        if self._stopping.is_set():
            return 0.0
        self.failure = reason
        return random.uniform(0.5, 1.0) * min(max(2 * waited, _FIRST_WAIT), _LONGEST_WAIT)  # noqa: S311 - no secret

    def _refused(self, error: RefusedError, waited: float) -> float:
        if error.status == 410:
            self._version = ""
            return 0.0
        if error.status not in (403, 404):
            return self._failed(f"{self._connection.server}: {error}", waited)
        group = f".{self.kind.api_group}" if self.kind.api_group else ""
        resource = f"{self.kind.resource}{group}"
        if error.status == 403:
            return self._leave_out(
                State.FORBIDDEN, f"may not list and watch {resource}: grant it, or leave it out", error.reason
            )
        return self._leave_out(State.ABSENT, f"the server has no {resource}", error.reason)

    def _leave_out(self, state: State, word: str, said: str = "") -> float:
        if self.word != word:
            _log.warning("kubernetes_kind_not_read", kind=self.kind.name, reason=word, said=said)
        self.state, self.word, self.failure, self._version = state, word, None, ""
        self._sink(Seen(self.kind, self._clock(), state=state))
        return _ASK_AGAIN

    def _list(self) -> None:
        """Tell all that is there. Raises UnreachableError, RefusedError, _GoneError, _TooManyError."""
        if self.state is State.TOO_MANY:  # whether it still is: what there is is told whole or not at all
            for _ in self._pages(_Objects()):
                continue
        found = _Objects()
        version = ""
        held: list[Seen] = []  # after a gap: what was made within it is told in that order, and before what is so now
        began = self._clock()
        self._stamps.cut()
        for given, told in self._pages(found):
            version = told
            for meta, packed in given:
                if not self._stamps.gap:
                    self._sink(Seen(self.kind, self._clock(), put=packed))
                    continue
                made = meta.creation_timestamp if meta.uid not in self._objects else None
                held.append(Seen(self.kind, self._stamps.within(made), put=packed))
        if self._stopping.is_set():
            return
        for one in sorted(held, key=lambda one: one.observed):
            self._sink(one)
        self._objects, self._version = found, version
        self.counters.lists += 1
        self._sink(Seen(self.kind, self._clock(), listed=found.uids()))
        self.state, self.word, self.failure = State.LISTED, None, None
        self._stamps.told(began)  # what came since then, the watch tells

    def _pages(self, found: _Objects) -> Iterator[tuple[list[_Given], str]]:
        """What there is, in pieces, each with the list's version; it is noted. Raises as :meth:`_list`."""
        limit = _PAGE
        more: dict[str, str] = {}
        while not self._stopping.is_set():
            query = {"limit": str(limit), **more}
            try:
                with self._connection.get(self.kind.path, query, self.kind.accepts(many=True), _LIST_SILENCE) as answer:
                    page = _page.decode(whole(answer))
            except TooLongError:
                if limit == 1:
                    raise
                limit = max(1, limit // 4)
                continue
            given = [one for raw in page.items or () if (one := self._decode(raw))]
            for meta, packed in given:
                found.put(meta.uid, len(packed))
            yield given, page.metadata.resource_version
            if not page.metadata.continue_:
                return
            more = {"continue": page.metadata.continue_}

    def _watch(self) -> None:
        """Tell what changes. Raises UnreachableError, RefusedError, _GoneError, _TooManyError."""
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311 - no secret
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        self._stamps.cut()
        self._stamps.resume("" if self._stamps.brief else self._newest())
        with self._connection.get(self.kind.path, query, self.kind.accepts(many=False), seconds + _WATCH_GRACE) as answer:
            self.counters.watches += 1
            self.failure = None
            for line in lines(answer):
                if line:
                    self._take(line)
                if self._stopping.is_set():
                    return
            self._stamps.told()  # the server ended it in good order

    def _newest(self) -> str:
        """The resource version that there is now. Raises UnreachableError, RefusedError."""
        with self._connection.get(self.kind.path, {"limit": "1"}, METADATA.format("List"), _LIST_SILENCE) as answer:
            return _versioned.decode(whole(answer)).metadata.resource_version

    def _take(self, line: bytes) -> None:
        try:
            event = _event.decode(line)
            version = _versioned.decode(event.object).metadata.resource_version
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.counters.malformed += 1
            return
        if event.type == "ERROR":
            status = _status.decode(event.object)
            if status.code in (410, 504):  # 504: etcd lost the revision while it was asked
                raise _GoneError(status.message)
            raise RefusedError(status.code, status.message)
        if event.type != "BOOKMARK":
            self.counters.events += 1
            given = self._decode(event.object)
            if given is not None:
                self._tell(event.type, given, version)
        self._version = version or self._version
        self._stamps.reached(version)

    def _tell(self, type_: str, given: _Given, version: str) -> None:
        meta, packed = given
        if type_ == "DELETED":
            self._objects.remove(meta.uid)
            self._sink(Seen(self.kind, self._stamps.of(meta.deletion_timestamp, version), gone=meta.uid))
            return
        at = self._stamps.of(meta.creation_timestamp if meta.uid not in self._objects else None, version)
        self._objects.put(meta.uid, len(packed))
        self._sink(Seen(self.kind, at, put=packed))

    def _decode(self, raw: msgspec.Raw) -> _Given | None:
        try:
            given: objects.Plain = DECODERS[self.kind.name].decode(raw)
            if given.metadata.annotations:
                kept = {key: value for key, value in given.metadata.annotations.items() if self._annotations(key)}
                msgspec.structs.force_setattr(given.metadata, "annotations", kept or None)
            return given.metadata, pack(given)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            self.counters.malformed += 1
            _log.warning("kubernetes_object_not_read", kind=self.kind.name, reason=str(error))
            return None
