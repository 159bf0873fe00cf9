"""Large reports of many agents at once: each is taken in at some time, whatever the others do, within a bound of memory."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from support.netlab import until

from skytrail.asking.questions import Part, Question
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.methods import OUTBOX, TID, VERSION, greeting, reporting
from topology.facts import NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.remote.metrics import receiver_source
from topology.remote.outbox import Clocks, Outbox
from topology.remote.pieces import Pieces, RoomForPieces
from topology.remote.receiver import Receiver
from topology.remote.sender import Identity, Sender
from topology.remote.taking import Taking
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import StoreError

MIB = 1 << 20
PIECE = b"x" * MIB


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest report has 32 MiB: each agent may have 8, all together 64."""
    monkeypatch.setattr("topology.remote.pieces.LARGEST", 32 * MIB)
    monkeypatch.setattr("topology.remote.pieces._TURN", 0.5)


class Room(RoomForPieces):
    """That is asked as the receiver does."""

    def __init__(self) -> None:
        super().__init__(self.forget)
        self.most = 0

    def forget(self, pieces: Pieces) -> None:
        pieces.lost = True
        self.settle(pieces)
        pieces.drop()

    async def send(self, pieces: Pieces, number: int, *, more: bool) -> None:
        """Take in one piece."""
        reports = wire.Reports(reports=[wire.Numbered(number=number, report=PIECE, more=more)])
        await self.enter(pieces, pieces.more(reports))
        if not pieces.lost:
            pieces.whole(reports.reports[0])
        self.settle(pieces)
        self.most = max(self.most, self.used)

    async def begin(self, who: str, count: int) -> Pieces:
        """The first pieces of a report."""
        pieces = Pieces(who)
        for _ in range(count):
            await self.send(pieces, 1, more=True)
        return pieces


def test_whose_turn_it_is_has_room_for_the_largest_and_the_others_have_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topology.remote.pieces._TURN", 600.0)

    async def story() -> None:
        room = Room()
        first = await room.begin("a", 31)
        others = [await room.begin(name, 8) for name in "bcd"]
        waiting = asyncio.ensure_future(room.send(others[0], 1, more=True))
        await asyncio.sleep(0)
        small = await room.begin("e", 1)
        assert not waiting.done()
        await room.send(small, 1, more=False)
        await room.send(first, 1, more=False)
        await asyncio.wait_for(waiting, 30)
        assert (room.used, room.counts["waited"], room.counts["ended"]) == (25 * MIB, 1, 0)

    asyncio.run(story())


def test_who_keeps_its_turn_for_long_while_others_wait_loses_it_and_nobody_else_does() -> None:
    async def story() -> None:
        room = Room()
        stalled = await room.begin("a", 9)
        await asyncio.sleep(0.6)  # nobody waits: it may take its time
        await room.send(stalled, 1, more=True)
        shares = [await room.begin(name, 8) for name in "bcde"]
        await asyncio.wait_for(room.send(shares[1], 1, more=True), 10)
        assert [one.lost for one in (stalled, *shares)] == [True, False, False, False, False]
        assert (room.used, room.counts["ended"]) == (33 * MIB, 1)

    asyncio.run(story())


def test_an_agent_has_its_share_once_whatever_connections_it_opens() -> None:
    async def story() -> None:
        room = Room()
        await room.begin("turn", 9)
        for _ in range(2):
            await room.begin("a", 4)
        waiting = asyncio.ensure_future(room.begin("a", 1))
        await asyncio.sleep(0)
        assert not waiting.done()
        with pytest.raises(StoreError, match="no room for another large report"):
            await room.begin("a", 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await room.begin("b", 8)

    asyncio.run(story())


@pytest.mark.parametrize("seed", range(5))
def test_of_many_all_come_to_their_end_and_no_more_is_held_than_is_allowed(seed: int) -> None:
    chance = random.Random(seed)

    async def agent(room: Room, name: str) -> None:
        for number in (1, 2):
            size, sent = chance.choice([5, 9, 20, 32]), 0
            pieces = Pieces(name)
            while sent < size:
                if pieces.lost:  # it begins anew
                    pieces, sent = Pieces(name), 0
                await asyncio.sleep(chance.random() * 0.002)
                await room.send(pieces, number, more=sent + 1 < size)
                sent += 1

    async def story() -> None:
        room = Room()
        await room.begin("stalled", 32)
        await asyncio.wait_for(asyncio.gather(*(agent(room, f"a{number}") for number in range(16))), 60)
        assert (room.used, room._waiting) == (0, {})
        assert 32 * MIB < room.most <= 64 * MIB
        assert room.counts["ended"] >= 1

    asyncio.run(story())


# Over the wire


def now() -> int:
    return time.time_ns() // 1000


def no_answer(_: Question) -> Iterator[Part]:
    yield Part()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Receiver]:
    store = EmbeddedStore(tmp_path / "hub", clock=now)
    reconciler = Reconciler(store, "hub", now)
    made = Receiver("127.0.0.1:0", Taking(reconciler), store, now)
    made.start()
    yield made
    made.stop()
    reconciler.close()
    store.close()


@pytest.fixture
def stall(hub: Receiver) -> Iterator[Callable[[str, int], None]]:
    """An agent that begins a large report and never ends it."""
    over, channels, calls = threading.Event(), list[grpc.Channel](), list[object]()  # a call that nobody has is cancelled

    def begin(name: str, pieces: int) -> None:
        channel = grpc.insecure_channel(f"127.0.0.1:{hub.port}")
        channels.append(channel)
        greeting(channel)(wire.Greeting(oldest=2, newest=2, host=name, tid=f"host/{name}", outbox=name), timeout=10)

        def requests() -> Iterator[wire.Reports]:
            for _ in range(pieces):
                yield wire.Reports(reports=[wire.Numbered(number=1, report=PIECE, more=True)])
            over.wait(60)

        calls.append(reporting(channel, requests(), {TID: f"host/{name}", OUTBOX: name, VERSION: "2"}))

    yield begin
    over.set()
    for one in channels:
        one.close()


def test_agents_that_never_end_a_large_report_keep_no_others_from_theirs(
    hub: Receiver, stall: Callable[[str, int], None], tmp_path: Path
) -> None:
    for number in range(3):
        stall(f"share{number}", 8)
    stall("turn", 30)
    until(lambda: hub._room.used == 54 * MIB, 20)
    outbox = Outbox(tmp_path / "agent", 1 << 30, Clocks.of_machine("b"))
    agent = Sender([f"127.0.0.1:{hub.port}"], outbox, Identity("good", "host/good"), now, no_answer)
    agent.start()
    nodes = tuple(NodeFact(f"host/good/{number}", {"Name": "x" * 900}) for number in range(24_000))
    agent.report(Report(Source("netlink", "good", tid="host/good"), now(), nodes))
    until(lambda: outbox.waiting == 0, 30)
    assert next(one for one in hub.agents() if one.host == "good").taken == 1
    assert hub._room.used == 24 * MIB
    told = {family.metric.name: dict(family.samples) for family in receiver_source(hub)()}
    assert told["skytrail_wire_crowded_reports_total"]["ended",] == 1
    agent.stop()
