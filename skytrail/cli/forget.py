"""``skytrail forget``: a host that is gone for good leaves the graph."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from skytrail.cli.options import Session, common, settings_options
from skytrail.errors import RunError


@click.command()
@click.argument("host")
@settings_options("hub.listen")
@common
@click.pass_obj
def forget(session: Session, *, host: str) -> None:
    """End the graph of HOST (a name, or a TID), whose agent is gone for good; what it was stays in the history.

    The hub then misses it in no answer any more. An agent that comes back tells all anew.
    """
    from skytrail.http.client import Client, refusal  # noqa: PLC0415 - --help needs none of it

    client = Client(session.settings, session.settings.hub.listen)
    status, _, body = client.exchange("DELETE", f"/api/v1/hosts/{quote(host, safe='/')}")
    if status != 200:
        raise RunError(refusal(status, body))
    told = json.loads(body)
    click.echo(f"{told['host']} is forgotten: {told['changes']} elements ended")
