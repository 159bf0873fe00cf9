"""``skytrail flows``: the flows of the running agent as a live table or JSON lines, or those of a capture file."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import click

from skytrail.cli.options import Session, common, settings_options
from skytrail.cli.past import ask_past, past_options
from skytrail.errors import CaptureFileError

if TYPE_CHECKING:
    from rich.table import Table

    from exporters.flows.capture_file import CaptureFile
    from exporters.flows.points import Points
    from exporters.flows.query import Query
    from exporters.flows.replay import Replay
    from exporters.flows.table import Batch
    from skytrail.settings.tree import Settings

Flow = dict[str, Any]

_REFRESH, _PAUSE = 1.0, 0.2
Ask = Callable[[int, float], tuple[list[Flow], int]]
"""Gives flows once other than so many have begun, or after so many seconds; and how many have begun."""

TABLE_ROWS = 30
_COLUMNS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("Interface", "left"),
    ("Application", "left"),
    ("A", "left"),
    ("Owner of A", "left"),
    ("B", "left"),
    ("Owner of B", "left"),
    ("A→B", "right"),
    ("B→A", "right"),
    ("Rate", "right"),
    ("RTT", "right"),
    ("Tracking ID", "left"),
)
_DISPENSABLE = ("Tracking ID", "RTT", "Rate", "Interface", "Application", "Owner of A", "Owner of B", "B→A")
_OWNERS = {"Owner of A": "A", "Owner of B": "B"}
"""Columns that are there where a flow has one."""
_GAP, _FRAME_LINES = 3, 7  # blanks between columns; lines of the table's frame, headings and caption


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON lines, one flow each, and no refreshing.")
@click.option(
    "--filter", "text", metavar="EXPRESSION", help="As in pcap-filter (host, net, port, tcp …) or FIELD=VALUE; and, or, not."
)
@click.option(
    "--sort",
    metavar="KEY",
    shell_complete=lambda *_: ["bytes", "packets", "last", "start", "rtt"],
    help="bytes, packets, last, start or rtt; largest first.  [default: bytes; of a file as JSON: as they end]",
)
@click.option(
    "--limit", metavar="N", default=None, help=f"At most N flows (0: all). Default: all as JSON, {TABLE_ROWS} in the table."
)
@click.option("--once", is_flag=True, help="Print the table once.")
@click.option(
    "--pcap",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="Read a capture file (pcap or pcapng, also gzip'ed; -: standard input).",
)
@past_options
@settings_options("agent.listen")
@common
@click.pass_obj
def flows(
    session: Session,
    *,
    as_json: bool,
    text: str | None,
    sort: str | None,
    limit: str | None,
    once: bool,
    pcap: str | None,
    at: str | None,
    duration: str | None,
) -> None:
    """Show the flows of the running agent, now or of the past, or of a capture file."""
    from exporters.flows.query import largest, read_query  # noqa: PLC0415 - --help needs none of it

    session.start_logs()
    if pcap is not None and (at or duration):
        raise click.UsageError("--pcap goes without --at and --duration: a file has its own time")
    live = not (as_json or once or at or duration or pcap is not None) and sys.stdout.isatty()
    query = read_query(text, sort, limit or ("0" if as_json else str(TABLE_ROWS)))
    if pcap is not None:
        damaged: list[CaptureFileError] = []
        found = _read_file(pcap, query, session.settings, damaged, progress=sys.stderr.isatty())
        ordered = found if as_json and sort is None and not query.limit else largest(found, query)
        _print(ordered, as_json=as_json)
        if damaged:  # what came before is shown all the same
            raise damaged[0]
        return
    if at or duration:
        words = {"sort": query.sort, "limit": str(query.limit), **({"filter": text} if text else {})}
        _print(ask_past(session.settings, "/api/v1/flows", at, duration, words), as_json=as_json)
        return
    ask = _agent(session.settings, text, query.sort, str(query.limit))
    if live:
        show_live(ask, threading.Event())
        return
    _print(ask(0, 0)[0], as_json=as_json)


def _print(found: Iterable[Flow], *, as_json: bool) -> None:
    import msgspec  # noqa: PLC0415

    if as_json:
        for flow in found:
            sys.stdout.write(msgspec.json.encode(flow).decode() + "\n")
        sys.stdout.flush()
        return
    from rich.console import Console  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(_table(list(found), {}, console.width))


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

    from skytrail.logs import held  # noqa: PLC0415

    before: dict[str, tuple[float, int]] = {}
    begun, began = 0, 0.0
    with held() as last_log, Live(auto_refresh=False, screen=True) as live:
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
            shown = found[: max(live.console.height - _FRAME_LINES, 1)]
            said = "\n".join(filter(None, [caption if found else f"no flow yet   {caption}", last_log()]))
            live.update(_table(shown, rates, live.console.width, said), refresh=True)
            done.wait(_PAUSE)


def _table(found: list[Flow], rates: dict[str, float], width: int, caption: str | None = None) -> Table:
    """Rows of text; columns that find no room in a narrow terminal are left out, the last named first."""
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from topology.graphviz import printable  # noqa: PLC0415

    rows = [{title: printable(cell) for title, cell in _cells(flow, rates).items()} for flow in found]
    needed = {title: max([len(title), *(len(row[title]) for row in rows)]) + _GAP for title, _ in _COLUMNS}
    for title in _OWNERS:
        if not any(row[title] for row in rows):
            del needed[title]
    for title in _DISPENSABLE:
        if sum(needed.values()) > width:
            needed.pop(title, None)
    said = Text.from_ansi(caption or "", no_wrap=True, overflow="ellipsis")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption=said if caption else None, caption_justify="left")
    for title, justify in _COLUMNS:
        if title in needed:
            table.add_column(title, justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[title]) for title in needed))  # as it is: "[fe80::1]" is no mark-up of rich's
    return table


def _cells(flow: Flow, rates: dict[str, float]) -> dict[str, str]:
    metric, rate = flow["Metric"], rates.get(flow["UUID"])
    indent = "↳ " if flow["ParentUUID"] else ""
    return {
        "Interface": f"{flow['Namespace']}/{flow['Interface']}" if flow["Namespace"] else flow["Interface"],
        "Application": indent + flow["Application"],
        "A": _end(flow, "A"),
        "B": _end(flow, "B"),
        **{title: _owner(flow.get("Owner", {}).get(side)) for title, side in _OWNERS.items()},
        "A→B": f"{metric['ABPackets']} / {size_text(metric['ABBytes'])}",
        "B→A": f"{metric['BAPackets']} / {size_text(metric['BABytes'])}",
        "Rate": f"{size_text(rate)}/s" if rate is not None else "",
        "RTT": f"{metric['RTT'] / 1e6:.3f} ms" if "RTT" in metric else "",
        "Tracking ID": flow["TrackingID"][:16],
    }


def _end(flow: Flow, side: str) -> str:
    if "Network" not in flow:
        return str(flow.get("Link", {}).get(side, ""))
    address = flow["Network"][side]
    port = flow.get("Transport", {}).get(side)
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _owner(owner: dict[str, str] | None) -> str:
    """Kind and name, with Kubernetes' namespace as its tools write it."""
    if owner is None:
        return ""
    return f"{owner['Kind']} {'/'.join(owner[key] for key in ('Namespace', 'Name') if key in owner)}"


def size_text(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _read_file(
    path: str, query: Query, settings: Settings, damaged: list[CaptureFileError], *, progress: bool
) -> Iterator[Flow]:
    """Flows of a capture file, as they end; where it cannot be read to its end, why is added to ``damaged``."""
    from exporters.bpf.select import choose_loader  # noqa: PLC0415
    from exporters.flows.applications import Applications  # noqa: PLC0415
    from exporters.flows.capture_file import CaptureFile  # noqa: PLC0415
    from exporters.flows.points import Points  # noqa: PLC0415
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
            points = Points(program.max_points)
            applications = Applications({"tcp": flow.application_ports.tcp, "udp": flow.application_ports.udp})
            replay = Replay(program, Totals(points, applications, 0), points, timeouts(settings))
            renderer = Renderer(points, applications)
            for batch in _batches(capture, replay, points, name, damaged, progress=progress):
                for item in renderer.render(batch.rows, ended=batch.ended, quoted=replay.quoted(batch.rows)):
                    if query.filter is None or query.filter.matches(item):
                        yield item
            if lost := replay.lost():
                reasons = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in lost.items())
                click.echo(f"skytrail: packets on no flow: {reasons}; raise flow.max_flows", err=True)
            for number in sorted(replay.unknown_links):
                said = f"skytrail: packets of link type {number} are not understood: they are one flow without addresses"
                click.echo(said, err=True)
        finally:
            program.close()


def _batches(
    capture: CaptureFile, replay: Replay, points: Points, name: str, damaged: list[CaptureFileError], *, progress: bool
) -> Iterator[Batch]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    from exporters.flows.points import Point  # noqa: PLC0415
    from exporters.flows.table import Batch  # noqa: PLC0415

    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("reading", total=capture.bytes_total)
        try:
            for packets in capture:
                for number, interface in enumerate(capture.interfaces):
                    points.put(number, Point(interface or name, "", f"file:{name}/{number}" if number else f"file:{name}"))
                for batch in replay.packets(packets):
                    yield Batch(batch.rows[batch.ended], batch.ended[batch.ended], batch.now)
                bar.update(task, completed=capture.bytes_read)
        except CaptureFileError as error:
            damaged.append(error)
    yield replay.finish()
