"""``skytrail topology``, ``skytrail diff``: the graph of a running hub, now or at a moment."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from skytrail.cli.moments import FORMS, at_option, moment_option
from skytrail.cli.options import Session, common, settings_options
from topology.graphviz import as_dot, name_of, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from skytrail.http.client import Client

Json = dict[str, Any]

_REFRESH = 1.0
_DEEPEST = 100  # levels of a tree that are drawn below each other
_STATES = {"UP": "green", "DOWN": "red", "LOWERLAYERDOWN": "red"}
_MARKS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


@click.command()
@at_option()
@click.option("--json", "as_json", is_flag=True, help="Print the graph as JSON, in Skydive's shape.")
@click.option("--dot", is_flag=True, help="Print the graph for Graphviz.")
@click.option("--watch", is_flag=True, help="Show it again whenever it changed.")
@settings_options("hub.listen")
@common
@click.pass_obj
def topology(session: Session, *, at: str | None, as_json: bool, dot: bool, watch: bool) -> None:
    """Show what the network of this host is made of, as a tree."""
    if watch and (at or as_json or dot):
        raise click.UsageError("--watch shows the tree as it is now: leave --at, --json and --dot away")
    if as_json and dot:
        raise click.UsageError("--json and --dot exclude each other")
    session.start_logs()
    client = _hub(session)
    if watch:
        _watch(client)
        return
    graph = client.get("/api/v1/graph", {"at": at} if at else {})
    if as_json:
        click.echo(json.dumps(graph, indent=2, ensure_ascii=False))
    elif dot:
        click.echo(as_dot(graph), nl=False)
    else:
        _print(graph)


@click.command()
@moment_option("--from", "begin", default="-5m", show_default=True, help=f"Since when: {FORMS}")
@moment_option("--to", "end", default="now", show_default=True, help="Until when.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@settings_options("hub.listen")
@common
@click.pass_obj
def diff(session: Session, *, begin: str, end: str, as_json: bool) -> None:
    """Show what is different at one moment from another: nodes, edges, and what keys changed from what to what."""
    session.start_logs()
    found = _hub(session).get("/api/v1/diff", {"from": begin, "to": end})
    for one in sorted(found, key=lambda one: (one["Element"]["UpdatedAt"], "Parent" in one["Element"])):
        if as_json:
            click.echo(json.dumps(one, ensure_ascii=False))
            continue
        mark, colour = _MARKS[one["Change"]]
        click.secho(f"{mark} {_described(one['Element'])}", fg=colour)
        for key, (before, after) in one.get("Keys", {}).items():
            click.echo(f"    {printable(key)}: {_value(before)} → {_value(after)}")


def _hub(session: Session) -> Client:
    from skytrail.http.client import Client  # noqa: PLC0415 - --help needs none of it

    return Client(session.settings, session.settings.hub.listen)


def _watch(client: Client) -> None:
    from rich.live import Live  # noqa: PLC0415

    if not sys.stdout.isatty():
        _log_trees(client)
    with Live(auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        while True:
            live.update(_tree(client.get("/api/v1/graph", {})), refresh=True)
            time.sleep(_REFRESH)


def _log_trees(client: Client) -> NoReturn:
    """For a file or a pipe: each tree that is another than the one before, with its time."""
    before = ""
    while True:
        console = _console()
        with console.capture() as drawn:
            console.print(_tree(client.get("/api/v1/graph", {})))
        if drawn.get() != before:
            before = drawn.get()
            click.echo(f"{datetime.now().astimezone().isoformat(timespec='seconds')}\n{before}")
            sys.stdout.flush()
        time.sleep(_REFRESH)


def _print(graph: Json) -> None:
    _console().print(_tree(graph))


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415

    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def _tree(graph: Json) -> Tree:
    """Who owns whom; behind each node what it is connected to."""
    from rich.tree import Tree  # noqa: PLC0415

    nodes = {node["ID"]: node for node in graph["Nodes"]}
    children: dict[str, list[str]] = {}
    links: dict[str, list[str]] = {}
    owned = set()
    for edge in graph["Edges"]:
        if edge["Metadata"]["RelationType"] == "ownership":
            children.setdefault(edge["Parent"], []).append(edge["Child"])
            owned.add(edge["Child"])
        elif edge["Parent"] in nodes and edge["Child"] in nodes:
            links.setdefault(edge["Child"], []).append(f"← {name_of(nodes[edge['Parent']])}")
            links.setdefault(edge["Parent"], []).append(f"→ {name_of(nodes[edge['Child']])}")
    root = Tree("", hide_root=True)
    shown: set[str] = set()

    def add(branch: Tree, id_: str, level: int = 1) -> None:
        shown.add(id_)
        below = branch.add(_line(nodes[id_], links.get(id_, [])))
        found = [child for child in children.get(id_, ()) if child in nodes] if level < _DEEPEST else []
        for child in sorted(found, key=lambda one: _order(nodes[one])):
            if child not in shown:
                add(below, child, level + 1)

    ordered = sorted(nodes, key=lambda one: (one in owned, *_order(nodes[one])))
    for id_ in ordered:  # those that nobody owns; then, of a file, those that own each other in a circle, or are too deep
        if id_ not in owned or id_ not in shown:
            add(root, id_)
    return root


def _order(node: Json) -> tuple[bool, int, str]:
    """Interfaces by their numbers, then namespaces by their names."""
    number = node["Metadata"].get("IfIndex")
    return not isinstance(number, int), number if isinstance(number, int) else 0, name_of(node)


def _line(node: Json, links: list[str]) -> str:
    from rich.markup import escape  # noqa: PLC0415

    metadata = node["Metadata"]
    state = escape(printable(metadata.get("State", "")))
    colour = _STATES.get(state, "dim")
    parts = [f"[bold]{escape(name_of(node))}[/bold]", f"[cyan]{escape(printable(metadata['Type']))}[/cyan]"]
    if state:
        parts.append(f"[{colour}]{state}[/{colour}]")
    addresses = [metadata[name] for name in ("IPV4", "IPV6") if isinstance(metadata.get(name), list)]
    parts += [escape(printable(address)) for found in addresses for address in found]
    parts += [f"[dim]{escape(link)}[/dim]" for link in sorted(set(links))]
    return "  ".join(parts)


def _described(element: Json) -> str:
    if "Parent" not in element:
        return f"{printable(element['Metadata']['Type'])} {name_of(element)}"
    return f"{printable(element['Metadata']['RelationType'])} {' → '.join(map(printable, element['Ends']))}"


def _value(value: object) -> str:
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 80 else f"{text[:80]}…"
