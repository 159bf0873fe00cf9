"""``skytrail path``: the way of packets by the graph of a running hub, now or at a moment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from skytrail.cli.moments import at_option
from skytrail.cli.options import Session, common, settings_options
from skytrail.cli.outcomes import BROKEN, UNKNOWN
from topology.graphviz import printable

Json = dict[str, Any]

_ARROWS = {"out": "→", "in": "←", "through": "─"}
_ENDS = {"arrives": ("✔", "green"), "stops": ("✘", "red"), "unknown": ("?", "yellow")}
_STATUSES = {"arrives": 0, "stops": BROKEN, "unknown": UNKNOWN}
_INSIDE = "┊ "  # before the hops of a tunnel's own packets
_GOOD_STATES = frozenset({"UP", "UNKNOWN", ""})


@click.command()
@click.argument("src")
@click.argument("dst")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="PORT", help="Destination port, for rules that ask.")
@click.option("--proto", default="tcp", show_default=True, metavar="NAME", help="IP protocol: tcp, udp, icmp, sctp …")
@at_option()
@click.option("--both", is_flag=True, help="Show the way back, too, though it is the same.")
@click.option("--json", "as_json", is_flag=True, help="Print the path as JSON.")
@settings_options("hub.listen")
@common
@click.pass_obj
def path(session: Session, *, src: str, dst: str, port: int, proto: str, at: str | None, both: bool, as_json: bool) -> None:
    """Show the way of packets from SRC to DST: interfaces, bridges, tunnels, hosts, and what decided at each.

    SRC and DST are addresses or names of hosts, namespaces and interfaces, with @HOST behind them where several have it, or
    TIDs. Exit status: 0 packets arrive, 3 they do not, 4 it is not known; 1 there is no answer, 2 the question is none.
    """
    from skytrail.http.client import Client  # noqa: PLC0415 - --help needs none of it

    session.start_logs()
    asked = {"src": src, "dst": dst, "proto": proto, **({"port": str(port)} if port else {}), **({"at": at} if at else {})}
    found = Client(session.settings, session.settings.hub.listen).get("/api/v1/path", asked)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for line in path_lines(found, both=both):
            click.echo(line)
    click.get_current_context().exit(_STATUSES[found["End"]["Kind"]])


def path_lines(found: Json, *, both: bool) -> Iterator[str]:
    """A path for people, as ``/api/v1/path`` has it, with colours."""
    yield f"{_place(found['Source'])} → {_place(found['Destination'])}"
    yield from _way(found)
    back = found.get("Back")
    if back is None:
        return
    if found["SameBack"] and not both:
        yield click.style("  and back the same way", dim=True)
        return
    yield ""
    yield f"back: {_place(back['Source'])} → {_place(back['Destination'])}"
    yield from _way(back)


def _way(found: Json) -> Iterator[str]:
    host = namespace = None
    widths = _widths(found["Hops"])
    for hop in found["Hops"]:
        if hop["Host"] != host:
            yield click.style(printable(hop["Host"]), bold=True)
            namespace = None
        if hop["Namespace"] != namespace and hop["Namespace"]:
            yield f"  {click.style(printable(hop['Namespace']), bold=True)}"
        host, namespace = hop["Host"], hop["Namespace"]
        yield _hop_line(hop, widths)
    end = found["End"]
    mark, colour = _ENDS[end["Kind"]]
    where = _where(end["Interface"], end["Namespace"], end["Host"])
    yield click.style(f"{mark} {end['Kind']}: {printable(end['Reason'])}" + (f"  ({where})" if where else ""), fg=colour)
    narrowest = found.get("Narrowest")
    if narrowest and end["Kind"] == "arrives":
        place = _where(narrowest["Interface"], narrowest["Namespace"], narrowest["Host"])
        yield click.style(f"  packets of up to {narrowest['MTU']} bytes pass: {place}", dim=True)
    for warning in found["Warnings"]:
        yield click.style(f"! {printable(warning)}", fg="yellow")


def _widths(hops: list[Json]) -> tuple[int, int]:
    """Of the columns: interface, kind."""
    names = (len(_INSIDE) * hop["Depth"] + len(printable(hop["Interface"])) for hop in hops)
    return max(names, default=0), max((len(printable(hop["Kind"])) for hop in hops), default=0)


def _hop_line(hop: Json, widths: tuple[int, int]) -> str:
    indent = _INSIDE * hop["Depth"]
    name = printable(hop["Interface"]).ljust(widths[0] - len(indent))
    kind = printable(hop["Kind"]).ljust(widths[1])
    said = [printable(hop["Decision"])]
    if hop["Vlans"]:
        said.append(f"[VLAN {'.'.join(map(str, hop['Vlans']))}]")
    if hop["Asked"]:
        said.append("(only asked there: ARP)")
    state = "" if hop["State"] in _GOOD_STATES else click.style(f"{printable(hop['State'])}  ", fg="red")
    mtu = f"{hop['MTU'] or '':>5}"
    arrow = click.style(_ARROWS[hop["Direction"]], fg="blue")
    told = " ".join(word for word in said if word)
    return f"    {indent}{arrow} {name}  {click.style(kind, fg='cyan')}  {click.style(mtu, dim=True)}  {state}{told}".rstrip()


def _place(place: Json) -> str:
    address, where = printable(place["Address"]), _where("", place["Namespace"], place["Host"])  # no route: no address either
    return f"{address} ({where})" if address and where else address or where


def _where(interface: str, namespace: str, host: str) -> str:
    words = [printable(interface)] if interface else []
    if namespace:
        words.append(f"in {printable(namespace)}" if words else printable(namespace))
    if host:
        words.append(f"on {printable(host)}" if words else printable(host))
    return " ".join(words)
