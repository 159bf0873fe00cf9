"""``skytrail backup``, ``skytrail restore``: the graph with its history as one file."""

from __future__ import annotations

from pathlib import Path

import click

from skytrail.cli.options import Session, common
from skytrail.errors import UsageError

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@common
@click.pass_obj
def backup(session: Session, file: Path) -> None:
    """Write the graph with its history, as it is now, to FILE; a running hub goes on meanwhile."""
    session.start_logs()
    _demand_embedded(session)
    if str(file) == "-":
        raise UsageError("a backup is no stream: name a file")
    from skytrail.cli.hub import graph_folder  # noqa: PLC0415 - --help needs none of it
    from topology.store.embedded.backup import back_up  # noqa: PLC0415

    size = back_up(graph_folder(session.settings), file)
    click.echo(f"{file}: {size:,} bytes")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@common
@click.pass_obj
def restore(session: Session, file: Path) -> None:
    """Put the graph of FILE in the place of what is there, which is kept beside it. No hub may run."""
    session.start_logs()
    _demand_embedded(session)
    from skytrail.cli.hub import graph_folder  # noqa: PLC0415
    from topology.store.embedded.backup import bring_back  # noqa: PLC0415

    kept = bring_back(file, graph_folder(session.settings))
    click.echo(f"restored; what was there: {kept}" if kept else "restored")


def _demand_embedded(session: Session) -> None:
    """Raise UsageError where the graph is elsewhere than below state_dir."""
    if session.settings.topology.store != "embedded":
        raise UsageError(
            "the graph is in JanusGraph (topology.store): back up and restore its storage: for BerkeleyJE a copy of its data "
            "while the server is stopped, for Cassandra a snapshot (nodetool snapshot); see docs/janusgraph.md"
        )
