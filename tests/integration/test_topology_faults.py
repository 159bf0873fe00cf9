"""``skytrail up`` on its worst days: killed in storms, on full disks, on damaged files. What was told stays told."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from lab import janusgraph
from support.graphhistory import flaws, moments
from support.graphlab import GraphLab
from support.hublab import Hub, now_us
from support.netlab import Net, until

from topology.store.embedded.store import EmbeddedStore

KILLS = 3
SURVIVORS, TRANSIENTS = 6, 8
RECOVERS_SECONDS = 60.0
"""A report that the store did not take is made again at the latest with the next look at routes, in 30 s."""

VOLATILE = frozenset({"Metric", "LastUpdateMetric", "Neighbors", "FDB"})
"""Keys that now have more than is kept, or another state of it."""

StartLab = Callable[..., GraphLab]


@pytest.fixture
def start_lab(net: Net, tmp_path: Path) -> Iterator[StartLab]:
    """A hub in a namespace of its own, or where the tests are."""
    made: list[GraphLab] = []

    def start(settings: Mapping[str, str] | None = None, *, apart: bool = True) -> GraphLab:
        made.append(GraphLab(net, Hub(tmp_path / "hub", settings, netns=net.netns("hub") if apart else "")))
        made[-1].hub.start()
        return made[-1]

    yield start
    for lab in made:
        lab.hub.close()
        lab.remove_all()


# Killed in storms


@dataclass
class Storm:
    """``ip`` runs the same lines in two namespaces again and again, until it is told to end; each turn ends as it began.

    Args:
        net: whose prefix all names have.
        left: a namespace.
        right: another.
        folder: for its files.
    """

    net: Net
    left: str
    right: str
    folder: Path
    lines: int = 0
    _process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        turns = (self.left, list(self._there())), (self.right, list(self._back())), (self.left, list(self._home()))
        commands = []
        for number, (where, lines) in enumerate(turns):
            (self.folder / f"turn{number}").write_text("\n".join(lines) + "\n")
            commands.append(f"ip -n {where} -batch {self.folder}/turn{number} || exit 1")
            self.lines += len(lines)
        loop = f"while [ ! -e {self.folder}/end ]; do {'; '.join(commands)}; echo turn; done"
        self._process = self.net.spawn("", "sh", "-c", loop)

    def end(self) -> int:
        """Let it finish its turn; gives how many changes it made."""
        (self.folder / "end").touch()
        said, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, said
        return said.count("turn\n") * self.lines

    def _there(self) -> Iterator[str]:
        for number in range(SURVIVORS):
            name = self.net.name(f"s{number}")
            for tail in range(1, 120):
                yield f"link set {name} mtu {1300 + tail}"
                yield f"addr add 10.7.{number}.{tail}/32 dev {name}"
                yield f"addr del 10.7.{number}.{tail}/32 dev {name}"
            yield f"link set {name} up"
            yield f"link set {name} name {name}x"
            yield f"addr flush dev {name}x"
            yield f"link set {name}x master {self.net.name('br')}"
            yield f"link set {name}x nomaster"
            yield f"link set {name}x down"
            yield f"link set {name}x name {name}"
        for number in range(TRANSIENTS):
            first, second = (self.net.name(f"{letter}{number}") for letter in "vw")
            yield f"link add {first} type veth peer name {second}"
            yield f"addr add 10.8.{number}.1/24 dev {second}"
            yield f"link set {second} netns {self.right}"

    def _back(self) -> Iterator[str]:
        for number in range(TRANSIENTS):
            name = self.net.name(f"w{number}")
            yield f"link set {name} name {name}y"
            yield f"link set {name}y mtu 1400 up"
            yield f"link set {name}y netns {self.left}"

    def _home(self) -> Iterator[str]:
        for number in range(TRANSIENTS):
            yield f"link del {self.net.name(f'v{number}')}"


Answer = tuple[dict[str, Any], int]
"""A graph, and when its answer had come (µs since the epoch)."""


class Watcher:
    """Asks a hub for its graph again and again, on a thread of its own, until there is none to ask."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.answers: list[Answer] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError, HTTPException):
            while True:
                graph = self._hub.graph()
                self.answers.append((graph, now_us()))

    def join(self) -> list[Answer]:
        """The last answers before the end."""
        self._thread.join()
        return self.answers[-3:]


def comparable(graph: dict[str, Any]) -> dict[str, Any]:
    """A graph by ID: each element's revision and what is kept of it. No element is in it twice."""
    found = {}
    for element in [*graph["Nodes"], *graph["Edges"]]:
        assert element["ID"] not in found, f"{element['ID']} stands twice in the graph"
        metadata = {key: value for key, value in element["Metadata"].items() if key not in VOLATILE}
        found[element["ID"]] = (element["Revision"], element["CreatedAt"], element["UpdatedAt"], metadata)
    return found


@pytest.mark.timeout(300)
def test_kills_in_a_storm_lose_nothing_that_was_told_and_leave_a_whole_graph(start_lab: StartLab, tmp_path: Path) -> None:
    lab = start_lab()
    left, right = (lab.net.netns(suffix) for suffix in "pq")
    lab.net.ip(f"link add {lab.net.name('br')} type bridge", netns=left)
    for number in range(SURVIVORS):
        lab.net.ip(f"link add {lab.net.name(f's{number}')} type veth peer name {lab.net.name(f't{number}')}", netns=left)
    storm = Storm(lab.net, left, right, tmp_path)
    _, before = lab.settled()
    storm.start()
    told: list[Answer] = []
    for _ in range(KILLS):
        watcher = Watcher(lab.hub)
        sequence = lab.hub.status()["store"]["sequence"]
        until(lambda: lab.hub.status()["store"]["sequence"] > sequence + 500, 30.0, 0.002)  # noqa: B023 - called at once
        until(lambda: len(watcher.answers) > 2, 30.0)  # noqa: B023
        lab.hub.kill()
        told += watcher.join()
        lab.hub.start()
    changes = storm.end()

    _, after = lab.settled(60)
    assert after.ids == before.ids
    assert changes > KILLS * storm.lines

    lab.hub.restart()
    _, again = lab.settled()
    assert again.ids == before.ids
    lab.hub.kill()
    with contextlib.closing(EmbeddedStore(lab.hub.state / "graph")) as store:
        assert flaws(store) == []
        times = moments(store)
    lab.hub.start()
    assert len(told) >= 2 * KILLS
    for graph, answered in told:
        assert_is_in_the_history(lab.hub, times, graph, answered)


def assert_is_in_the_history(hub: Hub, times: list[int], graph: dict[str, Any], answered: int) -> None:
    """What was answered then is the graph as of a moment: between the newest thing in it and the time of the answer."""
    newest = max(element["UpdatedAt"] for element in [*graph["Nodes"], *graph["Edges"]]) * 1000
    possible = [one for one in times if newest <= one <= answered]
    expected = comparable(graph)
    assert any(comparable(hub.graph(one)) == expected for one in possible), f"of {len(possible)} moments none is what was told"


# Full disks


class Disk:
    """A small file system.

    Args:
        place: where it is mounted.
    """

    def __init__(self, place: Path) -> None:
        self.state = place / "state"
        self._ballast = place / "ballast"

    def fill(self) -> None:
        """To the last byte."""
        with self._ballast.open("ab") as ballast, contextlib.suppress(OSError):
            while True:
                os.write(ballast.fileno(), bytes(4096))

    def empty(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], check=True)
    yield Disk(place)
    subprocess.run(["umount", "-l", str(place)], check=True)


def waiting(hub: Hub) -> dict[str, str]:
    """What it says at /readyz that it waits for."""
    _, body = hub.ask("/readyz")
    found: dict[str, str] = json.loads(body)["waiting"]
    return found


def make_it_fail(lab: GraphLab, netns: str) -> None:
    """Changes, until the store has no room left in its files for one more."""
    for number in range(2_000):
        lab.net.ip(f"link set {lab.net.name('a')} mtu {1300 + number % 100}", netns=netns)
        if "store" in waiting(lab.hub):
            return
    raise AssertionError("the disk is never full")


FULL = "graph.sqlite: database or disk is full: free space on that disk; nothing stored is lost"


@pytest.mark.timeout(300)
def test_full_disk_is_told_of_and_when_there_is_room_again_the_graph_is_whole(start_lab: StartLab, disk: Disk) -> None:
    lab = start_lab({"state_dir": str(disk.state)})
    left, right = (lab.net.netns(suffix) for suffix in "pq")
    lab.net.ip(f"link add {lab.net.name('a')} type veth peer name {lab.net.name('b')}", netns=left)
    when, before = lab.quiet()
    disk.fill()
    make_it_fail(lab, left)

    said = waiting(lab.hub)
    assert said["store"].endswith(FULL)
    assert "store_failed" in lab.hub.log()
    assert [lab.hub.ask(path)[0] for path in ("/healthz", "/readyz", "/api/status", "/metrics")] == [200, 503, 200, 200]
    assert lab.seen().ids == before.ids
    assert before.picture.differences(lab.seen(when).picture) == []
    lab.net.ip(f"link add {lab.net.name('c')} type veth peer name {lab.net.name('d')} netns {right}", netns=left)
    lab.net.ip(f"link del {lab.net.name('a')}", netns=left)
    assert lab.hub.process.poll() is None
    assert "Traceback" not in lab.hub.log()

    disk.empty()

    _, after = lab.settled(RECOVERS_SECONDS)  # by itself
    assert waiting(lab.hub) == {}
    assert {node["Name"] for node in after.picture.nodes.values()} >= {lab.net.name("c"), lab.net.name("d")}
    assert before.picture.differences(lab.seen(when).picture) == []
    lab.hub.kill()
    with contextlib.closing(EmbeddedStore(disk.state / "graph")) as store:
        assert flaws(store) == []


@pytest.mark.parametrize("killed", [True, False], ids=["after a kill", "after a good end"])
def test_start_on_a_full_disk_is_a_clear_error_and_loses_nothing(start_lab: StartLab, disk: Disk, killed: bool) -> None:
    """After a kill there may be room in the log for a little: then it runs, and shows what it knew."""
    lab = start_lab({"state_dir": str(disk.state)})
    left = lab.net.netns("p")
    lab.net.ip(f"link add {lab.net.name('a')} type veth peer name {lab.net.name('b')}", netns=left)
    when, before = lab.settled()
    disk.fill()
    make_it_fail(lab, left)
    (lab.hub.kill if killed else lab.hub.stop)()
    disk.fill()
    log = len(lab.hub.log())

    lab.hub.start(ready=False)

    if until(lambda: ended_or_shows(lab.hub), 60.0) == "shows":
        assert lab.seen().ids.keys() == before.ids.keys()
        make_it_fail(lab, left)
        assert waiting(lab.hub)["store"].endswith(FULL)
        assert lab.seen().ids == before.ids
    else:
        assert lab.hub.process.wait() == 1
        [error] = [line for line in lab.hub.log()[log:].splitlines() if line.startswith("skytrail: error:")]
        assert error.endswith(FULL)
    disk.empty()
    lab.hub.close()
    lab.hub.start()
    _, after = lab.settled()
    assert after.ids == before.ids
    assert before.picture.differences(lab.seen(when).picture) == []
    lab.hub.kill()
    with contextlib.closing(EmbeddedStore(disk.state / "graph")) as store:
        assert flaws(store) == []


def ended_or_shows(hub: Hub) -> str:
    """Whether it ended, or answers; empty: neither yet."""
    if hub.process.poll() is not None:
        return "ended"
    with contextlib.suppress(OSError, HTTPException):
        return "shows" if hub.ask("/api/v1/graph")[0] == 200 else ""
    return ""


# A JanusGraph that goes away


@pytest.fixture
def server(tmp_path: Path) -> Iterator[janusgraph.Server]:
    """One that keeps what it was given, with BerkeleyJE."""
    made = janusgraph.Server(janusgraph.demand(), tmp_path / "server", "berkeleyje")
    made.start()
    yield made
    made.kill()


@pytest.mark.lab
@pytest.mark.timeout(300)
def test_graph_is_whole_when_a_janusgraph_that_went_away_is_back(start_lab: StartLab, server: janusgraph.Server) -> None:
    lab = start_lab({"topology.store": "janusgraph", "topology.janusgraph.url": server.url}, apart=False)
    left, right = (lab.net.netns(suffix) for suffix in "pq")
    lab.net.ip(f"link add {lab.net.name('a')} type veth peer name {lab.net.name('b')}", netns=left)
    when, before = lab.settled()
    server.kill()
    lab.net.ip(f"link add {lab.net.name('c')} type veth peer name {lab.net.name('d')} netns {right}", netns=left)
    lab.net.ip(f"link set {lab.net.name('a')} name {lab.net.name('e')}", netns=left)
    lab.net.ip(f"link set {lab.net.name('b')} netns {right}", netns=left)

    until(lambda: "does not answer" in waiting(lab.hub).get("store", ""), 30.0)
    assert [lab.hub.ask(path)[0] for path in ("/healthz", "/api/status", "/api/v1/graph")] == [200, 200, 503]
    assert lab.hub.process.poll() is None

    server.start()

    until(lambda: waiting(lab.hub) == {}, 60.0)
    _, after = lab.settled(60)
    assert set(before.ids.values()) <= set(after.ids.values())
    assert before.picture.differences(lab.seen(when).picture) == []


def is_spooled(hub: Hub, text: bytes) -> bool:
    """Whether a batch that the hub keeps on its disk until the store is there holds that text."""
    with contextlib.closing(sqlite3.connect(hub.state / "graph" / "janusgraph.spool")) as spool:
        return any(text in batch for (batch,) in spool.execute("SELECT batch FROM waiting"))


@pytest.mark.lab
@pytest.mark.timeout(300)
def test_changes_outlast_a_kill_of_the_hub_while_janusgraph_is_away(start_lab: StartLab, server: janusgraph.Server) -> None:
    lab = start_lab({"topology.store": "janusgraph", "topology.janusgraph.url": server.url}, apart=False)
    left = lab.net.netns("p")
    lab.net.ip(f"link add {lab.net.name('a')} type veth peer name {lab.net.name('b')}", netns=left)
    _, before = lab.quiet()  # what is asked for when a link changed has come, so that the change to come is the first to wait
    server.kill()
    lab.net.ip(f"link set {lab.net.name('a')} mtu 1400", netns=left)
    until(lambda: is_spooled(lab.hub, b'"MTU":1400'), 30.0)
    away = now_us()
    lab.net.ip(f"link set {lab.net.name('a')} mtu 1500", netns=left)
    lab.hub.kill()
    server.start()

    lab.hub.start()

    _, after = lab.settled(60)
    assert after.ids == before.ids
    place = next(place for place, node in after.picture.nodes.items() if node["Name"] == lab.net.name("a"))
    assert lab.seen(away).picture.nodes[place]["MTU"] == 1400
