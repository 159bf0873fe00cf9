"""The shell of ``skytrail query``: a line is a query; what begins with a colon is for the shell itself."""

from __future__ import annotations

import contextlib
import os
import re
import readline
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skytrail.errors import SkytrailError

if TYPE_CHECKING:
    from skytrail.cli.results import Result

Ask = Callable[[str, "str | None", "str | None"], "Result"]

_HELP = """\
g.V().hasLabel('netns').values('Name')     TinkerPop's Gremlin
G.V().Has('Type', 'netns').Values('Name')  Skydive's
:at MOMENT                   ask as of then; :at now for the present
:output table|json|graphson|dot
:dialect tinkerpop|skydive|auto
:quit, Ctrl-D                leave
Tab completes a step's name."""
_MOST_HISTORY = 10_000
_WORD = re.compile(r"\w*$")


class Shell:
    """Asks for queries and shows their answers, until its user leaves.

    Args:
        ask: a query, its dialect and its moment → the answer.
        dialect: None: by how a query begins.
        output: how answers are written.
        at: the moment that is asked about; None: now.
        verbose: whether an error that nobody foresaw is told with where it was.
    """

    def __init__(self, ask: Ask, dialect: str | None, output: str, at: str | None, *, verbose: bool = False) -> None:
        self._ask, self._dialect, self._output, self._at, self._verbose = ask, dialect, output, at, verbose

    def run(self) -> None:
        """Until the end."""
        history = _history_file()
        readline.set_completer(self._complete)
        readline.set_completer_delims(" .()'\",")
        readline.parse_and_bind("tab: complete")
        with contextlib.suppress(OSError):
            readline.read_history_file(history)
        click.echo("A query a line; :help tells more, Ctrl-D ends.")
        try:
            self._lines()
        finally:
            _keep(history)

    def _lines(self) -> None:
        while True:
            try:
                line = input(f"{self._at or 'now'}> ").strip()
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:  # what was being written is given up
                click.echo()
                continue
            if line in (":quit", ":q", ":exit"):
                return
            if line:
                self._answer(line)

    def _answer(self, line: str) -> None:
        from skytrail.cli.results import rendered  # noqa: PLC0415 - it takes a moment

        try:
            if line.startswith(":"):
                self._set(*line[1:].split(maxsplit=1))
            else:
                click.echo(rendered(self._ask(line, self._dialect, self._at), self._output), nl=False)
        except SkytrailError as error:
            click.echo(f"error: {error}", err=True)
        except KeyboardInterrupt:
            click.echo("given up", err=True)
        except BrokenPipeError:  # nobody reads on
            raise
        except Exception as error:  # noqa: BLE001 - a defect in one answer ends no session
            self._tell_defect(error)

    def _tell_defect(self, error: Exception) -> None:
        if self._verbose:
            traceback.print_exception(error)
        more = "" if self._verbose else "; -v shows where, please report it"
        click.echo(f"error: {type(error).__name__}: {' '.join(str(error).split()) or 'no message'}{more}", err=True)

    def _set(self, name: str = "", value: str = "") -> None:
        from skytrail.cli.query import DIALECTS, OUTPUTS  # noqa: PLC0415 - it imports us

        if name == "at" and value:
            self._at = _moment(value)
        elif name == "output" and value in OUTPUTS:
            self._output = value
        elif name == "dialect" and value in (*DIALECTS, "auto"):
            self._dialect = None if value == "auto" else value
        else:
            click.echo(_HELP)

    def _complete(self, text: str, number: int) -> str | None:
        """The number-th name of a step that begins so."""
        from gremlin_api.language.grammar import STEPS  # noqa: PLC0415
        from gremlin_api.language.skydive import STEPS as SKYDIVE  # noqa: PLC0415

        line = readline.get_line_buffer()
        skydive = self._dialect == "skydive" or (self._dialect is None and line.lstrip().startswith("G"))
        found = sorted(name for name in (SKYDIVE if skydive else STEPS) if name.lower().startswith(text.lower()))
        return f"{found[number]}(" if text and number < len(found) else None


def _moment(text: str) -> str | None:
    """What is asked about: a moment, or a period; None: now. Raises UsageError: it is none."""
    from skytrail.cli.hub import clock  # noqa: PLC0415
    from skytrail.moments import parse_period, with_zone  # noqa: PLC0415

    if text.lower() == "now":
        return None
    named = with_zone(text, clock())
    if "/" in named:
        parse_period(named, clock())
    return named


def _history_file() -> Path:
    """Where it is kept, as the XDG Base Directory Specification says."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "skytrail" / "query_history"


def _keep(history: Path) -> None:
    """What was asked may be nobody else's to know."""
    try:
        history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        history.touch(mode=0o600)
        readline.set_history_length(_MOST_HISTORY)
        readline.write_history_file(history)
    except OSError as error:
        sys.stderr.write(f"the history is not kept: {history}: {error.strerror}\n")
