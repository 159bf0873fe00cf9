"""What a laboratory looks like, as text."""

from __future__ import annotations

from skytrail.lab.plan import Plan
from skytrail.lab.state import Lab


def shown(lab: Lab, plan: Plan) -> str:
    """Picture, addresses, and commands to try."""
    which = "" if lab.name == "lab" else f" --name {lab.name}"
    first, second = _pair(plan)
    rows = [(one.name, one.node, one.address[4], one.address[6]) for one in plan.workloads]
    table = [f"  {name:9} on {node:8} {four:14} {six}" for name, node, four, six in rows]
    hub = "" if lab.hub.endswith(":8082") else f" --hub {lab.hub}"
    tries = (
        (f"skytrail lab exec{which} {first} ping -c 3 {second}", "workloads know each other's names"),
        (f"skytrail lab exec{which} {first} curl -s http://{second}/", "each serves HTTP, and answers UDP on port 53"),
        (f"skytrail lab exec{which} h1 skytrail flows", "what the agent of h1 sees"),
        (f"skytrail query{hub} \"G.V().Has('Type', 'host').Values('Name')\"", "the graph of all hosts"),
        (f"skytrail lab traffic{which}", "traffic between all workloads"),
        (f"skytrail lab break{which} no-route --seed 1", "a fault to be found; 'lab mend' undoes it"),
        (f"skytrail lab down{which}", "removes all of it"),
    )
    width = max(len(command) for command, _ in tries)
    return "\n".join(
        [
            f"laboratory {lab.name!r}: {plan.topology}; hub http://{lab.hub}",
            "",
            plan.picture,
            *table,
            "",
            *(f"  {command:{width}}  # {why}" for command, why in tries),
        ]
    )


def _pair(plan: Plan) -> tuple[str, str]:
    way = next(way for way in plan.ways if not way.translated)
    return way.source.name, way.destination.name
