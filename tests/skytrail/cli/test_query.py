"""``skytrail query`` and ``skytrail hub --graph``: a file is asked as it is, and as a hub serves it, with the same answers."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ports import free_port
from support.servedfile import served

from skytrail.cli.results import Values
from skytrail.cli.shell import Shell

GRAPH: dict[str, Any] = {
    "Nodes": [
        {"ID": "a", "Metadata": {"Name": "eth0", "Type": "device", "IPV4": ["10.0.0.1/24", "10.0.0.2/24"], "MTU": 1500}},
        {"ID": "b", "Metadata": {"Name": "br0\x1b[31m", "Type": "bridge"}},
    ],
    "Edges": [{"ID": "e", "Parent": "b", "Child": "a", "Metadata": {"RelationType": "layer2"}}],
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "graph.json.gz"
    path.write_bytes(gzip.compress(json.dumps(GRAPH).encode()))
    return path


@pytest.fixture(scope="module")
def hub(file: Path) -> Iterator[str]:
    with served("--listen", "hub", "--graph", str(file)) as address:
        yield address


def run(*words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "skytrail", "query", *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


QUERIES = [
    "g.V().count()", "g.V('a').valueMap('Name', 'MTU')", "g.V().has('Name', 'eth0').in().label()", "g.E().elementMap()",
    "g.V('a').values('IPV4')", "g.V().out().path()", "G.V().Count()", "G.V('b').Out()", "G", "G.V().Values('None')",
    "G.V('a').Values('IPV4')", "G.V('b').ShortestPathTo(Metadata('Name', 'eth0'))",
]  # fmt: skip


@pytest.mark.parametrize("output", ["table", "json", "graphson", "dot"])
def test_a_hub_answers_as_the_file_itself(file: Path, hub: str, output: str) -> None:
    for query in ("g.V().out().path()", "G.V('b').Out()", "g.V().out().explain()", "g.V().tryNext()"):
        offline = run("--graph", str(file), "--output", output, query)
        online = run("--hub", hub, "--output", output, query)
        assert (offline.returncode, offline.stdout, offline.stderr) == (online.returncode, online.stdout, online.stderr)
        assert (offline.returncode == 0) != bool(offline.stderr)


def test_a_hub_answers_each_line_as_the_file_itself(file: Path, hub: str) -> None:
    script = "\n".join(QUERIES)
    offline, online = (run(*where, "--script", "-", given=script) for where in (("--graph", str(file)), ("--hub", hub)))
    assert offline.stdout == online.stdout
    assert len(offline.stdout.splitlines()) == len(QUERIES)


def test_answers_are_json_where_no_terminal_is(file: Path) -> None:
    asked = [
        ("g.V('a').values('IPV4')", ["10.0.0.1/24", "10.0.0.2/24"]),  # each value of a property is one
        ("g.V('a').values('MTU')", [1500]),
        ("G.V('a').Values('IPV4')", [["10.0.0.1/24", "10.0.0.2/24"]]),
        ("G.V().Count()", 2),
        ("G.V().Has('Type', 'bridge').Out().Values('Name')", ["eth0"]),
        ("G.V().Values('None')", None),
    ]
    for query, answer in asked[:1]:
        assert json.loads(run("--graph", str(file), query).stdout) == answer
    done = run("--graph", str(file), "--script", "-", given="\n".join(query for query, _ in asked))
    assert [json.loads(line) for line in done.stdout.splitlines()] == [answer for _, answer in asked]


def test_typed_graphson_tells_the_types(file: Path) -> None:
    done = run("--graph", str(file), "--output", "graphson", "g.V().count()")
    assert json.loads(done.stdout) == {"@type": "g:List", "@value": [{"@type": "g:Int64", "@value": 2}]}


def test_a_table_shows_what_the_terminal_does_not_obey(file: Path) -> None:
    done = run("--graph", str(file), "--output", "table", "g.V().hasLabel('bridge')")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["id", "label", "Name"], ["b", "bridge", r"br0\x1b[31m"], ["1", "answer"],
    ]  # fmt: skip


def test_a_table_shows_the_steps_of_a_query(file: Path) -> None:
    def table(query: str) -> list[list[str]]:
        done = run("--graph", str(file), "--output", "table", query)
        assert (done.returncode, done.stderr) == (0, "")
        return [re.split(r"  +", line.rstrip()) for line in done.stdout.splitlines()]

    strategy = "SubgraphStrategy(vertices: hasLabel('device'))"
    assert table(f"g.withStrategies({strategy}).V().count().explain()") == [
        ["stage", "step"], ["as written", "V()"], ["", "count()"], ["SubgraphStrategy", "V()"],
        ["", "filter(__.hasLabel('device'))"], ["", "count()"], ["as run", "V()"], ["", "filter()"], ["", "count()"],
        ["1 answer"],
    ]  # fmt: skip
    head, *steps, total, count = table("g.V().in().profile()")
    assert (head, count) == (["step", "traversers", "elements", "time"], ["1 answer"])
    assert [one[:3] for one in steps] == [["V", "2", "2"], ["in", "1", "1"]]
    times = [re.fullmatch(r"(\d+\.\d{3}) ms", one[-1]) for one in (*steps, total)]
    assert total[0] == "all"
    assert all(times)


def test_what_a_query_took_is_told_as_at_gremlin(file: Path, hub: str) -> None:
    def told(accept: str) -> Any:
        headers = {"Accept": accept, "Content-Type": "application/json"}
        asked = urllib.request.Request(f"http://{hub}/gremlin", json.dumps({"gremlin": query}).encode(), headers)
        with urllib.request.urlopen(asked) as got:
            return json.loads(got.read())["result"]["data"]

    def timeless(value: Any) -> Any:
        return re.sub(r"\d+\.\d+(e-?\d+)?", "*", json.dumps(value))

    query = "g.V().has('Name', 'eth0').in().profile()"
    third = "application/vnd.gremlin-v3.0+json"
    for where in (("--graph", str(file)), ("--hub", hub)):
        for output, accept in (("json", f"{third};types=false"), ("graphson", third)):
            done = run(*where, "--output", output, query)
            assert done.returncode == 0, done.stderr
            assert timeless(json.loads(done.stdout)) == timeless(told(accept))


def test_dot_is_a_graph(file: Path) -> None:
    lines = [line.strip() for line in run("--graph", str(file), "--output", "dot", "g.E()").stdout.splitlines()]
    assert '"b" -- "a" [style=solid, label="layer2"];' in lines
    assert r'"a" [label="a\ndevice"];' in lines  # an edge tells of its ends no more than which they are
    done = run("--graph", str(file), "--output", "dot", "g.V().count()")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no node and no edge in the answer" in done.stderr


def test_values_that_are_called_as_parts_of_a_graph_are_none(tmp_path: Path) -> None:
    metadata = {"Name": "a", "Type": "x", "Nodes": 5, "Edges": [6], "ID": [1], "Metadata": {"Parent": "b"}, "Parent": "c"}
    (tmp_path / "odd").write_text(json.dumps({"Nodes": [{"ID": "a", "Metadata": metadata}], "Edges": []}))
    for keys in ("'Nodes', 'Edges'", "'ID', 'Metadata'", "'Name', 'Metadata', 'Parent'"):
        done = run("--graph", str(tmp_path / "odd"), "--output", "dot", f"G.V().ValueMap({keys})")
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "there is no node and no edge in the answer" in done.stderr


def test_a_script_is_answered_line_by_line(file: Path) -> None:
    done = run("--graph", str(file), "--script", "-", given="g.V().count()\n\n  G.V().Count()\ng.V(\ng.V('a').values('MTU')\n")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines == [[2], 2, {"error": "line 1, column 5: an argument is expected here, not the end"}, [1500]]
    assert (done.returncode, done.stderr) == (
        1, "skytrail: error: 1 of these queries had no answer: see the lines with an error\n",
    )  # fmt: skip


def test_a_line_that_is_none_leaves_the_others_their_answers(file: Path) -> None:
    script = b"\xff\n" + b"x" * (3 << 20) + b"\ng.V().count()"
    command = [sys.executable, "-m", "skytrail", "query", "--graph", str(file), "--script", "-"]
    done = subprocess.run(command, input=script, capture_output=True, timeout=60, check=False)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"error": "the line is no UTF-8: invalid start byte at byte 1"},
        {"error": "the line is longer than 1048576 bytes"},
        [2],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["g.V().addV()"], 1, "addV() is refused"),
        (["g.V("], 2, "line 1, column 5: an argument is expected here"),
        (["G.V().Foo()"], 2, "line 1, column 7: 'Foo' is no step"),
        (["--dialect", "skydive", "g.V().Count()", "--output", "graphson"], 2, "GraphSON has types of TinkerPop's dialect"),
        (["--dialect", "tinkerpop", "G.V()"], 2, "line 1, column 1"),
        ([], 2, "give a query, or --script -"),
        (["g.V()", "--script", "-"], 2, "give a query or --script, not both"),
        (["--script", "-", "--output", "dot"], 2, "leave --output away"),
        (["--at", "-5m", "g.V()"], 2, "holds the graph of one moment"),
        (["--at", "-5m", "G.V()"], 2, "holds the graph of one moment"),
        (["G.At('-5m').V()"], 2, "line 1, column 3: "),
        (["G.Context(NOW, 300).V()"], 2, "holds the graph of one moment"),
        (["--at", "5m", "g.V()"], 2, "'5m' is no moment"),  # no slip for -5m is taken for a moment to come
        (["--at", "5m", "G.V()"], 2, "'5m' is no moment"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(file: Path, words: list[str], status: int, reason: str) -> None:
    done = run("--graph", str(file), *words, given="")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), done.stderr
    assert done.stderr.startswith("skytrail: error: ")
    assert reason in done.stderr


def test_a_file_that_holds_no_graph_and_a_hub_that_is_away_are_told(tmp_path: Path) -> None:
    (tmp_path / "no").write_text("a picture")
    done = run("--graph", str(tmp_path / "no"), "g.V()")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "give GraphSON 3, GraphML, Skydive's JSON or a snapshot of ours" in done.stderr
    done = run("--hub", f"127.0.0.1:{free_port()}", "g.V()")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "start one by 'skytrail up'" in done.stderr


def test_a_hub_of_a_file_serves_all_that_asks_a_graph(hub: str) -> None:
    def get(path: str, body: Any = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"http://{hub}{path}", sent) as answer:
            return answer.read()

    assert len(json.loads(get("/api/v1/graph"))["Nodes"]) == 2
    assert len(json.loads(get("/api/topology"))["Nodes"]) == 2
    assert json.loads(get("/api/topology", {"GremlinQuery": "G.At(NOW).V().Count()"})) == 2
    assert json.loads(get("/", {"gremlin": "g.V().count()"}))["result"]["data"]["@value"][0]["@value"] == 2
    assert json.loads(get("/api/status"))["elements"] == 3
    assert b'skytrail_gremlin_queries_total{outcome="answered"}' in get("/metrics")


def test_a_hub_of_a_file_refuses_the_past(hub: str) -> None:
    asked = [
        ("/api/topology", {"GremlinQuery": "G.At('-1m').V().Count()"}, 400),
        ("/gremlin", {"gremlin": "g.V().count()", "at": "-1m"}, 500),  # as a Gremlin Server, where a query fails
        ("/api/v1/graph?at=-1m", None, 400),
        ("/api/v1/diff?from=-1m", None, 400),
    ]
    for path, body, status in asked:
        sent = None if body is None else json.dumps(body).encode()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{hub}{path}", sent)
        with refused.value as answer:
            assert answer.code == status, path
            assert b"holds the graph of one moment and does not say which" in answer.read()


def test_drivers_find_it_at_a_second_address(file: Path) -> None:
    second = f"127.0.0.1:{free_port()}"
    asked = f"http://{second}/gremlin?gremlin=g.V().count()"
    with (
        served("--listen", "hub", "--graph", str(file), "--set", f"gremlin.listen={second}"),
        urllib.request.urlopen(asked) as got,
    ):
        assert json.loads(got.read())["result"]["data"]["@value"][0]["@value"] == 2


class _Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._screen = b""
        child, self._file = pty.fork()
        if child == 0:
            os.execve(sys.executable, [sys.executable, "-m", "skytrail", "query", *words], {**os.environ, **environment})
        self.child = child

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def wait_for(self, pattern: str) -> str:
        """What came until the pattern did."""
        until = time.monotonic() + 30
        while not (found := re.search(pattern.encode(), self._screen)):
            assert time.monotonic() < until, self._screen
            self._screen += os.read(self._file, 4096)
        seen, self._screen = self._screen[: found.end()], self._screen[found.end() :]
        return seen.decode()

    def end(self) -> int:
        """Its exit status."""
        with contextlib.suppress(OSError):
            while os.read(self._file, 4096):
                pass
        os.close(self._file)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


def test_the_shell_asks_completes_and_remembers(file: Path, tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    shell = _Terminal(["--graph", str(file)], environment)
    shell.wait_for("now> ")
    shell.type("g.V().cou\t).is(2)\n")
    assert "count().is(2)" in shell.wait_for("1 answer\r\n")
    shell.wait_for("now> ")
    shell.type(":output json\n")
    shell.wait_for("now> ")
    shell.type("G.V().Cou\t)\n")
    shell.wait_for(r"\r\n2\r\n")
    shell.wait_for("now> ")
    shell.type("g.V().foo()\n")
    shell.wait_for("'foo' is no step")
    shell.wait_for("now> ")
    shell.type(":at -5m\n")
    shell.wait_for("-5m> ")
    shell.type("g.V()\n")
    shell.wait_for("error: .* holds the graph of one moment")
    shell.wait_for("-5m> ")
    shell.type(":at nonsense\n")
    shell.wait_for("error: 'nonsense' is no moment")
    shell.wait_for("-5m> ")
    shell.type(":at 2026-01-01/now\n")
    shell.wait_for("\n2026-01-01/now> ")
    shell.type(":at -5m\n")
    shell.wait_for("\n-5m> ")
    shell.type(":help\n")
    shell.wait_for("Tab completes")
    shell.wait_for("-5m> ")
    shell.type(":quit\n")
    assert shell.end() == 0
    history = tmp_path / "skytrail" / "query_history"
    assert "g.V().count().is(2)" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600
    again = _Terminal(["--graph", str(file)], environment)
    again.wait_for("now> ")
    again.type("\x10" * 11 + "\n")  # Ctrl-P: back to the first
    again.wait_for("1 answer\r\n")
    again.wait_for("now> ")  # an end of input before would be the terminal's, not the prompt's
    again.type("\x04")
    assert again.end() == 0


@pytest.mark.parametrize("verbose", [False, True])
def test_a_defect_in_an_answer_ends_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    def ask(text: str, _dialect: str | None, _at: str | None) -> Values:
        if text == "broken":
            raise LookupError("of two\nlines")  # what no real answer gives that we know of
        return Values([object() if text == "formless" else 7])

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.StringIO("broken\nformless\nsound\n"))
    Shell(ask, None, "json", None, verbose=verbose).run()
    out, err = capsys.readouterr()
    more = "" if verbose else "; -v shows where, please report it"
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert told == [f"error: LookupError: of two lines{more}", f"error: TypeError: object has no form in GraphSON{more}"]
    assert "[7]" in out
    assert err.count("Traceback (most recent call last)") == (2 if verbose else 0)
