"""Two real hubs on one real JanusGraph, with TLS: any of them gives the answer of all agents; one is killed meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Pki
from support.hublab import Hub
from support.netlab import until
from support.tables import TIDS, last_time, recorded, tables

from skytrail.asking.questions import Part, Question, decode_part, decode_question, encode_part, encode_question
from skytrail.wire.security import connector, wire_files
from topology.remote.outbox import Clocks, Outbox
from topology.remote.sender import Identity, Sender

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

FLOWS = "G.Flows().Sort('UUID')"
RECORDED = b'"host/recorded/'
PATIENT = "10m"
"""That agents have: more than the test may take."""


class Site:
    """Two hubs, and the agents of a recording: one at the first, the others at the second."""

    def __init__(self, folder: Path, url: str, pki: Pki) -> None:
        hub = pki.hub("localhost", "127.0.0.1")
        settings = {
            "topology.store": "janusgraph", "topology.janusgraph.url": url, "hub.ask_timeout": PATIENT,
            "wire.tls_cert": str(hub.tls_cert), "wire.tls_key": str(hub.tls_key), "wire.tls_ca": str(hub.tls_ca),
        }  # fmt: skip
        self.hubs = [Hub(folder / str(number), settings, command="hub") for number in range(2)]
        for one in self.hubs:
            one.start()
        self.held, self.begun = threading.Event(), list[str]()
        self.held.set()
        self.tables = tables()
        self.agents = []
        for number, (tid, name) in enumerate(TIDS.items()):
            first = min(number, 1)
            addresses = [f"127.0.0.1:{self.hubs[one].wire}" for one in (first, 1 - first)]
            outbox = Outbox(folder / name, 1 << 30, Clocks.of_machine("b"))
            connect = connector(wire_files(pki.agent(name)))
            agent = Sender(
                addresses, outbox, Identity(name, tid), lambda: time.time_ns() // 1000, self._of(tid), connect=connect
            )
            self.agents.append(agent)
            agent.start()

    def _of(self, tid: str) -> Any:
        """An agent's side: it tells of its own host."""
        here = f'"{tid}/'.encode()

        def answer(question: Question) -> Iterator[Part]:
            asked = decode_question(encode_question(question).replace(here, RECORDED))
            yield decode_part(encode_part(Part(self.tables._answer(asked, tid))).replace(RECORDED, here))
            self.begun.append(tid)
            self.held.wait(60)

        return answer

    def ask(self, hub: int, query: str) -> tuple[Any, str]:
        """The answer, and who is missing."""
        connection = self.hubs[hub].connect()
        connection.request("POST", "/api/topology", json.dumps({"GremlinQuery": query}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, body
        return json.loads(body), answer.getheader("Skytrail-Missing") or ""

    def metric(self, hub: int, line: str) -> bool:
        return line in self.hubs[hub].ask("/metrics")[1].decode()

    def close(self) -> None:
        self.held.set()
        for one in self.agents:
            one.stop()
        for hub in self.hubs:
            hub.close()


@pytest.fixture
def site(server: Any, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, server.url, Pki(tmp_path / "pki"))
    yield made
    made.close()


def test_any_hub_answers_for_all_and_when_one_is_killed_it_is_named_until_its_agents_have_moved(site: Site) -> None:
    every = sorted({one["UUID"] for one in recorded("flows")})

    def whole(hub: int) -> bool:
        found, missing = site.ask(hub, FLOWS)
        return not missing and [one["UUID"] for one in found] == every

    until(lambda: whole(0) and whole(1), 30)
    for query in (FLOWS, "G.Flows().Has('Transport', 5001).Count()", "G.Flows().Sort(DESC, 'Last').Limit(3)"):
        assert site.ask(0, query)[0]
        until(lambda query=query: site.ask(0, query) == site.ask(1, query), 10)  # an agent's name is known by the lists
    conversation = next(one["TrackingID"] for one in recorded("flows") if one["Transport"]["B"] == 5001)
    when = {"at": f"{last_time() / 1000:.3f}", "duration": "1m"}
    traces = [one.get(f"/api/v1/trace/{conversation}", **when) for one in site.hubs]
    assert traces[0] == traces[1]
    assert {point["Namespace"] for point in traces[0]["Forth"]["Points"]} == {"client", "switch", "server"}
    for hub in range(2):
        until(lambda hub=hub: site.metric(hub, 'skytrail_wire_hubs{state="met"} 1.0'))
        [(address, told)] = site.hubs[hub].status()["Peers"]["Outgoers"].items()
        assert address == f"127.0.0.1:{site.hubs[1 - hub].wire}"
        assert (told["IsConnected"], told["Failure"]) == (True, "")
    assert site.metric(0, 'skytrail_wire_hub_questions_total{result="late"} 0.0')

    site.begun.clear()
    site.held.clear()
    found: list[tuple[Any, str]] = []
    asking = threading.Thread(target=lambda: found.append(site.ask(0, FLOWS)))
    asking.start()
    until(lambda: len(site.begun) == len(TIDS), 20)
    time.sleep(0.5)  # the parts are on their way
    site.hubs[1].kill()
    site.held.set()
    asking.join()
    flows, missing = found[0]
    assert flows
    named = missing.split("; ")
    assert [one.partition(":")[0] for one in named] == ["h2", "h3"]
    where = f"the hub on {site.hubs[0].status()['Peers']['Outgoers'][f'127.0.0.1:{site.hubs[1].wire}']['Host']}"
    assert all(f"its agent reports to {where} (127.0.0.1:{site.hubs[1].wire}), which cannot be reached" in one for one in named)
    until(lambda: whole(0), 60)
    site.hubs[1].start()
    until(lambda: whole(1), 60)
