"""``skytrail flows``: the flows of the running agent as a live table or JSON lines, or those of a capture file."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from skytrail.cli.options import Session, common, settings_options
from skytrail.errors import CaptureFileError

if TYPE_CHECKING:
    from rich.table import Table

    from exporters.flows.capture_file import CaptureFile
    from exporters.flows.query import Query
    from exporters.flows.replay import Replay
    from exporters.flows.table import Batch
    from skytrail.settings.tree import Settings

Flow = dict[str, Any]

_REFRESH, _PAUSE = 1.0, 0.2
Ask = Callable[[int, float], tuple[list[Flow], int]]
"""Gives flows once other than so many have begun, or after so many seconds; and how many have begun."""

TABLE_ROWS = 30


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON lines, one flow each, and no refreshing.")
@click.option(
    "--filter", "text", metavar="EXPRESSION", help="As in pcap-filter (host, net, port, tcp …) or FIELD=VALUE; and, or, not."
)
@click.option(
    "--sort", metavar="KEY", default="bytes", show_default=True, help="bytes, packets, last, start or rtt; largest first."
)
@click.option(
    "--limit", metavar="N", default=None, help=f"At most N flows (0: all). Default: all as JSON, {TABLE_ROWS} in the table."
)
@click.option("--once", is_flag=True, help="Print the table once.")
@click.option("--pcap", metavar="FILE", help="Read a capture file (pcap or pcapng, also gzip'ed; -: standard input).")
@settings_options("agent.listen")
@common
@click.pass_obj
def flows(
    session: Session, *, as_json: bool, text: str | None, sort: str, limit: str | None, once: bool, pcap: str | None
) -> None:
    """Show the flows of the running agent, or of a capture file."""
    from exporters.flows.query import read_query  # noqa: PLC0415 - --help needs none of it

    session.start_logs()
    live = not (as_json or once or pcap) and sys.stdout.isatty()
    query = read_query(text, sort, limit or ("0" if as_json else str(TABLE_ROWS)))
    if pcap:
        found = _read_file(pcap, query, session.settings, progress=sys.stderr.isatty())
        _print(found, as_json=as_json, query=query)
        return
    ask = _agent(session.settings, text, sort, str(query.limit))
    if live:
        show_live(ask, threading.Event())
        return
    _print(iter(ask(0, 0)[0]), as_json=as_json, query=query)


def _print(found: Iterator[Flow], *, as_json: bool, query: Query) -> None:
    import msgspec  # noqa: PLC0415

    if as_json:
        for flow in itertools.islice(found, query.limit or None):
            sys.stdout.write(msgspec.json.encode(flow).decode() + "\n")
        sys.stdout.flush()
        return
    from rich.console import Console  # noqa: PLC0415

    flows_found = list(found)
    Console(width=None if sys.stdout.isatty() else 200).print(_table(_largest(flows_found, query), {}))


def _largest(found: list[Flow], query: Query) -> list[Flow]:
    metric = {
        "bytes": lambda flow: flow["Metric"]["ABBytes"] + flow["Metric"]["BABytes"],
        "packets": lambda flow: flow["Metric"]["ABPackets"] + flow["Metric"]["BAPackets"],
        "last": lambda flow: flow["Last"],
        "start": lambda flow: flow["Start"],
        "rtt": lambda flow: flow["Metric"].get("RTT", 0),
    }[query.sort]
    ordered = sorted(found, key=metric, reverse=True)
    return ordered[: query.limit] if query.limit else ordered


def _agent(settings: Settings, text: str | None, sort: str, limit: str) -> Ask:
    """A function that asks the agent once more over one kept connection."""
    from skytrail.http.client import Client  # noqa: PLC0415

    client = Client(settings)
    arguments = {"sort": sort, "limit": limit, **({"filter": text} if text else {})}

    def ask(begun: int, seconds: float) -> tuple[list[Flow], int]:
        wait = {"begun": str(begun), "wait": f"{seconds:.0f}"}
        found, headers = client.get_with_headers("/api/v1/flows", arguments | wait)
        return found, int(headers["Skytrail-Flows-Begun"])

    return ask


def show_live(ask: Ask, done: threading.Event, caption: str = "Ctrl-C ends") -> None:
    """The table, once a second and as soon as a flow begins, until ``done``; rates are of the last second."""
    from rich.live import Live  # noqa: PLC0415

    before: dict[str, tuple[float, int]] = {}
    begun, began = 0, 0.0
    with Live(auto_refresh=False, screen=True) as live:
        while not done.is_set():
            found, begun = ask(begun, _REFRESH)
            now, rates, seen = time.monotonic(), {}, {}
            for flow in found:
                total = flow["Metric"]["ABBytes"] + flow["Metric"]["BABytes"]
                earlier = before.get(flow["UUID"])
                if earlier and now > earlier[0]:
                    rates[flow["UUID"]] = (total - earlier[1]) / (now - earlier[0])
                seen[flow["UUID"]] = now, total
            if now >= began + _REFRESH:
                before, began = seen, now
            live.update(_table(found, rates, caption if found else f"no flow yet   {caption}"), refresh=True)
            done.wait(_PAUSE)


def _table(found: list[Flow], rates: dict[str, float], caption: str | None = None) -> Table:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    for title, right in (
        ("Interface", False), ("Application", False), ("A", False), ("B", False), ("A→B", True), ("B→A", True),
        ("Rate", True), ("RTT", True), ("Tracking ID", False),
    ):  # fmt: skip
        table.add_column(title, justify="right" if right else "left", no_wrap=True)
    for flow in found:
        metric, rate = flow["Metric"], rates.get(flow["UUID"])
        indent = "↳ " if flow["ParentUUID"] else ""
        table.add_row(
            f"{flow['Namespace']}/{flow['Interface']}" if flow["Namespace"] else flow["Interface"],
            indent + flow["Application"],
            _end(flow, "A"),
            _end(flow, "B"),
            f"{metric['ABPackets']} / {_size(metric['ABBytes'])}",
            f"{metric['BAPackets']} / {_size(metric['BABytes'])}",
            f"{_size(rate)}/s" if rate is not None else "",
            f"{metric['RTT'] / 1e6:.3f} ms" if "RTT" in metric else "",
            flow["TrackingID"][:16],
        )
    return table


def _end(flow: Flow, side: str) -> str:
    if "Network" not in flow:
        return str(flow.get("Link", {}).get(side, ""))
    address = flow["Network"][side]
    port = flow.get("Transport", {}).get(side)
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _read_file(path: str, query: Query, settings: Settings, *, progress: bool) -> Iterator[Flow]:
    """Flows of a capture file, as they end."""
    from exporters.bpf.select import choose_loader  # noqa: PLC0415
    from exporters.flows.applications import Applications  # noqa: PLC0415
    from exporters.flows.capture_file import CaptureFile  # noqa: PLC0415
    from exporters.flows.points import Point, Points  # noqa: PLC0415
    from exporters.flows.records import Renderer  # noqa: PLC0415
    from exporters.flows.replay import Replay  # noqa: PLC0415
    from exporters.flows.totals import Totals  # noqa: PLC0415
    from skytrail.cli.agent import timeouts  # noqa: PLC0415

    flow, name = settings.flow, "stdin" if path == "-" else path.rsplit("/", 1)[-1]
    with CaptureFile(path) as capture:
        program = choose_loader(flow.bpf_loader, max_flows=flow.max_flows, replay=True)
        try:
            program.set_tunnel_ports(
                {"vxlan": frozenset(flow.tunnel_ports.vxlan), "geneve": frozenset(flow.tunnel_ports.geneve)}
            )
            points = Points(1, Point(name, "", f"file:{name}"))
            applications = Applications({"tcp": flow.application_ports.tcp, "udp": flow.application_ports.udp})
            replay = Replay(program, Totals(points, applications, 0), points, timeouts(settings))
            renderer = Renderer(points, applications)
            for batch in _batches(capture, replay, progress=progress):
                for item in renderer.render(batch.rows, ended=batch.ended, quoted=replay.quoted(batch.rows)):
                    if query.filter is None or query.filter.matches(item):
                        yield item
        finally:
            program.close()


def _batches(capture: CaptureFile, replay: Replay, *, progress: bool) -> Iterator[Batch]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from exporters.flows.table import Batch  # noqa: PLC0415

    error: CaptureFileError | None = None
    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("reading", total=capture.bytes_total)
        try:
            for packets in capture:
                for batch in replay.packets(packets):
                    yield Batch(batch.rows[batch.ended], batch.ended[batch.ended], batch.now)
                bar.update(task, completed=capture.bytes_read)
        except CaptureFileError as damaged:
            error = damaged  # what came before is shown all the same
    yield replay.finish()
    if error:
        raise error
