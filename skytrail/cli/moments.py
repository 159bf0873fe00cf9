"""Moments on the command line: those that are given without a zone are of this machine's, as those that are printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from skytrail.errors import UsageError
from skytrail.moments import with_zone

F = TypeVar("F", bound=Callable[..., Any])

FORMS = "14:32, -5m, 2026-11-25T14:32 (local time; or with a zone: 14:32Z, …+01:00), seconds or ms since the epoch."


def _named(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """With the zone, where none is: a hub may be in another one."""
    try:
        return None if value is None else with_zone(value, time.time_ns() // 1_000)
    except UsageError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def moment_option(*names: str, **more: Any) -> Callable[[F], F]:  # noqa: ANN401 - click's own arguments
    """Add an option that takes a moment."""
    return click.option(*names, metavar="MOMENT", callback=_named, **more)


def at_option(about: str = "As it was then") -> Callable[[F], F]:
    """Add the option ``--at``."""
    return moment_option("--at", help=f"{about}: {FORMS}")


def local_text(milliseconds: int) -> str:
    """A moment (ms since the epoch) as people of this machine's zone read it."""
    return f"{datetime.fromtimestamp(milliseconds / 1000).astimezone():%Y-%m-%d %H:%M:%S}"
