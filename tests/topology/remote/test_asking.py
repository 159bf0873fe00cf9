"""Questions over real gRPC, beside reports: who answers is heard, who does not is told by the reason, at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.answered import flows, saying, uuids
from support.cable import Cable
from support.netlab import until
from support.wire_v1 import OldAgent, OldHub

from skytrail.asking.answering import Bounds, parts_of
from skytrail.asking.asker import Answer, Answers
from skytrail.asking.local import LocalAsker
from skytrail.asking.questions import FlowsQuestion, Part, Question, Range
from skytrail.asking.terms import Compare
from skytrail.errors import RunError, UsageError
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.attendances import Attendances
from skytrail.wire.attendant import Attendant
from topology.facts import NodeFact, Report, Source
from topology.remote.codec import decode_report, encode_report
from topology.remote.outbox import Clocks, Outbox
from topology.remote.receiver import Agent, AskBounds, Receiver
from topology.remote.sender import Identity, Sender
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Note

LONG = 60.0
QUESTION = FlowsQuestion(
    when=Range(1, 2), nodes=("a",), term=Compare("Network.A", "within", ("10.0.0.1",)), limit=3, fields=("UUID",)
)


def now() -> int:
    return time.time_ns() // 1000


def report(number: int) -> Report:
    return Report(Source("netlink", "host", tid="host/1"), number, (NodeFact("a", {"Name": "a", "n": number}),))


class Site:
    """A hub and its agents."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.store = EmbeddedStore(folder / "hub")
        self.taken: list[Report] = []
        self.receiver: Receiver
        self._senders: list[Sender] = []

    def hub(self, seconds: float = LONG, most: int = 64 << 20) -> Receiver:
        self.receiver = Receiver("127.0.0.1:0", self, self.store, now, AskBounds(seconds, most))
        self.receiver.start()
        return self.receiver

    def claim(self, _: Source, __: str) -> bool:
        return False

    def take(self, one: Report, _: Note) -> bool:
        self.taken.append(one)
        return True

    def keep(self, _: Source, note: Note) -> None:
        pass

    def agent(self, name: str, answer: Answer, port: int = 0, host: str = "") -> Sender:
        outbox = Outbox(self._folder / name, 1 << 30, Clocks.of_machine("b"))
        address = f"127.0.0.1:{port or self.receiver.port}"
        made = Sender([address], outbox, Identity(host or name, f"tid/{name}"), now, answer)
        self._senders.append(made)
        made.start()
        return made

    def attended(self, *names: str) -> None:
        """Wait until these agents can be asked."""
        until(lambda: {f"tid/{name}" for name in names} <= self.receiver.asker._there.keys(), 30)

    def ask(self, question: Question = QUESTION, hosts: list[str] | None = None) -> Answers:
        return self.receiver.asker.ask(question, hosts)

    def close(self) -> None:
        for sender in self._senders:
            sender.stop()
        self.receiver.stop()
        self.store.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def test_all_agents_are_asked_the_same_and_what_they_answer_is_told_by_host(site: Site) -> None:
    site.hub()
    heard: list[Question] = []

    def answer(question: Question) -> Iterator[Part]:
        heard.append(question)
        yield Part([{"UUID": "1", "Start": 7, "Metric": {"ABBytes": 2**53}}], since=5)
        yield flows(2)

    site.agent("a", answer)
    site.agent("b", saying(flows(3)))
    site.attended("a", "b")
    answers = site.ask()
    assert heard == [QUESTION]
    assert uuids(answers) == {"tid/a": ["1", "2"], "tid/b": ["3"]}
    assert next(part for tid, part in answers.parts if tid == "tid/a") == Part(
        [{"UUID": "1", "Start": 7, "Metric": {"ABBytes": 2**53}}], since=5
    )
    assert answers.missing == {}
    assert uuids(site.ask(hosts=["tid/b"])) == {"tid/b": ["3"]}
    assert site.receiver.asker.hosts() == {"tid/a": "a", "tid/b": "b"}
    assert site.receiver.asker.results == {"answered": 3}


def test_they_are_asked_at_once_and_not_one_after_the_other(site: Site) -> None:
    site.hub()
    together = threading.Barrier(3)

    def answer(_: Question) -> Iterator[Part]:
        together.wait(LONG)
        yield flows(1)

    for name in "abc":
        site.agent(name, answer)
    site.attended(*"abc")
    assert len(uuids(site.ask())) == 3


def test_an_answer_of_many_parts_larger_than_any_message_comes_whole(site: Site) -> None:
    site.hub()
    many = Part([{"UUID": str(number), "Text": "x" * 1000} for number in range(20_000)], since=9)
    site.agent("a", saying(many))
    site.attended("a")
    answers = site.ask()
    assert uuids(answers) == {"tid/a": [str(number) for number in range(20_000)]}
    assert {part.since for _, part in answers.parts} == {9}


def fails(error: Exception) -> Answer:
    def answer(_: Question) -> Iterator[Part]:
        yield flows(1)
        raise error

    return answer


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UsageError("Network.A: 'like' is no relation"), "Network.A: 'like' is no relation"),
        (ZeroDivisionError("by\nzero"), "failed to answer: ZeroDivisionError: by zero; see its log"),
    ],
)
def test_a_failure_is_told_in_one_line_and_ends_nothing(site: Site, error: Exception, told: str) -> None:
    site.hub()
    agent = site.agent("a", fails(error))
    site.agent("b", saying(flows(2)))
    site.attended("a", "b")
    for _ in range(2):
        answers = site.ask()
        assert answers.missing == {"a": told}
        assert uuids(answers) == {"tid/a": ["1"], "tid/b": ["2"]}  # what came before stays
    agent.report(report(1))
    until(lambda: agent.outbox.waiting == 0)
    assert (agent.attendant.answered, agent.attendant.failed) == (0, 2)


def test_a_question_of_a_later_release_is_answered_by_saying_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.hub()
    site.agent("a", saying(flows(1)))
    site.attended("a")
    monkeypatch.setattr("skytrail.wire.attendances.encode_question", lambda _: b'{"type": "dreams"}')
    assert "does not know this question" in (told := site.ask().missing["a"])
    assert told.endswith("upgrade its agent")


def test_who_does_not_answer_in_time_is_told_and_his_work_is_called_off(site: Site) -> None:
    site.hub(seconds=0.3)
    called_off = threading.Event()
    began = threading.Event()

    def endless(_: Question) -> Iterator[Part]:
        try:
            while True:
                began.set()
                yield Part()
        finally:
            called_off.set()

    site.agent("a", endless)
    site.agent("b", saying(flows(2)))
    site.attended("a", "b")
    answers = site.ask()
    assert answers.missing == {"a": "did not answer within 0.3 s"}
    assert uuids(answers)["tid/b"] == ["2"]
    assert began.is_set()
    assert called_off.wait(LONG)


def test_an_agent_that_goes_away_meanwhile_is_told_at_once(site: Site) -> None:
    site.hub(seconds=10 * LONG)  # more than a test may take
    cable = Cable(site.receiver.port)
    asked, over = threading.Event(), threading.Event()

    def answer(_: Question) -> Iterator[Part]:
        yield flows(1)
        asked.set()
        over.wait(LONG)

    site.agent("a", answer, cable.port)
    site.attended("a")
    threading.Thread(target=lambda: (asked.wait(LONG), cable.cut()), daemon=True).start()
    answers = site.ask()
    assert answers.missing == {"a": "its agent went away while it answered"}
    over.set()
    site.attended("a")  # it comes again, and is asked as before
    assert uuids(site.ask()) == {"tid/a": ["1"]}
    cable.close()


def test_who_is_not_there_is_told_with_the_time_of_his_last_word(site: Site) -> None:
    site.hub()
    agent = site.agent("a", saying(flows(1)))
    site.attended("a")
    agent.stop()
    until(lambda: not site.receiver.asker._there and not site.receiver.agents()[0].connected)
    missing = site.ask(hosts=["tid/a", "tid/b"]).missing
    assert missing["a"].startswith("its agent is not connected; last heard of at 20")
    assert missing["tid/b"] == "no agent of this host has greeted since the hub's start"
    assert site.receiver.asker.hosts() == {"tid/a": "a"}


def test_hosts_of_the_graph_whose_agent_is_not_known_are_missing(site: Site) -> None:
    site.hub()
    site.agent("a", saying(flows(1)))
    site.attended("a")
    site.receiver.asker.expected = lambda: {"tid/a": "a", "tid/c": "c"}
    for _ in range(2):
        answers = site.ask()
        assert answers.missing == {"c": "no agent of this host has greeted since the hub's start"}
        assert uuids(answers) == {"tid/a": ["1"]}
    assert site.receiver.asker.hosts() == {"tid/a": "a", "tid/c": "c"}
    assert site.receiver.asker.results == {"answered": 2, "away": 2}


def test_hosts_of_one_name_are_told_by_their_tids(site: Site) -> None:
    site.hub()
    site.agent("a", fails(RunError("no")), host="same")
    site.agent("b", fails(RunError("never")), host="same")
    site.attended("a", "b")
    assert site.ask().missing == {"tid/a": "no", "tid/b": "never"}


def test_answers_larger_than_one_question_may_take_are_refused_and_give_their_room_back(site: Site) -> None:
    site.hub(most=1 << 20)
    part = Part([{"UUID": "1", "Text": "x" * 600_000}])
    for name in "abc":
        site.agent(name, saying(part))
    site.attended(*"abc")
    for _ in range(10):
        with pytest.raises(RunError, match=r"larger than 1 MiB together: ask for less, or set hub.ask_max"):
            site.ask()
    held = [site.ask(hosts=["tid/a"]) for _ in range(5)]
    assert len(uuids(held[-1])) == 1
    with pytest.raises(RunError, match="no room for the answers of all who ask at once"):
        site.ask(hosts=["tid/a"])
    site.agent("d", saying(flows(4)))  # of which there is little is told all the same
    site.attended("d")
    assert uuids(site.ask(hosts=["tid/d"])) == {"tid/d": ["4"]}
    del held
    assert uuids(site.ask(hosts=["tid/a"])) == {"tid/a": ["1"]}


def test_an_agent_that_has_far_too_much_to_answer_is_left_out_and_all_others_are_told(site: Site) -> None:
    site.hub(most=1 << 20)
    large = Part([{"UUID": "1", "Text": "x" * 500_000}])
    called_off = threading.Event()

    def greedy(_: Question) -> Iterator[Part]:
        try:
            yield large
            yield large
            while True:  # it heeds no bound, and ends only when it is told to
                yield Part()
                time.sleep(0.01)
        finally:
            called_off.set()

    site.agent("greedy", greedy)
    names = [f"a{number}" for number in range(10)]
    for number, name in enumerate(names):
        site.agent(name, saying(Part([{"UUID": str(number), "Text": "x" * 50_000}])))
    site.attended("greedy", *names)
    answers = site.ask()
    left_out = "its answer is left out: the answers are larger than 1 MiB together: ask for less, or set hub.ask_max"
    assert answers.missing == {"greedy": left_out}
    assert uuids(answers) == {f"tid/{name}": [str(number)] for number, name in enumerate(names)}
    assert called_off.wait(LONG)
    assert site.receiver.asker.results == {"answered": 10, "crowded": 1}


def test_large_answers_of_one_agent_leave_room_for_the_others_of_any_number_of_questions(site: Site) -> None:
    site.hub(most=1 << 20)
    site.agent("greedy", saying(Part([{"UUID": "1", "Text": "x" * 900_000}])))
    names = [f"a{number}" for number in range(4)]
    for name in names:
        site.agent(name, saying(flows(2)))
    site.attended("greedy", *names)
    held = [site.ask() for _ in range(12)]  # as by those who read slowly
    for one in held:
        assert {tid: found for tid, found in uuids(one).items() if tid != "tid/greedy"} == {
            f"tid/{name}": ["2"] for name in names
        }
    told = [one.missing for one in held]
    no_room = (
        "its answer is left out: there is no room for the answers of all who ask at once: ask again later, or set hub.ask_max"
    )
    assert told == [{}] * 3 + [{"greedy": no_room}] * 9


@pytest.mark.parametrize(
    "answer",
    [b"none", b"\xff", b'{"found":3}', b'{"found":[{"UUID":1}]}', b'{"found":[{"UUID":"1","More":"\xff"}]}', b"[" * 20_000],
)
def test_one_agents_answer_that_cannot_be_read_is_missing_and_all_others_are_told(
    answer: bytes, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.hub()
    site.agent("a", saying(flows(1)))
    site.agent("b", saying(flows(2), Part([{"UUID": "bad"}])))
    site.attended("a", "b")
    real = parts_of
    monkeypatch.setattr(
        "skytrail.wire.attendant.parts_of",
        lambda *of: ((part, answer if b"bad" in data else data) for part, data in real(*of)),
    )
    for _ in range(2):
        answers = site.ask()
        assert uuids(answers) == {"tid/a": ["1"]}  # also of the part that could be read
        assert answers.missing["b"].startswith("its answer is refused: ")
    assert site.receiver.asker.results == {"answered": 2, "refused": 2}


def test_for_who_does_not_hear_what_he_is_asked_no_more_waits_than_for_so_many_questions() -> None:
    """Its connection lives, and nothing is read from it: what is asked, and called off in time, is not heaped up."""
    loop = asyncio.new_event_loop()
    running = threading.Thread(target=loop.run_forever, daemon=True)
    running.start()
    agent = Agent("a", "tid/a", version=2, connected=True)
    attendances = Attendances(lambda: [agent], loop, 0.001, 1 << 20)
    never = asyncio.Event()

    class Deaf:
        async def write(self, _: object) -> None:
            await never.wait()

    async def silent() -> AsyncIterator[Any]:
        await never.wait()
        yield

    attending = asyncio.run_coroutine_threadsafe(attendances.attend(agent, silent(), Deaf()), loop)
    until(lambda: "tid/a" in attendances._there)
    told = {attendances.ask(QUESTION).missing["a"] for _ in range(300)}
    assert told == {"did not answer within 0.001 s", "its agent does not hear what it is asked: see its log"}
    assert attendances._there["tid/a"].sending.qsize() < 100
    attending.cancel()
    loop.call_soon_threadsafe(loop.stop)
    running.join()


def test_a_question_that_is_nested_without_end_is_refused() -> None:
    deep = b'{"type":"not","term":' * 5000
    question = wire.Question(body=b'{"type":"flows","term":' + deep + b"1" + b"}" * 5001)
    with pytest.raises(RunError, match="does not know this question"):
        list(Attendant(saying()).parts(question, Bounds(1, 1)))


def test_an_agent_that_alone_has_more_says_so(site: Site) -> None:
    site.hub(most=1 << 20)
    site.agent("a", saying(*[Part([{"UUID": "1", "Text": "x" * 600_000}])] * 2))
    site.attended("a")
    assert site.ask().missing == {"a": "has more to answer than 1 MiB: ask for less, or set hub.ask_max"}


def test_more_questions_at_once_than_an_agent_takes_are_refused_and_reports_go_on(site: Site) -> None:
    site.hub()
    over = threading.Event()

    def answer(_: Question) -> Iterator[Part]:
        over.wait(LONG)
        yield flows(1)

    agent = site.agent("a", answer)
    site.attended("a")
    found: list[Answers] = []
    asking = [threading.Thread(target=lambda: found.append(site.ask())) for _ in range(40)]
    for one in asking:
        one.start()
    until(lambda: len(found) == 8)
    assert {one.missing["a"] for one in found} == {"is asked 32 questions already: ask again later"}
    for number in range(1, 101):
        agent.report(report(number))
    until(lambda: agent.outbox.waiting == 0, 20)
    assert [one.observed for one in site.taken] == list(range(1, 101))
    over.set()
    for one in asking:
        one.join()
    assert sum(not one.missing for one in found) == 32


def test_an_agent_of_version_1_reports_to_this_hub_and_is_told_as_one_that_cannot_be_asked(site: Site) -> None:
    site.hub()
    old, hold = OldAgent(site.receiver.port, "tid/old", "o"), threading.Event()
    old.greet()
    assert old.welcome.version == 1
    said = {number: encode_report(report(number)) for number in range(1, 51)}
    reporting = threading.Thread(target=old.report, args=(said,), kwargs={"hold": hold})
    reporting.start()
    until(lambda: old.taken == 50, 20)
    assert site.taken == [report(number) for number in range(1, 51)]
    assert site.ask().missing == {"old": "its agent speaks version 1 of the wire: upgrade it"}
    hold.set()
    reporting.join()
    old.close()
    again = OldAgent(site.receiver.port, "tid/old", "o")
    again.greet()
    assert again.taken == 50
    again.report({**said, 51: encode_report(report(51))})
    assert [one.observed for one in site.taken] == list(range(1, 52))
    again.close()


def test_this_agent_reports_to_a_hub_of_version_1_and_does_not_attend(site: Site) -> None:
    site.hub()
    old = OldHub()
    agent = site.agent("a", saying(flows(1)), old.port)
    for number in range(1, 101):
        agent.report(report(number))
    until(lambda: agent.outbox.waiting == 0, 20)
    assert [decode_report(old.reports[number]) for number in range(1, 101)] == [report(number) for number in range(1, 101)]
    assert [(one.oldest, one.newest) for one in old.greetings] == [(1, 2)]
    assert old.metadata[0]["skytrail-version"] == "1"
    agent.stop()
    old.stop()


def local(answer: Answer, **bounds: Any) -> LocalAsker:
    return LocalAsker("here", "tid/here", answer, bounds.get("seconds", LONG), bounds.get("most", 1 << 20))


@pytest.mark.parametrize(
    ("made", "found", "missing"),
    [
        (lambda: local(saying(flows(1), flows(2))), {"tid/here": ["1", "2"]}, {}),
        (lambda: local(fails(UsageError("no"))), {"tid/here": ["1"]}, {"here": "no"}),
        (
            lambda: local(saying(*[Part([{"UUID": "1", "Text": "x" * 600_000}])] * 2)),
            {"tid/here": ["1"]},
            {"here": "has more to answer than 1 MiB: ask for less, or set hub.ask_max"},
        ),
    ],
)
def test_an_agent_in_the_same_process_is_asked_alike(
    made: Callable[[], LocalAsker], found: dict[str, list[str]], missing: dict[str, str]
) -> None:
    asker = made()
    answers = asker.ask(QUESTION)
    assert (uuids(answers), answers.missing) == (found, missing)
    assert asker.ask(QUESTION, ["tid/other"]).missing == {"tid/other": "no agent of this host is known"}
    asker.stop()


def test_one_in_the_same_process_that_takes_too_long_is_told(site: Site) -> None:
    site.hub()
    over = threading.Event()

    def slow(_: Question) -> Iterator[Part]:
        over.wait(LONG)
        yield flows(1)

    asker = local(slow, seconds=0.2)
    assert asker.ask(QUESTION).missing == {"here": "did not answer within 0.2 s"}
    over.set()
    asker.stop()
