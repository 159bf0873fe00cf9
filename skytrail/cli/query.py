"""``skytrail query``: Gremlin, asked of a running hub or of a file, once, line by line, or in a shell."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import click

from skytrail.cli.moments import at_option
from skytrail.cli.options import Session, common, settings_options
from skytrail.errors import RunError, SkytrailError, UsageError

if TYPE_CHECKING:
    from gremlin_api.language.syntax import Step
    from skytrail.cli.results import Result

DIALECTS = ("tinkerpop", "skydive")
OUTPUTS = ("table", "json", "graphson", "dot")
_TYPED = "application/vnd.gremlin-v3.0+json"
_LONGEST = 3600.0  # seconds: it is the hub that ends a query
_MOST_LINE = 1 << 20  # bytes of a line of a script
_NOTES = {"Skytrail-Missing": "no answer of", "Skytrail-History": "not all of this time is remembered by"}
"""Headers of an answer that say what it has not → how that is told."""


class Source(Protocol):
    """Who answers."""

    def tinkerpop(self, text: str, at: str | None) -> Result:
        """The answer to a query of TinkerPop's dialect. Raises SkytrailError."""
        ...

    def skydive(self, text: str) -> Result:
        """The answer to a query of Skydive's. Raises SkytrailError."""
        ...


@click.command()
@click.argument("text", required=False, metavar="[QUERY]")
@click.option(
    "--graph",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Ask this file, no hub: GraphSON 3, GraphML, Skydive's JSON, or what 'snapshot save' wrote.",
)
@click.option("--script", type=click.File("rb"), help="Answer each line of this file, - is standard input, by a line of JSON.")
@click.option(
    "--dialect", type=click.Choice(DIALECTS), help="The query's language.  [default: skydive, where it begins with G]"
)
@click.option(
    "--output", type=click.Choice(OUTPUTS), help="How the answer is written.  [default: table on a terminal, else json]"
)
@at_option("Ask as of then")
@settings_options("hub.listen")
@common
@click.pass_obj
def query(
    session: Session,
    *,
    text: str | None,
    file: Path | None,
    script: BinaryIO | None,
    dialect: str | None,
    output: str | None,
    at: str | None,
) -> None:
    """Ask the graph in Gremlin: g.V().hasLabel('netns').values('Name'), or in Skydive's: G.V().Has('Type', 'netns').

    Without a QUERY, and on a terminal, a shell asks for one after the other.
    """
    if text is not None and script is not None:
        raise click.UsageError("give a query or --script, not both")
    if script is not None and output not in (None, "json"):
        raise click.UsageError("--script answers by lines of JSON: leave --output away")
    source: Source = _File(file) if file is not None else _Hub(session)
    if script is not None:
        _answer_lines(source, script, dialect, at)
        return
    chosen = output or ("table" if sys.stdout.isatty() else "json")
    if text is not None:
        from skytrail.cli.results import rendered  # noqa: PLC0415 - --help needs none of it

        click.echo(rendered(ask(source, text, dialect, at), chosen), nl=False)
        return
    if not sys.stdin.isatty():
        raise click.UsageError("give a query, or --script - for those that come by standard input")
    from skytrail.cli.shell import Shell  # noqa: PLC0415 - only where somebody sits at it

    Shell(lambda one, language, when: ask(source, one, language, when), dialect, chosen, at, verbose=session.verbose).run()


def ask(source: Source, text: str, dialect: str | None, at: str | None) -> Result:
    """The answer to one query. Raises SkytrailError."""
    chosen = dialect or ("skydive" if text.lstrip().startswith("G") else "tinkerpop")
    return source.skydive(_as_of(text, at)) if chosen == "skydive" else source.tinkerpop(text, at)


def _as_of(text: str, at: str | None) -> str:
    """A query of Skydive's dialect that says when, unless it does so itself."""
    if at is None:
        return text
    from gremlin_api.language.skydive import parse_skydive, render_skydive  # noqa: PLC0415
    from gremlin_api.language.syntax import Step  # noqa: PLC0415
    from skytrail.moments import parse_moment  # noqa: PLC0415

    parse_moment(at, 0)  # a duration without a sign, which At() takes, is none here
    steps: tuple[Step, ...] = parse_skydive(text)
    if steps and steps[0].name in ("At", "Context"):
        return text
    return render_skydive((Step("At", (at,)), *steps))


def _answer_lines(source: Source, script: BinaryIO, dialect: str | None, at: str | None) -> None:
    """A line of JSON for each that is not empty. Raises RunError at the end, where one could not be answered."""
    from skytrail.cli.results import in_json  # noqa: PLC0415

    failed = 0
    while line := script.readline(_MOST_LINE + 1):
        if not line.strip():
            continue
        try:
            told = in_json(ask(source, _text(line, script), dialect, at))
        except SkytrailError as error:
            failed += 1
            told = json.dumps({"error": str(error)}, ensure_ascii=False)
        click.echo(told)
        sys.stdout.flush()
    if failed:
        raise RunError(f"{failed} of these queries had no answer: see the lines with an error")


def _text(line: bytes, script: BinaryIO) -> str:
    """A line's query. Raises UsageError: it is too long, and the rest of it is passed over, or no UTF-8."""
    if len(line) > _MOST_LINE:
        while line and not line.endswith(b"\n"):
            line = script.readline(_MOST_LINE)
        raise UsageError(f"the line is longer than {_MOST_LINE} bytes")
    try:
        return line.decode().strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"the line is no UTF-8: {error.reason} at byte {error.start + 1}") from error


class _Hub:
    """A running hub."""

    def __init__(self, session: Session) -> None:
        from skytrail.http.client import Client  # noqa: PLC0415

        self._client = Client(session.settings, session.settings.hub.listen, _LONGEST)

    def tinkerpop(self, text: str, at: str | None) -> Result:
        from gremlin_api.wire.graphson import value_of  # noqa: PLC0415
        from skytrail.cli.results import Values  # noqa: PLC0415

        asked = {"gremlin": text} | ({} if at is None else {"at": at})
        body = self._post("/gremlin", asked, _TYPED, lambda told: str(json.loads(told)["message"]))
        return Values(list(value_of(json.loads(body)["result"]["data"])))

    def skydive(self, text: str) -> Result:
        from skytrail.cli.results import Told  # noqa: PLC0415

        body = self._post("/api/topology", {"GremlinQuery": text}, "application/json", lambda told: told.decode().strip())
        return Told(json.loads(body or "null"))

    def _post(self, path: str, asked: dict[str, str], accept: str, reason: Callable[[bytes], str]) -> bytes:
        from skytrail.http.client import NO_LOGIN  # noqa: PLC0415

        headers = {"Accept": accept, "Content-Type": "application/json"}
        status, told, body = self._client.exchange("POST", path, json.dumps(asked).encode(), headers)
        if status in (200, 204):
            for name, said in _NOTES.items():
                if beside := told.get(name):
                    click.echo(f"skytrail: {said}: {beside}", err=True)
            return body
        try:
            message = reason(body)
        except (ValueError, KeyError, TypeError):
            message = f"HTTP {status}"
        if status == 401:
            message += NO_LOGIN
        raise UsageError(message) if status == 400 else RunError(message)


class _File:
    """A file's graph."""

    def __init__(self, file: Path) -> None:
        from gremlin_api.answering import Answerer  # noqa: PLC0415
        from gremlin_api.graphs.files.reading import read_graph_file  # noqa: PLC0415
        from gremlin_api.graphs.stored import StoredGraphs  # noqa: PLC0415
        from gremlin_api.graphs.topology import NOTHING_SHOWN  # noqa: PLC0415
        from gremlin_api.skydive.answering import SkydiveAnswerer  # noqa: PLC0415
        from skytrail.cli.hub import clock  # noqa: PLC0415

        graph = read_graph_file(file)
        self._answerer = Answerer(graph.graphs)

        def skydive() -> SkydiveAnswerer:
            return SkydiveAnswerer(StoredGraphs(graph.store(file.stat().st_size), NOTHING_SHOWN, clock))

        self._skydive = cache(skydive)

    def tinkerpop(self, text: str, at: str | None) -> Result:
        from gremlin_api.answering import Question  # noqa: PLC0415
        from gremlin_api.wire.graphson import value_of  # noqa: PLC0415
        from gremlin_api.wire.messages import typed3  # noqa: PLC0415
        from skytrail.cli.results import Values  # noqa: PLC0415

        answers = self._answerer.answers(Question(text, at=at), threading.Event())
        return Values([value_of(typed3(one)) for one in answers])  # as a hub would tell them: paths by reference

    def skydive(self, text: str) -> Result:
        from gremlin_api.skydive.answers import plain  # noqa: PLC0415
        from skytrail.cli.results import Told  # noqa: PLC0415

        return Told(plain(self._skydive().answer(text, threading.Event())))
