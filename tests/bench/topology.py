"""The topology of ``skytrail up``: how soon a change can be read by another process, what a burst takes, what idling costs."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support.graphlab import GraphLab
from support.hublab import Hub, moment, now_us
from support.netlab import Net

from tests.bench.agent import MB, _cpu_clock
from tests.bench.report import Line

ROUNDS = 50
OTHERS = 100
IDLE_SECONDS = 20
ASKED = 300
_PATIENCE = 30.0
_PAUSE = 0.001
_SKYDIVE = "ms Skydive, in memory (not run here)"


@contextlib.contextmanager
def _lab(settings: dict[str, str] | None = None) -> Iterator[GraphLab]:
    net = Net()
    with tempfile.TemporaryDirectory() as folder:
        lab = GraphLab(net, Hub(Path(folder) / "hub", settings))
        try:
            lab.hub.start()
            yield lab
        finally:
            lab.hub.close()
            lab.remove_all()
            net.close()


def latency() -> Iterator[Line]:
    """From the return of ``ip`` to the answer of the hub that shows the change, alone and with 100 other namespaces."""
    with _lab() as lab:
        for others in (0, OTHERS):
            if others:
                _make_namespaces(lab)
                lab.settled(60)
            links = [_until_shown(lab, f"l{number}", "link add {} type veth") for number in range(ROUNDS)]
            yield from _lines("ip link add", links, others, (6, 29))
            namespaces = [_until_shown(lab, f"s{number}", "netns add {}") for number in range(ROUNDS)]
            yield from _lines("ip netns add", namespaces, others, (43, 113))
            lab.batch(*(f"link del {lab.net.name(f'l{number}')}" for number in range(ROUNDS)))
            lab.batch(*(f"netns del {lab.net.name(f's{number}')}" for number in range(ROUNDS)))
            lab.settled(60)


def latency_in_janusgraph(url: str) -> Iterator[Line]:
    """The same with the graph in a JanusGraph."""
    with _lab({"topology.store": "janusgraph", "topology.janusgraph.url": url}) as lab:
        for what, suffix, command in (("ip link add", "l", "link add {} type veth"), ("ip netns add", "s", "netns add {}")):
            took = [_until_shown(lab, f"{suffix}{number}", command) for number in range(ROUNDS)]
            p50, p99 = (1000 * statistics.quantiles(took, n=100, method="inclusive")[at] for at in (49, 98))
            yield Line(f"JanusGraph, {what} → over HTTP, p99", p99, "ms", most=150, note=f"p50 {p50:.0f} ms")


def _lines(what: str, took: list[float], others: int, skydive: tuple[int, int]) -> Iterator[Line]:
    beside = f", {others} namespaces" if others else ""
    percentiles = statistics.quantiles(took, n=100, method="inclusive")
    for name, value, theirs, most in (("p50", percentiles[49], skydive[0], 5), ("p99", percentiles[98], skydive[1], 20)):
        longest = f"the longest of {len(took)}: {1000 * max(took):.0f} ms"
        yield Line(f"{what} → over HTTP{beside}, {name}", 1000 * value, "ms", theirs, _SKYDIVE, most=most, note=longest)


def _until_shown(lab: GraphLab, suffix: str, command: str) -> float:
    """Seconds; asks what is different, for the whole graph would take longer to send than to know."""
    name = lab.net.name(suffix)
    connection = lab.hub.connect()
    path, wanted = f"/api/v1/diff?from={moment(now_us())}", f'"Name":"{name}"'.encode()
    subprocess.run(["ip", *command.format(name).split()], check=True)
    returned = time.monotonic()
    while True:
        connection.request("GET", path)
        found = wanted in connection.getresponse().read()
        now = time.monotonic()
        if found:
            connection.close()
            return now - returned
        assert now < returned + _PATIENCE, f"{name} is not shown"
        time.sleep(_PAUSE)


def _make_namespaces(lab: GraphLab) -> float:
    """Namespaces with a veth each on a bridge, in one go; returns when it was over."""
    bridge = lab.net.name("br")
    lines = [f"link add {bridge} type bridge", f"link set {bridge} up"]
    for number in range(OTHERS):
        there, first, second = (lab.net.name(f"{letter}{number}") for letter in "nve")
        lines += [
            f"netns add {there}",
            f"link add {first} type veth peer name {second} netns {there}",
            f"link set {first} master {bridge} up",
        ]
    lab.batch(*lines)
    return time.monotonic()


def burst() -> Iterator[Line]:
    """100 namespaces with a veth each on a bridge, in one go: until every node and edge is there; then what that costs."""
    with _lab() as lab:
        over = _make_namespaces(lab)
        while (missing := _missing(lab)) and time.monotonic() < over + _PATIENCE:
            pass
        took = time.monotonic() - over
        yield Line(f"burst of {OTHERS} namespaces: the graph is whole", took, "s", most=1)
        yield Line(f"burst of {OTHERS} namespaces: missing", missing, "", 30, "veth edges Skydive lost", most=0)
        lab.settled(60)
        time.sleep(3)
        clock = _cpu_clock(lab.hub.process.pid)
        begin, before = time.monotonic(), time.clock_gettime(clock)
        time.sleep(IDLE_SECONDS)
        share = (time.clock_gettime(clock) - before) / (time.monotonic() - begin)
        yield Line(f"idle, {OTHERS} namespaces: CPU", 100 * share, "% core", 6, "% Skydive (not run here)", most=1)
        yield Line(f"idle, {OTHERS} namespaces: RSS", lab.hub.rss() / MB, "MB", 330, "MB Skydive (not run here)", most=120)
        begin = time.monotonic()
        size = len(lab.hub.ask("/api/v1/graph")[1])
        yield Line("GET /api/v1/graph", 1000 * (time.monotonic() - begin), "ms", note=f"{size:,} bytes")


def queries() -> Iterator[Line]:
    """Skydive's queries of that laboratory, over HTTP on one kept connection."""
    with _lab() as lab:
        _make_namespaces(lab)
        while _missing(lab):
            pass
        lab.settled(60)
        names = [lab.net.name(f"{letter}7") for letter in "ve"]
        there = f"Metadata('Name', '{names[1]}'), Metadata('RelationType', 'layer2')"
        path = f"G.V().Has('Name', '{lab.net.name('e8')}').ShortestPathTo({there})"
        connection = lab.hub.connect()
        for what, query, skydive, most in (
            ("count", "G.V().Count()", 0.2, 1),
            ("has Name", f"G.V().Has('Name', '{names[0]}')", 0.6, 1),
            ("all vertices", "G.V()", 28, 20),
            ("whole graph", "G", 42, 30),
            ("shortest path", path, 13, 10),
        ):  # fmt: skip
            took, size = [], 0
            for _ in range(ASKED):
                begin = time.perf_counter()
                connection.request("POST", "/api/topology", json.dumps({"GremlinQuery": query}))
                answer = connection.getresponse()
                size = len(answer.read())
                took.append(time.perf_counter() - begin)
                assert (answer.status, size > 3) == (200, True), query
            note = f"p99 {1000 * sorted(took)[int(0.99 * ASKED)]:.1f} ms, {size:,} bytes"
            yield Line(f"{OTHERS} namespaces, Skydive's {what}, p50", 1000 * statistics.median(took), "ms", skydive, _SKYDIVE,
                       most=most, note=note)  # fmt: skip
        connection.close()


def _missing(lab: GraphLab) -> int:
    """Namespaces, edges of pairs and edges of ports that are not there yet."""
    graph = json.loads(lab.hub.ask("/api/v1/graph")[1])
    ours = {node["ID"] for node in graph["Nodes"] if node["Metadata"]["Name"].startswith(lab.prefix)}
    namespaces = sum(node["ID"] in ours and node["Metadata"]["Type"] == "netns" for node in graph["Nodes"])
    joined = sum(
        edge["Metadata"]["RelationType"] == "layer2" and {edge["Parent"], edge["Child"]} <= ours for edge in graph["Edges"]
    )
    return 3 * OTHERS - namespaces - joined
