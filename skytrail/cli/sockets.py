"""``skytrail sockets``: every socket of this host, of all network namespaces at once, with whose it is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click

from skytrail.cli.options import Session, common, settings_options
from skytrail.cli.past import ask_past, past_options

_WHERE = ("Namespace", "Protocol", "State")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON lines in Skydive's shape, one for each process that has one.")
@past_options
@settings_options("agent.listen")
@common
@click.pass_obj
def sockets(session: Session, *, as_json: bool, at: str | None, duration: str | None) -> None:
    """Show all sockets of this host and whose they are, as 'ss -tupan' does for one network namespace; of the past too."""
    from skytrail.http.client import Client  # noqa: PLC0415 - --help needs none of it

    session.start_logs()
    path = "/api/v1/sockets"
    found: list[dict[str, Any]] = (
        ask_past(session.settings, path, at, duration, {}) if at or duration else Client(session.settings).get(path, {})
    )
    found.sort(key=lambda one: [one[key] for key in (*_WHERE, "LocalPort", "RemotePort", "Pid", "FD")])
    if as_json:
        import msgspec  # noqa: PLC0415

        sys.stdout.writelines(msgspec.json.encode(one).decode() + "\n" for one in found)
    else:
        _print(found)


def _print(found: Iterable[dict[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415

    from exporters.sockets.shown import end_text, ss_state  # noqa: PLC0415
    from topology.graphviz import printable  # noqa: PLC0415

    rows = [("Namespace", "Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", "Process")]
    for one in found:
        whose = f"{printable(one['Name'])} (pid={one['Pid']},fd={one['FD']})" if one["Pid"] else ""
        rows.append(
            (
                printable(one["Namespace"] or "-"),
                one["Protocol"].lower(),
                ss_state(one),
                str(one["ReceiveQueue"]),
                str(one["SendQueue"]),
                end_text(one["LocalAddress"], one["LocalPort"]),
                end_text(one["RemoteAddress"], one["RemotePort"]),
                whose,
            )
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for number, row in enumerate(rows):
        line = "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        console.print(line, style="bold" if number == 0 else None)
