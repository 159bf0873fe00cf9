"""Events that wait until their container has been looked at: each container's in order, none for another container's.

Docker answers for a container only when it does nothing else with it: one that crashes and is started again all the time
may take seconds. Its events are told together then, by one look.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skytrail.runtimes.dockermessages import Event


@dataclass(slots=True)
class _Lane:
    """Events of one container: those that came before the look that is under way, and those that came after it had begun."""

    before: list[Event]
    after: list[Event] = field(default_factory=list)


class Lanes:
    """One lane a container; no I/O, and used by one thread."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._count = 0

    def __len__(self) -> int:
        """Events that wait."""
        return self._count

    def __contains__(self, identity: str) -> bool:
        return identity in self._lanes

    def add(self, identity: str, event: Event) -> bool:
        """Have it wait; gives whether its container is to be looked at now, for nobody does."""
        self._count += 1
        lane = self._lanes.get(identity)
        if lane is not None:
            lane.after.append(event)
            return False
        self._lanes[identity] = _Lane([event])
        return True

    def take(self, identity: str) -> list[Event]:
        """It was looked at: the events that this look is good for. Where :meth:`__contains__` it still, look again."""
        lane = self._lanes[identity]
        events = lane.before
        self._count -= len(events)
        if lane.after:
            lane.before, lane.after = lane.after, []
        else:
            del self._lanes[identity]
        return events
