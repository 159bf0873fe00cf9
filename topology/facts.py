"""Facts: what probes saw, as immutable values; and reports, in which they hand them over.

A probe never writes to the graph: it reports, and :mod:`topology.reconcile` makes changes of the elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from topology.elements import Metadata, edge_id, node_id


@dataclass(frozen=True, slots=True)
class Source:
    """Who saw it: one probe on one host. Its facts are reconciled as one set.

    Attributes:
        probe: the probe's name: ``netlink``, ``ovsdb`` …
        host: Name of the host; empty for a probe of the whole cluster.
        service: what runs the probe: ``agent`` or ``hub``.
        tid: of the host: by that it is known again where its name changed.
    """

    probe: str
    host: str
    service: str = "agent"
    tid: str = ""

    @property
    def origin(self) -> str:
        """As Skydive's ``Origin``."""
        return f"{self.service}.{self.host}"


@dataclass(frozen=True, slots=True)
class NodeFact:
    """A node is there, and is so.

    Attributes:
        tid: its topology ID.
        metadata: ``Name`` and ``Type`` at least, unless it enriches.
        volatile: what changes all the time (counters): shown, never kept, makes no revision. Behind a dot within a map.
        enriches: it only adds to a node that another probe defines.
    """

    tid: str
    metadata: Metadata
    volatile: Metadata = field(default_factory=dict)
    enriches: bool = False

    @property
    def id(self) -> str:
        """The element's ID."""
        return node_id(self.tid)


@dataclass(frozen=True, slots=True)
class EdgeFact:
    """An edge is there. It becomes one of the graph's when both its nodes are there, whichever comes first.

    Attributes:
        parent: TID of the node it comes from.
        child: TID of the node it goes to.
        relation: its RelationType: ``ownership``, ``layer2`` …
        metadata: more keys.
        key: tells apart several of one relation between the same nodes.
    """

    parent: str
    child: str
    relation: str
    metadata: Metadata = field(default_factory=dict)
    key: str = ""

    @property
    def id(self) -> str:
        """The element's ID."""
        return edge_id(node_id(self.parent), node_id(self.child), self.relation, self.key)


Fact = NodeFact | EdgeFact


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe hands over at once: it becomes visible at once.

    Attributes:
        source: who says so.
        observed: when it was seen, µs since the epoch.
        facts: what is there; a fact of the same element replaces the one before.
        gone: IDs of elements that are there no more, as far as this source can tell.
        whole: ``facts`` is all that there is: what the source reported before and not now is gone.
        volatile: of nodes that are as they were, by ID: in the place of what the source said was volatile before.
        late: µs for which it had been so when it was seen, as a container whose start nobody heard of. What an element was
            known to be after that beginning it was until this was seen.
        unknown: how TIDs begin of nodes of which a whole report does not know what they are to its own: edges with them stay
            as they were said. Of probes in a hub alone: it does not go over the wire.
    """

    source: Source
    observed: int
    facts: tuple[Fact, ...] = ()
    gone: tuple[str, ...] = ()
    whole: bool = False
    volatile: Mapping[str, Metadata] = field(default_factory=dict)
    late: int = 0
    unknown: tuple[str, ...] = ()

    def spares(self, ends: Iterable[str]) -> bool:
        """Whether an edge between nodes of these TIDs stays, though a whole report does not say it."""
        return any(tid.startswith(self.unknown) for tid in ends)
