"""A file → its graph, whatever the file is called: told by what it holds, gzip too.

A graph of TinkerPop's or of a drawing program's is held in memory with its values' types. Skydive's JSON and our snapshots are
the graph that they were made of, nodes and edges of the topology, with the IDs that stand in the file.
"""

from __future__ import annotations

import gc
import gzip
import io
import re
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import msgspec

from gremlin_api.answering import Graphs
from gremlin_api.graphs.files import graphml, graphson
from gremlin_api.graphs.files.errors import GraphFileError, one_line
from gremlin_api.graphs.files.revisions import revisions_of
from gremlin_api.graphs.memory import MemoryGraph
from gremlin_api.graphs.topology import TopologyGraph
from gremlin_api.graphs.view import GraphView
from skytrail.errors import UsageError
from skytrail.moments import parse_moment
from topology.elements import Revision
from topology.snapshot import graphson as snapshot_lines
from topology.snapshot import skydive
from topology.snapshot.elements import Element, SnapshotError, revisions
from topology.snapshot.store import SnapshotStore
from topology.store.interface import Difference
from topology.store.traversal import Listed, Moment

LARGEST = 1 << 30
"""Bytes that a file may hold, unpacked, where nothing else is said."""

_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_MARK = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_SPACES = re.compile(rb"\s*")
_KNOWN = "GraphSON 3, GraphML, Skydive's JSON or a snapshot of ours"


class GraphFile:
    """A file's graph. There is one moment: another than now is refused, in whatever way it is asked for.

    Args:
        format_: what the file is, in words.
        name: of the file.
        make: gives the graph, to be asked in TinkerPop's dialect.
        made: gives ``revisions``.

    Attributes:
        format: what the file is, in words.
        graphs: to ask it in TinkerPop's dialect.
    """

    def __init__(self, format_: str, name: str, make: Callable[[], GraphView], made: Callable[[], list[Revision]]) -> None:
        self.format, self._name, self._made = format_, name, made
        self.graphs: Graphs = _OneMoment(name, make)

    @cached_property
    def revisions(self) -> list[Revision]:
        """The same graph as nodes and edges of the topology, nodes first. Their IDs are texts, those of the file."""
        return self._made()

    def store(self, size: int) -> SnapshotStore:
        """The same graph as a store, to ask it in Skydive's dialect; ``size``: bytes of the file."""
        return _OneMomentStore(self._name, self.revisions, size)


class _OneMoment:
    """A graph that is there at one moment, which nobody knows.

    A snapshot tells since when each element is as it is, but neither when it was made nor what was deleted by then.
    """

    def __init__(self, name: str, make: Callable[[], GraphView]) -> None:
        self._name, self._make = name, make

    def view(self, at: str | None, each: Callable[[], object]) -> GraphView:  # noqa: ARG002 - it is read
        """The graph. Raises UsageError where a moment that is past is asked for, or a period."""
        now = time.time_ns() // 1000
        if at is not None and ("/" in at or parse_moment(at, now) < now):
            _refuse(self._name)
        return self._make()


class _OneMomentStore(SnapshotStore):
    """The same as a store."""

    def __init__(self, name: str, revisions: Sequence[Revision], size: int) -> None:
        super().__init__(revisions, size)
        self._name = name

    def moment(self, when: int | None = None) -> Moment:
        """The graph. Raises UsageError where a moment is asked for."""
        return super().moment() if when is None else _refuse(self._name)

    def as_of(self, when: int, ids: Collection[str] | None = None) -> list[Revision]:  # noqa: ARG002
        """Raises UsageError."""
        _refuse(self._name)

    def between(self, begin: int, end: int, ids: Collection[str] | None = None) -> Iterator[Revision]:  # noqa: ARG002
        """Raises UsageError."""
        _refuse(self._name)

    def diff(self, first: int, second: int) -> Iterator[Difference]:  # noqa: ARG002
        """Raises UsageError."""
        _refuse(self._name)


def _refuse(name: str) -> NoReturn:
    raise UsageError(f"{name} holds the graph of one moment and does not say which: ask without 'at'")


def read_graph_file(path: Path, largest: int = LARGEST) -> GraphFile:
    """The graph of a file.

    Args:
        path: of the file; a pipe will do.
        largest: bytes that it may hold, unpacked.

    Raises:
        GraphFileError: it cannot be read, or holds no graph: names the file, where in it, and what was expected.
    """
    name = one_line(path)
    try:
        with _uncollected():
            return _read(_content(path, largest), name)
    except OSError as error:
        raise GraphFileError(f"cannot read {name}: {error.strerror or error}: give a file that may be read") from error
    except (GraphFileError, SnapshotError) as error:
        raise GraphFileError(f"{name}: {one_line(error)}") from error
    except RecursionError as error:
        raise GraphFileError(f"{name}: it is nested too deeply: give {_KNOWN}") from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles: what is read stays, and to look through it again and again doubles the time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _content(path: Path, largest: int) -> bytes:
    """What a file holds, unpacked. Raises OSError, GraphFileError."""
    with path.open("rb") as file:
        begin = file.peek(len(_GZIP))[: len(_GZIP)]
        if begin != _GZIP:
            return _all_of(file, largest)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _all_of(unpacked, largest)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise GraphFileError(f"the gzip is damaged or cut off ({error}): pack it anew") from error


def _all_of(file: io.BufferedIOBase, largest: int) -> bytes:
    held = io.BytesIO()
    while piece := file.read(_PIECE):
        held.write(piece)
        if held.tell() > largest:
            raise GraphFileError(f"it holds more than {largest >> 20} MiB: give a smaller graph, or put it into JanusGraph")
    return held.getvalue()


class _First(msgspec.Struct):
    """What is looked at to tell what JSON is."""

    nodes: msgspec.Raw = msgspec.field(name="Nodes", default=msgspec.Raw(b""))
    edges: msgspec.Raw = msgspec.field(name="Edges", default=msgspec.Raw(b""))
    id: msgspec.Raw = msgspec.Raw(b"")
    properties: msgspec.Raw = msgspec.Raw(b"")


_first = msgspec.json.Decoder(_First)
_A_VERTEX = re.compile(rb'\{\s*"id"')
_OURS = frozenset({"Host", "Origin", "CreatedAt", "UpdatedAt", "Revision"})
"""Properties that each vertex of our snapshots has."""
_SHORTEST_LINE = 100  # bytes of such a vertex, at least
_EMPTY_LINES = 10_000  # that may be there


def _read(data: bytes, name: str) -> GraphFile:
    """Raises GraphFileError, SnapshotError."""
    data = data.removeprefix(_MARK)
    begin = _SPACES.match(data)
    assert begin
    first = data[begin.end() : begin.end() + 1]
    if not first:
        raise GraphFileError(f"it is empty: give {_KNOWN}")
    if first == b"<" or data.startswith(_WIDE):
        return _in_memory("GraphML", graphml.read(data), name)
    if first not in (b"{", b"["):
        raise GraphFileError(f"it begins with {first!r:.10}: give {_KNOWN}")
    return _read_json(data, begin.end(), name)


def _read_json(data: bytes, begin: int, name: str) -> GraphFile:
    if data[begin : begin + 1] == b"[":
        return _of_elements("Skydive's JSON", skydive.read(data), name)
    end = data.find(b"\n", begin)
    first = _looked_at(data[begin:] if end < 0 else data[begin:end])
    a_line = _A_VERTEX.match(data, begin) if first is None else bool(first.id)
    if first is None and not a_line:
        first = _looked_at(data)  # a document of several lines
    if first is not None and (first.nodes or first.edges):
        return _of_elements("Skydive's JSON", skydive.read(data), name)
    if not a_line:
        return _in_memory("GraphSON 3", graphson.read_document(data), name)
    if first is not None and first.properties and _is_ours(first.properties):
        if data.count(b"\n") + data.count(b"\r") > len(data) // _SHORTEST_LINE + _EMPTY_LINES:
            raise GraphFileError("most of its lines are empty: take them out")  # each would be an object
        return _of_elements("a snapshot in GraphSON 3", snapshot_lines.read(data), name)
    return _in_memory("GraphSON 3, a vertex a line", graphson.read_lines(data), name)


def _looked_at(data: bytes) -> _First | None:
    try:
        return _first.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _is_ours(properties: msgspec.Raw) -> bool:
    try:
        return msgspec.json.decode(properties, type=dict[str, msgspec.Raw]).keys() >= _OURS
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False  # the reader of vertices says why


def _in_memory(format_: str, graph: MemoryGraph, name: str) -> GraphFile:
    return GraphFile(format_, name, lambda: graph, lambda: revisions_of(graph))


def _of_elements(format_: str, elements: list[Element], name: str) -> GraphFile:
    found = list(_under_their_ids(elements))
    listed = Listed(found)
    return GraphFile(format_, name, lambda: TopologyGraph(listed), lambda: found)


def _under_their_ids(elements: list[Element]) -> Iterable[Revision]:
    """Elements as revisions, under the IDs that stand in the file, be they UUIDs or not."""
    for element, made in zip(elements, revisions(elements), strict=True):
        assert made.state
        if not element.ID:
            raise GraphFileError("an element has an empty ID: each must have one of its own")
        state = msgspec.structs.replace(made.state, parent=element.Parent, child=element.Child)
        yield msgspec.structs.replace(made, id=element.ID, state=state)
