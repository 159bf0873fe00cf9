"""Hubs of one graph ask each other, over real gRPC: whichever is asked gives the answer of all agents, each once."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs
from support.answered import flows, saying, uuids
from support.cable import Cable
from support.certificates import Pki
from support.netlab import until
from support.wire_v1 import OldHub

from skytrail.asking.asker import Answer, Answers
from skytrail.asking.collecting import Room
from skytrail.asking.questions import FlowsQuestion, Part, Question, Range, encode_question
from skytrail.asking.terms import Compare
from skytrail.errors import RunError
from skytrail.settings.tree import Http, Hub, Settings, Wire
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.exposure import advertised, asking_refusal, peer_refusal
from skytrail.wire.peers import Other
from skytrail.wire.relay import _Waiting
from skytrail.wire.security import HubSecurity, connector, wire_files
from topology.facts import Report, Source
from topology.remote.elsewhere import Elsewhere
from topology.remote.outbox import Clocks, Outbox
from topology.remote.receiver import AskBounds, Receiver
from topology.remote.sender import Identity, Sender
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Note

LONG = 60.0
NO_TLS = Wire()
QUESTION = FlowsQuestion(term=Compare("Network.A", "within", ("10.0.0.1",)), limit=3, fields=("UUID",))


def now() -> int:
    return time.time_ns() // 1000


class Taking:
    """Reports that nobody looks at."""

    def claim(self, _: Source, __: str) -> bool:
        return False

    def take(self, _: Report, __: Note) -> bool:
        return True

    def keep(self, _: Source, note: Note) -> None:
        pass


class Hubs:
    """Hubs on one store, and their agents."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.store = EmbeddedStore(folder / "graph")
        self.store.shared = True
        self.hubs: list[Receiver] = []
        self.lists: list[Elsewhere] = []
        self.addresses: dict[int, str] = {}
        self._agents: list[Sender] = []

    def hub(
        self, *, seconds: float = LONG, most: int = 64 << 20, ahead: int = 0, wire: Wire = NO_TLS, crl: str | None = None,
        closed: str = "",
    ) -> Receiver:  # fmt: skip
        security, number = HubSecurity(wire_files(wire), crl), len(self.hubs)

        def clock() -> int:
            return now() + ahead

        made = Receiver("127.0.0.1:0", Taking(), self.store, clock, AskBounds(seconds, most), security, closed)
        made.start()
        ours = Other(f"hub{number}", f"127.0.0.1:{made.port}", "here")
        self.lists.append(Elsewhere(self.store, ours, made.session, made.connected, clock, made.peers.are))
        self.hubs.append(made)
        return made

    def meet(self, of: int | None = None) -> None:
        """Wait until all know each other and their agents; or one knows others, whatever becomes of it."""
        for _ in range(2):
            for one in self.lists:
                one.look()
        for number, one in enumerate(self.hubs):
            if of is None:
                until(lambda one=one: [failure for _, failure, _ in one.peers.status()] == [""] * (len(self.hubs) - 1))
            elif of == number:
                until(lambda one=one: all(failure != "was not met yet" for _, failure, _ in one.peers.status()))

    def peer(self, hub: int, other: int) -> Any:
        """How a hub stands with another."""
        return self.hubs[hub].peers._peers[self.hubs[other].session]

    def agent(self, hub: int, name: str, answer: Answer, settings: Wire = NO_TLS) -> Sender:
        """One that reports and attends."""
        outbox, tid = Outbox(self._folder / f"{name}{len(self._agents)}", 1 << 30, Clocks.of_machine("b")), f"host/{name}"
        address, connect = f"127.0.0.1:{self.hubs[hub].port}", connector(wire_files(settings))
        made = Sender([address], outbox, Identity(name, tid), now, answer, connect=connect)
        self._agents.append(made)
        made.start()
        until(lambda: tid in self.hubs[hub].asker._there and tid in self.hubs[hub].connected(), 30)
        return made

    def ask(self, hub: int, question: Question = QUESTION, hosts: list[str] | None = None) -> Answers:
        return self.hubs[hub].asker.ask(question, hosts)

    def close(self) -> None:
        for agent in self._agents:
            agent.stop()
        for hub in self.hubs:
            hub.stop()
        self.store.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Hubs]:
    made = Hubs(tmp_path)
    yield made
    made.close()


class Counting:
    """Answers, and keeps what it was asked."""

    def __init__(self, *parts: Part) -> None:
        self.asked: list[Question] = []
        self._parts = parts

    def __call__(self, question: Question) -> Iterator[Part]:
        self.asked.append(question)
        yield from self._parts


def test_whichever_hub_is_asked_gives_the_answer_of_all_agents_each_asked_once(site: Hubs) -> None:
    """Three hubs: a question that went on from hub to hub would reach an agent more than once."""
    answers = {name: Counting(flows(number), flows(10 * number)) for number, name in enumerate("abc", 1)}
    for _ in range(3):
        site.hub()
    for number, name in enumerate("abc"):
        site.agent(number, name, answers[name])
    site.meet()
    whole = {"host/a": ["1", "10"], "host/b": ["2", "20"], "host/c": ["3", "30"]}
    for number in range(3):
        found = site.ask(number)
        assert (uuids(found), found.missing) == (whole, {})
        assert site.hubs[number].asker.hosts() == {"host/a": "a", "host/b": "b", "host/c": "c"}
    assert [one.asked for one in answers.values()] == [[QUESTION] * 3] * 3
    assert [one.asker.results for one in site.hubs] == [{"answered": 3}] * 3
    assert [one.peers.results for one in site.hubs] == [{"answered": 2}] * 3


def test_of_some_hosts_nobody_else_is_asked_wherever_they_report(site: Hubs) -> None:
    answers = {name: Counting(flows(number)) for number, name in enumerate("abc", 1)}
    for hub, name in ((0, "a"), (1, "b"), (1, "c")):
        if hub == len(site.hubs):
            site.hub()
        site.agent(hub, name, answers[name])
    site.meet()
    assert uuids(site.ask(0, hosts=["host/b"])) == {"host/b": ["2"]}
    assert uuids(site.ask(0, hosts=["host/a"])) == {"host/a": ["1"]}
    assert uuids(site.ask(1, hosts=["host/a", "host/c"])) == {"host/a": ["1"], "host/c": ["3"]}
    assert [len(one.asked) for one in answers.values()] == [2, 1, 1]
    found = site.ask(0, hosts=["host/x", "host/b"])
    assert uuids(found) == {"host/b": ["2"]}
    assert found.missing == {"host/x": "no agent of this host has greeted since the hub's start"}
    assert site.ask(0, hosts=[]).missing == {}


def test_an_agent_that_moved_since_the_lists_were_read_answers_once_and_is_not_missing(site: Hubs) -> None:
    site.hub()
    site.hub()
    site.hub()
    first = site.agent(1, "a", saying(flows(1)))
    site.meet()
    first.stop()
    site.agent(2, "a", saying(flows(2)))
    site.agent(2, "new", saying(flows(3)))
    for number in (0, 1, 2):
        found = site.ask(number)
        assert (uuids(found), found.missing) == ({"host/a": ["2"], "host/new": ["3"]}, {})
        assert uuids(site.ask(number, hosts=["host/a"])) == {"host/a": ["2"]}
        assert site.hubs[number].asker.hosts() == {"host/a": "a", "host/new": "new"}  # though no list has it yet


def test_an_agent_whose_former_hub_has_not_noticed_is_asked_where_it_reports_now(site: Hubs) -> None:
    """It hangs there, half open: nobody waits for it."""
    over = threading.Event()

    def hangs(_: Question) -> Iterator[Part]:
        over.wait(LONG)
        yield flows(1)

    site.hub(seconds=10 * LONG)  # more than a test may take
    site.hub()
    site.agent(1, "a", hangs)
    site.meet()
    site.agent(0, "a", saying(flows(2)))
    found = site.ask(0)
    over.set()
    assert (uuids(found), found.missing) == ({"host/a": ["2"]}, {})


def test_an_agent_that_has_left_is_missing_with_the_hub_that_it_left(site: Hubs) -> None:
    site.hub()
    site.hub()
    agent = site.agent(1, "a", saying(flows(1)))
    site.meet()
    agent.stop()
    until(lambda: not site.hubs[1].connected() and not site.hubs[1].asker._there)
    told = f"its agent has left the hub on hub1 (127.0.0.1:{site.hubs[1].port}): ask again"
    assert site.ask(0).missing == {"a": told}
    assert site.ask(0, hosts=["host/a"]).missing == {"a": told}


def test_what_an_agent_of_another_hub_fails_at_is_told_and_what_came_before_stays(site: Hubs) -> None:
    def answer(_: Question) -> Iterator[Part]:
        yield flows(1)
        raise RunError("no more is known")

    site.hub()
    site.hub()
    site.agent(1, "a", answer)
    site.agent(1, "b", saying(flows(2)))
    site.meet()
    found = site.ask(0)
    assert found.missing == {"a": "no more is known"}
    assert uuids(found) == {"host/a": ["1"], "host/b": ["2"]}


def test_an_answer_of_many_parts_comes_whole_through_another_hub(site: Hubs) -> None:
    site.hub()
    site.hub()
    many = Part([{"UUID": str(number), "Text": "x" * 1000} for number in range(20_000)], since=9)
    site.agent(1, "a", saying(many))
    site.meet()
    found = site.ask(0)
    assert uuids(found) == {"host/a": [str(number) for number in range(20_000)]}
    assert {part.since for _, part in found.parts} == {9}
    assert site.hubs[1].asker.room._used == 0


@pytest.mark.parametrize("says", ["much", "nothing"])
def test_an_agent_of_another_hub_that_is_slow_is_named_in_time_and_its_work_is_called_off(site: Hubs, says: str) -> None:
    called_off, over = threading.Event(), threading.Event()

    def slow(_: Question) -> Iterator[Part]:
        try:
            while True:
                if says == "nothing":
                    over.wait(LONG)
                yield Part()
        finally:
            called_off.set()

    site.hub()
    site.hub(seconds=0.5)  # its own time is the shorter one
    site.agent(1, "a", slow)
    site.agent(1, "b", saying(flows(2)))
    site.meet()
    found = site.ask(0)
    assert found.missing == {"a": "did not answer within 0.5 s"}
    assert uuids(found)["host/b"] == ["2"]
    over.set()
    assert called_off.wait(LONG)
    assert site.hubs[0].peers.results == {"answered": 1}


def test_agents_of_another_hub_have_less_time_so_that_it_can_tell_who_was_late(
    site: Hubs, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.hub()
    asker, given = site.hub(seconds=2 * LONG).asker, list[float]()
    site.agent(1, "a", saying(flows(1)))
    site.meet()
    real = asker.begin
    monkeypatch.setattr(asker, "begin", lambda *of: (given.append(of[-1]), real(*of))[1])
    assert uuids(site.ask(0)) == {"host/a": ["1"]}
    assert LONG / 2 < given[0] <= 0.9 * LONG


def test_a_hub_that_hangs_is_named_and_is_asked_again_when_it_answers(site: Hubs) -> None:
    """It takes the question and says nothing: the agents of ours are told, and its own are missing."""
    site.hub(seconds=2.0)
    site.hub()
    site.agent(0, "a", saying(flows(1)))
    site.agent(1, "b", saying(flows(2)))
    site.meet()
    hanging, over = threading.Event(), threading.Event()
    site.hubs[1]._loop.call_soon_threadsafe(lambda: (hanging.set(), over.wait(LONG)))
    assert hanging.wait(LONG)
    found = site.ask(0)
    assert uuids(found) == {"host/a": ["1"]}
    told = f"its agent reports to the hub on hub1 (127.0.0.1:{site.hubs[1].port}), which did not answer within 2 s"
    assert found.missing == {"b": told}
    assert site.hubs[0].peers.results["late"] == 1
    over.set()
    until(lambda: site.ask(0).missing == {}, 20)


def test_a_hub_that_goes_in_the_middle_of_an_answer_is_named_at_once_and_what_came_stays(site: Hubs) -> None:
    begun, over = threading.Event(), threading.Event()

    def answer(_: Question) -> Iterator[Part]:
        yield flows(1)
        begun.set()
        over.wait(LONG)

    def quiet(_: Question) -> Iterator[Part]:
        over.wait(LONG)
        yield flows(2)

    site.hub(seconds=10 * LONG)  # more than a test may take
    cable = Cable(site.hub().port)
    site.lists[1]._ours = Other("hub1", f"127.0.0.1:{cable.port}", "here")
    site.agent(1, "a", answer)
    site.agent(1, "quiet", quiet)
    site.meet()
    threading.Thread(target=lambda: (begun.wait(LONG), time.sleep(0.2), cable.close()), daemon=True).start()
    found = site.ask(0)
    assert uuids(found) == {"host/a": ["1"]}
    assert found.missing.keys() == {"a", "quiet"}
    for reason in found.missing.values():
        assert reason.startswith(f"its agent reports to the hub on hub1 (127.0.0.1:{cable.port}), which cannot be reached: ")
    over.set()
    assert site.hubs[0].peers.results == {"failed": 1}


def test_what_is_not_wanted_any_more_is_called_off_at_the_other_hub(site: Hubs) -> None:
    """The asking hub has what it can hold, from its own agent."""
    called_off = threading.Event()

    def endless(_: Question) -> Iterator[Part]:
        try:
            while True:
                yield Part()
        finally:
            called_off.set()

    site.hub(most=1 << 20)
    site.hub()
    big = Part([{"UUID": "1", "Text": "x" * 600_000}])
    for name in "ab":
        site.agent(0, name, saying(big))
    site.agent(1, "c", endless)
    site.meet()
    with pytest.raises(RunError, match="larger than 1 MiB together"):
        site.ask(0)
    assert called_off.wait(LONG)
    until(lambda: site.hubs[1].asker.room._used == 0 and site.hubs[1]._relay._open == 0)


def test_more_questions_than_a_hub_takes_of_others_are_refused(site: Hubs) -> None:
    over = threading.Event()

    def answer(_: Question) -> Iterator[Part]:
        over.wait(LONG)
        yield flows(1)

    site.hub()
    site.hub()
    site.agent(1, "a", answer)
    site.meet()
    site.hubs[1]._relay._open = 32
    refused = site.ask(0).missing["a"]
    assert refused.endswith("which refuses: other hubs ask 32 questions already: ask again later")
    site.hubs[1]._relay._open = 0
    found: list[Answers] = []
    asking = [threading.Thread(target=lambda: found.append(site.ask(0))) for _ in range(20)]
    for one in asking:
        one.start()
    until(lambda: site.hubs[1]._relay._open == 12)  # the others wait for one of these to end
    over.set()
    for one in asking:
        one.join()
    assert [(uuids(one), one.missing) for one in found] == [({"host/a": ["1"]}, {})] * 20


def test_an_answer_that_finds_no_room_at_the_other_hub_is_named_and_small_ones_are_told(site: Hubs) -> None:
    site.hub()
    site.hub(most=1 << 20)
    site.agent(1, "a", saying(Part([{"UUID": "1", "Text": "x" * 600_000}])))
    site.agent(1, "b", saying(flows(2)))
    site.meet()
    room = site.hubs[1].asker.room
    assert room.take(3 << 20, 0)
    no_room = "there is no room for the answers of all who ask at once: ask again later, or set hub.ask_max"
    found = site.ask(0)
    assert (uuids(found), found.missing) == ({"host/b": ["2"]}, {"a": f"its answer is left out: {no_room}"})
    assert site.hubs[1].asker.results == {"answered": 1, "crowded": 1}
    room.give(3 << 20)
    assert uuids(site.ask(0)) == {"host/a": ["1"], "host/b": ["2"]}
    assert room._used == 0


def test_of_what_waits_for_a_hub_that_reads_nothing_the_largest_is_left_out() -> None:
    room, called_off = Room(1 << 20), list[str]()
    waiting = _Waiting(room, 1 << 20, {}, {})
    waiting.begins(called_off.append)
    for tid, size in (("b", 300_000), ("a", 300_000), ("a", 300_000), ("b", 200_000), ("a", 9)):
        waiting.part(tid, bytes(size))
    waiting.ended("b", "")
    waiting.done()
    assert called_off == ["a"]

    async def read() -> list[tuple[str, int, bool]]:
        return [(one.tid, len(one.part), one.dropped) async for one in aiter_of(waiting)]

    assert asyncio.run(read()) == [("b", 300_000, False), ("a", 0, True), ("b", 200_000, False), ("b", 0, False)]
    assert room._used == 0
    waiting.part("c", bytes(9))
    waiting.drop()
    waiting.drop()
    assert room._used == 0


async def aiter_of(waiting: _Waiting) -> AsyncIterator[wire.Reply]:
    while (reply := await waiting.next()) is not None:
        yield reply


def test_what_a_hub_does_not_read_waits_bounded_and_is_gone_with_its_question(site: Hubs) -> None:
    site.hub(most=8 << 20)
    site.agent(0, "a", saying(*[Part([{"UUID": "1", "Text": "x" * 600_000}])] * 13))
    room = site.hubs[0].asker.room
    with connector(None)(f"127.0.0.1:{site.hubs[0].port}") as channel:
        asked = wire.Inquiry(body=encode_question(QUESTION), all_but=True, timeout_ms=60_000, most_bytes=8 << 20)
        call = channel.unary_stream("/skytrail.wire.v1.Wire/Ask")(asked.SerializeToString())
        until(lambda: room._used > 1 << 20)
        call.cancel()
        until(lambda: room._used == 0)


@pytest.mark.parametrize("ahead", [0, 1_800_000_000, -1_800_000_000])
def test_times_are_by_the_clock_of_the_hub_that_was_asked_first(site: Hubs, ahead: int) -> None:
    """An agent of a hub whose clock is half an hour off, asked through the other one as if both were right."""
    seen: list[FlowsQuestion] = []
    at = now() // 1000

    def answer(question: Question) -> Iterator[Part]:
        assert isinstance(question, FlowsQuestion)
        seen.append(question)
        yield Part([{"UUID": "1", "Start": at, "Last": at + 5}], since=at - 9, gaps=[Range(at, at + 1)])

    site.hub()
    site.hub(ahead=ahead)
    site.agent(1, "a", answer)
    site.meet()
    question = FlowsQuestion(Range(at - 1000, at), term=Compare("Last", "gte", (at - 500,)), fields=("UUID",))
    (tid, part), *_ = site.ask(0, question).parts
    [asked] = seen
    assert asked.when is not None
    assert isinstance(asked.term, Compare)
    told = [
        asked.when.begin + 1000,
        asked.when.end,
        int(asked.term.values[0]) + 500,
        part.found[0]["Start"],
        part.gaps[0].begin,
    ]
    assert (tid, part.found[0]["UUID"]) == ("host/a", "1")
    assert max(abs(time - at) for time in told) < 100
    assert part.since is not None
    assert abs(part.since - at + 9) < 100
    [(_, failure, offset)] = site.hubs[0].peers.status()
    assert failure == ""
    assert abs(offset - ahead) < 100_000


def test_a_hub_of_an_earlier_release_is_named_as_such(site: Hubs) -> None:
    """One has told no address, as they did; one told it, and knows nothing of being asked."""
    site.hub()
    old = OldHub()
    site.hubs[0].peers.refuses = lambda other: peer_refusal(Settings(), "here", other)
    site.hubs[0].peers.are(
        {
            "one": Other("hub1", "", "", {"host/a": "a"}),
            "two": Other("hub2", f"127.0.0.1:{old.port}", "here", {"host/b": "b"}),
        }
    )
    what = "which is of a release that other hubs cannot ask: upgrade it"
    assert site.ask(0).missing == {
        "a": f"its agent reports to the hub on hub1, {what}",
        "b": f"its agent reports to the hub on hub2 (127.0.0.1:{old.port}), {what}",
    }
    assert site.hubs[0].peers.results == {"away": 2}
    old.stop()


def test_a_hub_that_speaks_other_versions_is_named(site: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    site.hub()
    site.hub()
    site.agent(1, "b", saying(flows(2)))
    monkeypatch.setattr("skytrail.wire.relay.OLDEST", 8)
    monkeypatch.setattr("skytrail.wire.relay.NEWEST", 9)
    site.meet(of=0)
    assert (
        site.ask(0)
        .missing["b"]
        .endswith("which cannot be asked: it speaks versions 8 to 9 of the wire, this hub 1 to 2: upgrade this hub")
    )


def test_a_hub_that_tells_another_address_is_asked_there(site: Hubs) -> None:
    site.hub()
    site.hub()
    site.agent(1, "b", saying(flows(2)))
    cable = Cable(site.hubs[1].port)
    site.meet()
    for address in (f"127.0.0.1:{cable.port}", f"127.0.0.1:{site.hubs[1].port}"):
        site.lists[1]._ours = Other("hub1", address, "here")
        site.lists[1]._written = None
        site.meet()
        until(lambda address=address: site.peer(0, 1).other.address == address and site.peer(0, 1).met.is_set())
        assert uuids(site.ask(0)) == {"host/b": ["2"]}
        cable.close()


def test_a_hub_that_is_dead_is_named_at_once(site: Hubs) -> None:
    site.hub(seconds=10 * LONG)
    site.agent(0, "a", saying(flows(1)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site.hubs[0].peers.are({"dead": Other("hub1", f"127.0.0.1:{port}", "here", {"host/b": "b"})})
    found = site.ask(0)
    assert uuids(found) == {"host/a": ["1"]}
    assert found.missing["b"].startswith(f"its agent reports to the hub on hub1 (127.0.0.1:{port}), which cannot be reached: ")


def test_another_hub_at_the_address_is_not_taken_for_it(site: Hubs) -> None:
    """As behind one address of a load balancer, or where a hub tells ours."""
    site.hub()
    site.hub()
    site.agent(1, "b", saying(flows(2)))
    address = f"127.0.0.1:{site.hubs[1].port}"
    site.hubs[0].peers.are({"other": Other("hub2", address, "here", {"host/b": "b"})})
    found = site.ask(0)
    assert uuids(found) == {}
    assert found.missing["b"].endswith(
        "which is not there, but another one: set hub.advertise there to an address that is its own"
    )


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


def test_hubs_with_their_certificates_ask_each_other_also_by_renewed_ones(site: Hubs, pki: Pki) -> None:
    settings = pki.hub()
    for _ in range(2):
        site.hub(wire=settings)
    site.agent(1, "a", saying(flows(1)), pki.agent("a"))
    site.meet()
    assert uuids(site.ask(0)) == {"host/a": ["1"]}
    channel = site.peer(0, 1).channel
    pki.authority.renew(Path(str(settings.tls_cert)))  # with another key
    site.peer(0, 1).at = float("-inf")
    site.meet()
    until(lambda: site.peer(0, 1).channel is not channel)
    assert uuids(site.ask(0)) == {"host/a": ["1"]}


def refused(address: str, settings: Wire | None) -> grpc.RpcError:
    """What becomes of asking a hub by somebody's certificate."""
    with connector(wire_files(settings) if settings else None)(address) as channel:
        calls = [
            lambda: channel.unary_unary("/skytrail.wire.v1.Wire/Meet")(b"", timeout=10),
            lambda: list(channel.unary_stream("/skytrail.wire.v1.Wire/Ask")(wire.Inquiry(all_but=True).SerializeToString())),
        ]
        told = []
        for call in calls:
            with pytest.raises(grpc.RpcError) as error:
                call()
            told.append((error.value.code(), error.value.details()))
    assert len({code for code, _ in told}) == 1
    return error.value


def test_who_has_no_certificate_of_a_hub_asks_nobody(site: Hubs, pki: Pki, tmp_path: Path) -> None:
    """An agent; a server of HTTPS; a hub of another authority; a hub whose certificate is revoked; somebody without one."""
    hub = pki.hub()
    address = f"127.0.0.1:{site.hub(wire=hub, crl=pki.crl).port}"
    told = refused(address, pki.agent("node1"))
    assert told.code() is grpc.StatusCode.PERMISSION_DENIED
    assert told.details() == "the certificate 'node1' is no hub's: 'skytrail pki hub HOST' makes one"
    stolen = pki.hub("stolen", "127.0.0.1")
    pki.authority.revoke(Path(str(stolen.tls_cert)))
    told = refused(address, stolen)
    assert told.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "of stolen is revoked: 'skytrail pki hub' makes another" in str(told.details())
    for settings in (pki.server("localhost", "127.0.0.1"), None):
        assert refused(address, settings).code() is grpc.StatusCode.UNAVAILABLE
    theirs = Pki(tmp_path / "other").hub()
    mixed = Wire(tls_cert=theirs.tls_cert, tls_key=theirs.tls_key, tls_ca=hub.tls_ca)  # it trusts the hub
    assert refused(address, mixed).code() is grpc.StatusCode.UNAVAILABLE


def test_a_hub_whose_certificate_is_of_an_earlier_release_says_so(site: Hubs, pki: Pki) -> None:
    """As a server's alone: good for agents, not for asking."""
    site.hub(wire=pki.server("localhost", "127.0.0.1"))
    site.hub(wire=pki.hub())
    site.meet(of=0)
    site.hubs[0].peers.are({site.hubs[1].session: Other("hub1", f"127.0.0.1:{site.hubs[1].port}", "here", {"host/b": "b"})})
    assert (
        site.ask(0)
        .missing["b"]
        .endswith("which cannot be asked by this hub's certificate: 'skytrail pki hub --force' makes another")
    )


def test_a_hub_that_is_not_the_one_dialled_hears_no_question(site: Hubs, pki: Pki) -> None:
    site.hub(wire=pki.hub())
    site.hub(wire=pki.hub("hub.example"))
    site.meet(of=0)
    site.hubs[0].peers.are({site.hubs[1].session: Other("hub1", f"127.0.0.1:{site.hubs[1].port}", "here", {"host/b": "b"})})
    assert "which cannot be reached: " in site.ask(0).missing["b"]


def test_a_hub_that_other_hubs_may_not_ask_says_why(site: Hubs) -> None:
    site.hub()
    site.hub(closed="this hub shares its graph with no other")
    site.agent(1, "b", saying(flows(2)))
    site.meet(of=0)
    assert site.ask(0).missing["b"].endswith("which refuses: this hub shares its graph with no other")


TLS = Wire(tls_cert="c", tls_key="k", tls_ca="a")


@pytest.mark.parametrize(
    ("settings", "shared", "told"),
    [
        (Settings(), True, ""),
        (Settings(), False, "this hub shares its graph with no other"),
        (Settings(http=Http(token_file="t")), True, "this hub answers those alone who say who they are: set up mutual TLS"),
        (Settings(http=Http(users_file="t")), True, "this hub answers those alone who say who they are: set up mutual TLS"),
        (Settings(http=Http(token_file="t"), wire=TLS), True, ""),
    ],
)
def test_without_tls_the_wire_is_no_way_round_tokens(settings: Settings, shared: bool, told: str) -> None:
    assert asking_refusal(settings, shared=shared).partition(" (")[0] == told


@pytest.mark.parametrize(
    ("settings", "address", "loopback", "told"),
    [
        (Settings(), "127.0.0.1:8083", "here", ""),
        (Settings(), "127.0.0.1:8083", "there", "listens on its own loopback alone: set hub.wire or hub.advertise there"),
        (Settings(), "192.0.2.1:8083", "there", "is not asked without mutual TLS"),
        (Settings(wire=TLS), "192.0.2.1:8083", "there", ""),
        (Settings(http=Http(insecure=True)), "192.0.2.1:8083", "there", ""),
        (Settings(), "", "there", "is of a release that other hubs cannot ask: upgrade it"),
    ],
)
def test_which_hub_is_asked(settings: Settings, address: str, loopback: str, told: str) -> None:
    assert peer_refusal(settings, "here", Other("hub", address, loopback)).partition(" (")[0] == told


@pytest.mark.parametrize(
    ("hub", "told"),
    [
        (Hub(wire="127.0.0.1:8083"), "127.0.0.1:9"),
        (Hub(wire="0.0.0.0:8083"), "host1:9"),
        (Hub(wire=":8083"), "host1:9"),
        (Hub(wire="[::]:8083"), "host1:9"),
        (Hub(wire="[2001:db8::1]:8083"), "[2001:db8::1]:9"),
        (Hub(wire="0.0.0.0:8083", advertise="hub1.example:443"), "hub1.example:443"),
    ],
)
def test_where_others_reach_a_hub(hub: Hub, told: str) -> None:
    assert advertised(Settings(hub=hub), "host1", 9) == told


def replying(monkeypatch: pytest.MonkeyPatch, *replies: wire.Reply) -> None:
    """The other hub says these too, last."""
    monkeypatch.setattr(
        "skytrail.wire.relay._Waiting.done", lambda self: [self._replies.put_nowait(one) for one in (*replies, None)]
    )


LAST = (1 << 63) - 1


def test_an_answer_of_another_hub_that_is_no_answer_harms_nobody(site: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts that were not asked, and times beyond all time once they are by our clock."""
    site.hub()
    site.hub(ahead=-1_800_000_000)
    site.agent(0, "a", saying(flows(1)))
    site.agent(1, "b", saying(flows(2)))
    site.meet()
    replying(
        monkeypatch,
        wire.Reply(tid="host/a", part=b'{"found":[{"UUID":"forged"}]}'),
        wire.Reply(tid="host/b", part=b'{"found":[{"UUID":"3","Start":%d,"Last":7}],"since":%d}' % (LAST, LAST)),
    )
    found = site.ask(0, hosts=["host/b"])
    assert (uuids(found), found.missing) == ({"host/b": ["2", "3"]}, {})
    *_, (_, part) = found.parts
    assert (part.found[0]["Start"], part.since) == (LAST, LAST)
    assert abs(int(part.found[0]["Last"]) - 1_800_007) < 100


@pytest.mark.parametrize(
    "answer",
    [b"none", b"\xff", b'{"found":3}', b'{"found":[{"UUID":1}]}', b"[" * 20_000, b'{"found":[{"UUID":"1","Last":1e3}]}'],
)
def test_a_part_of_another_hub_that_is_none_drops_that_hosts_answer_alone(
    site: Hubs, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    site.hub()
    site.hub()
    site.agent(0, "a", saying(flows(1)))
    site.agent(1, "b", saying(flows(2)))
    site.agent(1, "c", saying(flows(3)))
    site.meet()
    replying(monkeypatch, wire.Reply(tid="host/c", part=answer), wire.Reply(tid="host/c", part=b'{"found":[{"UUID":"4"}]}'))
    with capture_logs() as logs:
        for _ in range(2):
            found = site.ask(0)
            assert uuids(found) == {"host/a": ["1"], "host/b": ["2"]}
            assert found.missing.keys() == {"c"}
            assert found.missing["c"].startswith("its answer is refused: ")
    assert [(one["hub"], one["agent"]) for one in logs if one["event"] == "answer_refused"] == [("hub1", "host/c")]  # said once
    assert site.hubs[0].peers.results == {"refused": 2}


def at(*nodes: str) -> Answer:
    return saying(*(Part([{"UUID": node, "NodeTID": node}]) for node in nodes))


def test_what_an_agent_tells_of_other_hosts_is_refused_through_its_hub_too(site: Hubs) -> None:
    """By that hub, which knows it; what came of it before is dropped, and the others of that hub are told."""
    site.hub()
    site.hub()
    site.agent(1, "b", at("host/b/1", "host/c/1"))
    site.agent(1, "c", at("host/c/1"))
    site.meet()
    question = FlowsQuestion(fields=("UUID", "NodeTID"))
    for number in (0, 1):
        found = site.ask(number, question)
        assert uuids(found) == {"host/c": ["host/c/1"]}
        assert found.missing == {"b": "its answer is refused: it tells of 'host/c/1', which is on another host"}
    assert site.hubs[1].asker.results == {"answered": 2, "refused": 2}
    assert site.hubs[0].peers.results == {"answered": 1}


def test_a_hub_that_tells_of_one_host_as_of_another_is_refused(site: Hubs, monkeypatch: pytest.MonkeyPatch) -> None:
    site.hub()
    site.hub()
    site.agent(1, "b", at("host/b/1"))
    site.meet()
    part = b'{"found":[{"UUID":"x","NodeTID":"host/a/1"}]}'
    replying(monkeypatch, wire.Reply(tid="host/b", part=part))
    found = site.ask(0, FlowsQuestion(fields=("UUID", "NodeTID")))
    assert uuids(found) == {}
    assert found.missing == {"b": "its answer is refused: it tells of 'host/a/1', which is on another host"}


def test_what_was_on_a_host_by_its_former_id_is_told_through_another_hub(site: Hubs) -> None:
    site.hub()
    site.hub()
    site.agent(1, "b", at("host/b/1", "host/former/1"))
    [agent] = site.hubs[1].agents()
    agent.formerly = frozenset({"host/former"})
    attended = site.hubs[1].asker._there["host/b"]
    attended.below = agent.below
    site.meet()
    found = site.ask(0, FlowsQuestion(fields=("UUID", "NodeTID")))
    assert (uuids(found), found.missing) == ({"host/b": ["host/b/1", "host/former/1"]}, {})


LEFT_OUT = "its answer is left out: the answers are larger than 1 MiB together: ask for less, or set hub.ask_max"


@pytest.mark.parametrize("greedy_at", [0, 1])
def test_the_largest_answer_is_left_out_at_whichever_hub_and_its_agent_is_called_off(site: Hubs, greedy_at: int) -> None:
    called_off, large = threading.Event(), Part([{"UUID": "1", "Text": "x" * 500_000}])

    def greedy(_: Question) -> Iterator[Part]:
        try:
            yield large
            yield large
            while True:  # it heeds no bound, and ends only when it is told to
                yield Part()
                time.sleep(0.001)
        finally:
            called_off.set()

    site.hub(most=1 << 20)
    site.hub()
    names = [f"a{number}" for number in range(8)]
    for number, name in enumerate(names):
        site.agent(number % 2, name, saying(Part([{"UUID": str(number), "Text": "x" * 30_000}])))
    site.agent(greedy_at, "greedy", greedy)
    site.meet()
    found = site.ask(0)
    assert found.missing == {"greedy": LEFT_OUT}
    assert uuids(found) == {f"host/{name}": [str(number)] for number, name in enumerate(names)}
    assert called_off.wait(LONG)
    assert site.hubs[0].asker.results["crowded"] == 1
    assert site.hubs[1].asker.results == {"answered": 4, **({"crowded": 1} if greedy_at else {})}


def test_a_question_to_which_too_many_of_other_hubs_have_too_much_to_answer_is_refused(site: Hubs) -> None:
    site.hub(most=1 << 20)
    site.hub()
    site.agent(0, "a", saying(flows(1)))
    for name in "bcde":
        site.agent(1, name, saying(Part([{"UUID": "1", "Text": "x" * 600_000}])))
    site.meet()
    with pytest.raises(RunError, match=r"larger than 1 MiB together: ask for less, or set hub.ask_max"):
        site.ask(0)
    until(lambda: site.hubs[1].asker.room._used == 0 and site.hubs[0].asker.room._used == 0)


def test_a_host_of_the_graph_is_missing_once_and_not_if_another_hub_knows_it(site: Hubs) -> None:
    site.hub()
    site.hub()
    site.agent(0, "a", saying(flows(1)))
    site.agent(1, "b", saying(flows(2)))
    site.meet()
    expected = {"host/a": "a", "host/b": "b", "host/c": "c"}
    for hub in site.hubs:
        hub.asker.expected = lambda: expected
    for number in (0, 1):
        found = site.ask(number)
        assert uuids(found) == {"host/a": ["1"], "host/b": ["2"]}
        assert found.missing == {"c": "no agent of this host has greeted since the hub's start"}
        assert site.hubs[number].asker.results["away"] == 1


def test_a_question_that_a_hub_does_not_know_is_refused_by_it(site: Hubs) -> None:
    site.hub()
    asked = wire.Inquiry(body=b'{"type":"later"}', all_but=True, timeout_ms=60_000, most_bytes=1)
    with connector(None)(f"127.0.0.1:{site.hubs[0].port}") as channel:
        call = channel.unary_stream("/skytrail.wire.v1.Wire/Ask")(asked.SerializeToString())
        with pytest.raises(grpc.RpcError) as error:
            list(call)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(error.value.details()).endswith(": upgrade it")
    assert site.hubs[0]._relay._open == 0
