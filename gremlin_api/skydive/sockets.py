"""Sockets of hosts, of namespaces and of flows, as agents tell them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from gremlin_api.graphs.topology import TopologyVertex
from gremlin_api.interpreter.chain import Flow, Kept, Step
from gremlin_api.interpreter.run import Run
from gremlin_api.interpreter.traverser import Traverser
from gremlin_api.skydive.asking import Asking
from gremlin_api.skydive.conditions import value_of
from gremlin_api.skydive.seen import Seen
from gremlin_api.skydive.terms import every
from gremlin_api.values import Value
from skytrail.asking.questions import Range, SocketsQuestion
from skytrail.asking.terms import Compare, Term

Socket: TypeAlias = "dict[str, Any]"
Pair: TypeAlias = "tuple[str, Socket]"
Find: TypeAlias = "Callable[[Iterator[Value], Term | None], Iterable[Pair]]"

_MAPPED = "::ffff:"
_MOST_ADDRESSES = 5_000  # of a question: beyond them agents tell of all their sockets


class Sockets(Step):
    """The sockets of what comes, each with the ID of what it belongs to.

    Args:
        find: them, that meet a condition; None: all.
        pushes: whether agents are told of conditions after it.
    """

    name = "Sockets"
    gathers = True

    def __init__(self, find: Find, *, pushes: bool) -> None:
        super().__init__()
        self._find, self._pushes = find, pushes
        self._terms: list[Term] = []

    def take(self, term: Term) -> None:
        """Tell the agents of a condition; what does not meet it is left out by the step after it all the same."""
        if self._pushes:
            self._terms.append(term)

    def flow(self, upstream: Flow, kept: Kept | None) -> Flow:  # noqa: ARG002
        """Each with its ID."""
        for pair in self._find((one.value for one in upstream for _ in range(one.bulk)), every(self._terms)):
            yield Traverser(pair)


def sockets_of_nodes(
    run: Run, asking: Asking | None, when: Range | None, nodes: Iterable[TopologyVertex], term: Term | None
) -> Iterator[Pair]:
    """Of hosts and namespaces: as the graph has them, or else as the agents tell."""
    hosts: dict[str, TopologyVertex] = {}  # by TID
    spaces: dict[tuple[str, str], str] = {}  # by the name of the host, and that of the namespace
    for node in nodes:
        run.hold()
        found, state = value_of(node, "Sockets"), node.revision.state
        if isinstance(found, list):
            yield from ((node.id, one) for one in found if isinstance(one, dict))
        elif state is not None and value_of(node, "Type") == "host" and state.tid:
            hosts[state.tid] = node
        elif state is not None and value_of(node, "Type") == "netns":
            for name in (value_of(node, "Name"), f"inode:{value_of(node, 'Inode')}"):
                spaces[state.host, str(name)] = node.id
    if asking is None or not (hosts or spaces):
        return
    names = asking.names()
    owners = {tid: node.revision.state.host for tid, node in hosts.items() if node.revision.state}
    asked = {*asking.known(owners), *asking.named({host for host, _ in spaces})}
    if not asked:
        return
    within = None if hosts else Compare("Namespace", "within", tuple(sorted({name for _, name in spaces})))
    terms = [one for one in (within, term) if one is not None]
    for host, one in asking.ask(SocketsQuestion(when, every(terms)), asked):
        run.hold()
        if host in hosts:
            yield hosts[host].id, one
        space = spaces.get((names.get(host, ""), str(one.get("Namespace"))))
        if space is not None:
            yield space, one


def sockets_of_flows(run: Run, asking: Asking, when: Range | None, flows: Iterable[Seen], term: Term | None) -> Iterator[Pair]:
    """The sockets between whose ends flows ran, on any host, each with the UUID of its flow."""
    by_ends: dict[tuple[Any, ...], list[str]] = {}
    for one in flows:
        run.hold()
        a, b = ((one.at(f"Network.{side}"), one.at(f"Transport.{side}")) for side in ("A", "B"))
        if None not in (*a, *b):
            proto = one.at("Transport.Protocol")
            for ends in {(proto, *a, *b), (proto, *b, *a)}:
                by_ends.setdefault(ends, []).append(str(one.flow.get("UUID")))
    if not by_ends:
        return
    question = SocketsQuestion(when, every([one for one in (_between(by_ends), term) if one is not None]))
    for _, socket in asking.ask(question):
        run.hold()
        own, other = ((plain_address(socket.get(f"{end}Address")), socket.get(f"{end}Port")) for end in ("Local", "Remote"))
        for id_ in by_ends.get((socket.get("Protocol"), *own, *other), ()):
            yield id_, socket


def _between(by_ends: Iterable[tuple[Any, ...]]) -> Term | None:
    """That a socket's own address is one of these; None: they are too many to say."""
    addresses = {ends[1] for ends in by_ends}
    if len(addresses) > _MOST_ADDRESSES:
        return None
    mapped = {f"{_MAPPED}{one}" for one in addresses if ":" not in one}
    return Compare("LocalAddress", "within", tuple(sorted(addresses | mapped)))


def plain_address(address: object) -> object:
    """An IPv4 address that an IPv6 socket has, as IPv4's."""
    return address.removeprefix(_MAPPED) if isinstance(address, str) and "." in address else address
