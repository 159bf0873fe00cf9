"""What is known of the containers and networks of Docker or Podman, kept as their events tell. No I/O of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from skytrail.runtimes.container import MAX_CONTAINERS, MAX_STOPPED, Change, Container, Network, NetworkChange
from skytrail.runtimes.dockermessages import Event, Inspected, inspected, nanoseconds, told

_BEGUN = "start"
_CHANGED = frozenset({"rename", "pause", "unpause", "update", "health_status"})
"""Actions after which a container is looked at again."""
_ENDED = frozenset({"die", "died", "destroy", "remove"})
"""Actions of events; Docker says ``die`` and ``destroy``, Podman ``died`` and ``remove`` in some versions."""
_JOINS = "connect"
_JOINED = frozenset({_JOINS, "disconnect"})
_NETWORKS = frozenset({"create", "destroy", "remove", "update"})
"""Actions of networks: after the first a container is looked at again, after the second all networks are."""
_LOOKED_AT = _CHANGED | _ENDED | _JOINED
"""Actions after which a container is looked at that is known."""

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

    def about(self, event: Event) -> str:
        """The container that is to be looked at before it can be said what an event tells; empty: none.

        One that joins a network is about to start: Docker answers as soon as it has, which is sooner than its event of that.
        """
        identity, action = whose(event)
        begins = (event.type, action) in {("container", _BEGUN), ("network", _JOINS)}
        return identity if begins or (action in _LOOKED_AT and identity in self._known) else ""

    def tell(self, event: Event, found: Inspected | None) -> Iterator[Change | NetworkChange]:
        """What an event tells. ``found``: its container, looked at after it; None: it is not there, or was not looked at.

        Its end may have come meanwhile, and its next beginning: what was found then is of a later run.
        """
        identity, action = whose(event)
        known = self._known.get(identity)
        if not identity or (known is not None and 0 < event.time < known[1].started):  # of an earlier run than is known
            return
        if event.type == "network" and action in _NETWORKS:
            yield self._other_networks(event.time)
        elif event.type == "container" and action == _BEGUN:
            yield from self._begun(event, found)
        elif event.type == "container" and action in _ENDED:
            self._known.pop(identity, None)
            yield Change(identity, None, _of_event(event, nanoseconds(found.state.finished_at) if found else 0))
        elif action in _LOOKED_AT and found is not None and found.state.lives:
            container = self._container(found)
            if known is None and action == _JOINS:
                yield from self._is(container, container.started)
            elif known is not None and container.started <= known[1].started:
                yield from self._is(container, event.time)

    def _begun(self, event: Event, found: Inspected | None) -> Iterator[Change | NetworkChange]:
        if found is None:  # what the event itself tells must do
            attributes = event.actor.attributes or {}
            labels = {key: value for key, value in attributes.items() if key not in _NO_LABELS}
            name, image = attributes.get("name", ""), attributes.get("image", "")
            container = told(event.actor.id, name, image, labels, self.runtime, started=event.time)
        else:
            container = self._container(found)
        at = _of_event(event, container.started)
        if found is not None and found.state.lives and at == container.started:
            yield from self._is(container, at)
            return
        if event.actor.id in self._known:  # it was looked at in time
            return
        if at != container.started:  # a later run's
            container = replace(container, pid=0, network_namespace="", networks=(), started=at)
        yield Change(container.id, container, at)  # its end is on its way

    def _is(self, container: Container, at: int) -> Iterator[Change | NetworkChange]:
        now = f"/{container.name}", container
        if self._known.get(container.id) == now:
            return
        if container.id in self._known or len(self._known) < MAX_CONTAINERS:
            self._known[container.id] = now
        if {one.network for one in container.networks} - {one.name for one in self.networks}:  # Podman tells of none
            yield self._other_networks(at)
        yield Change(container.id, container, at)

    def _other_networks(self, at: int) -> NetworkChange:
        self.networks = self._asked.read_networks()
        return NetworkChange(at)

    def _container(self, found: Inspected) -> Container:
        return inspected(found, self.runtime, self._asked.pod_name(found.pod) if found.pod else "")


def whose(event: Event) -> tuple[str, str]:
    """The container, or network, that an event is about, and the action."""
    action = event.action.partition(":")[0]  # Docker's "health_status: healthy"
    if event.type == "network" and action in _JOINED:
        return (event.actor.attributes or {}).get("container", "") or event.actor.id, action  # the latter is Podman's
    return event.actor.id, action


def _of_event(event: Event, told: int) -> int:
    """When what an event is about happened: as its container says, unless that has been started or ended again since."""
    return min(told or event.time, event.time or told)
