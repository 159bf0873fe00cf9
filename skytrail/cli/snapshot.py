"""``skytrail snapshot save`` and ``load``: the graph of one moment as a file, and a file as a graph to look at."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skytrail.cli.moments import at_option
from skytrail.cli.options import Session, common, settings_options
from skytrail.errors import RunError

if TYPE_CHECKING:
    from topology.snapshot.elements import Element

_FORMATS = ("skydive", "graphson")
_GRAPHSON_SUFFIX = ".graphson"
_GRAPHSON = re.compile(rb'\s*\{\s*"(?!(Nodes|Edges)")')  # Skydive's graph begins with one of these keys


@click.group()
def snapshot() -> None:
    """Keep the graph of one moment in a file, and look at such a file."""


@snapshot.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@at_option()
@click.option(
    "--format",
    "format_",
    type=click.Choice(_FORMATS),
    help="graphson: GraphSON 3.  [default: by the file's suffix]",
)
@settings_options("hub.listen")
@common
@click.pass_obj
def save(session: Session, file: Path, *, at: str | None, format_: str | None) -> None:
    """Write the graph of a running hub to FILE; - is standard output."""
    session.start_logs()
    import msgspec  # noqa: PLC0415 - --help needs none of it

    from skytrail.http.client import Client  # noqa: PLC0415
    from topology.snapshot import graphson, skydive  # noqa: PLC0415

    graph = Client(session.settings, session.settings.hub.listen).get("/api/v1/graph", {"at": at} if at else {})
    elements = skydive.read(msgspec.json.encode(graph))
    graphson_wanted = format_ == "graphson" or (format_ is None and file.suffix == _GRAPHSON_SUFFIX)
    data = b"".join(graphson.write(elements)) if graphson_wanted else skydive.write(elements)
    if str(file) == "-":
        sys.stdout.buffer.write(data)
        return
    _put(file, data)
    click.echo(f"{file}: {_counted(elements)} as of {at or 'now'}, {len(data):,} bytes")


@snapshot.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@settings_options("hub.listen")
@common
@click.pass_obj
def load(session: Session, file: Path) -> None:
    """Serve the graph of FILE as a hub would, until Ctrl-C: skytrail topology, GET /api/v1/graph … answer from it.

    FILE is what save wrote, in either format, or what Skydive or TinkerPop wrote. Nothing is probed, and nothing is kept.
    """
    session.start_logs()
    from skytrail.cli.graphfile import serve_file  # noqa: PLC0415 - only where one is served

    serve_file(session, file)


def _put(file: Path, data: bytes) -> None:
    """Write a file whole or not at all, for its owner alone."""
    try:
        with tempfile.NamedTemporaryFile(dir=file.absolute().parent, prefix=f".{file.name}.", delete=False) as made:
            try:
                made.write(data)
                made.flush()
                os.fsync(made.fileno())  # else the new name may be on the disk before what it names
                os.replace(made.name, file)  # noqa: PTH105 - as the name beside it
            except BaseException:
                Path(made.name).unlink()
                raise
    except OSError as error:
        room = f"name a folder that is there, with room for {len(data):,} bytes"
        raise RunError(f"cannot write {file}: {error.strerror}: {room}") from error


def _counted(elements: list[Element]) -> str:
    edges = sum(bool(element.Parent) for element in elements)
    return f"{len(elements) - edges} nodes, {edges} edges"
