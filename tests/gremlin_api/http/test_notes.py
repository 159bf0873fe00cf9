"""What is said beside an answer that agents had a part in, and packets as a file, over HTTP and by ``skytrail query``."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.needs import tool
from support.tables import Tables, graphs, last_time, recorded, tables

from gremlin_api.execution import Executor
from gremlin_api.http.endpoint import mounted
from gremlin_api.http.notes import note_attributes, note_headers
from gremlin_api.http.topology import TopologyEndpoint
from gremlin_api.notes import Notes
from gremlin_api.skydive.answering import SkydiveAnswerer
from skytrail.asking.questions import Range
from skytrail.http import server as http_server
from skytrail.http.guard import Receive, Scope, Send
from skytrail.settings.tree import Http

PCAP = "application/vnd.tcpdump.pcap"
MISSING = {"h7": "did not answer within 5 s", "h9": "not connected; since 09:00\nX-Evil: ü"}
END = last_time()


async def _nothing(_: Scope, __: Receive, ___: Send) -> None:
    raise AssertionError("nobody asks for anything else here")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    executor = Executor()
    answerer = SkydiveAnswerer(graphs(), asker=tables(missing=MISSING, since=END))
    app = mounted({"/api/topology": TopologyEndpoint(answerer, executor)}, {}, _nothing)
    with http_server.serve(app, "127.0.0.1:0", Http()) as served:
        yield served.port
    executor.close()


def ask(port: int, query: str, accept: str = "application/json") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/api/topology", json.dumps({"GremlinQuery": query}), {"Accept": accept})
    answer = connection.getresponse()
    found = answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def test_who_did_not_answer_is_told_in_a_header_and_the_others_answers_are_there(port: int) -> None:
    status, headers, body = ask(port, "G.Flows()")
    assert status == 200
    assert len(json.loads(body)) == len({one["UUID"] for one in recorded("flows")})
    assert headers["skytrail-missing"] == "h7: did not answer within 5 s; h9: not connected, since 09:00 X-Evil: ?"
    assert "x-evil" not in headers
    assert "skytrail-history" not in headers


def test_who_does_not_remember_so_long_is_told(port: int) -> None:
    _, headers, _ = ask(port, f"G.Context({END}, 60).V().Has('Name', 'p1').Flows()")
    assert headers["skytrail-history"].startswith("h3: since 20")
    assert headers["skytrail-history"].endswith("Z")
    assert "skytrail-missing" not in headers


def test_the_graph_alone_asks_nobody(port: int) -> None:
    _, headers, _ = ask(port, "G.V()")
    assert not {"skytrail-missing", "skytrail-history"} & headers.keys()


def test_very_many_are_told_in_a_header_that_servers_take() -> None:
    notes = Notes(missing={f"host{number}": "did not answer within 5 s" for number in range(10_000)})
    [(name, value)] = note_headers(notes)
    assert name == b"skytrail-missing"
    assert 3_900 < len(value) < 4_100
    shown = value.count(b"did not answer")
    assert value.endswith(b"; and %d more" % (10_000 - shown))


@pytest.mark.parametrize(
    ("notes", "header"),
    [
        (Notes(missing={"h1": "a\0b\x1b[31m c"}), b"h1: a b [31m c"),
        (Notes(missing={"h1": "x" * 5_000, "h2": "away"}), b"h1: " + b"x" * 996 + b"...; h2: away"),
        (Notes(since={"h1": 10**18}), b"h1: since 1000000000000000000"),
        (Notes(gaps={"h1": [(-(10**18), 0)]}), b"h1: not -1000000000000000000/1970-01-01T00:00:00.000Z"),
    ],
)
def test_whatever_agents_say_is_a_header(notes: Notes, header: bytes) -> None:
    assert [value for _, value in note_headers(notes)] == [header]


def test_packets_are_a_file_that_tshark_reads(port: int, tmp_path: Path) -> None:
    status, headers, body = ask(port, "G.Flows().RawPackets()", PCAP)
    assert (status, headers["content-type"]) == (200, f"{PCAP}; charset=UTF-8")
    path = tmp_path / "packets.pcap"
    path.write_bytes(body)
    done = subprocess.run([tool("tshark", "tshark"), "-r", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_when_agents_did_not_run_is_told() -> None:
    gaps = [Range(END - 30_000, END - 20_000), Range(END - 90_000, END - 80_000)]
    answerer = SkydiveAnswerer(graphs(), asker=tables(since=END - 200_000, gaps=gaps))
    answer = answerer.answer(f"G.Context({END}, 60).V().Has('Name', 'p1').Flows()", threading.Event())
    assert answer.notes.gaps == {"h3": [(END - 30_000, END - 20_000)]}
    [(name, value)] = note_headers(answer.notes)
    assert name == b"skytrail-history"
    assert re.fullmatch(rb"h3: not 20\d\d-[^/]+Z/20\d\d-[^/]+Z", value)
    [(key, told)] = note_attributes(answer.notes).items()
    assert (key, dict(told.items())) == ("gaps", {"h3": [[END - 30_000, END - 20_000]]})


@pytest.mark.parametrize("accept", [PCAP, "text/vnd.graphviz"])
def test_flows_are_neither_packets_nor_a_graph(port: int, accept: str) -> None:
    status, _, body = ask(port, "G.Flows()", accept)
    assert status == 406
    assert body.decode() == f"{accept} tells another kind of answer than flows: ask for application/json\n"


def test_capture_points_are_a_graph_for_graphviz(port: int) -> None:
    status, _, body = ask(port, "G.Flows().Has('ICMP.ID', 123).CaptureNode().SubGraph()", "text/vnd.graphviz")
    assert status == 200
    assert b"digraph" in body or b"graph" in body


@pytest.mark.parametrize("words", [(), ("--output", "table")])
def test_the_command_tells_it_on_standard_error(port: int, words: tuple[str, ...]) -> None:
    query = "G.Flows().Has('ICMP.ID', 123).Dedup().Values('Application')"
    command = [sys.executable, "-m", "skytrail", "query", "--set", f"hub.listen=127.0.0.1:{port}", *words, query]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "ICMPv4" in done.stdout
    assert done.stderr == ("skytrail: no answer of: h7: did not answer within 5 s; h9: not connected, since 09:00 X-Evil: ?\n")


def test_a_hub_that_no_agent_came_to_says_so() -> None:
    class Empty(Tables):
        def hosts(self) -> dict[str, str]:
            return {}

    answer: Any = SkydiveAnswerer(graphs(), asker=Empty({}, {})).answer("G.Flows()", threading.Event())
    assert answer.values == []
    assert answer.notes.missing == {"all hosts": "no agent has come to this hub"}
