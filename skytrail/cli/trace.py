"""``skytrail trace``: where a conversation went, and where its packets vanished."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import click

from skytrail.cli.flows import size_text
from skytrail.cli.moments import at_option, local_text
from skytrail.cli.options import Session, common, settings_options
from skytrail.cli.outcomes import BROKEN, UNKNOWN
from topology.graphviz import printable

Json = dict[str, Any]

_ID = re.compile(r"[0-9a-fA-F]{32}|1:[A-Za-z0-9+/]{27}=")
_BEGINNING = re.compile(r"[0-9a-fA-F]{16,31}")
"""Of a tracking ID, as the table of flows shows it."""
_COLOURS = {"well": "green", "lost": "red", "refused": "red", "unanswered": "red", "unknown": "yellow"}
_MARKS = {"well": "✓", "lost": "✗", "refused": "✗", "unanswered": "✗", "unknown": "?"}
_STATUSES = {"well": 0, "lost": BROKEN, "refused": BROKEN, "unanswered": BROKEN, "unknown": UNKNOWN}
_HOOKS = {"ingress": "in", "egress": "out", "both": "in+out"}
_SHOWN = 5  # other conversations


@click.command()
@click.argument("conversation", metavar="TRACKING-ID|FILTER", nargs=-1, required=True)
@at_option()
@click.option("--last", "duration", metavar="DURATION", help="How far back to look.  [default: 5m]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@settings_options("hub.listen")
@common
@click.pass_obj
def trace(session: Session, *, conversation: tuple[str, ...], at: str | None, duration: str | None, as_json: bool) -> None:
    """Follow a conversation: every capture point that saw it, in order, and the hop where packets vanish.

    Name it by the tracking ID that `skytrail flows` shows, or by a filter, as `host 10.0.0.7 and tcp port 443`: of several that
    it finds, the latest is shown.

    Exit status: 0 no loss is seen, 3 packets are lost, refused or not answered, 4 no agent has seen such a conversation;
    1 there is no answer, 2 the question is none.
    """
    from skytrail.http.client import Client  # noqa: PLC0415 - --help needs none of it

    session.start_logs()
    text = " ".join(conversation)
    client = Client(session.settings, session.settings.hub.listen, timeout=60)
    arguments = {key: value for key, value in (("at", at), ("duration", duration)) if value}
    if _ID.fullmatch(text):
        found = client.get(f"/api/v1/trace/{text}", arguments)
    else:
        begins = f"TrackingID~{text.lower()}*" if _BEGINNING.fullmatch(text) else text
        found = client.get("/api/v1/trace", {"filter": begins, **arguments})
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for line in lines(found):
            click.echo(line)
    click.get_current_context().exit(_STATUSES[found["Verdict"]["Kind"]])


def lines(trace: Json) -> Iterator[str]:
    """A trace as text for a terminal; colours are taken out where none is."""
    if trace["Source"]:
        yield from _heading(trace)
    verdict = trace["Verdict"]
    yield click.style(f"{_MARKS[verdict['Kind']]} {printable(verdict['Text'])}", fg=_COLOURS[verdict["Kind"]], bold=True)
    forth, back = trace["Forth"], trace["Back"]
    if forth["Points"] or forth["Losses"]:
        yield from _way("→", "forth", forth)
    if back["Points"] and _reversed(forth) == _places(back) and not back["Losses"]:
        counts = ", ".join(_counts(back))
        yield ""
        yield f"← back by the same points: {counts}"
    elif back["Points"] or back["Losses"]:
        yield from _way("←", "back", back)
    for said in trace["ICMP"]:
        yield click.style(f"ICMP: {printable(said)}", fg="yellow")
    yield from _remarks(trace)


def _heading(trace: Json) -> Iterator[str]:
    names = [_process(trace[end]) for end in ("Client", "Server")]
    whose = f"   {names[0] or '?'} → {names[1] or '?'}" if any(names) else ""
    yield click.style(f"{trace['Protocol']} {trace['Source']} → {trace['Destination']}", bold=True) + whose
    lasted = (trace["Last"] - trace["Start"]) / 1000
    rtt = f"   round trip {_time(trace['RTT'])}" if trace["RTT"] else ""
    yield f"{local_text(trace['Start'])}.{trace['Start'] % 1000:03} for {lasted:.3f} s{rtt}"
    others = "".join(f", translated {one}" for one in trace["Others"])
    yield click.style(f"tracking ID {trace['TrackingID']}{others}", dim=True)


def _process(end: Json) -> str:
    owner = end["Pod"] or end["Container"]
    name = printable(end["Name"] or owner)
    return f"{name}[{end['Pid']}]" if end["Pid"] else name


def _places(way: Json) -> list[tuple[str, str]]:
    return [(point["TID"], point["Tunnel"]["TrackingID"] if point["Tunnel"] else "") for point in way["Points"]]


def _reversed(way: Json) -> list[tuple[str, str]]:
    return _places(way)[::-1]


def _counts(way: Json) -> list[str]:
    """How many packets: one number where it is the same everywhere."""
    counts = list(dict.fromkeys(point["Packets"] for point in way["Points"]))
    return [f"{count} packets" for count in counts] if len(counts) < 4 else [f"{min(counts)} to {max(counts)} packets"]


def _way(arrow: str, name: str, way: Json) -> Iterator[str]:
    yield ""
    yield click.style(f"{arrow} {name}", bold=True)
    lost: dict[int | None, list[Json]] = {}
    for loss in way["Losses"]:
        lost.setdefault(loss["After"], []).append(loss)
    for loss in lost.get(None, ()):
        yield _lost(loss)
    before: Json | None = None
    for number, point in enumerate(way["Points"]):
        yield from _between(before, point)
        yield _point(before, point)
        for loss in lost.get(number, ()):
            yield _lost(loss)
        before = point


def _between(before: Json | None, point: Json) -> Iterator[str]:
    if before is None or before["Host"] != point["Host"]:
        there = ""
        if before and point["RoundTrip"]:
            text = f"   {_time(point['RoundTrip'])} of the round trip between {printable(before['Host'])} and here"
            there = click.style(text, dim=True)
        yield f"  {click.style(printable(point['Host']), fg='cyan', bold=True)}{there}"
    was, now = (one["Tunnel"] if one else None for one in (before, point))
    if now is not None and (was is None or was["TrackingID"] != now["TrackingID"]):
        text = f"{now['Kind']} {now['Number']}  {now['Source']} → {now['Destination']}"
        yield click.style(f"    ┌ {text}", fg="magenta")
    elif was is not None and now is None:
        yield click.style(f"    └ out of {was['Kind']} {was['Number']}", fg="magenta")
    if before is not None and before["TrackingID"] != point["TrackingID"]:
        yield click.style(f"    ⇄ translated to {point['Source']} → {point['Destination']}", fg="magenta")


def _point(before: Json | None, point: Json) -> str:
    inside = "│ " if point["Tunnel"] else "  "
    namespace = printable(point["Namespace"])
    place = f"{namespace + '/' if namespace else ''}{printable(point['Interface'])}"
    since = f"+{_time(point['Since'])}" if point["Since"] is not None else ""
    fewer = before is not None and point["Packets"] < before["Packets"]
    count = click.style(f"{point['Packets']:>9,} packets", fg="red" if fewer else None)
    hook, type_ = _HOOKS.get(point["Hook"], ""), printable(point["Type"])
    text = f"    {inside}{place:<24} {hook:<6} {type_:<8} {count} {size_text(point['Bytes']):>9}  ttl {_ttl(point):<8} {since}"
    return text.rstrip()


def _ttl(point: Json) -> str:
    return f"{point['TTL']} in {point['Tunnel']['TTL']}" if point["Tunnel"] else str(point["TTL"])


def _lost(loss: Json) -> str:
    return click.style(f"    ✗ {printable(loss['Text'])}", fg="red", bold=True)


def _remarks(trace: Json) -> Iterator[str]:
    for host, reason in trace["Missing"].items():
        yield click.style(f"no answer from {printable(host)}: {printable(reason)}", fg="yellow")
    if trace["Since"]:
        begun = local_text(max(trace["Since"].values()))
        names = ", ".join(map(printable, sorted(trace["Since"])))
        yield click.style(f"only what was since {begun} is remembered by {names}", fg="yellow")
    for host, gaps in trace["Gaps"].items():
        times = ", ".join(" to ".join(local_text(end) for end in gap) for gap in gaps)
        yield click.style(f"no agent ran on {printable(host)} from {times}", fg="yellow")
    others = trace["Conversations"]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        yield click.style(f"{len(others)} other conversations fit: {', '.join(others[:_SHOWN])}{more}", dim=True)


def _time(nanoseconds: int) -> str:
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= factor:
            return f"{nanoseconds / factor:.3g} {unit}"
    return f"{nanoseconds} ns"
