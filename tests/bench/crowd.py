"""Many clients at once, while the graph changes: 95 of 100 questions an index answers, 5 look at the whole graph."""

from __future__ import annotations

import asyncio
import http.client
import json
import multiprocessing
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gremlin_api.answering import Answerer
from gremlin_api.execution import Executor
from gremlin_api.graphs.stored import StoredGraphs
from gremlin_api.graphs.topology import NOTHING_SHOWN
from gremlin_api.http.endpoint import GREMLIN, GremlinEndpoint, mounted
from skytrail.http.server import serve
from skytrail.settings.tree import Http
from tests.bench.gremlin import _fill, _nothing
from tests.bench.report import Line
from topology.elements import Part, State, node_id
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Change

CLIENTS, SECONDS = 64, 60
SCANS = 0.05  # of the questions
PAIRS, PAUSE = 50, 0.05  # of nodes that change together, so often

INDEXED = "g.V().has('Name', 'eth{}').out().values('Name')"
TOGETHER = "g.V('{}', '{}').values('Generation').dedup().count()"
"""1: both are of one batch."""
SCAN = "g.V().hasNot('MTU').count()"


def crowd() -> Iterator[Line]:
    """The slowest of the indexed questions, and what the others were told."""
    with tempfile.TemporaryDirectory() as folder:
        store, executor = EmbeddedStore(Path(folder)), Executor()
        _fill(store)
        _change_pairs(store, 0)
        graphs = StoredGraphs(store, NOTHING_SHOWN, lambda: time.time_ns() // 1000)
        endpoint = GremlinEndpoint(Answerer(graphs, gate=executor.scans), executor)
        done = threading.Event()
        storm = threading.Thread(target=_storm, args=(store, done))
        with serve(mounted({GREMLIN: endpoint}, {}, _nothing), "127.0.0.1:0", Http()) as served:
            _warm(served.port)
            storm.start()
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                took, told = pool.apply(_clients, (served.port, SECONDS))
            done.set()
            storm.join()
        refused, counted = told[503], executor.scans.refused + executor.counters["refused"]
        executor.close()
        store.close()
    times = sorted(took)
    note = f"{len(times):,} answers, p50 {1000 * statistics.median(times):.1f} ms, longest {1000 * times[-1]:.0f} ms"
    yield Line(f"{CLIENTS} clients and a storm: indexed, p99", 1000 * times[int(0.99 * len(times))], "ms", most=300, note=note)
    yield Line(
        f"{CLIENTS} clients and a storm: scans answered", told["scans"], "", note=f"{refused} refused, {counted} counted"
    )
    errors = "; ".join(one for one in told if isinstance(one, str) and one.startswith("{"))
    yield Line(f"{CLIENTS} clients and a storm: refused uncounted", abs(refused - counted), "", most=0)
    yield Line(f"{CLIENTS} clients and a storm: other errors", told["errors"], "", most=0, note=errors)
    yield Line(f"{CLIENTS} clients and a storm: of two moments", told["torn"], "", most=0)


def _warm(port: int) -> None:
    """Have the indexes made, which takes the first who asks a second."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for query in (INDEXED.format(0), TOGETHER.format(*_ids(0))):
        connection.request("POST", "/gremlin", json.dumps({"gremlin": query}))
        connection.getresponse().read()
    connection.close()


def _ids(pair: int) -> tuple[str, str]:
    return node_id(f"pair {pair}, one"), node_id(f"pair {pair}, other")


def _change_pairs(store: EmbeddedStore, generation: int) -> None:
    part = Part.of({"Name": "twin", "Type": "twin", "MTU": 1, "Generation": generation})
    now = time.time_ns() // 1000
    changes = tuple(Change(id_, now, State("h", "o", {"netlink": part})) for pair in range(PAIRS) for id_ in _ids(pair))
    store.apply(Batch("storm", 1, generation + 1, now, changes))


def _storm(store: EmbeddedStore, done: threading.Event) -> None:
    generation = 0
    while not done.wait(PAUSE):
        generation += 1
        _change_pairs(store, generation)


def _clients(port: int, seconds: float) -> tuple[list[float], Counter[Any]]:
    """In a process of its own: how long indexed questions took, and how often each thing was told."""
    took: list[float] = []
    told: Counter[Any] = Counter()

    async def all_of_them() -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(_client(port, until, random.Random(number), took, told) for number in range(CLIENTS)))

    asyncio.run(all_of_them())
    return took, told


async def _client(port: int, until: float, chance: random.Random, took: list[float], told: Counter[Any]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        kind = "scan" if chance.random() < SCANS else chance.choice(("indexed", "together"))
        query = {"scan": SCAN, "indexed": INDEXED.format(chance.randrange(100_000)),
                 "together": TOGETHER.format(*_ids(chance.randrange(PAIRS)))}[kind]  # fmt: skip
        body = json.dumps({"gremlin": query}).encode()
        began = time.perf_counter()
        writer.write(b"POST /gremlin HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = json.loads(await reader.readexactly(length))
        _note(kind, status, head, answer, time.perf_counter() - began, took, told)
    writer.close()


def _note(kind: str, status: int, head: bytes, answer: Any, seconds: float, took: list[float], told: Counter[Any]) -> None:
    if status == 503 and kind == "scan" and b"retry-after: " in head:
        told[503] += 1
    elif status != 200:
        told["errors"] += 1
        told[str(answer)[:200]] += 1
    elif kind == "scan":
        told["scans"] += 1
    else:
        took.append(seconds)
        told["torn"] += kind == "together" and answer["result"]["data"]["@value"][0]["@value"] != 1
