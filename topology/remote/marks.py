"""What is kept in the store of each agent: how far its reports are taken."""

from __future__ import annotations

import msgspec
import structlog

from topology.store.interface import Note, Store

_log = structlog.get_logger(__name__)

_RESOURCE = "agent"


class Mark(msgspec.Struct):
    """How far an agent's reports are taken: the last number of an outbox."""

    outbox: str
    number: int


def note_of(tid: str, mark: Mark) -> Note:
    """The mark of an agent, by the TID of its host, as it is kept."""
    return Note(_RESOURCE, tid, msgspec.json.encode(mark))


FORGOTTEN = Mark("", 0)
"""Of an agent that is forgotten: nothing of its is taken."""


def marks(store: Store) -> dict[str, Mark]:
    """Those of all agents that ever reported into a graph, by the TID of their host. Raises StoreError."""
    found: dict[str, Mark] = {}
    for tid, raw in store.resources(_RESOURCE).items():
        try:
            found[tid] = msgspec.json.decode(raw, type=Mark)
        except msgspec.MsgspecError as error:
            _log.error("agent_note_damaged", agent=tid, error=str(error), effect="all that waits there is taken once more")
    return found
