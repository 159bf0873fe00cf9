"""An agent's end and a hub's over real gRPC: each report taken once, in its order, whatever is cut."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from support.cable import Cable
from support.netlab import until
from support.ports import free_port

from skytrail.asking.questions import Part, Question
from skytrail.errors import ListenError, RunError
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.methods import MAX_MESSAGE, OUTBOX, TID, greeting, reporting
from skytrail.wire.security import INSECURE
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.remote.codec import encode_report
from topology.remote.outbox import Clocks, Outbox
from topology.remote.pieces import Pieces
from topology.remote.receiver import Receiver
from topology.remote.sender import Identity, Sender
from topology.remote.taking import Taking
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Note, StoreError

SOURCE = Source("netlink", "host", tid="host/1")


def now() -> int:
    return time.time_ns() // 1000


def report(number: int) -> Report:
    return Report(SOURCE, number, (NodeFact("a", {"Name": "a", "Type": "veth", "n": number}),))


def no_answer(_: Question) -> Iterator[Part]:
    raise RunError("is not to be asked")


class Hub:
    """A receiver that notes what it takes; its store is real, and it may be started again on it."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.port, self.taken = port or free_port(), list[Report]()
        self.refuses: Callable[[Report], bool] = lambda _: False
        self.store = EmbeddedStore(folder)
        self.receiver: Receiver | None = None

    def start(self) -> None:
        self.receiver = Receiver(f"127.0.0.1:{self.port}", self, self.store, now)
        self.receiver.start()

    def claim(self, _: Source, __: str) -> bool:
        return False

    def take(self, one: Report, note: Note) -> bool:
        if self.refuses(one):
            raise StoreError("it is full")
        self.taken.append(one)
        self.store.put_resource(note.kind, note.id, note.body)
        return True

    def keep(self, _: Source, note: Note) -> None:
        self.store.put_resource(note.kind, note.id, note.body)

    def stop(self) -> None:
        if self.receiver:
            self.receiver.stop()
            self.receiver = None

    def numbers(self) -> list[int]:
        return [one.observed for one in self.taken]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub")
    yield made
    made.stop()
    made.store.close()


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def start(*ports: int, folder: str = "agent", tid: str = "host/1") -> Sender:
        addresses = [f"127.0.0.1:{port}" for port in ports]
        made.append(
            Sender(
                addresses,
                Outbox(tmp_path / folder / "outbox", 1 << 30, Clocks.of_machine("b")),
                Identity("host", tid),
                now,
                no_answer,
            )
        )
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()


def test_reports_are_taken_in_order_also_those_of_before(hub: Hub, sender: Callable[..., Sender]) -> None:
    agent = sender(hub.port)
    for number in range(1, 101):
        agent.report(report(number))
    until(lambda: agent.failure and "127.0.0.1" in agent.failure)
    hub.start()
    until(lambda: len(hub.taken) == 100, 20)
    for number in range(101, 201):
        agent.report(report(number))
    until(lambda: agent.outbox.waiting == 0)
    assert hub.taken == [report(number) for number in range(1, 201)]
    assert hub.receiver
    [known] = hub.receiver.agents()
    assert (known.host, known.tid, known.connected, known.refused) == ("host", "host/1", True, 0)
    assert abs(known.offset) < 5_000_000
    assert agent.hub == f"127.0.0.1:{hub.port}"


def test_over_a_wire_that_is_cut_again_and_again_each_is_taken_once(hub: Hub, sender: Callable[..., Sender]) -> None:
    hub.start()
    cable = Cable(hub.port)
    agent = sender(cable.port)
    for number in range(1, 2001):
        agent.report(report(number))
        if number % 200 == 100:
            taken = len(hub.taken)
            until(lambda taken=taken: len(hub.taken) > taken, 30)
            cable.cut()
    until(lambda: agent.outbox.waiting == 0, 60)
    assert hub.numbers() == list(range(1, 2001))
    cable.close()


def test_a_hub_that_was_restarted_goes_on_where_it_was(hub: Hub, sender: Callable[..., Sender]) -> None:
    hub.start()
    agent = sender(hub.port)
    for number in range(1, 51):
        agent.report(report(number))
    until(lambda: agent.outbox.waiting == 0)
    hub.stop()
    for number in range(51, 101):
        agent.report(report(number))
    hub.start()
    until(lambda: agent.outbox.waiting == 0, 30)
    assert hub.numbers() == list(range(1, 101))


def test_an_agent_that_was_restarted_goes_on_where_it_was(hub: Hub, sender: Callable[..., Sender]) -> None:
    agent = sender(hub.port)
    for number in range(1, 51):
        agent.report(report(number))
    agent.stop()
    hub.start()
    again = sender(hub.port)
    again.report(report(51))
    until(lambda: again.outbox.waiting == 0, 20)
    assert hub.numbers() == list(range(1, 52))


def test_where_one_hub_is_away_the_next_one_is_told(hub: Hub, sender: Callable[..., Sender], tmp_path: Path) -> None:
    other = Hub(tmp_path / "other")
    other.start()
    agent = sender(hub.port, other.port)
    agent.report(report(1))
    until(lambda: other.numbers() == [1], 20)
    other.stop()
    hub.start()
    agent.report(report(2))
    until(lambda: hub.numbers() == [2], 30)
    assert agent.hub == f"127.0.0.1:{hub.port}"
    other.store.close()


def test_that_hubs_are_away_is_said_once_of_each(sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topology.remote.sender._LONGEST_WAIT", 0.01)
    with structlog.testing.capture_logs() as said:
        monkeypatch.setattr("topology.remote.sender._log", structlog.get_logger())
        tried: list[str] = []
        agent = sender(free_port(), free_port())
        agent._connect = lambda address: (tried.append(address), INSECURE(address))[1]
        until(lambda: len(tried) > 6, 30)
    told = [one["hub"] for one in said if one["event"] == "hub_away"]
    assert sorted(told) == sorted(set(tried))


def test_what_a_hub_cannot_take_now_is_sent_again(hub: Hub, sender: Callable[..., Sender]) -> None:
    full = [True]
    hub.refuses = lambda one: one.observed == 3 and full[0]
    hub.start()
    agent = sender(hub.port)
    for number in range(1, 6):
        agent.report(report(number))
    until(lambda: agent.failure is not None and "it is full" in agent.failure, 20)
    assert hub.numbers() == [1, 2]
    full[0] = False
    until(lambda: agent.outbox.waiting == 0, 30)
    assert hub.numbers() == [1, 2, 3, 4, 5]


def test_a_second_connection_of_an_agent_ends_the_first(hub: Hub, sender: Callable[..., Sender]) -> None:
    hub.start()
    agent = sender(hub.port)
    agent.report(report(1))
    until(lambda: agent.outbox.waiting == 0, 20)
    with grpc.insecure_channel(f"127.0.0.1:{hub.port}") as channel:
        assert hub.receiver
        outbox = hub.receiver.agents()[0].outbox
        welcome = greeting(channel)(wire.Greeting(oldest=1, newest=1, host="host", tid="host/1", outbox=outbox), timeout=5)
        assert welcome.taken == 1
        answers, _ = reporting(channel, [wire.Reports(clock=now())], {TID: "host/1", OUTBOX: outbox})
        assert next(answers).number == 1
    agent.report(report(2))
    until(lambda: agent.outbox.waiting == 0, 30)  # it comes again
    assert hub.numbers() == [1, 2]


def test_what_is_no_report_is_passed_over_and_said(hub: Hub) -> None:
    hub.start()
    with grpc.insecure_channel(f"127.0.0.1:{hub.port}") as channel:
        greeting(channel)(wire.Greeting(oldest=1, newest=1, host="h", tid="host/9", outbox="o"), timeout=5)
        sent = wire.Reports(reports=[wire.Numbered(number=1, report=b"\xff\xff"), wire.Numbered(number=2, report=b"")])
        answers, _ = reporting(channel, [sent], {TID: "host/9", OUTBOX: "o"})
        assert next(answers).number == 2
    assert hub.receiver
    assert hub.receiver.agents()[0].refused == 2
    assert hub.taken == []


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        (
            {"oldest": 7, "newest": 9, "tid": "host/1", "outbox": "o"},
            "versions 7 to 9 of the wire, the hub 1 to 2: upgrade the hub",
        ),
        ({"oldest": 1, "newest": 1, "tid": "", "outbox": "o"}, "give the host an ID"),
    ],
)
def test_who_cannot_be_talked_to_is_told_why(hub: Hub, said: dict[str, Any], refused: str) -> None:
    hub.start()
    with grpc.insecure_channel(f"127.0.0.1:{hub.port}") as channel, pytest.raises(grpc.RpcError, match=refused):
        greeting(channel)(wire.Greeting(**said), timeout=5)


def test_who_has_not_greeted_is_not_heard(hub: Hub) -> None:
    hub.start()
    with grpc.insecure_channel(f"127.0.0.1:{hub.port}") as channel:
        answers, _ = reporting(channel, [wire.Reports(clock=1)], {TID: "host/5", OUTBOX: "o"})
        with pytest.raises(grpc.RpcError, match="greet first"):
            next(answers)


def test_an_address_in_use_is_said(hub: Hub) -> None:
    with socket.create_server(("127.0.0.1", hub.port)), pytest.raises(ListenError, match=f"127.0.0.1:{hub.port} for agents"):
        hub.start()
    hub.receiver = None


def test_a_hub_that_knows_only_its_store_is_told_all_once_more(hub: Hub, tmp_path: Path) -> None:
    told = threading.Semaphore(0)
    outbox = Outbox(tmp_path / "outbox", 1 << 30, Clocks.of_machine("b"))
    hub.start()
    cable = Cable(hub.port)
    agent = Sender([f"127.0.0.1:{cable.port}"], outbox, Identity("host", "host/1"), now, no_answer, told.release)
    agent.start()
    agent.report(report(1))
    until(lambda: outbox.waiting == 0)
    cable.cut()
    agent.report(report(2))
    until(lambda: outbox.waiting == 0)
    assert not told.acquire(blocking=False)  # the same knows what it was told
    hub.stop()
    hub.start()
    assert told.acquire(timeout=20)
    agent.stop()
    cable.close()


def large(number: int) -> Report:
    """More than a message takes."""
    nodes = tuple(
        NodeFact(f"host/1/{n}", {"Name": f"n{n}", "Type": "veth", "n": number, "x": "x" * 900}) for n in range(24_000)
    )
    return Report(SOURCE, number, nodes, whole=True)


def test_a_report_larger_than_a_message_comes_through_whole_also_where_it_is_cut(
    hub: Hub, sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(encode_report(large(2))) > MAX_MESSAGE + (4 << 20)
    hub.start()
    cable = Cable(hub.port)
    agent = sender(cable.port)
    assert hub.receiver
    pieces: list[int] = []
    whole = Pieces.whole

    def watched(self: Pieces, one: wire.Numbered) -> bytes | None:
        pieces.append(one.number)
        if len(pieces) == 4:  # some have come, and others not
            cable.cut()
        return whole(self, one)

    monkeypatch.setattr(Pieces, "whole", watched)
    said = [report(1), large(2), report(3)]
    for one in said:
        agent.report(one)
    until(lambda: agent.outbox.waiting == 0, 60)
    assert hub.taken == said
    assert pieces.count(2) > 6
    assert (hub.receiver.agents()[0].refused, hub.receiver._room.used) == (0, 0)
    cable.close()


def test_a_report_larger_than_any_may_be_is_passed_over_and_its_room_given_back(
    hub: Hub, sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topology.remote.pieces.LARGEST", 8 << 20)
    hub.start()
    agent = sender(hub.port)
    for one in (report(1), large(2), report(3)):
        agent.report(one)
    until(lambda: agent.outbox.waiting == 0, 60)
    assert hub.receiver
    assert (hub.numbers(), hub.receiver.agents()[0].refused, hub.receiver._room.used) == ([1, 3], 1, 0)


class Watch:
    """An agent's clock, that is off, and may be set."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead
        machine = Clocks.of_machine("boot")
        self.clocks = Clocks(lambda: now() + self.ahead, machine.steady, "boot")


MINUTES = 60_000_000


@pytest.mark.parametrize("ahead", [30 * MINUTES, -30 * MINUTES, 0])
def test_history_is_by_the_hubs_clock_whatever_the_agents_is_and_though_it_was_set(tmp_path: Path, ahead: int) -> None:
    watch = Watch(ahead)
    port = free_port()
    moments: list[tuple[int, int]] = []

    def start() -> Sender:
        outbox = Outbox(tmp_path / "outbox", 1 << 30, watch.clocks)
        made = Sender([f"127.0.0.1:{port}"], outbox, Identity("host", "host/1"), watch.clocks.now, no_answer)
        made.start()
        return made

    def tell(number: int) -> None:
        before = now()
        agent.report(Report(SOURCE, watch.clocks.now(), (NodeFact("a", {"Name": "a", "Type": "veth", "n": number}),)))
        moments.append((before, now()))
        time.sleep(0.05)  # so that a time that is wrong by that much is another's

    agent = start()  # cut off
    tell(0)
    watch.ahead += 20 * MINUTES
    tell(1)
    agent.stop()
    watch.ahead -= 50 * MINUTES
    agent = start()
    tell(2)
    store = EmbeddedStore(tmp_path / "graph")
    reconciler = Reconciler(store, "hub", now)
    receiver = Receiver(f"127.0.0.1:{port}", Taking(reconciler), store, now)
    receiver.start()
    until(lambda: agent.outbox.waiting == 0, 20)
    tell(3)
    until(lambda: agent.outbox.waiting == 0, 20)
    assert abs(agent.clock_offset + watch.ahead) < 50_000
    assert abs(receiver.agents()[0].offset - watch.ahead) < 50_000
    found = [(one.state.metadata["n"], one.updated_at) for one in store.feed(0, 99) if one.state]
    assert [number for number, _ in found] == [0, 1, 2, 3]
    for (_, at), (before, after) in zip(found, moments, strict=True):
        assert before - 20_000 <= at <= after + 20_000
    agent.stop()
    receiver.stop()
    reconciler.close()
    store.close()


KILLED = """
import sys, time
from pathlib import Path
from topology.reconcile import Reconciler
from topology.remote.receiver import Receiver
from topology.remote.taking import Taking
from topology.store.embedded.store import EmbeddedStore
now = lambda: time.time_ns() // 1000
store = EmbeddedStore(Path(sys.argv[2]))
Receiver(sys.argv[1], Taking(Reconciler(store, "hub", now)), store, now).start()
print("ready", flush=True)
time.sleep(600)
"""


def test_over_kills_of_the_hub_each_change_is_in_the_history_once(
    tmp_path: Path, sender: Callable[..., Sender], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes and goes again would be there twice, were it taken twice; what changes nothing is among it."""
    monkeypatch.setattr("topology.remote.sender._TOGETHER", 3000)  # some twenty reports: a kill comes amid them
    port, folder, chance = free_port(), tmp_path / "graph", random.Random(7)
    command = [sys.executable, "-c", KILLED, f"127.0.0.1:{port}", str(folder)]
    agent, total, kills = sender(port), 3000, 12
    for number in range(1, total + 1):
        fact = NodeFact("a", {"Name": "a", "Type": "veth", "MTU": number // 3 % 2}, {"Metric": number})  # three alike
        agent.report(Report(SOURCE, now(), (fact,)))
    for kill in range(kills + 1):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hub:
            assert hub.stdout
            assert hub.stdout.readline() == "ready\n"
            target = int(agent.outbox.waiting * chance.uniform(0.85, 0.98)) if kill < kills else 0
            until(lambda target=target: agent.outbox.waiting <= target, 60)
            hub.kill()
    store = EmbeddedStore(folder)
    seen = [one.state.metadata["MTU"] for one in store.feed(0, 2 * total) if one.state]
    assert seen == [number % 2 for number in range(total // 3 + 1)]
    store.close()


def test_the_graph_of_two_agents_is_what_their_probes_saw(tmp_path: Path, sender: Callable[..., Sender]) -> None:
    store = EmbeddedStore(tmp_path / "graph")
    reconciler = Reconciler(store, "hub", now)
    receiver = Receiver(f"127.0.0.1:{free_port()}", Taking(reconciler), store, now)
    receiver.start()
    agents = [sender(receiver.port, folder=name, tid=f"host/{name}") for name in "ab"]
    for name, agent in zip("ab", agents, strict=True):
        source = Source("netlink", name, tid=f"host/{name}")
        nodes = [NodeFact(f"host/{name}/{number}", {"Name": f"eth{number}", "Type": "veth"}) for number in range(50)]
        edges = [EdgeFact(f"host/{name}/0", f"host/{name}/{number}", "ownership") for number in range(1, 50)]
        agent.report(Report(source, now(), (*nodes, *edges), whole=True))
        agent.report(Report(source, now(), (), tuple(node.id for node in nodes[40:])))
    until(lambda: all(agent.outbox.waiting == 0 for agent in agents), 20)
    current = [one.state for one in store.current() if one.state]
    for name in "ab":
        mine = [state for state in current if state.host == name]
        assert sorted(state.metadata["Name"] for state in mine if state.tid) == sorted(f"eth{number}" for number in range(40))
        assert sum(not state.tid for state in mine) == 39
    receiver.stop()
    reconciler.close()
    store.close()
