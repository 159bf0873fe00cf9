"""The whole history of a few elements, from their vertices: what a late change is put into."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from gremlin_python.process.graph_traversal import __
from gremlin_python.process.traversal import T

from topology.elements import FOREVER, Kind
from topology.store.janusgraph.connection import Connections
from topology.store.janusgraph.records import Entry
from topology.store.janusgraph.schema import EDGE, HISTORY
from topology.store.janusgraph.timeline import Step, step

_AT_ONCE = 100
_ANSWERS = 64
_ENDS = " end"


def histories(connections: Connections, vertices: Mapping[str, object]) -> dict[str, tuple[int, list[Step]]]:
    """The latest number and all steps by time, of elements with these vertices. Raises StoreError."""
    found: dict[str, tuple[int, list[Step]]] = {}
    wanted = list(vertices.items())
    for at in range(0, len(wanted), _AT_ONCE):
        part = [vertex for _, vertex in wanted[at : at + _AT_ONCE]]
        numbers = connections.run(
            lambda g, part=part: (  # type: ignore[misc]
                g.V(*part)
                .project("id", "number", "label")
                .by("uid")
                .by(__.coalesce(__.values("number"), __.constant(0)))
                .by(T.label)
                .to_list()
            )
        )
        rows = connections.run(
            lambda g, part=part: (  # type: ignore[misc]
                g.with_("batchSize", _ANSWERS)
                .V(*part)
                .properties("doc", "doc" + HISTORY)
                .project("id", "document", "at", "stamp")
                .by(__.element().values("uid"))
                .by(T.value)
                .by("valid_from")
                .by("stamp")
                .to_list()
            )
        )
        kinds = {one["id"]: Kind.EDGE if one["label"] == EDGE else Kind.NODE for one in numbers}
        steps: dict[str, list[Step]] = {id_: [] for id_ in kinds}
        for row in rows:
            steps[row["id"]].append(_step(row, kinds[row["id"]]))
        for one in numbers:
            history = sorted(steps[one["id"]], key=lambda item: item.entry.order())
            _join(history)
            found[one["id"]] = max([one["number"], *(item.entry.number for item in history)]), history
    return found


def stamp(entry: Entry) -> str:
    """What a document carries of its entry beside the times."""
    return _stamp(entry) + (_ENDS if entry.ends and not entry.gone else "")


def stamps(entry: Entry) -> tuple[str, str]:
    """What it may carry of an entry of which it is not known whether its end was the element's."""
    return _stamp(entry), _stamp(entry) + _ENDS


def _stamp(entry: Entry) -> str:
    return f"{entry.sequence} {entry.number} {entry.created} {entry.recorded}"


def read_stamp(text: str) -> tuple[int, int, int, int, bool]:
    """Sequence, number, created, recorded, and whether its end was the element's."""
    sequence, number, created, recorded, *ends = text.split()
    return int(sequence), int(number), int(created), int(recorded), bool(ends)


def _step(row: Mapping[str, object], kind: Kind) -> Step:
    sequence, number, created, recorded, _ = read_stamp(str(row["stamp"]))
    at, document = int(str(row["at"])), str(row["document"]).encode()
    entry = Entry(str(row["id"]), number, created, at, FOREVER, False, recorded, sequence, not document, number)
    return step(entry, document, kind)


def _join(steps: list[Step]) -> None:
    for one, following in pairwise(steps):
        one.entry.to, one.entry.ends = following.entry.at, following.entry.gone
