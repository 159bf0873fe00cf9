"""The change log and its checkpoints as they are in JanusGraph: read, and kept for a while.

A bucket that is full is sealed: written anew as few chunks, with a *place* that says which times are on it. What is sealed
never changes but by retention, which counts up the head's generation.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable

import msgspec
from gremlin_python.process.graph_traversal import GraphTraversalSource, __
from gremlin_python.process.traversal import P, T

from topology.elements import FOREVER
from topology.store.interface import StoreError
from topology.store.janusgraph.connection import ConflictError, Connections
from topology.store.janusgraph.records import BUCKET, Entry, unpack_documents, unpack_entries
from topology.store.janusgraph.schema import HEAD_KEYS

_KEPT_PAGES = 256
_KEPT_BYTES = 64 << 20  # of documents
_NAMES = 64  # in one question
_ANSWERS = 8  # chunks of documents in one frame


class Place(msgspec.Struct, frozen=True):
    """What a page holds.

    Attributes:
        page: ``bucket/<n>`` or ``checkpoint/<sequence>``.
        first: lowest sequence on it.
        last: highest; of a checkpoint: up to which all is in it.
        earliest: lowest ``at`` on it; of a checkpoint: the time that it is the graph of.
        latest: highest ``at``.
        count: of entries.
        size: bytes of its texts.
    """

    page: str
    first: int
    last: int
    earliest: int
    latest: int
    count: int
    size: int


class Head(msgspec.Struct, frozen=True):
    """The vertex through which all writers go.

    Attributes:
        vertex: its ID.
        version: counts everything that was written.
        committed: sequence up to which all is to be seen.
        applied: the same for the elements' vertices.
        revisions: that are kept.
        size: bytes of the log.
        pending: sequence up to which a batch in several transactions is being written; 0: none.
        until: up to when nobody but ``owner`` writes: then that is taken for dead; µs since the epoch.
        owner: which process has the turn, or had it last.
        generation: counts runs of retention.
        checkpoint: sequence of the latest one.
        forgotten: time up to which retention removed what had ended; µs since the epoch.
        odd: keys, with spaces between, at which some state ever had what only its document tells; None: that is not known.
        lease: of the writer asked for.
    """

    vertex: object
    version: int
    committed: int
    applied: int
    revisions: int
    size: int
    pending: int
    until: int
    generation: int
    checkpoint: int
    forgotten: int
    odd: str | None
    owner: str = ""
    lease: str = ""


def read_head(g: GraphTraversalSource, writer: str) -> Head:
    """The head and a writer's lease. Raises StoreError where there is no head."""
    found = {one["system"]: one for one in g.V().has("system", P.within("head", f"writer/{writer}")).element_map().to_list()}
    head = found.get("head")
    if head is None:
        raise StoreError("JanusGraph has lost the store's head: restore a backup of it")
    lease = found.get(f"writer/{writer}", {}).get("lease", "")
    numbers = {key: head[key] for key in HEAD_KEYS}
    return Head(vertex=head[T.id], odd=head.get("odd"), owner=head.get("owner", ""), lease=lease, **numbers)


def place_of(page: str, entries: Collection[Entry], size: int) -> Place:
    """The place of a bucket."""
    sequences, times = [entry.sequence for entry in entries] or [0], [entry.at for entry in entries] or [FOREVER]
    return Place(page, min(sequences), max(sequences), min(times), max(times), len(entries), size)


class Log:
    """Pages of the log, those read last kept. Not for several threads at once, but :meth:`documents`, :meth:`keep_documents`.

    Args:
        connections: to the server.

    Attributes:
        sealed: places of buckets, by number.
        checkpoints: their places, by time.
        open: entries of the buckets that are not sealed.
        chunks: how many chunks these are in.
        sequence: up to which it is known.
        generation: of retention.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.sealed: dict[int, Place] = {}
        self.checkpoints: list[Place] = []
        self.open: dict[int, list[Entry]] = {}
        self.chunks: dict[int, int] = {}
        self.sequence = 0
        self.generation = 0
        self._checkpoint = 0
        self._kept: OrderedDict[str, list[Entry]] = OrderedDict()
        self._lock = threading.Lock()  # of the documents, which are read for several threads at once
        self._documents: OrderedDict[str, dict[int, bytes]] = OrderedDict()
        self._documents_size = 0

    def refresh(self, head: Head) -> None:
        """Learn what is new. Raises StoreError."""
        if head.generation != self.generation:
            self.forget()
            self.generation = head.generation
        if head.checkpoint != self._checkpoint:
            texts = self._connections.read(lambda g: g.V().has("page", "checkpoint").values("place").to_list())
            self.checkpoints = sorted((msgspec.json.decode(text, type=Place) for text in texts), key=lambda one: one.earliest)
            self._checkpoint = head.checkpoint
        if head.committed > self.sequence:
            self._follow(head.committed)

    def forget(self) -> None:
        """Keep nothing: all is read anew."""
        self.sealed.clear()
        self.open.clear()
        self.chunks.clear()
        self._kept.clear()
        with self._lock:
            self._documents.clear()
            self._documents_size = 0
        self.checkpoints = []
        self.sequence = self._checkpoint = 0

    def append(self, entries: list[Entry]) -> None:
        """Note a chunk that was written by this process, after everything known."""
        number = bucket(entries[0].sequence)
        self.open.setdefault(number, []).extend(entries)
        self.chunks[number] = self.chunks.get(number, 0) + 1
        self.sequence = entries[-1].sequence

    def seal(self, number: int, place: Place) -> None:
        """Note that a bucket is sealed."""
        self.sealed[number] = place
        self.chunks.pop(number, None)
        self._keep(place.page, self.open.pop(number))

    def buckets(self) -> list[Place]:
        """All buckets, oldest first; those that are not sealed as they are now."""
        places = dict(self.sealed)
        for number, entries in self.open.items():
            places[number] = place_of(f"bucket/{number}", entries, 0)
        return [place for _, place in sorted(places.items())]

    def entries(self, pages: Iterable[str]) -> dict[str, list[Entry]]:
        """The entries of pages, in the order asked for; on each in the order of their sequences. Raises StoreError."""
        found: dict[str, list[Entry] | None] = {}
        for page in pages:
            kept = self.open.get(_number(page)) if page.startswith("bucket/") else None
            if kept is None and (kept := self._kept.get(page)) is not None:
                self._kept.move_to_end(page)
            found[page] = kept
        fetched = self._fetch([page for page, kept in found.items() if kept is None])
        for page, entries in fetched.items():
            self._keep(page, entries)
        return {page: fetched[page] if kept is None else kept for page, kept in found.items()}

    def documents(self, wanted: dict[str, set[int]]) -> dict[int, bytes]:
        """The documents of sequences, by the page that they are on.

        Raises:
            ConflictError: retention came between.
            StoreError: as JanusGraph has it.
        """
        sequences: set[int] = set().union(*wanted.values())
        found: dict[int, bytes] = {}
        with self._lock:
            for page, ones in wanted.items():
                if kept := self._documents.get(page):
                    self._documents.move_to_end(page)
                    found |= {one: kept[one] for one in ones if one in kept}
        pages = [page for page, ones in wanted.items() if not ones <= found.keys()]
        for at in range(0, len(pages), _NAMES):
            part = pages[at : at + _NAMES]
            rows = self._connections.read(
                lambda g, part=part: (  # type: ignore[misc]
                    g.with_("batchSize", _ANSWERS)
                    .V()
                    .has("system", P.within(*part))
                    .as_("page")
                    .values("docs")
                    .project("page", "documents")
                    .by(__.select("page").values("system"))
                    .by()
                    .to_list()
                )
            )
            read: dict[str, dict[int, bytes]] = {}
            for row in rows:
                read.setdefault(row["page"], {}).update(unpack_documents(row["documents"]))
            for page, documents in read.items():
                found.update((one, document) for one, document in documents.items() if one in sequences)
                self.keep_documents(page, documents, self.sequence)
        if len(found) < len(sequences):
            raise ConflictError("what was asked for has just been forgotten: ask again")
        return found

    def _follow(self, committed: int) -> None:
        first, last = bucket(self.sequence + 1), bucket(committed)
        if last - first > _NAMES:
            texts = self._connections.read(lambda g: g.V().has("page", "bucket").values("place").to_list())
        else:
            names = [f"bucket/{number}" for number in range(first, last + 1)]
            texts = self._connections.read(lambda g: g.V().has("system", P.within(*names)).values("place").to_list())
        for text in texts:
            place = msgspec.json.decode(text, type=Place)
            number = _number(place.page)
            self.sealed[number] = place
            self.open.pop(number, None)
            self.chunks.pop(number, None)
        unsealed = [f"bucket/{number}" for number in range(first, last + 1) if number not in self.sealed]
        for page, entries in self._fetch(unsealed).items():
            self.open[_number(page)] = [entry for entry in entries if entry.sequence <= committed]
        self.sequence = committed

    def _fetch(self, pages: list[str]) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {page: [] for page in pages}
        for at in range(0, len(pages), _NAMES):
            part = pages[at : at + _NAMES]
            rows = self._connections.read(
                lambda g, part=part: (  # type: ignore[misc]
                    g.with_("batchSize", _ANSWERS)
                    .V()
                    .has("system", P.within(*part))
                    .project("page", "heads")
                    .by("system")
                    .by(__.values("heads").fold())
                    .to_list()
                )
            )
            for row in rows:
                entries = {entry.sequence: entry for text in row["heads"] for entry in unpack_entries(text)}
                found[row["page"]] = [entry for _, entry in sorted(entries.items())]
                if row["page"].startswith("bucket"):
                    self.chunks[_number(row["page"])] = len(row["heads"])
        return found

    def keep_documents(self, page: str, documents: dict[int, bytes], committed: int) -> None:
        """Keep what was read or written, up to the sequence that is committed: that never changes. From any thread."""
        with self._lock:
            kept = self._documents.setdefault(page, {})
            self._documents.move_to_end(page)
            for one, document in documents.items():
                if one not in kept and (one <= committed or not page.startswith("bucket/")):
                    kept[one] = document
                    self._documents_size += len(document)
            while self._documents_size > _KEPT_BYTES:
                _, gone = self._documents.popitem(last=False)
                self._documents_size -= sum(map(len, gone.values()))

    def _keep(self, page: str, entries: list[Entry]) -> None:
        self._kept[page] = entries
        while len(self._kept) > _KEPT_PAGES:
            self._kept.popitem(last=False)


def bucket(sequence: int) -> int:
    """The number of the bucket that a sequence belongs to."""
    return (sequence - 1) // BUCKET


def _number(page: str) -> int:
    return int(page.partition("/")[2])
