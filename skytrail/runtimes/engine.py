"""What is known of the containers and networks of Docker or Podman, kept as their events tell. No I/O of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from skytrail.runtimes.container import MAX_CONTAINERS, MAX_STOPPED, Change, Container, Network, NetworkChange
from skytrail.runtimes.dockermessages import Event, Inspected, inspected, nanoseconds, told

_BEGUN = "start"
_CHANGED = frozenset({"rename", "pause", "unpause", "update", "health_status"})
"""Actions after which a container is looked at again."""
_ENDED = frozenset({"die", "died", "destroy", "remove"})
"""Actions of events; Docker says ``die`` and ``destroy``, Podman ``died`` and ``remove`` in some versions."""
_JOINED = frozenset({"connect", "disconnect"})
_NETWORKS = frozenset({"create", "destroy", "remove", "update"})
"""Actions of networks: after the first a container is looked at again, after the second all networks are."""

_NO_LABELS = frozenset({"image", "name", "execDuration", "exitCode", "signal", "oldName", "containerExitCode", "podId"})
"""What an event has among a container's labels and is none of them; the last two are Podman's."""


class Asked(Protocol):
    """Who answers what events leave open."""

    def look(self, identities: Iterable[str]) -> dict[str, Inspected]:
        """Containers by ID; those that are not there any more are left out."""
        ...

    def read_networks(self) -> tuple[Network, ...]:
        """All networks."""
        ...

    def pod_name(self, identity: str) -> str:
        """The name of a pod of Podman's; empty: it is not known."""
        ...


class EngineState:
    """Containers that run, and networks.

    Args:
        asked: answers what events leave open.

    Attributes:
        runtime: whose they are.
        networks: as they were told last.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.runtime = "docker"
        self.networks: tuple[Network, ...] = ()
        self._known: dict[str, tuple[str, Container]] = {}  # by ID: its name as listed, and what it is

    def listed(self, names: Mapping[str, str]) -> list[Container]:
        """These run, by ID. Those known by the same name are not looked at again."""
        names = dict(list(names.items())[:MAX_CONTAINERS])
        known = {
            identity: self._known[identity] for identity in names if self._known.get(identity, ("",))[0] == names[identity]
        }
        for identity, found in self._asked.look([one for one in names if one not in known]).items():
            if found.state.lives:
                known[identity] = names.get(identity, ""), self._container(found)
        self._known = known
        self.networks = self._asked.read_networks()
        return [container for _, container in known.values()]

    def forget(self) -> None:
        """Events may be missed: what is known may have been started anew, with another process."""
        self._known.clear()

    def ended(self, identity: str) -> int:
        """When a container ended that is still known, but does not run; ns since the epoch; 0: that is not known."""
        found = self._asked.look([identity]).get(identity)
        return 0 if found is None or found.state.lives else nanoseconds(found.state.finished_at)

    def stopped(self, identities: Iterable[str]) -> dict[str, int]:
        """When those of these ended of which that is known; ns since the epoch."""
        found = self._asked.look(list(identities)[:MAX_STOPPED])
        ends = {one: nanoseconds(said.state.finished_at) for one, said in found.items() if not said.state.lives}
        return {identity: at for identity, at in ends.items() if at}

    def changes(self, event: Event) -> Iterator[Change | NetworkChange]:
        """What an event tells."""
        if not event.actor.id:
            return
        action = event.action.partition(":")[0]  # Docker's "health_status: healthy"
        if event.type == "network":
            if action in _NETWORKS:
                yield self._other_networks(event.time)
            elif action in _JOINED:
                container = (event.actor.attributes or {}).get("container", "") or event.actor.id  # the latter is Podman's
                yield from self._changed(container, event.time)
        elif event.type == "container":
            identity = event.actor.id
            if action in _ENDED:
                died = self._known.pop(identity, None) is not None
                yield Change(identity, None, _of_event(event, self.ended(identity) if died else 0))
            elif action == _BEGUN:
                yield from self._begun(event)
            elif action in _CHANGED:
                yield from self._changed(identity, event.time)

    def _begun(self, event: Event) -> Iterator[Change | NetworkChange]:
        container = self._running(event.actor.id)
        if container is None:  # it has ended already, and its end is on its way: what the event itself tells must do
            attributes = event.actor.attributes or {}
            labels = {key: value for key, value in attributes.items() if key not in _NO_LABELS}
            container = told(event.actor.id, attributes.get("name", ""), attributes.get("image", ""), labels, self.runtime)
            yield Change(container.id, container, event.time)
        else:
            yield from self._is(container, _of_event(event, container.started))

    def _changed(self, identity: str, at: int) -> Iterator[Change | NetworkChange]:
        """Look again at a container that is known."""
        container = self._running(identity) if identity in self._known else None
        if container:
            yield from self._is(container, at)

    def _is(self, container: Container, at: int) -> Iterator[Change | NetworkChange]:
        if container.id in self._known or len(self._known) < MAX_CONTAINERS:
            self._known[container.id] = f"/{container.name}", container
        if {one.network for one in container.networks} - {one.name for one in self.networks}:  # Podman tells of none
            yield self._other_networks(at)
        yield Change(container.id, container, at)

    def _other_networks(self, at: int) -> NetworkChange:
        self.networks = self._asked.read_networks()
        return NetworkChange(at)

    def _running(self, identity: str) -> Container | None:
        """A container that runs; None of one that does not."""
        found = self._asked.look([identity]).get(identity)
        return self._container(found) if found is not None and found.state.lives else None

    def _container(self, found: Inspected) -> Container:
        return inspected(found, self.runtime, self._asked.pod_name(found.pod) if found.pod else "")


def _of_event(event: Event, told: int) -> int:
    """When what an event is about happened: as its container says, unless that has been started or ended again since."""
    return min(told or event.time, event.time or told)
