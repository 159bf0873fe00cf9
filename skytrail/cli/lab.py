"""``skytrail lab``: a network of hosts with their agents on this machine, to look at, to load and to break."""

from __future__ import annotations

import os

import click

from skytrail.errors import UsageError
from skytrail.lab.plan import Place, Plan

_name = click.option("--name", default="lab", show_default=True, metavar="NAME", help="Which one, of several side by side.")


@click.group()
def lab() -> None:
    """A laboratory: hosts in namespaces, each with an agent, one hub, traffic, and faults to be found."""


@lab.command()
@click.argument("topology", type=click.Choice(["two-hosts", "fabric"]), default="two-hosts")
@_name
def up(topology: str, name: str) -> None:
    """Build it: two hosts on a switch, or a fabric of racks with VXLAN and a gateway."""
    from skytrail.lab.build import build, check_tools, plan_of  # noqa: PLC0415 - only where one is built
    from skytrail.lab.build import PLANS  # noqa: PLC0415
    from skytrail.lab.shown import shown  # noqa: PLC0415
    from skytrail.lab.state import locked, read_lab  # noqa: PLC0415

    check_tools(PLANS[topology]())
    with locked(name) as lock:
        found = read_lab(name)
        if found is not None and found.complete:
            if found.topology != topology:
                raise UsageError(f"laboratory {name!r} is there as {found.topology}: 'skytrail lab down' first, or give --name")
            click.echo(f"laboratory {name!r} is there already")
        else:
            found = build(name, topology, lock, lambda text: click.echo(text, err=True))
        click.echo(shown(found, plan_of(found)))


@lab.command()
@_name
def down(name: str) -> None:
    """Remove all of it."""
    from skytrail.lab.build import remove  # noqa: PLC0415
    from skytrail.lab.state import folder_of, locked  # noqa: PLC0415

    if not folder_of(name).exists():
        click.echo(f"there is no laboratory {name!r}")
        return
    with locked(name):
        remove(name)
    click.echo(f"laboratory {name!r} is removed")


@lab.command()
@_name
def status(name: str) -> None:
    """Show it: who is there, and whose agent the hub hears."""
    from skytrail.lab.build import connected, plan_of  # noqa: PLC0415
    from skytrail.lab.shown import shown  # noqa: PLC0415
    from skytrail.lab.state import the_lab  # noqa: PLC0415

    found = the_lab(name)
    click.echo(shown(found, plan_of(found)))
    heard = connected(found)
    for node in plan_of(found).nodes:
        if node.agent:
            click.echo(f"  {node.name:8} {'its agent reports' if node.name in heard else 'its agent does not report'}")


def _place(plan: Plan, where: str) -> Place:
    """Of a node or a workload. Raises UsageError."""
    places = {**{node.name: Place(node.name) for node in plan.nodes}, **{one.name: one.place for one in plan.workloads}}
    if where not in places:
        raise UsageError(f"there is no {where!r}: {', '.join(places)}")
    return places[where]


def _enter(name: str, where: str, words: tuple[str, ...]) -> None:
    """Become a command in a place."""
    from skytrail.lab.build import plan_of  # noqa: PLC0415
    from skytrail.lab.places import entering, environment  # noqa: PLC0415
    from skytrail.lab.state import the_lab  # noqa: PLC0415

    found = the_lab(name)
    command = [*entering(found, _place(plan_of(found), where)), *words]
    os.execvpe(command[0], command, {**environment(), "debian_chroot": where})


@lab.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_name
@click.argument("where")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(name: str, where: str, command: tuple[str, ...]) -> None:
    """Run a command on a host, or in a workload: lab exec h1 skytrail flows."""
    _enter(name, where, command)


@lab.command()
@_name
@click.argument("where")
def shell(name: str, where: str) -> None:
    """Open a shell on a host, or in a workload."""
    _enter(name, where, ("bash" if os.path.exists("/bin/bash") else "sh",))  # noqa: PTH110
