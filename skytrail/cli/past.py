"""``--at`` and ``--duration``: the agent is asked about the past, and what it does not know of that is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from skytrail.cli.moments import at_option, local_text

if TYPE_CHECKING:
    from skytrail.settings.tree import Settings

_PATIENCE = 120.0  # seconds: an hour of a busy host is looked through in ten, and told in as many more

F = TypeVar("F", bound=Callable[..., Any])


def past_options(command: F) -> F:
    """Add the options ``--at`` and ``--duration``."""
    command = click.option(
        "--duration", metavar="TIME", help="Also what was within this time before that moment, or before now: 5m."
    )(command)
    return at_option("As it was, as far as the agent remembers")(command)


def ask_past(
    settings: Settings, path: str, at: str | None, duration: str | None, arguments: Mapping[str, str]
) -> list[dict[str, Any]]:
    """What the agent remembers; on standard error, what of it cannot be known. Raises as ``Client.get_with_headers``."""
    from skytrail.http.client import Client  # noqa: PLC0415 - --help needs none of it
    from skytrail.moments import parse_moment  # noqa: PLC0415
    from skytrail.settings.values import parse_duration  # noqa: PLC0415

    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    end = parse_moment(at or "now", now) // 1_000
    try:
        begin = end - int(parse_duration(duration or "0") * 1_000)
    except ValueError as error:
        raise click.UsageError(f"--duration: {error}") from error
    when = {"at": str(end), "duration": f"{end - begin}ms"}
    found, headers = Client(settings, timeout=_PATIENCE).get_with_headers(path, {**arguments, **when})
    since = int(headers.get("Skytrail-Since", 0))
    if since > begin:
        click.echo(f"skytrail: the agent remembers from {local_text(since)} on", err=True)
    for gap in filter(None, headers.get("Skytrail-Gaps", "").split(",")):
        first, last = (int(part) for part in gap.split("-"))
        click.echo(f"skytrail: no agent ran from {local_text(first)} to {local_text(last)}", err=True)
    result: list[dict[str, Any]] = found
    return result
