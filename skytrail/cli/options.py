"""Options that commands share. Each sets a key of the settings; the command asks the session for the result.

A command is ``@click.command() @settings_options("flow.interfaces", …) @common @click.pass_obj def agent(session)``,
and ``session.settings`` is what file, environment and flags make together, loaded once, on first use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from skytrail.settings.tree import Settings

F = TypeVar("F", bound=Callable[..., Any])

# Option and metavar by key; none for a flag and where the tree names the choices. Other keys are reached by --set.
_NAMES: Mapping[str, tuple[str, str]] = {
    "flow.interfaces": ("--interfaces", "PATTERN"),
    "flow.netns": ("--netns", ""),
    "flow.bpf_loader": ("--bpf-loader", ""),
    "flow.attach": ("--attach", ""),
    "agent.listen": ("--listen", "ADDRESS:PORT"),
    "agent.collectors": ("--collectors", "NAME"),
    "agent.hubs": ("--hub", "ADDRESS:PORT"),
    "hub.listen": ("--hub", "ADDRESS:PORT"),
    "hub.wire": ("--wire", "ADDRESS:PORT"),
    "otlp.endpoint": ("--otlp-endpoint", "URL"),
    "http.insecure": ("--insecure", ""),
}


class Session:
    """What one run of the command line was told: the file, flags by dotted key, and how talkative to be."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.config: Path | None = None
        self.flags: dict[str, object] = {}
        self.verbose = False

    @cached_property
    def settings(self) -> Settings:
        """The effective settings. Raises SettingsError."""
        from skytrail.settings.load import load  # noqa: PLC0415 - --help and --version need no settings

        flags = {"log.level": "debug", **self.flags} if self.verbose else self.flags
        return load(self.config, self.environ, flags)

    def start_logs(self) -> None:
        """Send logs to standard error as the settings say; a command that logs calls this first."""
        from skytrail import logs  # noqa: PLC0415 - structlog is not needed by commands that only print

        logs.configure(self.settings.log.level, self.settings.log.format)


def common(command: F) -> F:
    """Add ``--config``, ``--set`` and ``-v``; they mean the same before and after the command's name."""
    for option in (
        click.option(
            "-v", "--verbose", is_flag=True, expose_value=False, callback=_verbose, help="Show details and tracebacks."
        ),
        click.option(
            "--set",
            metavar="KEY=VALUE",
            multiple=True,
            expose_value=False,
            callback=_set,
            shell_complete=_complete_key,
            help="Set any key of the settings; may be repeated.",
        ),
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            expose_value=False,
            callback=_config,
            help="Read settings from this file.  [default: $SKYTRAIL_CONFIG, /etc/skytrail/skytrail.yaml]",
        ),
    ):
        command = option(command)
    return command


def settings_options(*keys: str) -> Callable[[F], F]:
    """Add the option of each of ``keys``; its help and default come from the tree of settings."""
    from skytrail.settings.leaves import LEAVES  # noqa: PLC0415 - the root command's --help needs no tree

    def decorate(command: F) -> F:
        for key in reversed(keys):
            leaf = LEAVES[key]
            name, metavar = _NAMES[key]
            choices = [str(value) for value in getattr(leaf.type, "values", ())]
            flag = not (metavar or choices)
            about = f"{leaf.description[:1].upper()}{leaf.description[1:]}."
            shown = leaf.show(leaf.default)
            if isinstance(shown, list):
                about = f"{about} May be repeated."
                shown = ",".join(map(str, shown))
            # Said at all, even as False, is_flag lets an option go without its value (click 8.2).
            kind: dict[str, Any] = (
                {"is_flag": True} if flag else {"type": click.Choice(choices) if choices else str, "metavar": metavar or None}
            )
            command = click.option(
                name,
                key.replace(".", "_"),
                **kind,
                multiple=leaf.composite,
                expose_value=False,
                callback=_setter(key),
                help=about + (f"  [default: {shown}]" if shown not in (None, "") and not flag else ""),
            )(command)
        return command

    return decorate


def _session(context: click.Context) -> Session:
    session = context.find_object(Session)
    assert session is not None, "main() gives the session"
    return session


def _setter(key: str) -> Callable[[click.Context, click.Parameter, object], None]:
    def remember(context: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value not in (None, False, ()):
            _session(context).flags[key] = value

    return remember


def _verbose(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        _session(context).verbose = True


def _config(context: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
    if value is not None:
        _session(context).config = value


def _set(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> None:
    for assignment in values:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise click.BadParameter("expected KEY=VALUE, as flow.drain=2s", context, parameter)
        _session(context).flags[key.strip()] = value


def _complete_key(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from skytrail.settings.leaves import LEAVES  # noqa: PLC0415 - only for a shell that completes

    return [f"{key}=" for key in LEAVES if key.startswith(incomplete)]
