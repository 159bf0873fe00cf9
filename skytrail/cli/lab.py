"""``skytrail lab``: a network of hosts with their agents on this machine, to look at, to load and to break."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skytrail.errors import UsageError
from skytrail.lab.plan import Place, Plan

if TYPE_CHECKING:
    from skytrail.lab.breaks.fault import Proto

_name = click.option("--name", default="lab", show_default=True, metavar="NAME", help="Which one, of several side by side.")


@click.group()
def lab() -> None:
    """A laboratory: hosts in namespaces, each with an agent, one hub, traffic, and faults to be found."""


@lab.command()
@click.argument("topology", type=click.Choice(["two-hosts", "fabric"]), default="two-hosts")
@_name
def up(topology: str, name: str) -> None:
    """Build it: two hosts on a switch, or a fabric of racks with VXLAN and a gateway."""
    from skytrail.lab.build import PLANS, build, check_tools, plan_of  # noqa: PLC0415 - only where one is built
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


@lab.command()
@_name
@click.option("--seconds", type=click.FloatRange(0.1), default=10.0, show_default=True, help="How long.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed asks at the same times.")
@click.option("--http", type=click.FloatRange(0), default=2.0, show_default=True, help="Small downloads a second and pair.")
@click.option("--dns", type=click.FloatRange(0), default=4.0, show_default=True, help="UDP questions a second and pair.")
@click.option("--bulk", type=click.FloatRange(0), default=0.2, show_default=True, help="Downloads of 1 MB a second and pair.")
@click.option("--ping", type=click.FloatRange(0), default=1.0, show_default=True, help="Pings a second and pair.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each pair and kind.")
def traffic(name: str, *, seconds: float, seed: int, as_json: bool, **rates: float) -> None:
    """Make traffic between all workloads, IPv4 and IPv6, and print what the programs counted."""
    from skytrail.lab.build import plan_of  # noqa: PLC0415
    from skytrail.lab.state import the_lab  # noqa: PLC0415
    from skytrail.lab.traffic import Rates  # noqa: PLC0415
    from skytrail.lab.traffic import traffic as make  # noqa: PLC0415

    found = the_lab(name)
    counts = make(found, plan_of(found), Rates(**rates), seconds, seed)
    for count in counts:
        words = "{source} → {destination} {what} IPv{family}: {asked} asked, {answered} answered, {bytes} bytes"
        click.echo(json.dumps(count) if as_json else words.format(**count))
    if not as_json:
        asked, answered = (sum(int(str(count[key])) for count in counts) for key in ("asked", "answered"))
        click.echo(f"{asked} asked, {answered} answered")


@lab.command()
@_name
@click.argument("source")
@click.argument("destination")
@click.option("--proto", type=click.Choice(["tcp", "udp", "icmp"]), default="tcp", show_default=True, help="How it is asked.")
@click.option("-6", "six", is_flag=True, help="Over IPv6.")
@click.option("--large", is_flag=True, help="So that packets have full size.")
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="How often.")
def probe(name: str, source: str, destination: str, *, proto: Proto, six: bool, large: bool, count: int) -> None:
    """Ask a workload from another one; exit status 1 if not all questions are answered."""
    from skytrail.lab.breaks.fault import Exchange  # noqa: PLC0415
    from skytrail.lab.build import plan_of  # noqa: PLC0415
    from skytrail.lab.state import the_lab  # noqa: PLC0415
    from skytrail.lab.traffic import LARGE, ask  # noqa: PLC0415

    found = the_lab(name)
    plan = plan_of(found)
    known = {one.name for one in plan.workloads}
    if unknown := {source, destination} - known:
        raise UsageError(f"there is no workload {min(unknown)!r}: {', '.join(sorted(known))}")
    exchange = Exchange(source, destination, proto, 6 if six else 4)
    answered = ask(found, plan, exchange, LARGE[proto] if large else None, count)
    click.echo(f"{answered} of {count} answered")
    if answered < count:
        click.get_current_context().exit(1)


@lab.command(name="break")
@_name
@click.argument("kind", required=False)
@click.option("--seed", type=int, default=0, show_default=True, help="Which of many: where, whom, which way.")
@click.option(
    "--answer", type=click.Path(dir_okay=False, path_type=Path), help="Write what was done to this file, not to the terminal."
)
def break_(name: str, kind: str | None, *, seed: int, answer: Path | None) -> None:
    """Break something, by ordinary commands that no agent is told of. Without KIND, say which there are."""
    from skytrail.lab.breaks.breaking import break_it, truth  # noqa: PLC0415
    from skytrail.lab.breaks.kinds import KINDS  # noqa: PLC0415
    from skytrail.lab.build import plan_of  # noqa: PLC0415
    from skytrail.lab.state import locked, the_lab  # noqa: PLC0415

    if kind is None:
        click.echo("\n".join(KINDS))
        return
    if kind not in KINDS:
        raise UsageError(f"there is no fault {kind!r}: {', '.join(KINDS)}")
    found = the_lab(name)
    with locked(name):
        done = truth(break_it(found, plan_of(found), kind, seed))
    if answer is not None:
        answer.write_text(json.dumps(done, indent=2) + "\n")
        click.echo(
            f"{done['source']} → {done['destination']} {done['protocol']} over IPv{done['family']} suffers: find out why"
        )
    else:
        click.echo(json.dumps(done, indent=2))


@lab.command()
@_name
def mend(name: str) -> None:
    """Undo what was broken."""
    from skytrail.lab.breaks.breaking import mend as undo  # noqa: PLC0415
    from skytrail.lab.state import locked, the_lab  # noqa: PLC0415

    found = the_lab(name)
    with locked(name):
        undone = undo(found)
    click.echo("nothing is broken" if undone is None else f"mended: {undone.fault.why} ({undone.fault.place})")


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
    os.execvpe(command[0], command, {**environment(), "debian_chroot": where})  # noqa: S606


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
