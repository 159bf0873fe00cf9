"""The service map: sockets of several hosts in → who connects to whom out; what is not seen for a while stays, then goes."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

import pytest
from support.netlab import until

from skytrail.asking.asker import Answers
from skytrail.asking.questions import Part, Question
from topology.facts import EdgeFact, NodeFact, Report
from topology.linkers import services
from topology.linkers.services import ServiceMap, pairs

Told = tuple[str, dict[str, Any]]
A, B = "host/a", "host/b"


def told(host: str, state: str, local: str, remote: str = "0.0.0.0:0", **more: Any) -> Told:
    (address, _, port), (far, _, other) = local.rpartition(":"), remote.rpartition(":")
    ends = {"LocalAddress": address, "LocalPort": int(port), "RemoteAddress": far, "RemotePort": int(other)}
    return host, {"State": state, "Namespace": "x", "Protocol": "TCP", "Process": "/usr/bin/p", **ends, **more}


LISTEN = told(B, "LISTEN", "0.0.0.0:80", Process="/usr/sbin/nginx")
SERVER = told(B, "ESTABLISHED", "10.0.0.2:80", "10.0.0.1:50000", Process="/usr/sbin/nginx")
CLIENT = told(A, "ESTABLISHED", "10.0.0.1:50000", "10.0.0.2:80", Process="/usr/bin/curl")


def shown(*sockets: Told) -> set[tuple[str, str, int]]:
    return {(client.tid, server.tid, port) for client, server, port in pairs(sockets)}


@pytest.mark.parametrize(
    ("sockets", "expected"),
    [
        ([LISTEN, SERVER, CLIENT], {("host/a/service/program//usr/bin/curl", "host/b/service/program//usr/sbin/nginx", 80)}),
        ([SERVER, CLIENT], set()),  # nobody listens: it is not known who is the server
        ([LISTEN, CLIENT], set()),  # the other end is not known
        ([LISTEN, SERVER, CLIENT, ("host/c", CLIENT[1])], set()),  # two hosts with the same address
        (
            [LISTEN, SERVER, (A, {**CLIENT[1], "Pod": {"UID": "u1", "Name": "shop"}, "Container": {"ID": "c1"}})],
            {("host/a/service/pod/u1", "host/b/service/program//usr/sbin/nginx", 80)},
        ),
        (
            [
                told(A, "LISTEN", "127.0.0.1:5432", Unit={"Name": "postgresql.service"}),
                told(A, "ESTABLISHED", "127.0.0.1:5432", "127.0.0.1:40000", Unit={"Name": "postgresql.service"}),
                told(A, "ESTABLISHED", "127.0.0.1:40000", "127.0.0.1:5432", Unit={"Name": "app.service"}),
                told(B, "ESTABLISHED", "127.0.0.1:40000", "127.0.0.1:5432"),  # another host's loopback
            ],
            {("host/a/service/unit/app.service", "host/a/service/unit/postgresql.service", 5432)},
        ),
    ],
)
def test_both_ends_of_a_connection_are_a_pair(sockets: list[Told], expected: set[tuple[str, str, int]]) -> None:
    assert shown(*sockets) == expected


class Agents:
    """Agents that answer what they are told to."""

    def __init__(self) -> None:
        self.sockets: list[Told] = []
        self.missing: dict[str, str] = {}

    def hosts(self) -> dict[str, str]:
        return {A: "a", B: "b"}

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:  # noqa: ARG002
        return Answers([(host, Part([one])) for host, one in self.sockets], self.missing)


def test_a_pair_stays_for_a_while_and_is_told_once() -> None:
    agents, reports = Agents(), list[Report]()
    asked = ServiceMap(agents, reports.append, "hub", lambda: len(reports))
    agents.sockets = [LISTEN, SERVER, CLIENT]
    asked.step()
    [first] = reports
    assert sorted(fact.metadata["Name"] for fact in first.facts if isinstance(fact, NodeFact)) == ["curl", "nginx"]
    [edge] = [fact for fact in first.facts if isinstance(fact, EdgeFact) and fact.relation == "connection"]
    assert edge.metadata == {"Port": 80, "Protocol": "TCP"}
    agents.sockets = []
    for _ in range(services._KEPT - 1):
        asked.step()
    assert reports == [first]
    asked.step()
    assert reports[1].whole
    assert not reports[1].facts


def test_more_pairs_than_are_kept_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_MOST", 2)
    agents, reports = Agents(), list[Report]()
    for number in range(5):
        client, server = f"10.0.0.1:{5000 + number}", f"10.0.0.2:{80 + number}"
        agents.sockets += [
            told(B, "LISTEN", f"0.0.0.0:{80 + number}"),
            told(B, "ESTABLISHED", server, client),
            told(A, "ESTABLISHED", client, server),
        ]
    asked = ServiceMap(agents, reports.append, "hub", lambda: 0)
    asked.step()
    assert (asked.left_out, asked.edges) == (3, 4)  # the two programs belong to their hosts
    assert sum(isinstance(one, EdgeFact) and one.relation == "connection" for one in reports[0].facts) == 2


def test_where_it_is_off_what_it_found_is_taken_back_by_the_hub_on_duty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_LOOK", 0.01)
    duty, reports, asked = threading.Event(), list[Report](), threading.Event()

    def on_duty() -> bool:
        asked.set()
        return duty.is_set()

    made = ServiceMap(Agents(), reports.append, "hub", lambda: 0, on=False, on_duty=on_duty)
    made.start()
    try:
        assert asked.wait(5)
        assert not reports
        duty.set()
        until(lambda: reports, 5)
    finally:
        made.stop()
    assert [(one.whole, one.facts) for one in reports] == [(True, ())]


def test_pairs_of_who_does_not_answer_stay() -> None:
    agents, reports = Agents(), list[Report]()
    asked = ServiceMap(agents, reports.append, "hub", lambda: 0)
    agents.sockets = [LISTEN, SERVER, CLIENT]
    asked.step()
    agents.sockets, agents.missing = [CLIENT], {"b": "did not answer within 5 s"}
    for _ in range(services._KEPT + 1):
        asked.step()
    assert len(reports) == 1
