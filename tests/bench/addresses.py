"""The address book with 50,000 entries: what hub and agent pay for it, on the wire, in memory, and for each flow."""

from __future__ import annotations

import gc
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from exporters.flows.applications import Applications
from exporters.flows.names import FlowNames
from exporters.flows.points import Point, Points
from exporters.flows.table import ROW, Batch
from exporters.history.flows import GROWS, KIND, FlowHistory, FlowRecorder
from exporters.history.store import History
from skytrail.addresses.book import Book, Changes, Draft, Entry, Owner
from skytrail.addresses.packing import pieces, unpack
from skytrail.asking.questions import FlowsQuestion, Range
from skytrail.asking.terms import Compare
from tests.bench.answers import Nothing, ended
from tests.bench.report import Line
from topology.addresses.entries import Entries
from topology.elements import Part, Revision, State, edge_id, node_id

ENTRIES, HOSTS, FLOWS = 50_000, 200, 10_000
_PODS = ENTRIES // 2  # each pod has an entry of its own, and one in the namespace where it is
_FOREVER = 2**63 - 1


def addresses() -> Iterator[Line]:
    """A cluster of 25,000 pods on 200 hosts."""
    revisions = list(_graph())
    entries, began = Entries(), time.thread_time()
    entries.load(revisions)
    yield Line(f"{ENTRIES:,} entries of {len(revisions):,} elements, at the hub's start", time.thread_time() - began, "s CPU")
    book = tuple(entries.current())
    assert len(book) == ENTRIES + HOSTS
    packed = list(pieces(Changes(book, whole=True)))
    yield Line("the whole book on the wire", sum(map(len, packed)) / 1e6, "MB", note=f"{len(packed)} messages")
    yield Line("it in an agent", _memory() / 1e6, "MB", note="resident, of a process of its own")
    agent, began = Book(), time.thread_time()
    put = [entry for body in packed for entry in unpack(body)[0]]
    agent.apply(Changes(tuple(put), whole=True), 1)
    yield Line("an agent takes it in", time.thread_time() - began, "s CPU")
    took, sizes = [], []
    for number in range(200):
        began = time.thread_time()
        moved = _pod(number, 1 + number % HOSTS, updated=1_000 + number)
        changes = entries.take(moved)
        [body] = pieces(changes)
        more, gone = unpack(body)
        agent.apply(Changes(tuple(more), tuple(gone)), 2)
        took.append(time.thread_time() - began)
        sizes.append(len(body))
    yield Line("a pod on another node: hub and agent", 1e6 * statistics.median(took), "µs CPU", most=1000)
    yield Line("the same on the wire", statistics.mean(sizes), "bytes", most=1000)
    yield from _naming(agent)
    yield from _asked_for(agent)


def _asked_for(book: Book) -> Iterator[Line]:
    """Kept flows of a minute, asked for by who has an address; and by what is in no column, so that each is made JSON of."""
    points, count, now = Points(), 20_000, time.time_ns()
    points.add(Point("eth0", "", "tid"))
    rows = ended(count, now, 1)
    rows["key"]["point"] = rows["point"] = 1
    pods = np.random.default_rng(1).integers(0, 1000, (count, 2))
    octets = np.frombuffer(b"".join(_address(int(pod)) for pod in pods.ravel()), np.uint8).reshape(count, 2, 4)
    rows["family"], rows["key"]["addr"] = 4, 0
    rows["key"]["addr"][:, :, :4] = octets
    names, live = FlowNames(book, points, "host/1", lambda: {"": "host/1"}), Nothing()
    with tempfile.TemporaryDirectory() as folder:
        history = History(Path(folder), 1 << 30, 3600, {KIND: GROWS}, lambda: now)
        recorder = FlowRecorder(history, points, names=names)
        recorder.take(Batch(rows, np.ones(count, np.bool_), now))
        asked = FlowHistory(history, recorder, live, Applications(), 400, lambda: now)  # type: ignore[arg-type]
        when = Range(now // 1_000_000 - 600_000, now // 1_000_000)
        for name, key, value in (("owner", "Owner.A.Name", "web-00007-x7k2p"), ("Container.A.Name", "Container.A.Name", "web")):
            question = FlowsQuestion(when, term=Compare(key, "within", (value,)))
            began = time.thread_time()
            found = sum(map(len, asked.answer(question, when)))
            spent = time.thread_time() - began
            yield Line(f"{count:,} kept flows asked for by {name}", 1e3 * spent, "ms CPU", note=f"{found} found")


def _naming(book: Book) -> Iterator[Line]:
    points = Points()
    points.add(Point("eth0", "", "tid"))
    names, rows = FlowNames(book, points, "host/1", lambda: {"": "host/1"}), np.zeros(FLOWS, ROW)
    draw = np.random.default_rng(1)
    rows["family"], rows["point"], rows["start"] = 4, 1, 10**18
    rows["key"]["tags"] = 6 << 8 | 1
    for distinct in (100, FLOWS):
        pods = draw.integers(0, distinct, (FLOWS, 2))
        for end in (0, 1):
            rows["key"]["addr"][:, end, :4] = np.frombuffer(
                b"".join(_address(int(pod)) for pod in pods[:, end]), np.uint8
            ).reshape(-1, 4)
        took = []
        for _ in range(10):
            began = time.thread_time()
            codes, _ = names.of(rows)
            took.append(time.thread_time() - began)
        assert (codes > 0).all()
        yield Line(f"{FLOWS:,} flows of {distinct:,} addresses named", 1e6 * min(took) / FLOWS, "µs CPU a flow", most=10)


def _address(pod: int) -> bytes:
    return (10 << 24 | 1 << 20 | pod + 1).to_bytes(4, "big")


def _text(pod: int) -> str:
    return ".".join(map(str, _address(pod)))


def _host(number: int) -> str:
    return f"host/{number:032x}"


def _pod(number: int, on: int, *, updated: int = 1) -> Revision:
    keys = {"Name": f"web-{number:05}-x7k2p", "Namespace": f"shop-{number % 50}", "IP": _text(number), "Status": "Running"}
    keys["Node"] = f"node-{on}"
    return _node(f"cluster/c/pod/{number}", "", {"Type": "pod", "Name": keys["Name"], "Manager": "k8s", "K8s": keys}, updated)


def _node(tid: str, host: str, metadata: dict[str, object], updated: int = 1) -> Revision:
    state = State(host, f"agent.{host}", {"netlink": Part.of(metadata)}, tid)
    return Revision(node_id(tid), 1, 1, updated, _FOREVER, 1, 1, state)


def _edge(parent: str, child: str) -> Revision:
    ends = node_id(parent), node_id(child)
    state = State("", "", {"netlink": Part.of({"RelationType": "ownership"})}, "", *ends)
    return Revision(edge_id(*ends, "ownership"), 1, 1, 1, _FOREVER, 1, 1, state)


def _graph() -> Iterator[Revision]:
    for number in range(HOSTS):
        name, tid = f"node-{number}", _host(number)
        yield _node(tid, name, {"Type": "host", "Name": name})
        yield _node(f"{tid}/eth0", name, {"Type": "device", "Name": "eth0", "IfIndex": 2, "IPV4": [f"192.0.{number}.1/24"]})
        yield _edge(tid, f"{tid}/eth0")
    for number in range(_PODS):
        on = number % HOSTS
        host, place = f"node-{on}", f"{_host(on)}/netns/cni-{number:08x}-5b3a-4c1e"
        yield _pod(number, on)
        yield _node(place, host, {"Type": "netns", "Name": f"cni-{number:08x}-5b3a-4c1e"})
        keys = {"Type": "veth", "Name": "eth0", "IfIndex": 3, "IPV4": [f"{_text(number)}/24"]}
        yield _node(f"{place}/eth0", host, keys)
        yield _edge(place, f"{place}/eth0")


_FILL = "from tests.bench.addresses import fill; fill()"


def _memory() -> int:
    """Bytes that a process grows by when it gets the book as it comes over the wire."""
    done = subprocess.run([sys.executable, "-c", _FILL], capture_output=True, text=True, check=True)
    return int(done.stdout)


def fill() -> None:
    """Print by how many bytes this process grew."""
    bodies = list(
        pieces(
            Changes(
                tuple(
                    Entry(
                        _address(at // 2),
                        place,
                        _host(at // 2 % HOSTS),
                        Owner("pod", f"web-{at // 2:05}-x7k2p", "shop", "node-1"),
                        1,
                    )
                    for at in range(ENTRIES)
                    for place in [f"{_host(at // 2 % HOSTS)}/netns/cni-{at:08x}-5b3a-4c1e" if at % 2 else ""]
                )
            )
        )
    )
    gc.collect()
    before, book, draft = _resident(), Book(), Draft(0)
    for body in bodies:
        draft.add(unpack(body)[0])
    book.replace(draft, 1)
    gc.collect()
    print(_resident() - before)
    assert len(book) == _PODS


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
