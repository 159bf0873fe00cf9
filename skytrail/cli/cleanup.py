"""``skytrail cleanup``: removes what a killed agent may have left in the kernel."""

from __future__ import annotations

import click

from skytrail.cli.options import Session, common
from skytrail.errors import NotSupportedError


@click.command()
@common
@click.pass_obj
def cleanup(session: Session) -> None:
    """Remove the clsact filters of killed agents from every network namespace (TCX links and sockets go by themselves)."""
    session.start_logs()
    from exporters.bpf.guard import remove_of_the_dead  # noqa: PLC0415 - --help needs no netlink

    try:
        removed, left = remove_of_the_dead()
    except PermissionError as error:
        raise NotSupportedError("network namespaces cannot be entered", "run as root") from error
    living = f"; {left} of a running agent left" if left else ""
    click.echo(f"{removed} filter{'' if removed == 1 else 's'} removed{living}")
