"""An agent with a good certificate that answers a real hub whatever it likes: it is left out, all others are told as before."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs
from support.certificates import Pki
from support.netlab import until
from support.ports import free_port

from skytrail.asking.questions import DropsQuestion, FlowsQuestion, InterfacesQuestion, Part, Question, SocketsQuestion
from skytrail.cli.hub import HubProcess
from skytrail.kernel.host import read_host
from skytrail.settings.tree import Hub, Settings
from skytrail.wire.security import connector, wire_files
from topology.facts import NodeFact, Report, Source
from topology.linkers.services import ServiceMap
from topology.remote.outbox import Clocks, Outbox
from topology.remote.sender import Identity, Sender

Json = dict[str, Any]

GOOD, BAD = "host/good/netns/host/link/veth/a", "host/bad/netns/host/link/veth/b"
TRACKING = "0123456789abcdef" * 2
ENDS = {"Network": {"Protocol": "IPV4", "A": "10.0.0.1", "B": "10.0.0.2"}, "Transport": {"Protocol": "TCP", "A": 1000, "B": 80}}
ROUNDS = 60


def now() -> int:
    return time.time_ns() // 1000


def flow(node: str, **more: object) -> Json:
    """A record of a capture point, as agents tell it."""
    at = now() // 1000
    metric = {"ABPackets": 3, "ABBytes": 300, "BAPackets": 2, "BABytes": 200, "Start": at - 9000, "Last": at - 5000}
    told: Json = {
        "UUID": node.encode().hex()[-32:], "TrackingID": TRACKING, "ParentUUID": "", "NodeTID": node, "Interface": node[-1:],
        "Namespace": "", "Start": at - 9000, "Last": at - 5000, "FinishType": "NOT_FINISHED", "Seen": {"AB": "egress"},
        "Link": {"Protocol": "ETHERNET", "A": "02:00:00:00:00:01", "B": "02:00:00:00:00:02"}, "Metric": metric, **ENDS,
    }  # fmt: skip
    return {**told, **more}


def socket(**more: object) -> Json:
    told: Json = {
        "Process": "/bin/nc", "Name": "nc", "Pid": 1, "Protocol": "TCP", "State": "ESTABLISHED", "Namespace": "",
        "LocalAddress": "10.0.0.1", "LocalPort": 1000, "RemoteAddress": "10.0.0.2", "RemotePort": 80,
    }  # fmt: skip
    return {**told, **more}


def interface(node: str, **more: object) -> Json:
    at = now() // 1000
    return {"TID": node, "Metrics": [{"RxBytes": 7, "Start": at - 2000, "Last": at - 1000}], **more}


def drop(**more: object) -> Json:
    told: Json = {
        "What": "Drop",
        "Reason": "NO_SOCKET",
        "TrackingID": TRACKING,
        "AB": 1,
        "BA": 0,
        "Last": now() // 1000,
        **ENDS,
    }
    return {**told, **more}


def well(node: str) -> Mapping[type[Question], list[Json]]:
    """What an agent answers that tells the truth."""
    return {
        FlowsQuestion: [flow(node)],
        SocketsQuestion: [socket()],
        InterfacesQuestion: [interface(node)],
        DropsQuestion: [drop()],
    }


class Site:
    """A hub over mutual TLS, with a good agent and one that answers what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.pki, self._folder = Pki(folder / "pki"), folder
        listen = f"127.0.0.1:{free_port()}"
        settings = Settings(
            state_dir=str(folder / "hub"), hub=Hub(listen="127.0.0.1:0", wire=listen), wire=self.pki.hub("127.0.0.1")
        )
        self.hub = HubProcess(settings, read_host(""))
        self.hub.start()
        self._listen = listen
        self.lies: Mapping[type[Question], list[Json]] = well(BAD)
        self.agents = [
            self.agent("good", "host/good", lambda asked: self._answer(asked, well(GOOD))),
            self.agent("bad", "host/bad", lambda asked: self._answer(asked, self.lies)),
        ]
        assert self.hub.receiver
        self.asker = self.hub.receiver.asker
        for one, node in zip(self.agents, (GOOD, BAD), strict=True):
            name = one._identity.host
            facts = NodeFact(f"host/{name}", {"Type": "host", "Name": name}), NodeFact(node, {"Name": node[-1:], "IfIndex": 2})
            one.report(Report(Source("netlink", name, tid=f"host/{name}"), now() - 60_000_000, facts))
        until(lambda: all(one.outbox.waiting == 0 for one in self.agents) and len(self.asker._there) == 2, 20)

    @staticmethod
    def _answer(asked: Question, told: Mapping[type[Question], list[Json]]) -> Iterator[Part]:
        found = told[type(asked)]
        fields = getattr(asked, "fields", None)
        yield Part([one if fields is None else {key: one[key] for key in fields if key in one} for one in found])

    def agent(self, name: str, tid: str, answer: Callable[[Question], Iterator[Part]], folder: str = "") -> Sender:
        connect = connector(wire_files(self.pki.agent(name)))
        outbox = Outbox(self._folder / (folder or name) / "outbox", 1 << 30, Clocks.of_machine("boot"))
        sender = Sender([self._listen], outbox, Identity(name, tid), now, answer, connect=connect)
        sender.start()
        return sender

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any, str | None]:
        """Status and JSON of an answer, and who is told of as missing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.server.port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            found = json.loads(text) if answer.status == 200 else text.decode()
            return answer.status, found, answer.headers.get("Skytrail-Missing")
        finally:
            connection.close()

    def query(self, query: str) -> tuple[int, Any, str | None]:
        return self.ask("POST", "/api/topology", {"GremlinQuery": query})

    def trace(self) -> Json:
        status, found, _ = self.ask("GET", f"/api/v1/trace/{TRACKING}")
        assert status == 200, found
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        for one in self.agents:
            one.stop()
        self.hub.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


QUERIES = {
    FlowsQuestion: (
        "G.Flows().CaptureNode().Values('TID')",
        "G.Flows().Sort('Last').Values('NodeTID')",
        "G.Flows().Dedup('NodeTID').Values('NodeTID')",
    ),
    SocketsQuestion: ("G.V().Has('Type', 'host').Sockets().Values('LocalPort')",),
    InterfacesQuestion: ("G.At('-1s', 10).V().Has('IfIndex', 2).Metrics().Sum()",),
}


def test_both_are_told_while_both_say_the_truth(site: Site) -> None:
    for query in QUERIES[FlowsQuestion]:
        status, found, missing = site.query(query)
        assert (status, sorted(found), missing) == (200, [BAD, GOOD], None)
    assert {one["Host"] for one in site.trace()["Forth"]["Points"]} == {"good", "bad"}
    assert site.asker.results.keys() == {"answered"}


OTHERS = [GOOD, "host/bad", "host/badly/x", "host/", "host/other/netns/host/link/veth/c"]


@pytest.mark.parametrize("tid", OTHERS)
def test_flows_at_capture_points_of_others_are_refused(tid: str, site: Site) -> None:
    site.lies = {**well(BAD), FlowsQuestion: [flow(BAD), flow(tid)]}
    with capture_logs() as logs:
        for query in QUERIES[FlowsQuestion]:
            status, found, missing = site.query(query)
            assert (status, found) == (200, [GOOD])
            assert missing == f"bad: its answer is refused: it tells of '{tid}', which is on another host"
    assert [one["agent"] for one in logs if one["event"] == "answer_refused"] == ["host/bad"]  # said once
    found = site.trace()
    assert {one["Host"] for one in found["Forth"]["Points"]} == {"good"}
    assert found["Missing"].keys() == {"bad"}
    text = next(family for family in site.hub.families() if family.metric.name == "skytrail_wire_questions_total")
    told = dict(text.samples)
    assert told["refused",] == site.asker.results["refused"] > 3
    site.lies = well(BAD)  # it is asked as before
    assert sorted(site.query(QUERIES[FlowsQuestion][0])[1]) == [BAD, GOOD]


@pytest.mark.parametrize("tid", OTHERS)
def test_counters_of_others_interfaces_are_refused(tid: str, site: Site) -> None:
    site.lies = {**well(BAD), InterfacesQuestion: [interface(tid)]}
    status, found, missing = site.query("G.At('-1s', 10).V().Has('IfIndex', 2).Metrics().Sum()")
    assert status == 200
    assert found["RxBytes"] == 7  # the good one's
    assert missing == f"bad: its answer is refused: it tells of '{tid}', which is on another host"


ODD: Mapping[type[Question], list[Json]] = {
    FlowsQuestion: [
        {"UUID": None}, {"UUID": ["a"]}, {"UUID": {}}, {"NodeTID": 3}, {"NodeTID": []}, {"TrackingID": {"a": 1}},
        {"Last": "now"}, {"Last": 1.5}, {"Last": 10**25}, {"Start": None}, {"Start": -(10**25)}, {"Metric": [1]},
        {"Metric": {"ABBytes": "x"}},
        {"Metric": {"ABBytes": 10**30}}, {"Network": "10.0.0.1"}, {"Network": {"A": ["10.0.0.1"]}},
        {"Transport": {"A": "1000"}}, {"Link": {"A": 1}}, {"Seen": {"AB": ["ingress"]}}, {"NAT": {"To": 3}},
        {"NAT": {"To": {"TrackingID": []}}},
        {"Drops": {"NO_SOCKET": 3}}, {"TCPMetric": {"ABSegmentSkipped": "x"}}, {"Process": {"A": "nc"}}, {"Sampling": "x"},
        {"Pod": {"A": {"Name": []}}}, {"Interface": None}, {"LastUpdateMetric": 3}, {"ICMP": {"Type": 3}}, {"More": 10**400},
        {"FirstMonotonic": "1"}, {"More": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]},
    ],
    SocketsQuestion: [
        {"LocalPort": "80"}, {"LocalAddress": None}, {"Namespace": []}, {"RemotePort": 10**25}, {"Pod": {"UID": 3}},
        {"State": 1},
    ],
    InterfacesQuestion: [
        {"TID": 3}, {"Metrics": 3}, {"Metrics": [3]}, {"Metrics": [{"RxBytes": "x"}]}, {"Metrics": [{"RxBytes": 10**25}]},
    ],
    DropsQuestion: [
        {"Reason": ""}, {"AB": None}, {"Last": "x"}, {"Network": None}, {"TrackingID": 3}, {"What": ["Drop"]},
        {"Transport": {"A": "x"}},
    ],
}  # fmt: skip

NEEDED: Mapping[type[Question], tuple[str, ...]] = {
    FlowsQuestion: ("UUID", "NodeTID", "TrackingID", "Interface", "Namespace", "Start", "Last"),
    SocketsQuestion: ("Protocol", "State", "Namespace", "LocalAddress", "LocalPort", "RemoteAddress", "RemotePort"),
    InterfacesQuestion: ("TID", "Metrics"),
    DropsQuestion: ("What", "Reason", "TrackingID", "Network", "AB", "BA", "Last"),
}


def refused(site: Site, kind: type[Question]) -> bool:
    """Whether it is said that the bad one's answer is refused, to who asks for what it says so."""
    if kind is InterfacesQuestion:
        status, _, missing = site.query(QUERIES[kind][0])
        return status == 200 and str(missing).startswith("bad: its answer is refused: ")
    return str(site.trace()["Missing"].get("bad")).startswith("its answer is refused: ")


@pytest.mark.parametrize("kind", ODD)
def test_answers_of_an_odd_shape_are_refused(kind: type[Question], site: Site) -> None:
    (good,) = well(BAD)[kind]
    assert not refused(site, kind)
    for odd in ODD[kind]:
        site.lies = {**well(BAD), kind: [good, {**good, **odd}]}
        assert refused(site, kind), odd
    for key in NEEDED[kind]:
        site.lies = {**well(BAD), kind: [{name: value for name, value in good.items() if name != key}]}
        assert refused(site, kind), key


def anything(chance: random.Random, depth: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: chance.choice(["", "a", GOOD, BAD, TRACKING, "\x00", "10.0.0.1", "é" * 300, "x" * 5000, "A", "SYN"]),
        lambda: chance.choice([0, -1, 1 << 31, 1 << 62, -(1 << 63), (1 << 63) - 1, 1 << 70, now() // 1000]),
        lambda: chance.choice([0.5, -0.0, 1e300]),
        lambda: chance.choice([None, True, False]),
    ]
    if depth < 4:
        kinds += [
            lambda: [anything(chance, depth + 1) for _ in range(chance.randrange(4))],
            lambda: {chance.choice(["A", "B", "AB", "Name", "Last"]): anything(chance, depth + 1) for _ in range(3)},
        ]
    return chance.choice(kinds)()


def mutated(chance: random.Random, told: Any, depth: int = 0) -> Any:
    """The same with something otherwise: of its kind, so that it may be taken, or of any."""
    if isinstance(told, dict) and told and depth < 3:
        key = chance.choice([*told, "More"])
        return {**told, key: mutated(chance, told.get(key), depth + 1)}
    if isinstance(told, list) and told and depth < 3:
        return [mutated(chance, chance.choice(told), depth + 1) for _ in range(chance.randrange(3))]
    if isinstance(told, str) and chance.random() < 0.7:
        return chance.choice(
            ["", BAD, TRACKING, "f" * 32, "\x1b[2J", "x" * 5000, "10.0.0.9", "fe80::1%1", "IPV6", "LISTEN", "both"]
        )
    if isinstance(told, int) and chance.random() < 0.7:
        return chance.choice([0, -1, 1, 1 << 32, -(1 << 63), (1 << 63) - 1])
    return anything(chance)


FUZZED = (
    *(query for queries in QUERIES.values() for query in queries),
    "G.Flows().Sort(DESC, 'More').Limit(5)", "G.Flows().Sum('More')", "G.Flows().Sum('Metric.ABBytes')",
    "G.Flows().Group('More')", "G.Flows().Dedup('More')", "G.Flows().Values('More')",
    "G.Flows().Metrics().Sum()", "G.Flows().Nodes()", "G.Flows().Both()", "G.Flows().Sockets()",
    "G.Flows().Has('More', GT(1)).Count()", "G.Flows().Metrics().Aggregates(10)", "G.V().Sockets()",
)  # fmt: skip


def test_answers_of_any_kind_break_no_query_and_no_trace(site: Site) -> None:
    chance, refused, taken = random.Random(7), 0, 0
    services = ServiceMap(site.asker, lambda _: None, "hub", now)
    for number in range(ROUNDS):
        site.lies = {kind: [mutated(chance, told[0]) for _ in range(2)] for kind, told in well(BAD).items()}
        query = FUZZED[number % len(FUZZED)]
        status, found, missing = site.query(query)
        assert status in (200, 400), (query, site.lies, found)
        refused += missing is not None
        taken += missing is None
        assert site.trace()["TrackingID"] == TRACKING
        status, found, _ = site.ask("GET", "/api/v1/trace?filter=" + quote("port 80"))
        assert status == 200, (site.lies, found)
        status, found, _ = site.ask("POST", "/gremlin", {"gremlin": "g.call('flows')"})
        assert status == 200, (site.lies, found)
        services.step()
    assert min(refused, taken) > ROUNDS // 10  # what is told is of both kinds


def test_what_was_on_a_host_by_its_former_id_is_its_own(site: Site) -> None:
    """Its agent remembers flows of before; that of another host, with another certificate, may not tell of them."""
    former = "host/former/netns/host/link/veth/f"
    told = {**well(BAD), FlowsQuestion: [flow(former)]}
    agent = site.agent("moved", "host/former", lambda asked: site._answer(asked, told))
    agent.report(Report(Source("netlink", "moved", tid="host/former"), now(), (NodeFact(former, {"Name": "f", "IfIndex": 9}),)))
    until(lambda: agent.outbox.waiting == 0, 20)
    agent.stop()
    agent = site.agent("moved", "host/now", lambda asked: site._answer(asked, told))
    site.agents.append(agent)
    until(lambda: "host/now" in site.asker._there, 20)
    site.lies = told
    status, found, missing = site.query("G.Flows().Dedup('NodeTID').Values('NodeTID')")
    assert (status, sorted(found)) == (200, sorted([former, GOOD]))
    assert missing
    assert "moved" not in missing.partition("host/former")[0]
    assert missing.count("its answer is refused") == 1
