"""One kind of object, followed: a list, then a watch that goes on where it was; a list again where it cannot. I/O.

A watch that ends or breaks is taken up at the resource version that was seen last, so that what happened meanwhile is told in
its order. Bookmarks keep that version young where nothing changes. A server that has forgotten it (410 Gone: etcd was
compacted) is asked for a list anew.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

import msgspec
import structlog

from skytrail.errors import RunError
from topology.probes.kubernetes import objects
from topology.probes.kubernetes.connection import Connection, RefusedError, TooLongError, UnreachableError, lines, whole
from topology.probes.kubernetes.kinds import DECODERS, Kind
from topology.probes.kubernetes.stamps import Stamps

_log = structlog.get_logger(__name__)

_PAGE = 500  # objects that are asked for at once; fewer, where these are more than an answer may be
_MOST = 250_000  # objects of a kind; a cluster has 150,000 pods at most
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
        put: an object is so.
        gone: UID of one that is no more.
        listed: the UIDs of all that are there: what is not among them is no more.
        state: the kind cannot be read.
    """

    kind: Kind
    observed: int
    put: objects.Plain | None = None
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
    """There are more objects than are followed."""


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
        self._uids: set[str] = set()
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
                self._stamps.cut()
            except RefusedError as error:
                wait = self._refused(error, wait)
            except _TooManyError as error:
                wait = self._leave_out(State.TOO_MANY, str(error))
            except UnreachableError as error:
                wait = self._failed(str(error), wait)
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
            self._stamps.cut()
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
        uids: set[str] = set()
        held: list[Seen] = []  # after a gap: what was made within it is told in that order, and before what is so now
        began = self._clock()
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
            for raw in page.items or ():
                given = self._decode(raw)
                if given is None:
                    continue
                self._bound(uids, given.metadata.uid)
                uids.add(given.metadata.uid)
                if not self._stamps.gap:
                    self._sink(Seen(self.kind, self._clock(), put=given))
                    continue
                made = given.metadata.creation_timestamp if given.metadata.uid not in self._uids else None
                held.append(Seen(self.kind, self._stamps.within(made), put=given))
            if not page.metadata.continue_:
                break
            more = {"continue": page.metadata.continue_}
        if self._stopping.is_set():
            return
        for one in sorted(held, key=lambda one: one.observed):
            self._sink(one)
        self._uids, self._version = uids, page.metadata.resource_version
        self.counters.lists += 1
        self._sink(Seen(self.kind, self._clock(), listed=frozenset(uids)))
        self.state, self.word, self.failure = State.LISTED, None, None
        self._stamps.heard(began)  # what came since then, the watch tells

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
        with self._connection.get(self.kind.path, query, self.kind.accepts(many=False), seconds + _WATCH_GRACE) as answer:
            self.counters.watches += 1
            self.failure = None
            self._stamps.connected()
            for line in lines(answer):
                if line:
                    self._take(line)
                if self._stopping.is_set():
                    return
            self._stamps.heard()  # the server ended it in good order

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
                self._tell(event.type, given)
        self._version = version or self._version
        self._stamps.heard()

    def _tell(self, type_: str, given: objects.Plain) -> None:
        uid = given.metadata.uid
        if type_ == "DELETED":
            self._uids.discard(uid)
            self._sink(Seen(self.kind, self._stamps.of(given.metadata.deletion_timestamp), gone=uid))
            return
        at = self._stamps.of(given.metadata.creation_timestamp if uid not in self._uids else None)
        self._bound(self._uids, uid)
        self._uids.add(uid)
        self._sink(Seen(self.kind, at, put=given))

    def _bound(self, uids: set[str], uid: str) -> None:
        """There is one more. Raises _TooManyError."""
        if len(uids) >= _MOST and uid not in uids:
            raise _TooManyError(f"there are more than {_MOST:,} {self.kind.resource}: leave them out of kubernetes.kinds")

    def _decode(self, raw: msgspec.Raw) -> objects.Plain | None:
        try:
            given: objects.Plain = DECODERS[self.kind.name].decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self.counters.malformed += 1
            _log.warning("kubernetes_object_not_read", kind=self.kind.name, reason=str(error))
            return None
        if given.metadata.annotations:
            kept = {key: value for key, value in given.metadata.annotations.items() if self._annotations(key)}
            msgspec.structs.force_setattr(given.metadata, "annotations", kept or None)
        return given
