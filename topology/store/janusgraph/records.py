"""What the change log is made of: entries, and their packing into texts. Pure.

A page (a bucket of the log, or a checkpoint) is a list of chunks. A chunk is two texts, so that times are read without
states: the entries, and their documents. Each is MessagePack, deflated, in Base64: JanusGraph takes texts, not bytes.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from topology.elements import FOREVER, Revision, decode_state
from topology.store.interface import StoreError

T = TypeVar("T")

BUCKET = 1024
"""Sequences of one bucket: a time bucket as long as so many changes take, so that it is bounded whatever happens."""

CHUNK_BYTES = 1 << 20
"""Of documents in one chunk; one that is larger has a chunk of its own."""

_LEVEL = 1  # of deflate: 5 times as fast as the usual 6, for a tenth more


class Entry(msgspec.Struct, array_like=True, gc=False):
    """A change of one element, as the log has it: what held from ``at`` on.

    Attributes:
        id: of the element.
        number: of the revision; deletions are counted, too.
        created: when the element came to be.
        at: when this began.
        to: when it ended, as known when this was written; of a deletion: when something followed.
        ends: whether that end was the element's.
        recorded: by the hub's clock.
        sequence: in the feed.
        gone: it is a deletion.
        given: the latest number of the element, in checkpoints; in the log the same as ``number``.
        lives: sequences of revisions whose ``created`` this late one changed: to ``to`` if it is a deletion, else to its own.
        settled: the latest sequence of a forgotten entry that had changed ``created``.
    """

    id: str
    number: int
    created: int
    at: int
    to: int
    ends: bool
    recorded: int
    sequence: int
    gone: bool
    given: int
    lives: tuple[int, ...] = ()
    settled: int = 0

    def order(self) -> tuple[int, int]:
        """Of two entries of an element the later one, by this, holds."""
        return self.at, self.sequence

    def open(self) -> bool:
        """Whether nothing followed."""
        return self.to == FOREVER

    def amend_life(self, one: Entry) -> None:
        """Correct when the element of one that was recorded before came to be, if this changed it."""
        if one.sequence in self.lives and self.sequence > one.settled:
            one.created = self.to if self.gone else self.created

    def revision(self, document: bytes) -> Revision:
        """As the interface gives it. Raises msgspec.MsgspecError for a document that is not a state."""
        state = None if self.gone else decode_state(document)
        to, ends = (self.at, True) if self.gone else (self.to, self.ends)
        return Revision(self.id, self.number, self.created, self.at, to, self.recorded, self.sequence, state, ends)


class _Documents(msgspec.Struct, array_like=True):
    sequences: list[int]
    documents: list[bytes]


_encoder = msgspec.msgpack.Encoder()
_entries = msgspec.msgpack.Decoder(list[Entry])
_documents = msgspec.msgpack.Decoder(_Documents)


def pack_entries(entries: list[Entry]) -> str:
    """As a text."""
    return pack_text(_encoder.encode(entries))


def unpack_entries(text: str) -> list[Entry]:
    """What :func:`pack_entries` made. Raises StoreError for anything else."""
    return unpack_text(text, _entries)


def pack_documents(sequences: list[int], documents: list[bytes]) -> str:
    """As a text: each with the sequence of its entry."""
    return pack_text(_encoder.encode(_Documents(sequences, documents)))


def unpack_documents(text: str) -> Iterator[tuple[int, bytes]]:
    """What :func:`pack_documents` made; raises as :func:`unpack_entries`."""
    chunk = unpack_text(text, _documents)
    return zip(chunk.sequences, chunk.documents, strict=True)


def chunks(pairs: Iterable[tuple[Entry, bytes]], most: int = BUCKET) -> Iterator[list[tuple[Entry, bytes]]]:
    """Parts of at most so many entries, and of at most :data:`CHUNK_BYTES` unless it is a single one."""
    part: list[tuple[Entry, bytes]] = []
    size = 0
    for pair in pairs:
        if part and (len(part) == most or size + len(pair[1]) > CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(pair)
        size += len(pair[1])
    if part:
        yield part


def pack(part: list[tuple[Entry, bytes]]) -> tuple[str, str]:
    """A chunk's two texts."""
    entries = [entry for entry, _ in part]
    return pack_entries(entries), pack_documents([entry.sequence for entry in entries], [document for _, document in part])


def pack_text(data: bytes) -> str:
    """Bytes as a text, deflated."""
    return base64.b64encode(zlib.compress(data, _LEVEL)).decode("ascii")


def unpack_text(text: str, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """What :func:`pack_text` made, decoded. Raises StoreError for anything else."""
    try:
        return decoder.decode(zlib.decompress(base64.b64decode(text)))
    except (ValueError, zlib.error, msgspec.MsgspecError) as error:
        raise StoreError(f"the log in JanusGraph is damaged ({error}): bring a backup back") from error
