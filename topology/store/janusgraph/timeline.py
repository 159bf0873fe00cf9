"""Changes → entries of the log: where each stands in the history of its element. Pure.

Nearly all changes come after what is known; for those the element's latest entry is enough. One that comes late needs the
whole history, which the caller brings.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from topology.elements import FOREVER, Kind, State, decode_state, encode_state
from topology.store.interface import Batch, Change, StoreError
from topology.store.janusgraph.records import Entry
from topology.store.janusgraph.schema import declared_values

ROWS = 250
"""Changes of one transaction (lab/janusgraph.md: 50 to 250 are fastest)."""

BYTES = 4 << 20
"""Of their documents."""


def digest(document: bytes) -> bytes:
    """Tells documents apart; 16 bytes."""
    return hashlib.blake2b(document, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Step:
    """An entry and what it says.

    Attributes:
        entry: its times.
        digest: of the document; empty for a deletion.
        kind: of the element.
        values: the declared keys.
        document: None where only the digest is kept.
        state: None for a deletion, or where only the digest is kept.
    """

    entry: Entry
    digest: bytes
    kind: Kind
    values: Mapping[str, Any]
    document: bytes | None = None
    state: State | None = None

    def light(self) -> Step:
        """Without the document, to be kept."""
        return Step(self.entry, self.digest, self.kind, self.values)


def step(entry: Entry, document: bytes, kind: Kind = Kind.NODE) -> Step:
    """From what the log has; ``kind`` is for deletions. Raises msgspec.MsgspecError for a document that is no state."""
    if entry.gone:
        return Step(entry, b"", kind, {}, b"")
    state = decode_state(document)
    return Step(entry, digest(document), state.kind, declared_values(state), document, state)


@dataclass(slots=True)
class Work:
    """An element that a batch changes.

    Attributes:
        id: of the element.
        given: the latest number.
        steps: its history, or the latest of it, by time; those that are new among them.
        before: the same before the batch.
        late: something came before what was known.
        new: sequences of what is new.
    """

    id: str
    given: int
    steps: list[Step]
    before: tuple[Step, ...] = ()
    late: bool = False
    new: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.before = tuple(_copy(one) for one in self.steps)

    @property
    def tail(self) -> Step | None:
        """What is now; None: nothing, or nothing any more."""
        return self.steps[-1] if self.steps and not self.steps[-1].entry.gone else None

    def take(self, change: Change, sequence: int, recorded: int) -> Step | None:
        """Take a change in; None: it was so already."""
        place = bisect_right(self.steps, change.at, key=lambda one: one.entry.at)
        previous = self.steps[place - 1] if place else None
        there = previous if previous is not None and not previous.entry.gone else None
        document = b"" if change.state is None else encode_state(change.state)
        told = digest(document) if document else b""
        if told == (there.digest if there is not None else b""):
            return None
        following = self.steps[place].entry if place < len(self.steps) else None
        self.given += 1
        entry = Entry(
            self.id,
            self.given,
            there.entry.created if there is not None else change.at,
            change.at,
            following.at if following else FOREVER,
            following is not None and following.gone,
            recorded,
            sequence,
            change.state is None,
            self.given,
        )
        if there is not None:
            there.entry.to, there.entry.ends = entry.at, entry.gone
        elif previous is not None:
            previous.entry.to = entry.at
        known = change.state
        kind = known.kind if known else previous.kind if previous else Kind.NODE
        new = Step(entry, told, kind, declared_values(known) if known else {}, document, known)
        if following is not None:
            self.late = True
            entry.lives = tuple(self._lives(place, entry, split=there is not None))
        self.steps.insert(place, new)
        self.new.add(sequence)
        return new

    def _lives(self, place: int, late: Entry, *, split: bool) -> Iterator[int]:
        """What follows a late deletion began to be later; what follows a late coming to be, earlier."""
        if late.gone != split:
            return
        created = late.to if split else late.created
        for one in self.steps[place:]:
            if one.entry.gone:
                return
            one.entry.created = created
            yield one.entry.sequence


def _copy(one: Step) -> Step:
    return Step(structs.replace(one.entry), one.digest, one.kind, one.values, one.document, one.state)


@dataclass(slots=True)
class Plan:
    """What a batch does.

    Attributes:
        entries: new ones in the order of their sequences, with their documents.
        works: the elements concerned.
    """

    entries: list[tuple[Entry, bytes]]
    works: list[Work]


Histories = Callable[[Iterable[str]], Mapping[str, tuple[int, list[Step]]]]
"""Gives, for IDs, the latest number and the whole history of those elements that ever were."""


def plan(batch: Batch, tails: Mapping[str, Step], histories: Histories, after: int) -> Plan:
    """The entries for a batch, with sequences after ``after``.

    Args:
        batch: to be applied.
        tails: what is there now; its steps are not touched.
        histories: asked once, for elements that are not there now or have late changes.
        after: the latest sequence given.

    Raises:
        StoreError: a time that is none, or as ``histories`` raises.
    """
    unknown: dict[str, None] = {}
    latest: dict[str, int] = {}
    for change in batch.changes:
        if not 0 < change.at < FOREVER:
            raise StoreError(f"{change.at} is no time in µs since the epoch: report this")
        tail = tails.get(change.id)
        if tail is None or not tail.entry.given or change.at < latest.setdefault(change.id, tail.entry.at):
            unknown[change.id] = None
        latest[change.id] = change.at
    known = histories(unknown) if unknown else {}
    works: dict[str, Work] = {}
    entries: list[tuple[Entry, bytes]] = []
    for change in batch.changes:
        work = works.get(change.id)
        if work is None:
            work = works[change.id] = _work(change.id, tails, known, whole=change.id in unknown)
        new = work.take(change, after + len(entries) + 1, batch.recorded)
        if new is not None:
            entries.append((new.entry, new.document or b""))
    return Plan(entries, [work for work in works.values() if work.new])


def _work(id_: str, tails: Mapping[str, Step], known: Mapping[str, tuple[int, list[Step]]], *, whole: bool) -> Work:
    if whole:
        given, steps = known.get(id_, (0, []))
        return Work(id_, given, steps)
    return Work(id_, tails[id_].entry.given, [_copy(tails[id_])])


def groups(works: list[Work]) -> Iterator[list[Work]]:
    """Parts that are each one transaction."""
    group: list[Work] = []
    rows = size = 0
    for work in works:
        more = sum(len(one.document or b"") for one in work.steps if one.entry.sequence in work.new)
        if group and (rows + len(work.new) > ROWS or size + more > BYTES):
            yield group
            group, rows, size = [], 0, 0
        group.append(work)
        rows += len(work.new)
        size += more
    if group:
        yield group
