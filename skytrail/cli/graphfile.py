"""``skytrail hub``: the graph of agents' hosts, or of a file, served at all the endpoints that ask a graph."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path

import click

from skytrail import __version__
from skytrail.cli.options import Session, common, settings_options


@click.command()
@click.option(
    "--graph",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="GraphSON 3, GraphML, Skydive's JSON, or what 'snapshot save' wrote; gzip too.",
)
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to serve it.  [default: hub.listen]")
@settings_options("hub.wire", "http.insecure")
@common
@click.pass_obj
def hub(session: Session, *, file: Path | None, listen: str | None) -> None:
    """Keep and serve the graph of the hosts whose agents report to it, until Ctrl-C; or, with --graph, a file's, read-only.

    Served are /gremlin (HTTP, WebSocket), /api/topology, /api/v1/graph.
    """
    if listen is not None:
        session.flags["hub.listen"] = listen
    session.start_logs()
    if file is not None:
        serve_file(session, file)
    else:
        serve_agents(session)


def serve_agents(session: Session) -> None:
    """Serve the graph of those who report until a signal ends it. Raises RunError, ListenError."""
    from skytrail.cli.hub import HubProcess  # noqa: PLC0415 - only where one runs
    from skytrail.kernel.host import read_host  # noqa: PLC0415
    from skytrail.process import keep_private  # noqa: PLC0415

    keep_private()
    settings = session.settings
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: done.set())
    process = HubProcess(settings, read_host(settings.host_id or "", kept=Path(settings.state_dir) / "host_id"))
    process.start()
    try:
        click.echo(f"the graph is served at {process.server.url}, agents are waited for on {settings.hub.wire}", err=True)
        done.wait()
    finally:
        process.stop()


def serve_file(session: Session, file: Path) -> None:
    """Serve the graph of a file until a signal ends it. Raises RunError, ListenError."""
    from gremlin_api.graphs.files.reading import read_graph_file  # noqa: PLC0415 - only where one is read
    from gremlin_api.graphs.stored import StoredGraphs  # noqa: PLC0415
    from gremlin_api.graphs.topology import NOTHING_SHOWN  # noqa: PLC0415
    from gremlin_api.http.subscriber import PATH, SubscriberSocket  # noqa: PLC0415
    from gremlin_api.metrics import gremlin_source  # noqa: PLC0415
    from skytrail.cli.endpoints import Asked, executor_of, served, with_gremlin  # noqa: PLC0415
    from skytrail.cli.hub import clock  # noqa: PLC0415
    from skytrail.http.app import as_asgi, create_app  # noqa: PLC0415
    from skytrail.http.prometheus import Exposition, metrics_blueprint  # noqa: PLC0415
    from skytrail.process import process_families  # noqa: PLC0415
    from topology.path.routes import path_blueprint  # noqa: PLC0415
    from topology.routes import graph_blueprint  # noqa: PLC0415

    settings = session.settings
    graph = read_graph_file(file)
    store = graph.store(file.stat().st_size)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: done.set())
    with contextlib.ExitStack() as closers:
        executor = executor_of(settings.gremlin)
        closers.callback(executor.close)
        exposition = Exposition([gremlin_source(executor), process_families])
        blueprints = [
            metrics_blueprint(exposition, exemplars=settings.prometheus.exemplars),
            graph_blueprint(store, dict, clock),
            path_blueprint(store, clock),
        ]
        status = {"service": "hub", "version": __version__, "graph": str(file), "elements": len(graph.revisions)}
        app = create_app("hub", lambda: status, lambda: {"graph": None}, blueprints)
        stored = StoredGraphs(store, NOTHING_SHOWN, clock)
        sockets = {PATH: SubscriberSocket(store, stored, NOTHING_SHOWN, executor)}
        spoken = with_gremlin(Asked(graph.graphs, stored), executor, settings.gremlin, as_asgi(app), sockets)
        server = served(spoken, settings, closers)
        edges = sum(bool(one.state and one.state.parent) for one in graph.revisions)
        counted = f"{len(graph.revisions) - edges} nodes, {edges} edges"
        click.echo(f"{file} ({graph.format}): {counted}, served at {server.url}   Ctrl-C ends", err=True)
        done.wait()
