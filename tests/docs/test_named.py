"""What running text names is there: commands with their options, settings and their variables, metrics, routes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

import click
import pytest
from support.docpages import ROOT, pages

from skytrail.cli.main import cli
from skytrail.cli.options import common
from skytrail.cli.pages.__main__ import PAGES
from skytrail.http.roles import OPEN, ROUTES
from skytrail.settings.leaves import LEAVES

_WRITTEN = [page for page in pages() if page.removeprefix("docs/") not in PAGES]
_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_OF_SKYDIVE = re.compile(r"^\|[^|\n]*\|", re.MULTILINE)
"""The first column of tables of what differs."""
_CODE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?:^|[ (])(?:sudo )?skytrail ([a-z].*)")
_SHARED = common(click.Command("skytrail")).params
_OPTION = re.compile(r"--[a-z][a-z-]+")
_SECTIONS = {key.partition(".")[0] for key in LEAVES if "." in key}
_SETTING = re.compile(rf"(?<![\w./-])(?:{'|'.join(sorted(_SECTIONS))})(?:\.[a-z_]+)+(?![\w(]|\.\w|/)")
_FILES = (".md", ".py", ".json", ".yaml", ".yml", ".sqlite", ".crt", ".key", ".service", ".pki", ".sh", ".crl")
_VARIABLE = re.compile(r"\bSKYTRAIL_[A-Z][A-Z_]+\b")
_OTHERS = {"SKYTRAIL_CONFIG", "SKYTRAIL_TOKEN", "SKYTRAIL_CA", "SKYTRAIL_HUB_URL"}
"""Variables that are none of a setting: the file's, and those that Grafana's provisioning reads."""
_METRIC = re.compile(r"\bskytrail_[a-z0-9_]+[a-z0-9]\b(?!…)")
_ROUTE = re.compile(r"(?<![\w.])/api/v1/[a-z]+")


def _told(page: str) -> Iterator[str]:
    """What stands as code in the text of a page, outside of blocks."""
    text = _BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    yield from _CODE.findall(_OF_SKYDIVE.sub("|", text) if page.endswith("from-skydive.md") else text)


def _unknown_in_command(text: str) -> str | None:
    try:
        words = shlex.split(text)
    except ValueError:  # a part of a line
        words = text.split()
    command: click.Command = cli
    while isinstance(command, click.Group) and words and re.fullmatch(r"[a-z]+", words[0]):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return words[0]
        command = found
        words = words[1:]
    if command.name == "exec":  # what follows is another command
        return None
    known = {name for parameter in (*command.params, *_SHARED) for name in (*parameter.opts, *parameter.secondary_opts)}
    named = (_OPTION.match(word) for word in words)
    return next((one[0] for one in named if one and one[0] not in known | {"--help"}), None)


def _commands(text: str) -> Iterator[str]:
    yield from filter(None, map(_unknown_in_command, _COMMAND.findall(text)))


def _settings(text: str) -> Iterator[str]:
    for key in _SETTING.findall(text):
        if not key.endswith(_FILES) and not any(
            f"{known}.".startswith(key if key.endswith("_") else f"{key}.") for known in LEAVES
        ):
            yield key


def _variables(text: str) -> Iterator[str]:
    known = {f"SKYTRAIL_{key.upper().replace('.', '_')}" for key in LEAVES}
    yield from (name for name in _VARIABLE.findall(text) if name.removesuffix("_FILE") not in known | _OTHERS)


def _metrics(text: str) -> Iterator[str]:
    known = set(re.findall(r"skytrail_[a-z0-9_]+", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")))
    beginnings = {name[: place.start()] for name in known for place in re.finditer("_", name)}
    yield from (name for name in _METRIC.findall(text) if name not in known | beginnings)


def _routes(text: str) -> Iterator[str]:
    known = {re.sub(r"/<.*", "", route) for route in (OPEN, *ROUTES)}
    yield from (route for route in _ROUTE.findall(text) if route not in known)


@pytest.mark.parametrize("page", _WRITTEN)
def test_what_is_named_is_there(page: str) -> None:
    found = (_commands, _settings, _variables, _metrics, _routes)
    assert [(text, name) for text in _told(page) for unknown in found for name in unknown(text)] == []


@pytest.mark.parametrize(
    ("unknown", "text", "name"),
    [
        (_commands, "skytrail flow --once", "flow"),
        (_commands, "sudo skytrail lab brek mtu", "brek"),
        (_commands, "skytrail trace --since 10m", "--since"),
        (_settings, "flow.updates", "flow.updates"),
        (_variables, "SKYTRAIL_FLOW_UPDATES", "SKYTRAIL_FLOW_UPDATES"),
        (_metrics, "skytrail_flow_byte_total", "skytrail_flow_byte_total"),
        (_routes, "GET /api/v1/flow", "/api/v1/flow"),
    ],
)
def test_what_is_not_there_is_seen(unknown: Callable[[str], Iterator[str]], text: str, name: str) -> None:
    assert list(unknown(text)) == [name]
