"""Servers that do not answer: nobody listens, or whoever listens does not accept."""

from __future__ import annotations

from collections.abc import Iterator

from skytrail.lab.breaks.fault import Exchange, Fault, exchanges
from skytrail.lab.plan import Command, Plan, Workload
from skytrail.lab.servers import serving, started, stopped, stuck


def closed_ports(plan: Plan) -> Iterator[Fault]:
    """The server has ended, or listens on another port."""
    for exchange, server in _served(plan):
        if exchange.proto == "icmp":
            continue
        kill = Command(server.place, stopped(server.name))
        again = Command(server.place, started(server.name, serving()))
        elsewhere = Command(server.place, started(server.name, serving(tcp=8080, udp=5353)))
        why = f"nobody listens on {exchange.proto} port {exchange.port}"
        yield _fault("closed-port", exchange, server, why, (kill,), (again,))
        yield _fault("closed-port", exchange, server, f"{why}: it is another one", (kill, elsewhere), (kill, again))


def full_backlogs(plan: Plan) -> Iterator[Fault]:
    """The server does not accept any more, and as many as may wait for it do."""
    for exchange, server in _served(plan):
        if exchange.proto == "tcp":
            kill = Command(server.place, stopped(server.name))
            again = Command(server.place, started(server.name, serving()))
            broken = Command(server.place, started(server.name, stuck()))
            why = f"whoever listens on port {exchange.port} does not accept, and its backlog is full"
            yield _fault("backlog", exchange, server, why, (kill, broken), (kill, again))


def _served(plan: Plan) -> Iterator[tuple[Exchange, Workload]]:
    for exchange in exchanges(plan):
        server = plan.workload(exchange.destination)
        if plan.node(server.node).agent:
            yield exchange, server


def _fault(
    kind: str, exchange: Exchange, server: Workload, why: str, do: tuple[Command, ...], undo: tuple[Command, ...]
) -> Fault:
    return Fault(kind, server.place, server.interface, "there", exchange, "dead", why, do, undo)
