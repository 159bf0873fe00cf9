"""docs/cli.md: every command with its arguments and options, as the parsers have them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from skytrail.cli.main import INTERRUPTED, READER_GONE, cli
from skytrail.cli.options import common
from skytrail.cli.outcomes import BROKEN, UNKNOWN
from skytrail.cli.pages.markdown import code, page, table

_INTRODUCTION = f"""\
`skytrail COMMAND --help` says the same. Where an option has the name of a setting, [settings.md](settings.md) tells more.

Exit status: 0 done; 1 failure; 2 usage; {BROKEN} packets do not get there and {UNKNOWN} it cannot be told (`trace`, `path`);
{INTERRUPTED} interrupted; {READER_GONE} whoever read the output went away. An error is one line on standard error;
`-v` shows more."""


def render() -> str:
    """The page."""
    root = click.Context(cli, info_name="skytrail")
    shared = table(("option", "what"), _options(_common(), root))
    parts = ["## Options of every command", shared, *_sections(cli, root)]
    return page("Commands", "the parsers", _INTRODUCTION, *parts)


def _common() -> click.Command:
    return common(click.Command("skytrail", add_help_option=False))


def _sections(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        own = click.Context(command, info_name=name, parent=context)
        yield f"{'#' * (_depth(own) + 1)} {own.command_path}"
        yield f"```text\n{' '.join([own.command_path, *command.collect_usage_pieces(own)])}\n```"
        yield from map(_paragraph, inspect.cleandoc(command.help or "").partition("\f")[0].strip().split("\n\n"))
        if options := list(_options(command, own)):
            yield table(("option", "what"), options)
        if isinstance(command, click.Group):
            yield from _sections(command, own)


def _paragraph(text: str) -> str:
    """What click does not wrap stays as it is written, here too."""
    return f"```text\n{text[2:]}\n```" if text.startswith("\b\n") else text


def _depth(context: click.Context) -> int:
    return 0 if context.parent is None else 1 + _depth(context.parent)


def _options(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Names and help of those that are not every command's."""
    everywhere = {option.name for option in _common().params} if context.parent else set()
    for parameter in command.params:
        told = parameter.get_help_record(context)
        if told is not None and told[1] and parameter.name not in everywhere:
            yield code(told[0]), told[1]
