"""JanusGraph on BerkeleyJE: changes a second against the bare write pattern in the same run, and the graph at T."""

from __future__ import annotations

import importlib.util
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gremlin_python.process.graph_traversal import GraphTraversalSource, __
from gremlin_python.process.traversal import Cardinality
from gremlin_python.statics import long

from tests.bench.report import Line, median_ratio
from tests.bench.topology import latency_in_janusgraph
from topology.elements import FOREVER, Part, State, encode_state, node_id
from topology.store.interface import Batch, Change
from topology.store.janusgraph.store import JanusGraphStore

ELEMENTS = 1000
REVISIONS = 40
ROWS = 250
T = 1_700_000_000_000_000
STEP = 1_000_000

# As lab/janusgraph/schema.groovy.
_BARE = """
def mgmt = graph.openManagement()
def single = org.janusgraph.core.Cardinality.SINGLE
def order = org.apache.tinkerpop.gremlin.process.traversal.Order.desc
def uid = mgmt.makePropertyKey('bare_uid').dataType(String.class).cardinality(single).make()
mgmt.makePropertyKey('cur').dataType(String.class).cardinality(single).make()
mgmt.makePropertyKey('cur_from').dataType(Long.class).cardinality(single).make()
def rev = mgmt.makePropertyKey('rev').dataType(String.class).cardinality(org.janusgraph.core.Cardinality.LIST).make()
mgmt.buildPropertyIndex(rev, 'revByFrom', order, mgmt.getPropertyKey('valid_from'))
mgmt.buildPropertyIndex(rev, 'revByTo', order, mgmt.getPropertyKey('valid_to'))
mgmt.buildIndex('byBareUid', Vertex.class).addKey(uid).unique().buildCompositeIndex()
mgmt.commit()
"""


def store() -> Iterator[Line]:
    """1,000 elements, 1.5 KB each, 40 revisions; each revision changes a declared key."""
    path = Path(__file__).parents[1] / "lab" / "janusgraph.py"
    spec = importlib.util.spec_from_file_location("lab_janusgraph", path)
    assert spec is not None
    assert spec.loader is not None
    lab: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lab)
    with tempfile.TemporaryDirectory() as folder:
        server = lab.Server(lab.jars(), Path(folder) / "server", "berkeleyje")
        server.start()
        try:
            yield from _measure(JanusGraphStore(server.url), server.url)
            yield from latency_in_janusgraph(server.url)
        finally:
            server.kill()


def _measure(janusgraph: JanusGraphStore, url: str) -> Iterator[Line]:
    states = _states()
    janusgraph._connections.script(_BARE, {})
    ours, bare = [], []
    for revision in range(REVISIONS):
        bare.append(_seconds(lambda: _write_bare(janusgraph, states, revision)))  # noqa: B023 - called at once
        ours.append(_seconds(lambda: _write(janusgraph, states, revision)))  # noqa: B023 - called at once
    yield Line(
        "JanusGraph, changes of elements",
        ELEMENTS / statistics.median(ours[1:]),
        "changes/s",
        ELEMENTS / statistics.median(bare[1:]),
        "bare write pattern",
        1 / median_ratio(ours[1:], bare[1:]),
        least=0.8,
        of_ratio=True,
    )
    moments = [T + random.randrange(REVISIONS) * STEP + ELEMENTS for _ in range(31)]
    other = JanusGraphStore(url)  # it keeps nothing of what was written
    took = [1000 * _seconds(lambda: other.as_of(when)) for when in moments]  # noqa: B023 - called at once
    other.close()
    yield Line(
        "JanusGraph, graph at T of 1,000 × 40", statistics.median(took), "ms", most=150, note=f"worst {max(took):.0f} ms"
    )
    singles = [1000 * _seconds(lambda: _one(janusgraph, states, number)) for number in range(100)]  # noqa: B023
    yield Line("JanusGraph, a single change, p99", sorted(singles)[98], "ms", most=150)
    janusgraph.close()


def _states() -> Callable[[int, int], State]:
    fixed = [{f"Key{key}": random.randbytes(30).hex() for key in range(18)} for _ in range(ELEMENTS)]

    def state(number: int, revision: int) -> State:
        told = {"Name": f"eth{number}", "Type": "veth", "State": ("UP", "DOWN")[revision % 2], "MTU": 1500, "Rev": revision}
        told |= {"MAC": f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}", "IPV4": [f"10.0.{number >> 8}.{number & 255}/24"]}
        return State("host", "agent.host", {"netlink": Part.of(told | fixed[number])}, f"host/x/link/veth/eth{number}")

    return state


def _write(janusgraph: JanusGraphStore, states: Callable[[int, int], State], revision: int) -> None:
    for first in range(0, ELEMENTS, ROWS):
        begin = T + revision * STEP
        changes = (Change(node_id(str(n)), begin + n, states(n, revision)) for n in range(first, first + ROWS))
        janusgraph.apply(Batch("bench", 1, 1 + revision * ELEMENTS + first, begin, tuple(changes)))


def _one(janusgraph: JanusGraphStore, states: Callable[[int, int], State], number: int) -> None:
    change = Change(node_id(str(number)), T + REVISIONS * STEP, states(number, REVISIONS + number))
    janusgraph.apply(Batch("single", 1, 1 + number, T, (change,)))


def _write_bare(janusgraph: JanusGraphStore, states: Callable[[int, int], State], revision: int) -> None:
    """The fastest pattern of lab/janusgraph/bench.py, with the same documents."""
    begin, forever = long(T + revision * STEP), long(FOREVER)
    for first in range(0, ELEMENTS, ROWS):
        rows = [
            {"m": {"bare_uid": str(n)}, "doc": encode_state(states(n, revision)).decode(), "ts": begin}
            for n in range(first, first + ROWS)
        ]

        def write(g: GraphTraversalSource, rows: list[dict[str, Any]] = rows) -> None:
            (
                g.inject(rows)
                .unfold()
                .as_("r")
                .merge_v(__.select("r").select("m"))
                .side_effect(__.properties("rev").has("valid_to", forever).property("valid_to", __.select("r").select("ts")))
                .property(
                    Cardinality.list_, "rev", __.select("r").select("doc"),
                    "valid_from", __.select("r").select("ts"), "valid_to", forever,
                )
                .property(Cardinality.single, "cur", __.select("r").select("doc"))
                .property(Cardinality.single, "cur_from", __.select("r").select("ts"))
                .iterate()
            )  # fmt: skip

        janusgraph._connections.run(write)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
