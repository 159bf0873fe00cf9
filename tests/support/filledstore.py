"""An embedded store with a small history, whose values are of all kinds."""

from __future__ import annotations

import random
import uuid
from pathlib import Path
from typing import Any

from topology.elements import Part, State, edge_id
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Change, Store

SIZE = 60
SECOND = 1_000_000


def state(number: int, *, renamed: bool = False) -> State:
    """Of the node of a number."""
    metadata: dict[str, Any] = {
        "Name": f"{'new' if renamed else 'eth'}{number}",
        "Type": ("veth", "bridge", "netns")[number % 3], "MTU": 1500 + number % 4,
        "IPV4": [f"10.0.0.{number}/24", f"10.0.1.{number % 5}/24"][: number % 3], "Up": number % 2 == 0, "Weight": number / 4,
        "K8s": {"Labels": {"app": f"app{number % 7}"}},
        "Routes": [{"Prefix": f"10.{number % 3}.0.0/16"}, {"Prefix": "0.0.0.0/0"}],
    }  # fmt: skip
    if number % 10 == 9:
        del metadata["Type"], metadata["MTU"]
    if number % 11 == 0:
        metadata["MTU"] = str(metadata.get("MTU"))
    return State(f"host{number % 2}", "agent.host", {"netlink": Part.of(metadata)}, tid=f"tid{number}")


def filled(folder: Path) -> EmbeddedStore:
    """A store in a folder: see :func:`fill`."""
    store = EmbeddedStore(folder)
    fill(store)
    return store


def fill(store: Store) -> None:
    """Nodes and edges come after a second, some of which change or go after three."""
    chance = random.Random(5)
    ids = [str(uuid.UUID(int=number + 1)) for number in range(SIZE)]
    nodes = [Change(ids[number], SECOND, state(number)) for number in range(SIZE)]
    ends = {(chance.choice(ids), chance.choice(ids), chance.choice(("layer2", "ownership"))) for _ in range(120)}
    edges = [Change(edge_id(*each), SECOND, _edge(*each)) for each in sorted(ends)]
    store.apply(Batch("w", 1, 1, SECOND, (*nodes, *edges)))
    later = [Change(ids[number], 3 * SECOND, state(number, renamed=True)) for number in range(0, SIZE, 5)]
    gone = [one for one in edges if one.state and ids[1] in (one.state.parent, one.state.child)]
    ended = [Change(ids[1], 3 * SECOND, None), *(Change(one.id, 3 * SECOND, None) for one in gone)]
    store.apply(Batch("w", 1, 2, 3 * SECOND, (*later, *ended)))


def _edge(parent: str, child: str, relation: str) -> State:
    return State("host0", "o", {"netlink": Part.of({"RelationType": relation, "Cost": 3})}, parent=parent, child=child)
