"""Names the ends of past flows that their agents could not name, by the graph as it was when they began."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from skytrail.addresses.book import PROTOCOLS, Book, Changes, Owner, network_of, port_of
from skytrail.asking.asker import Answers, Asker
from skytrail.asking.questions import FlowsQuestion, Part, Question, Range
from skytrail.asking.terms import Term, compiled, keys_of
from topology.addresses.conditions import NETWORK, OWNER, SIDES, Loosening
from topology.addresses.entries import Entries
from topology.elements import Revision
from topology.store.interface import Store, StoreError

_log = structlog.get_logger(__name__)

_TUNNEL = "Tunnel"
_TRANSPORT = "Transport"
_NEEDED = ("Network", "Start", "Namespace", _TUNNEL, _TRANSPORT)
_MOST = 200_000  # revisions of one question: some seconds; beyond them what agents told is all


class PastBook:
    """Who had which address, when, within a range of time.

    Args:
        store: whose graph it follows from.
        begin: of the range, µs.
        end: of it.

    Attributes:
        book: it.
        begin: since when it is known.
    """

    def __init__(self, store: Store, begin: int, end: int) -> None:
        self.begin = begin
        self.book, self._entries = Book(keeps=True), Entries()
        self._place = functools.cache(self._entries.place)
        there, later = _revisions(store, begin, end)
        self._entries.load(there)
        self.book.apply(Changes(tuple(self._entries.current()), whole=True), end)
        for revision in later:
            if changes := self._entries.take(revision):
                self.book.apply(changes, end)

    def name(self, flow: dict[str, Any], host: str) -> dict[str, dict[str, str]]:
        """Owners of the ends of a flow, by ``A`` and ``B``; of one that began before the range, none.

        Args:
            flow: its JSON.
            host: TID of the host that saw it.
        """
        network, at = flow.get(NETWORK), _began(flow)
        if not isinstance(network, Mapping) or at is None or at < self.begin:
            return {}
        place = self._place(host, str(flow.get("Namespace") or ""))
        tunnel = flow.get(_TUNNEL)
        inside = network_of(tunnel["Type"], tunnel["ID"]) if tunnel else 0
        transport = flow.get(_TRANSPORT) or {}
        protocol = PROTOCOLS.get(str(transport.get("Protocol")), 0)
        found = {}
        for side in SIDES:
            port = port_of(protocol, transport.get(side) or 0) if protocol else 0
            found[side] = self._find(str(network.get(side)), place, host, at, inside, port)
        return {side: owner.shown() for side, owner in found.items() if owner is not None}

    def _find(self, text: str, place: str, host: str, at: int, network: int, port: int) -> Owner | None:
        try:
            return self.book.find(ipaddress.ip_address(text).packed, place, host, at, network, port)
        except ValueError:
            return None


def _began(flow: Mapping[str, Any]) -> int | None:
    """When a flow did, µs: its milliseconds are meant to their end."""
    start = flow.get("Start")
    return start * 1000 + 999 if isinstance(start, int) else None


def _revisions(store: Store, begin: int, end: int) -> tuple[list[Revision], list[Revision]]:
    """What there was at the beginning, and what became of it, in order; deletions too. Raises StoreError: it is too much."""
    there: list[Revision] = []
    later: list[tuple[int, int, Revision]] = []
    for revision in store.between(begin, end):
        state = msgspec.structs.replace(revision, deleted=False)
        if revision.updated_at <= begin:
            there.append(state)
        else:
            later.append((revision.updated_at, 1, state))
        if revision.deleted and revision.archived_at <= end:
            over = msgspec.structs.replace(revision, updated_at=revision.archived_at, state=None)
            later.append((revision.archived_at, 0, over))
        if len(there) + len(later) > _MOST:
            raise StoreError(f"the graph has more than {_MOST} revisions from then on: ask for a shorter time")
    later.sort(key=lambda one: one[:2])
    return there, [one for _, _, one in later]


class NamingAsker:
    """Asks as another does, and adds the names of past flows; an :class:`skytrail.asking.asker.Asker`.

    Args:
        asker: who asks.
        store: has the graph.
    """

    def __init__(self, asker: Asker, store: Store) -> None:
        self._asker, self._store = asker, store

    def hosts(self) -> Mapping[str, str]:
        """As :meth:`skytrail.asking.asker.Asker.hosts`."""
        return self._asker.hosts()

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:
        """As :meth:`skytrail.asking.asker.Asker.ask`."""
        if not isinstance(question, FlowsQuestion) or question.when is None:
            return self._asker.ask(question, hosts)
        wanted, past = _Wanted(question), _Past(self._store, question.when)
        if not (wanted.shown or wanted.asked_for):
            return self._asker.ask(question, hosts)
        answers = self._asker.ask(wanted.of_agents(past), hosts)
        return replace(answers, parts=_Named(answers, past, wanted))


class _Wanted:
    """What is to be told of a question's flows.

    Attributes:
        shown: whether names are.
        asked_for: whether which flows, or their order, depends on them.
    """

    def __init__(self, question: FlowsQuestion) -> None:
        self._question, self._fields = question, question.fields
        term_keys = set(keys_of(question.term))
        self.shown = self._fields is None or OWNER in self._fields
        self.asked_for = any(key.partition(".")[0] == OWNER for key in (*term_keys, question.sort or ""))
        self._tested = {key.partition(".")[0] for key in term_keys}
        self._term: Term | None = None

    def of_agents(self, past: _Past) -> FlowsQuestion:
        """What agents are to be asked: of those that they cannot name, all that may be meant."""
        question, fields = self._question, self._fields
        book = past.book() if self.asked_for else None
        if book is not None:  # else it is as far as agents knew
            self._term = question.term
            loose = Loosening(book.book, book.begin // 1000).maybe(question.term) if question.term else None
            question = msgspec.structs.replace(question, term=loose, sort=None, limit=0)
        needed = None if fields is None else tuple(sorted({*fields, *_NEEDED, OWNER, *self._tested}))
        return msgspec.structs.replace(question, fields=needed)

    def of(self, flows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that are meant, once they are named, with what is wanted of them."""
        test = compiled(self._term) if self._term else None
        found = (flow for flow in flows if test is None or test(flow))
        fields = self._fields
        return [flow if fields is None else {key: value for key, value in flow.items() if key in fields} for flow in found]


class _Past:
    """The book of a question's time, made when it is needed; from earlier on, when a flow began before.

    Args:
        store: whose graph it follows from.
        when: the time.
    """

    def __init__(self, store: Store, when: Range) -> None:
        self._store, self._when = store, when
        self._book: PastBook | None = None
        self._unmade = -1  # it is too much from then on

    def book(self, since: int | None = None) -> PastBook | None:
        """It, from a time (µs) on, or from as early as it can be made; None: it cannot. That is logged."""
        own, end = self._when.begin * 1000, self._when.end * 1000 + 999
        begin = self._book.begin if self._book else own
        if since is not None and since < begin:
            begin = max(0, min(since, begin - (end - begin)))  # twice as much each time: few times, whatever hosts tell
        for one in (begin, own):
            if one > self._unmade and (self._book is None or one < self._book.begin):
                self._make(one, end)
        return self._book

    def _make(self, begin: int, end: int) -> None:
        try:
            self._book = PastBook(self._store, begin, end)
        except StoreError as error:
            self._unmade = begin
            _log.warning("past_flows_not_named", reason=str(error))


class _Named:
    """The parts of an answer, named as they are read."""

    def __init__(self, answers: Answers, past: _Past, wanted: _Wanted) -> None:
        self._answers, self._past, self._wanted = answers, past, wanted

    def __iter__(self) -> Iterator[tuple[str, Part]]:
        for host, part in self._answers.parts:
            unnamed = [flow for flow in part.found if not _is_named(flow)]
            since = min((began for flow in unnamed if (began := _began(flow)) is not None), default=None)
            book = self._past.book(since) if unnamed else None
            found = (self._named(flow, host, book) for flow in part.found)
            yield host, msgspec.structs.replace(part, found=self._wanted.of(found))

    def _named(self, flow: dict[str, Any], host: str, book: PastBook | None) -> dict[str, Any]:
        told = flow.get(OWNER) or {}
        if book is not None and not _is_named(flow):
            owners = {**book.name(flow, host), **told}  # who was there knew better
            flow = {**flow, OWNER: owners} if owners else flow
        return flow


def _is_named(flow: Mapping[str, Any]) -> bool:
    """Whether both ends are."""
    told = flow.get(OWNER) or {}
    return all(side in told for side in SIDES)
