"""An agent with a good certificate that tells a real hub whatever it likes: others are answered and seen as before."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Pki
from support.netlab import until
from support.ports import free_port

from skytrail.asking.questions import Part, Question
from skytrail.cli.hub import HubProcess
from skytrail.errors import RunError
from skytrail.kernel.host import read_host
from skytrail.settings.tree import Hub, Settings
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.security import connector, wire_files
from topology.facts import NodeFact, Report, Source
from topology.remote.admission import MOST_IDS
from topology.remote.codec import encode_report
from topology.remote.outbox import Clocks, Outbox
from topology.remote.sender import Identity, Sender

ROUNDS = 200
GOOD = "host/good/eth0"
TEXTS = ["", "a", GOOD, "\x00", "\x1b[2J", "é" * 300, "<script>", "'\"\\", "2026-01-01T00:00:00Z"]
SOURCE = wire.Source(probe="netlink", host="bad", tid="host/bad")
NAMES = [
    "Name",
    "Type",
    "State",
    "MAC",
    "IPV4",
    "MTU",
    "IfIndex",
    "Metric",
    "RelationType",
    "a.b",
    "",
    "K8s",
    "TID",
    "ID",
    "@type",
]
RAW = [
    b"", b"\xff\xff\xff", b"[]", b"null", b'{"Name":', b'{"Name":"a","Name":"b"}', b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a":1e999}', b'{"a":' + b"9" * 5000 + b"}", b'{"\\ud800":1}',
    b'{"Name":"' + b"x" * 1_000_000 + b'"}',
]  # fmt: skip


def no_answer(question: Question) -> Iterator[Part]:
    raise RunError("nothing is known here")


def now() -> int:
    return time.time_ns() // 1000


class Site:
    """A hub over mutual TLS, with a good agent and a bad one."""

    def __init__(self, folder: Path) -> None:
        pki = Pki(folder / "pki")
        listen = f"127.0.0.1:{free_port()}"
        settings = Settings(
            state_dir=str(folder / "hub"), hub=Hub(listen="127.0.0.1:0", wire=listen), wire=pki.hub("127.0.0.1")
        )
        self.hub = HubProcess(settings, read_host(""))
        self.hub.start()
        self.pki, self.address = pki, listen
        self.good, self.bad = (self._agent(folder, name) for name in ("good", "bad"))
        self.good.report(Report(Source("netlink", "good", tid="host/good"), now(), (device(GOOD),)))
        until(lambda: self.good.hub is not None and self.good.outbox.waiting == 0 and self.bad.hub is not None, 20)

    def _agent(self, folder: Path, name: str) -> Sender:
        connect = connector(wire_files(self.pki.agent(name)))
        identity = Identity(name, f"host/{name}")
        outbox = Outbox(folder / name / "outbox", 1 << 30, Clocks.of_machine("boot"))
        sender = Sender([self.address], outbox, identity, now, no_answer, connect=connect)
        sender.start()
        return sender

    def tell(self, report: bytes) -> None:
        """Let the bad agent send bytes as a report."""
        outbox = self.bad.outbox
        with outbox._more:
            outbox._insert(report)
            outbox._more.notify_all()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.hub.server.port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, (path, body, text)
            return json.loads(text)
        finally:
            connection.close()

    def assert_well(self) -> None:
        """The hub answers all that it is asked, and the good agent's is there."""
        until(lambda: self.bad.outbox.waiting == 0, 60)
        graph = self.ask("GET", "/api/v1/graph")
        assert [node["Metadata"]["Name"] for node in graph["Nodes"] if node["Host"] == "good"] == [GOOD]
        for query in ("G", f"G.V().Has('Name', '{GOOD}')", "G.V().Values('Name')", "G.V().Has('Type', Regex('.*')).Count()"):
            assert self.ask("POST", "/api/topology", {"GremlinQuery": query})
        for query in ("g.V().count()", "g.V().valueMap()", f"g.V().has('Name', '{GOOD}')", "g.E().count()", "g.V().dedup()"):
            assert self.ask("POST", "/gremlin", {"gremlin": query})["result"]["data"]
        assert self.ask("GET", "/api/v1/diff?from=-1h") is not None
        assert self.ask("GET", "/api/status")["Agents"]["good"]["IsConnected"] is True
        assert self.ask("GET", "/readyz")["ready"] is True

    def close(self) -> None:
        for one in (self.good, self.bad):
            one.stop()
        self.hub.stop()


def device(tid: str) -> NodeFact:
    return NodeFact(tid, {"Name": tid, "Type": "device"})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def anything(chance: random.Random, depth: int = 0) -> Any:
    kinds = [
        lambda: chance.choice(TEXTS),
        lambda: chance.choice([0, -1, 1 << 31, 1 << 62, -(1 << 63), (1 << 64) - 1, 1 << 70]),
        lambda: chance.choice([0.5, -0.0, 1e300]),
        lambda: chance.choice([None, True, False]),
    ]
    if depth < 4:
        kinds += [
            lambda: [anything(chance, depth + 1) for _ in range(chance.randrange(4))],
            lambda: {chance.choice(NAMES): anything(chance, depth + 1) for _ in range(chance.randrange(4))},
        ]
    return chance.choice(kinds)()


def test_metadata_of_any_kind(site: Site) -> None:
    chance = random.Random(20)
    for number in range(ROUNDS):
        observed = chance.choice([0, now(), -(1 << 62), (1 << 63) - 1])
        made = wire.Report(source=SOURCE, observed=observed, whole=chance.random() < 0.1)
        for _ in range(chance.randrange(4)):
            metadata = {chance.choice(NAMES): anything(chance) for _ in range(chance.randrange(6))}
            tid = chance.choice(["host/bad", f"host/bad/{number}", "host/bad/\x00", "host/bad/" + "x" * 1000, GOOD])
            made.nodes.append(wire.Node(tid=tid, metadata=json.dumps(metadata).encode(), enriches=chance.random() < 0.3))
        for _ in range(chance.randrange(3)):
            parent, child = (chance.choice(["host/bad", f"host/bad/{number}", "host/bad/none", ""]) for _ in range(2))
            relation, metadata = chance.choice(["ownership", "", "\x00"]), json.dumps({"a": anything(chance)}).encode()
            made.edges.append(wire.Edge(parent=parent, child=child, relation=relation, metadata=metadata))
        made.gone.extend(chance.choice(["", "x", GOOD]) for _ in range(chance.randrange(2)))
        made.volatile[chance.choice(["", "x"])] = json.dumps({"a": anything(chance)}).encode()
        site.tell(made.SerializeToString())
    site.assert_well()


def test_bytes_of_any_kind(site: Site) -> None:
    chance = random.Random(21)
    good = encode_report(Report(Source("netlink", "bad", tid="host/bad"), now(), (device("host/bad/eth0"),)))
    for raw in RAW:
        for made in (
            wire.Report(source=SOURCE, nodes=[wire.Node(tid="host/bad/a", metadata=raw)]),
            wire.Report(source=SOURCE, nodes=[wire.Node(tid="host/bad/a", metadata=b"{}", volatile=raw)]),
            wire.Report(source=SOURCE, volatile={"x": raw}),
        ):
            site.tell(made.SerializeToString())
    for _ in range(ROUNDS):
        broken = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        site.tell(bytes(broken[: chance.randrange(len(broken))]) if chance.random() < 0.3 else bytes(broken))
    site.assert_well()


def test_a_certificate_is_good_for_a_few_host_ids(site: Site) -> None:
    from skytrail.wire.methods import greeting

    with connector(wire_files(site.pki.agent("bad")))(site.address) as channel:
        greet, refused = greeting(channel), []
        for number in range(MOST_IDS + 10):
            try:
                greet(wire.Greeting(oldest=1, newest=2, host="bad", tid=f"host/{number}", outbox="o"), timeout=10)
            except Exception as error:  # noqa: BLE001 - of gRPC, looked at below
                refused.append(str(error))
    assert len(refused) == 11  # it had one before
    assert all("has reported under 64 host IDs" in one for one in refused)
    assert len(site.hub._agents()) <= MOST_IDS + 2
