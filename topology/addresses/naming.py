"""Names the ends of past flows that their agents could not name, by the graph as it was when they began."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from skytrail.addresses.book import Book, Changes, Owner
from skytrail.asking.asker import Answers, Asker
from skytrail.asking.questions import FlowsQuestion, Part, Question
from topology.addresses.entries import Entries
from topology.elements import Revision
from topology.store.interface import Store, StoreError

_log = structlog.get_logger(__name__)

_OWNER, _NETWORK, _SIDES = "Owner", "Network", ("A", "B")
_NEEDED = ("Network", "Start", "Namespace")
_MOST = 200_000  # revisions of one question: some seconds; beyond them what agents told is all


class PastBook:
    """Who had which address, when, within a range of time.

    Args:
        store: whose graph it follows from.
        begin: of the range, µs.
        end: of it.
    """

    def __init__(self, store: Store, begin: int, end: int) -> None:
        self._book, self._entries = Book(keeps=True), Entries()
        self._place = functools.cache(self._entries.place)
        there, later = _revisions(store, begin, end)
        self._entries.load(there)
        self._book.apply(Changes(tuple(self._entries.current()), whole=True), end)
        for revision in later:
            if changes := self._entries.take(revision):
                self._book.apply(changes, end)

    def name(self, flow: dict[str, Any], host: str) -> dict[str, dict[str, str]]:
        """Owners of the ends of a flow, by ``A`` and ``B``.

        Args:
            flow: its JSON.
            host: TID of the host that saw it.
        """
        network = flow.get(_NETWORK)
        if not isinstance(network, Mapping) or not isinstance(flow.get("Start"), int):
            return {}
        place = self._place(host, str(flow.get("Namespace") or ""))
        at = int(flow["Start"]) * 1000 + 999  # it is meant to its end
        found: dict[str, Owner | None] = {side: self._find(str(network.get(side)), place, host, at) for side in _SIDES}
        return {side: owner.shown() for side, owner in found.items() if owner is not None}

    def _find(self, text: str, place: str, host: str, at: int) -> Owner | None:
        try:
            return self._book.find(ipaddress.ip_address(text).packed, place, host, at)
        except ValueError:
            return None


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
        if not isinstance(question, FlowsQuestion) or question.when is None or not _wanted(question):
            return self._asker.ask(question, hosts)
        fields = question.fields
        asked = question if fields is None else msgspec.structs.replace(question, fields=tuple({*fields, *_NEEDED}))
        answers = self._asker.ask(asked, hosts)
        return replace(answers, parts=_Named(answers, self._store, question))


def _wanted(question: FlowsQuestion) -> bool:
    return question.fields is None or _OWNER in question.fields


class _Named:
    """The parts of an answer, named as they are read."""

    def __init__(self, answers: Answers, store: Store, question: FlowsQuestion) -> None:
        self._answers, self._store, self._question = answers, store, question
        self._book: PastBook | None = None
        self._failed = False

    def __iter__(self) -> Iterator[tuple[str, Part]]:
        for host, part in self._answers.parts:
            yield host, msgspec.structs.replace(part, found=[self._named(flow, host) for flow in part.found])

    def _named(self, flow: dict[str, Any], host: str) -> dict[str, Any]:
        told = flow.get(_OWNER) or {}
        if not all(side in told for side in _SIDES) and (book := self._past()) is not None:
            owners = {**book.name(flow, host), **told}  # who was there knew better
            flow = {**flow, _OWNER: owners} if owners else flow
        fields = self._question.fields
        return flow if fields is None else {key: value for key, value in flow.items() if key in fields}

    def _past(self) -> PastBook | None:
        when = self._question.when
        assert when is not None, "it asks about a time"
        if self._book is None and not self._failed:
            try:
                self._book = PastBook(self._store, when.begin * 1000, when.end * 1000 + 999)
            except StoreError as error:
                self._failed = True
                _log.warning("past_flows_not_named", reason=str(error))
        return self._book
