"""An agent's end and a hub's over real gRPC: each report taken once, in its order, whatever is cut."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.cable import Cable
from support.netlab import until
from support.ports import free_port

from skytrail.asking.questions import Part, Question
from skytrail.errors import ListenError, RunError
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.methods import OUTBOX, TID, greeting, reporting
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.remote.outbox import Outbox
from topology.remote.receiver import Receiver
from topology.remote.sender import Identity, Sender
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import StoreError

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
        self.receiver = Receiver(f"127.0.0.1:{self.port}", self._take, self.store, now)
        self.receiver.start()

    def _take(self, one: Report) -> None:
        if self.refuses(one):
            raise StoreError("it is full")
        self.taken.append(one)

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
        made.append(Sender(addresses, Outbox(tmp_path / folder / "outbox", 1 << 30), Identity("host", tid), now, no_answer))
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


def test_the_graph_of_two_agents_is_what_their_probes_saw(tmp_path: Path, sender: Callable[..., Sender]) -> None:
    store = EmbeddedStore(tmp_path / "graph")
    reconciler = Reconciler(store, "hub", now)
    receiver = Receiver(f"127.0.0.1:{free_port()}", reconciler.report, store, now)
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
