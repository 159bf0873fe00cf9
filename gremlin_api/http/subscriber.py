"""Skydive's WebSocket ``/ws/subscriber``: the graph at once, and then each change of it without being asked.

Source: Skydive's topology/subscriber.go and graffiti/messages; what a running one does where they differ.

One task reads the store's feed for all who listen, and keeps the graph as the feed told it so far (:class:`_Mirror`). So a
reply to a ``SyncRequest`` is the graph at a place in the feed, and what comes after that place follows it: nothing twice,
nothing left out. Who has a filter is told how the filter's answer differs from the one before.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import msgspec
import structlog

from gremlin_api.errors import NO_SUCH_ELEMENT, TraversalError
from gremlin_api.execution import Executor
from gremlin_api.graphs.topology import Shown
from gremlin_api.http.websocket import LOGIN
from gremlin_api.skydive.answering import SkydiveAnswerer
from gremlin_api.skydive.answers import Answer
from gremlin_api.skydive.graph import Graphs, SkydiveGraph
from gremlin_api.skydive.kinds import Kind as AnswerKind
from skytrail.errors import BusyError, SkytrailError
from skytrail.http.guard import Receive, Scope, Send
from topology.elements import FOREVER, Kind, Revision
from topology.shape import Json, element_json, graph_json
from topology.store.interface import Store, StoreError

T = TypeVar("T")
Elements: TypeAlias = dict[str, Revision]
"""Parts of a graph, by ID."""

PATH = "/ws/subscriber"

NOT_TAKEN, REFUSED, BROKEN, LATER = 1003, 1008, 1011, 1013
"""Codes of a close. Source: RFC 6455, 7.4.1, and IANA's registry for 1013."""

_GRAPH, _ANY = "Graph", "*"
_SYNC, _REPLY, _ERROR = "SyncRequest", "SyncReply", "Error"
_OK, _BAD, _UNAVAILABLE = 200, 400, 503
_ADD, _DELETE = 1, 2  # Type of an operation
_WHOLE = "G"
_REQUESTS = 16  # of one client, that wait
_SYNCS = 2  # replies that are made at a time
_TRIES, _PAUSE = 50, 0.1  # where too much is asked at once: how often, and seconds between
_REASON = 123  # bytes of a close's reason at most: RFC 6455, 5.5
_ALWAYS = FOREVER  # the place in the feed of what is not in it: it is never left out

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What subscribers may cost, and how soon they are told. Times in seconds.

    Attributes:
        queue: messages that wait for one client; with more it is too slow, and closed.
        queue_size: of these, in characters.
        page: entries of the feed that are read at a time.
        look: between two looks at the feed.
        rest: between two answers to one filter, at least; they take half of the time at most.
        close: that a client may take to read why it is closed.
    """

    queue: int = 10_000
    queue_size: int = 64 << 20
    page: int = 1_000
    look: float = 0.05
    rest: float = 0.1
    close: float = 5.0


class _Closed(Exception):  # noqa: N818 - an end
    """The connection ends; code 0: the client has gone."""

    def __init__(self, code: int = 0, reason: str = "") -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass(frozen=True, slots=True)
class _About:
    """What a client said of itself when it came.

    Attributes:
        service: X-Client-Type.
        host: X-Host-ID, or its address.
        address: IP address and port.
        since: s since the epoch.
        listens: whether it wants to be told of the graph without asking.
        partial: whether it takes what of an element has changed instead of the whole.
        filter: a query of Skydive's dialect; empty: none.
    """

    service: str
    host: str
    address: tuple[str, int]
    since: float
    listens: bool
    partial: bool
    filter: str


class _Message(msgspec.Struct, rename={"namespace": "Namespace", "type": "Type", "uuid": "UUID", "content": "Obj"}):
    """What a client sends."""

    namespace: str
    type: str
    uuid: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Request(msgspec.Struct, rename={"time": "Time", "filter": "GremlinFilter"}):
    """What a SyncRequest has; ``time``: ms since the epoch; 0 or None: now."""

    time: Annotated[int, msgspec.Meta(ge=0)] | None = None
    filter: str | None = None


_encode = msgspec.json.Encoder(order="deterministic").encode
_read_message: Callable[[str], _Message] = msgspec.json.Decoder(_Message).decode
_read_request: Callable[[msgspec.Raw], _Request | None] = msgspec.json.Decoder(_Request | None).decode


@dataclass(frozen=True, slots=True)
class _Event:
    """What became of one element. ``before`` None: it was added; ``after`` None: it was deleted.

    Attributes:
        sequence: its place in the feed.
    """

    sequence: int
    before: Revision | None
    after: Revision | None


@dataclass(frozen=True, slots=True)
class _Told:
    """An event as messages: for those who take whole elements, and for those who take what has changed."""

    sequence: int
    full: str
    partial: str


class _Mirror:
    """The graph as the feed told it up to a sequence. For any thread; :meth:`read` for one at a time.

    Raises:
        StoreError: the store cannot say what is there.
    """

    def __init__(self, store: Store, page: int) -> None:
        self._store, self._page = store, page
        self._lock = threading.Lock()
        self.sequence = store.health().sequence
        self._there: Elements = {one.id: one for one in store.current()}  # and so maybe some of what comes next in the feed
        ahead = store.health().sequence
        before = -1
        while before < self.sequence < ahead:
            before = self.sequence
            self.read()

    def read(self) -> list[_Event]:
        """Take what comes next in the feed; there may be more. Raises StoreError."""
        entries: list[Revision] = []
        more = True
        while more:
            found = self._store.feed(entries[-1].sequence if entries else self.sequence, self._page)
            entries += found
            more = len(found) == self._page and self._needs_more(entries)
        late = _late(entries)
        with self._lock:
            events = [self._take(one, late=one.sequence in late) for one in entries]
            if entries:
                self.sequence = entries[-1].sequence
        return [one for one in events if one is not None]

    def copy(self) -> tuple[int, list[Revision]]:
        """Up to which sequence, and all elements."""
        with self._lock:
            return self.sequence, list(self._there.values())

    def _needs_more(self, entries: list[Revision]) -> bool:
        """Whether it cannot be told yet if something was added: where it ended stands further on in the feed, or nowhere."""
        late, deleted = _late(entries), {one.id for one in entries if one.state is None}
        return any(one.sequence in late and (one.id not in self._there or one.id in deleted) for one in entries)

    def _take(self, entry: Revision, *, late: bool) -> _Event | None:
        """What an entry makes of the graph; None: nothing, for it came late, or is known."""
        before = self._there.get(entry.id)
        if before is not None and (before.sequence >= entry.sequence or before.updated_at > entry.updated_at):
            return None
        if entry.state is not None:
            if before is None and late:
                return None
            there = entry  # as it was then: the feed may know its end already
            if entry.archived_at != FOREVER:
                there = msgspec.structs.replace(entry, archived_at=FOREVER, deleted=False)
            self._there[entry.id] = there
            return _Event(entry.sequence, before, there)
        if before is None:
            return None
        del self._there[entry.id]
        return _Event(entry.sequence, msgspec.structs.replace(before, archived_at=entry.updated_at, deleted=True), None)


def _late(entries: list[Revision]) -> set[int]:
    """Sequences of states that were past when they were recorded: no later entry, but maybe such a one, is their end."""
    found: set[int] = set()
    ends: set[tuple[str, int]] = set()
    for one in reversed(entries):
        if one.state is not None and one.archived_at != FOREVER and (one.id, one.archived_at) not in ends:
            found.add(one.sequence)
        else:
            ends.add((one.id, one.updated_at))
    return found


def _messages(events: Iterable[_Event], shown: Shown, *, partial: bool) -> list[_Told]:
    """Events as messages; without ``partial`` all tell whole elements."""
    return [_told(one, shown, partial=partial) for one in events]


def _told(event: _Event, shown: Shown, *, partial: bool) -> _Told:
    element = event.after or event.before
    assert element is not None
    assert element.state is not None
    kind = "Node" if element.state.kind is Kind.NODE else "Edge"
    done = "Added" if event.before is None else "Deleted" if event.after is None else "Updated"
    whole = element_json(element, shown.of(element.id) if event.after is not None else None)
    changed = _changed(event, shown) if partial else None
    full = _message(f"{kind}{done}", whole)
    return _Told(event.sequence, full, full if changed is None else _message(f"{kind}PartiallyUpdated", changed))


def _changed(event: _Event, shown: Shown) -> Json | None:
    """What an update changed, by keys at the top of the metadata; None: that is told by the whole element only.

    What is volatile is told as it is now.
    """
    if event.before is None or event.after is None:
        return None
    old, new = element_json(event.before), element_json(event.after)
    before, after = old.pop("Metadata"), new.pop("Metadata")
    if any(old.get(key) != new.get(key) for key in _IDENTITY) or any("." in key for key in (*before, *after)):
        return None  # in a key of an operation a dot leads into a map
    gone = [{"Type": _DELETE, "Key": key} for key in sorted(before.keys() - after.keys())]
    told = {key: value for key, value in after.items() if key not in before or _encode(before[key]) != _encode(value)}
    told |= shown.of(event.after.id)
    came = [{"Type": _ADD, "Key": key, "Value": value} for key, value in sorted(told.items())]
    return {"ID": new["ID"], "UpdatedAt": new["UpdatedAt"], "Revision": new["Revision"], "Ops": [*gone, *came]}


_IDENTITY = ("Host", "Origin", "CreatedAt", "Parent", "Child")


def _message(type_: str, content: Any, id_: str | None = None) -> str:  # noqa: ANN401 - JSON
    """A message of the graph that is no error."""
    return _written(_GRAPH, type_, str(uuid.uuid4()) if id_ is None else id_, _OK, content)


def _written(namespace: str, type_: str, id_: str, status: int, content: Any, **more: str) -> str:  # noqa: ANN401 - JSON
    message = {"Namespace": namespace, "Type": type_, "UUID": id_, "Status": status, "Obj": content, **more}
    return msgspec.json.encode(message).decode()


def _refusal(asked: _Message, status: int, reason: str) -> str:
    """An answer that says why there is none.

    ``Obj`` is null, which Skydive's clients read as nothing; they pass over ``Error``, which says it in words.
    """
    type_ = _REPLY if (asked.namespace, asked.type) == (_GRAPH, _SYNC) else _ERROR
    return _written(asked.namespace, type_, asked.uuid, status, None, Error=reason)


def _differences(before: Elements, after: Elements) -> Iterator[_Event]:
    """What to do to one part of a graph to have the other: no edge is there without its nodes meanwhile."""
    gone = [_Event(_ALWAYS, one, None) for id_, one in before.items() if id_ not in after]
    came = [
        _Event(_ALWAYS, before.get(id_), one)
        for id_, one in after.items()
        if id_ not in before or before[id_].sequence != one.sequence
    ]
    yield from (one for one in gone if _is_edge(one.before))
    yield from (one for one in gone if not _is_edge(one.before))
    yield from (one for one in came if not _is_edge(one.after))
    yield from (one for one in came if _is_edge(one.after))


def _is_edge(revision: Revision | None) -> bool:
    return revision is not None and revision.state is not None and revision.state.kind is Kind.EDGE


def _elements(answer: Answer) -> Elements:
    """The part of the graph that an answer is; of several revisions of an element, the last. Raises TraversalError."""
    if answer.kind is AnswerKind.NODES:
        found = [one.revision for one in answer.values]
    elif answer.kind is AnswerKind.PART:
        found = [one.revision for part in answer.values for one in (*part.nodes, *part.edges)]
    else:
        raise TraversalError(f"a filter gives nodes, or a part of the graph, not {answer.kind.value}: SubGraph() makes one")
    return {one.id: one for one in sorted(found, key=lambda one: one.number)}


class _Past:
    """Graphs to which now is a moment that is past."""

    def __init__(self, graphs: Graphs, when: int) -> None:
        self._graphs, self._when = graphs, when

    def clock(self) -> int:
        """µs since the epoch."""
        return self._when

    def as_of(self, when: int | None) -> SkydiveGraph:
        """The graph at a moment; None: now. Raises SkytrailError."""
        return self._graphs.as_of(self._when if when is None else when)

    def during(self, begin: int, end: int, each: Callable[[], object]) -> SkydiveGraph:
        """All revisions of a range of time. Raises SkytrailError."""
        return self._graphs.during(begin, end, each)


class _Asking:
    """Parts of the graph as messages: work for the executor's threads. All raise SkytrailError.

    Args:
        graphs: where they come from.
        shown: what is shown beside them now.
        executor: whose gate lets so many look at a whole graph at a time.
    """

    def __init__(self, graphs: Graphs, shown: Shown, executor: Executor) -> None:
        self._graphs, self._shown, self._gate = graphs, shown, executor.scans

    def part(self, query: str, cancelled: threading.Event, *, holds: bool = False) -> Elements:
        """What a filter gives now; one that ``holds`` already gives nothing where the element that it names has gone."""
        try:
            return self._of(self._graphs, query, cancelled)
        except TraversalError as error:
            if holds and error.kind == NO_SUCH_ELEMENT:
                return {}
            raise

    def reply(self, query: str, id_: str, cancelled: threading.Event, *, holds: bool = False) -> tuple[Elements, str]:
        """The same, and as the reply to a request."""
        found = self.part(query, cancelled, holds=holds)
        return found, self._reply(id_, found.values())

    def past(self, query: str, when: int, id_: str, cancelled: threading.Event) -> str:
        """The reply about a moment, µs since the epoch."""
        found = self._of(_Past(self._graphs, when), query or _WHOLE, cancelled)
        return _message(_REPLY, graph_json(found.values()), id_)

    def whole(self, mirror: _Mirror, id_: str) -> tuple[int, str]:
        """The reply with the whole graph, and up to which sequence it is."""
        sequence, found = mirror.copy()
        return sequence, self._reply(id_, found)

    def compared(
        self, query: str, before: Elements, cancelled: threading.Event, *, partial: bool
    ) -> tuple[Elements, list[str]]:
        """What a filter that holds gives now, and messages that make it of what it gave before."""
        after = self.part(query, cancelled, holds=True)
        told = _messages(_differences(before, after), self._shown, partial=partial)
        return after, [one.partial for one in told]

    def heard(self, mirror: _Mirror, *, partial: bool) -> list[_Told]:
        """What comes next in the feed."""
        return _messages(mirror.read(), self._shown, partial=partial)

    def is_past(self, when: int) -> bool:
        """Whether a moment has gone by; µs since the epoch."""
        return when < self._graphs.clock()

    def _reply(self, id_: str, found: Iterable[Revision]) -> str:
        elements = list(found)
        volatile = {one.id: self._shown.of(one.id) for one in elements}
        return _message(_REPLY, graph_json(elements, volatile), id_)

    def _of(self, graphs: Graphs, query: str, cancelled: threading.Event) -> Elements:
        return _elements(SkydiveAnswerer(graphs, gate=self._gate).answer(query, cancelled))


async def _unless_gone(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do the work of a client that is not accepted yet. Raises _Closed: it has gone, and what the work raises."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(receive())
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise _Closed
        working.result()
    finally:
        for task in (working, gone):
            task.cancel()


class SubscriberSocket:
    """An ASGI application for WebSockets that tells subscribers of the graph as Skydive's ``/ws/subscriber`` does.

    Args:
        store: whose feed is read.
        graphs: the same graph, for filters and moments.
        shown: what is shown beside it now, and is no reason to tell anything.
        executor: where it is read and asked.
        bounds: what subscribers may cost.

    Attributes:
        subscribers: how many there are.
        sent: messages to them.
        overflowed: how many were closed because they were too slow.
    """

    def __init__(self, store: Store, graphs: Graphs, shown: Shown, executor: Executor, bounds: Bounds = Bounds()) -> None:
        self._store, self._executor, self.bounds = store, executor, bounds
        self.asking = _Asking(graphs, shown, executor)
        self._clients: set[_Client] = set()
        self._joining, self._syncing = asyncio.Lock(), asyncio.Semaphore(_SYNCS)
        self._mirror: _Mirror | None = None
        self._following: asyncio.Task[None] | None = None
        self._wake, self._waiting = asyncio.Event(), list[asyncio.Future[None]]()
        self.subscribers = self.sent = self.overflowed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell a client of the graph until it goes."""
        if (await receive())["type"] != "websocket.connect":
            return
        if scope.get(LOGIN) is not None:  # nobody asks here who it is
            await send({"type": "websocket.close", "code": REFUSED})
            return
        try:
            end = await self._serve(_about(scope), receive, send)
        except _Closed as closed:
            await send({"type": "websocket.accept"})
            end = closed
        if end.code:
            with contextlib.suppress(TimeoutError, OSError):  # who does not read does not see it
                async with asyncio.timeout(self.bounds.close):
                    await send({"type": "websocket.close", "code": end.code, "reason": _short(end.reason)})

    def status(self) -> dict[str, dict[str, object]]:
        """Who is subscribed, by address: Skydive's ``Subscribers`` of /api/status. For any thread."""
        return {_shown_address(one.about.address): _status(one.about) for one in list(self._clients)}

    async def _serve(self, about: _About, receive: Receive, send: Send) -> _Closed:
        """How it ended. Raises _Closed for a client that cannot be subscribed: it is not accepted yet."""
        try:
            client = await self._join(about, send)
        except SkytrailError as error:
            raise _Closed(LATER, str(error)) from error
        try:
            await _unless_gone(client.begin(), receive)
            await send({"type": "websocket.accept"})
            return await client.serve(receive)
        finally:
            self._leave(client)

    async def _join(self, about: _About, send: Send) -> _Client:
        """A client that hears all that comes from now on. Raises StoreError, BusyError."""
        async with self._joining:
            if self._mirror is None:
                mirror = await self._executor.answer(lambda _: _Mirror(self._store, self.bounds.page), threading.Event())
                self._mirror, self._following = mirror, asyncio.create_task(self._follow(mirror))
            client = _Client(self, about, self._mirror.sequence, send)
            self._clients.add(client)
            self.subscribers = len(self._clients)
        return client

    def _leave(self, client: _Client) -> None:
        self._clients.discard(client)
        self.subscribers = len(self._clients)
        if not self._clients:
            self._rest()

    def _rest(self) -> None:
        """Nobody listens: the feed need not be read."""
        if self._following is not None:
            self._following.cancel()
        self._mirror = self._following = None

    async def _follow(self, mirror: _Mirror) -> None:
        """Read the feed and tell it to all, until it cannot be read any more."""
        try:
            while True:
                if not await self._pull(mirror):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self.bounds.look):
                            await self._wake.wait()
                    self._wake.clear()
        except Exception:  # noqa: BLE001 - it ends this task: those who listen must know
            _log.exception("feed unreadable", effect="subscribers are closed")
            self._mirror = self._following = None
            for client in self._clients:
                client.fail(_Closed(BROKEN, "what changes cannot be told any more: connect again; the log says why"))

    async def _pull(self, mirror: _Mirror) -> bool:
        """Take a page of the feed: whether there may be more."""
        waiting, self._waiting = self._waiting, []
        before, partial = mirror.sequence, any(one.about.partial for one in self._clients)
        try:
            told = await self._executor.answer(lambda _: self.asking.heard(mirror, partial=partial), threading.Event())
        except (BusyError, StoreError) as error:
            for one in waiting:
                if not one.done():
                    one.set_exception(error)
            return False
        for client in self._clients if told else ():
            client.hear(told)
        if mirror.sequence != before:
            self._waiting += waiting
            return True
        for one in waiting:
            if not one.done():
                one.set_result(None)
        return False

    @property
    def position(self) -> int:
        """Up to where the feed has been read."""
        return -1 if self._mirror is None else self._mirror.sequence

    async def whole(self, id_: str, cancelled: threading.Event) -> tuple[int, str]:
        """The reply with the whole graph as it is now, and up to which sequence it is. Raises StoreError, BusyError."""
        mirror = self._mirror
        if mirror is None:
            raise BusyError("what changes cannot be told any more: connect again")
        caught_up = asyncio.get_running_loop().create_future()
        self._waiting.append(caught_up)
        self._wake.set()
        await caught_up
        return await self._executor.answer(lambda _: self.asking.whole(mirror, id_), cancelled)

    async def patiently(self, make: Callable[[], Awaitable[T]]) -> T:
        """What is made; tried again where too much is asked at once. Raises BusyError, and what making it raises."""
        async with self._syncing:
            for _ in range(_TRIES):
                with contextlib.suppress(BusyError):
                    return await make()
                await asyncio.sleep(_PAUSE)
            return await make()

    async def work(self, work: Callable[[threading.Event], T], cancelled: threading.Event) -> T:
        """What the executor's threads make of it. Raises BusyError, and what the work raises."""
        return await self._executor.answer(work, cancelled)


class _Reply:
    """A place in a client's queue for a reply that is being made.

    Attributes:
        made: up to which sequence it has what the feed told, and its text.
        sent: done when it is.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.made: asyncio.Future[tuple[int, str]] = loop.create_future()
        self.sent: asyncio.Future[None] = loop.create_future()


class _Client:
    """One subscriber.

    Args:
        hub: that it belongs to.
        about: what it said of itself.
        position: of the feed, from which on it is told.
        send: to it.
    """

    def __init__(self, hub: SubscriberSocket, about: _About, position: int, send: Send) -> None:
        self._hub, self.about, self._after, self._send = hub, about, position, send
        self._filter, self._answer = about.filter, dict[str, Revision]()
        self._queue: deque[tuple[int, str] | _Reply] = deque()
        self._size = 0
        self._filled, self._changed = asyncio.Event(), asyncio.Event()
        self._asked: asyncio.Queue[str] = asyncio.Queue(_REQUESTS)
        self._asking = asyncio.Lock()  # the filter is asked by one at a time: its answers are compared
        self._failed: asyncio.Future[_Closed] = asyncio.get_running_loop().create_future()
        self._gone = threading.Event()

    async def begin(self) -> None:
        """Ask its filter for the first time. Raises _Closed."""
        if not self._filter:
            return
        query = self._filter
        try:
            self._answer = await self._hub.patiently(lambda: self._work(lambda event: self._hub.asking.part(query, event)))
        except (BusyError, StoreError) as error:
            raise _Closed(LATER, str(error)) from error
        except SkytrailError as error:
            raise _Closed(REFUSED, f"X-Gremlin-Filter: {error}") from error

    async def serve(self, receive: Receive) -> _Closed:
        """Tell it and answer it until it ends: how it did."""
        parts = (self._receive(receive), self._respond(), self._watch(), self._transmit(), self._fail())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._gone.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return _end(task.exception() for task in done)

    def hear(self, told: Iterable[_Told]) -> None:
        """Take in what came next in the feed."""
        if not self.about.listens:
            return
        if self._filter:
            self._changed.set()
            return
        for one in told:
            self._put(one.partial if self.about.partial else one.full, one.sequence)

    def fail(self, closed: _Closed) -> None:
        """Have it end."""
        if not self._failed.done():
            self._failed.set_result(closed)

    async def _receive(self, receive: Receive) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            if text is None:
                raise _Closed(NOT_TAKEN, "binary messages are not read here: send JSON as text, X-Client-Protocol: json")
            try:
                self._asked.put_nowait(text)  # who waited here would not see the client go
            except asyncio.QueueFull:
                raise _Closed(REFUSED, f"{_REQUESTS} requests wait already: wait for their replies") from None
        raise _Closed

    async def _fail(self) -> None:
        raise await self._failed

    async def _respond(self) -> None:
        """Answer requests, one after the other: the next is looked at when a reply has been sent."""
        while True:
            text = await self._asked.get()
            asked = _Message(_GRAPH, "")
            try:
                asked = _read_message(text)
                request = _request(asked)
            except (msgspec.MsgspecError, RecursionError) as error:
                self._put(_refusal(asked, _BAD, f"this is no message: {error}"))
                continue
            except _Unknown as error:
                self._put(_refusal(asked, _BAD, str(error)))
                continue
            reply = _Reply()
            async with self._asking:
                self._queue.append(reply)
                self._filled.set()
                reply.made.set_result(await self._reply(asked, request))
            await reply.sent

    async def _reply(self, asked: _Message, request: _Request) -> tuple[int, str]:
        try:
            return await self._hub.patiently(lambda: self._found(asked.uuid, request))
        except (BusyError, StoreError) as error:
            return -1, _refusal(asked, _UNAVAILABLE, str(error))
        except SkytrailError as error:
            return -1, _refusal(asked, _BAD, str(error))

    async def _found(self, id_: str, request: _Request) -> tuple[int, str]:
        """What is asked for, and up to which sequence of the feed it is.

        A filter holds from then on, and an empty one ends it; where it cannot be answered, the one before stays. About a moment
        that is past it holds for the reply alone.
        """
        query = self._filter if request.filter is None else request.filter.strip()
        when = (request.time or 0) * 1000
        asking = self._hub.asking
        if when and asking.is_past(when):
            return -1, await self._work(lambda event: asking.past(query, when, id_, event))
        if query:
            holds = query == self._filter
            answer, text = await self._work(lambda event: asking.reply(query, id_, event, holds=holds))
            self._filter, self._answer = query, answer
            self._changed.set()  # what was heard meanwhile is left out, for it was not filtered: maybe it is not in the answer
            return self._hub.position, text
        self._filter, self._answer = "", {}
        return await self._hub.whole(id_, self._gone)

    async def _watch(self) -> None:
        """After changes, ask the filter."""
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            self._changed.clear()
            began = loop.time()
            async with self._asking:
                if self._filter:
                    await self._compare(self._filter)
            await asyncio.sleep(max(self._hub.bounds.rest, loop.time() - began))

    async def _compare(self, query: str) -> None:
        before, partial, asking = self._answer, self.about.partial, self._hub.asking
        try:
            self._answer, told = await self._work(lambda event: asking.compared(query, before, event, partial=partial))
        except (BusyError, StoreError):
            self._changed.set()
            return
        except SkytrailError as error:
            raise _Closed(BROKEN, f"the filter cannot be answered any more: {error}") from error
        for text in told:
            self._put(text)

    async def _work(self, work: Callable[[threading.Event], T]) -> T:
        return await self._hub.work(work, self._gone)

    def _put(self, text: str, sequence: int = _ALWAYS) -> None:
        if self._failed.done():
            return
        self._queue.append((sequence, text))
        self._size += len(text)
        self._filled.set()
        bounds = self._hub.bounds
        if len(self._queue) > bounds.queue or self._size > bounds.queue_size:
            self._hub.overflowed += 1
            self.fail(_Closed(LATER, f"too slow: {len(self._queue)} messages waited to be read; connect again"))
            self._queue.clear()

    async def _transmit(self) -> None:
        """Send what waits."""
        while True:
            while not self._queue:
                self._filled.clear()
                await self._filled.wait()
            item = self._queue.popleft()
            if isinstance(item, _Reply):
                sequence, text = await item.made
                self._after = max(self._after, sequence)
                await self._say(text)
                item.sent.set_result(None)
                continue
            sequence, text = item
            self._size -= len(text)
            if sequence > self._after:  # a reply may have told it already
                await self._say(text)

    async def _say(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})
        self._hub.sent += 1
        await asyncio.sleep(0)  # where nothing has to be waited for, others have their turn


class _Unknown(Exception):  # noqa: N818 - an answer
    """A message that is none of those that are taken here."""


def _request(asked: _Message) -> _Request:
    """What a message asks for. Raises msgspec.MsgspecError, _Unknown."""
    if asked.namespace != _GRAPH:
        raise _Unknown(f"the namespace {asked.namespace!r} is not served here: {_GRAPH} is")
    if asked.type != _SYNC:
        raise _Unknown(f"{asked.type!r} is not taken here: {_SYNC} is")
    return _read_request(asked.content) or _Request()


def _end(errors: Iterable[BaseException | None]) -> _Closed:
    """How a connection ended, by what its parts raised."""
    found = [one for one in errors if one is not None]
    for one in found:
        if not isinstance(one, _Closed | OSError):
            _log.error("subscriber failed", exc_info=one)
            return _Closed(BROKEN, "this failed inside: the log says why")
    return next((one for one in found if isinstance(one, _Closed)), _Closed())


def _about(scope: Scope) -> _About:
    """What a client says of itself, in headers or, in lower case, in the URL's query. Raises _Closed."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    queried = parse_qsl(scope["query_string"].decode("ascii", "replace"), keep_blank_values=True)

    def all_of(name: str) -> list[str]:
        found = [value.decode("latin1") for key, value in headers if key == name.encode()]
        return found or [value for key, value in queried if key == name]

    def one_of(name: str) -> str:
        return next((value.strip() for value in all_of(name)), "")

    service = one_of("x-client-type")
    if not service:
        raise _Closed(REFUSED, "the header X-Client-Type is missing: it says what kind of client this is")
    if one_of("x-client-protocol").lower() not in ("", "json"):
        raise _Closed(NOT_TAKEN, "JSON is spoken here: connect with X-Client-Protocol: json")
    policy = one_of("x-update-policy").lower() or "full"
    if policy not in _POLICIES:
        raise _Closed(REFUSED, f"X-Update-Policy is {' or '.join(_POLICIES)}")
    spaces = {one.strip() for value in all_of("x-websocket-namespace") for one in value.split(",")} - {""}
    host, port = scope.get("client") or ("", 0)
    return _About(
        service,
        one_of("x-host-id") or host,
        (host, port),
        time.time(),
        not spaces or not spaces.isdisjoint((_GRAPH, _ANY)),
        policy == "partial",
        one_of("x-gremlin-filter"),
    )


_POLICIES = ("full", "partial")


def _status(about: _About) -> dict[str, object]:
    host, port = about.address
    return {
        "ServiceType": about.service,
        "ClientProtocol": "json",
        "Addr": host,
        "Port": port,
        "IsConnected": True,
        "ConnectTime": datetime.fromtimestamp(about.since, UTC).isoformat().replace("+00:00", "Z"),
        "RemoteHost": about.host,
    }


def _shown_address(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _short(reason: str) -> str:
    """So much of a reason as a close can say."""
    return reason.encode()[:_REASON].decode(errors="ignore")
