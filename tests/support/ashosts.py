"""What the netlink probe sees of several namespaces, told as if each were a host of its own: nobody sees what joins them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from topology.elements import Revision, State
from topology.facts import EdgeFact, Fact, NodeFact, Report, Source

_ELSEWHERE = ("LinkNetNsID", "LinkNetNsName")


def reports(revisions: Sequence[Revision], observed: int) -> Iterator[Report]:
    """A whole report for each namespace."""
    states = {one.id: one.state for one in revisions if one.state}
    spaces = {id_: state for id_, state in states.items() if not state.parent and state.metadata["Type"] == "netns"}
    owners = {state.child: state.parent for state in states.values() if state.parent in spaces}
    for id_, space in spaces.items():
        name = str(space.metadata["Name"])
        own = {one: states[one] for one, owner in owners.items() if owner == id_}
        source = Source("netlink", name, tid=_tid(space, name))
        yield Report(source, observed, tuple(_facts(space, own, states, name)), whole=True)


def _tid(state: State, name: str) -> str:
    """``host/<name>`` in the place of what a TID begins with."""
    return f"host/{name}{state.tid.partition(name)[2]}"


def _facts(space: State, own: dict[str, State], states: dict[str, State], name: str) -> Iterator[Fact]:
    host = NodeFact(_tid(space, name), {**_kept(space.metadata), "Type": "host"})
    yield host
    for state in own.values():
        yield NodeFact(_tid(state, name), _kept(state.metadata))
        yield EdgeFact(host.tid, _tid(state, name), "ownership")
    for state in states.values():
        if state.parent in own and state.child in own:
            metadata = {key: value for key, value in state.metadata.items() if key != "RelationType"}
            ends = (_tid(own[one], name) for one in (state.parent, state.child))
            yield EdgeFact(*ends, state.metadata["RelationType"], metadata, key=metadata.get("Type", ""))


def _kept(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in _ELSEWHERE}
