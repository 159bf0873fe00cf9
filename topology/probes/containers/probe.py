"""The containers probe: what the runtimes of this host tell of their containers and networks, as facts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import structlog

from skytrail.kernel.namespaces import Key
from skytrail.runtimes.client import ContainerTold, EndpointStatus, Listed, NetworksTold, Told
from skytrail.runtimes.container import Container, Network
from skytrail.tid import container_tid
from topology.elements import node_id
from topology.facts import Fact, Report, Source
from topology.probes.containers.labels import LabelFilter
from topology.probes.containers.translate import container_facts, namespace_fact, network_facts
from topology.probes.containers.trust import as_believed, is_of, user_of

_log = structlog.get_logger(__name__)

_MAX_WAITING = 20_000  # of what was told, until it is reported; more are forgotten, and all is asked for anew
_LOOK = 1.0  # seconds between two looks at processes of which no runtime would tell the end
_REST = 0.02  # seconds in which namespaces that come together become one look

_NETWORKS = "networks"


class Runtimes(Protocol):
    """Who tells: :class:`skytrail.runtimes.client.RuntimesClient`."""

    def listen(self, listener: Callable[[Told], object]) -> None:
        """Tell all, then each change."""
        ...

    def status(self) -> list[EndpointStatus]:
        """How each socket is."""
        ...

    def stopped(self, socket: str) -> Mapping[str, int]:
        """When those that have ended, and are kept, did."""
        ...

    @property
    def settled(self) -> bool:
        """Whether all that is to be had was told."""
        ...


class Kernel(Protocol):
    """What the kernel has, as the netlink probe knows it. None: it does not know yet."""

    def namespace_tids(self) -> Mapping[Key, str] | None:
        """TIDs of network namespaces; the host's own has the host's."""
        ...

    def device_tids(self, namespace: Key) -> Mapping[str, str]:
        """Of the devices in a namespace, by name."""
        ...

    def look_for_namespaces(self) -> None:
        """One may have come that is not known yet."""
        ...


@dataclass(slots=True)
class _Known:
    """A container.

    Attributes:
        socket: who told of it.
        container: as it was told last.
        namespace: its network namespace; None: that cannot be seen.
        at: since when it is so, µs since the epoch.
        owner: the TID of that namespace; None: not known yet.
    """

    socket: str
    container: Container
    namespace: Key | None
    at: int
    owner: str | None = None


@dataclass(slots=True)
class _News:
    """What a report is to say."""

    changed: dict[str, Fact] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)


class ContainersProbe:
    """Reports to a sink, on its own thread. A runtime that is away takes nothing with it but containers whose process ended.

    Args:
        sink: takes a report; what it raises is logged, and the watching goes on.
        source: under which the facts are reported.
        host_tid: of this host.
        runtimes: who tells of containers.
        kernel: what the kernel has. After a change of it :meth:`kernel_changed` is called.
        labels: which labels become metadata.
        clock: µs since the epoch.
        proc: where the host's /proc is.

    Attributes:
        events: what runtimes told.
        dropped: of that, what was told faster than it could be reported: all was asked for anew then.
        resyncs: how often a runtime told all that is there.
    """

    def __init__(
        self,
        sink: Callable[[Report], object],
        source: Source,
        host_tid: str,
        runtimes: Runtimes,
        kernel: Kernel,
        labels: LabelFilter,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        proc: Path = Path("/proc"),
    ) -> None:
        self._sink, self._source, self._host_tid, self._runtimes = sink, source, host_tid, runtimes
        self._kernel, self._labels, self._clock, self._proc = kernel, labels, clock, str(proc)
        self._waiting: deque[tuple[Told, Key | None]] = deque()  # with the namespace of one that began, as it was heard
        self._overrun = False
        self._containers: dict[str, _Known] = {}
        self._networks: dict[str, tuple[Network, ...]] = {}  # by socket
        self._inside: dict[str, set[str]] = {}  # namespace's TID → containers
        self._told: dict[str, dict[str, Fact]] = {}  # by what they are about: a container's ID, a namespace's TID, networks
        self._whole = True
        self._look_at = 0.0
        self._report_failure: str | None = None
        self._seen: set[str] = set()  # sockets that once answered
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="containers", daemon=True)
        self.events = self.dropped = self.resyncs = 0

    def start(self) -> None:
        """Begin."""
        self._runtimes.listen(self._hear)
        self._thread.start()

    def stop(self) -> None:
        """End the watching."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def kernel_changed(self) -> None:
        """A namespace or device came, went or has another name."""
        self._wake.set()

    def tell_all(self) -> None:
        """Report all that is there once more; nothing, as long as not all is known."""
        with self._lock:
            self._whole = True
        self._wake.set()

    @property
    def failure(self) -> str | None:
        """Why the graph may not be as the runtimes are; None: it is, or no runtime is here, or none that runs."""
        if self._report_failure:
            return self._report_failure
        away = (one for one in self._runtimes.status() if one.failure and one.path in self._seen and not one.gone)
        return next((one.failure for one in away), None)

    @property
    def active(self) -> bool:
        """Whether a runtime tells."""
        return any(one.up for one in self._runtimes.status())

    @property
    def containers(self) -> int:
        """How many are in the graph."""
        return len(self._containers)

    @property
    def unplaced(self) -> int:
        """Those whose network namespace is not known (yet)."""
        return sum(known.owner is None for known in list(self._containers.values()))

    def status(self) -> dict[str, Any]:
        """What it knows, for ``/api/status``."""
        networks = sum(len(some) for some in list(self._networks.values()))
        counts = {"containers": self.containers, "unplaced": self.unplaced, "networks": networks}
        return {**counts, "events": self.events, "dropped": self.dropped, "resyncs": self.resyncs}

    def _hear(self, told: Told) -> None:
        """Called by who tells: what it is told is noted."""
        if len(self._waiting) >= _MAX_WAITING:
            self._overrun = True
            self.dropped += 1
        else:
            began = told.container if isinstance(told, ContainerTold) else None
            self._waiting.append((told, self._namespace_of(told.socket, began) if began else None))  # soon it may be over
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._lock:
                    self._once()
            except Exception:  # noqa: BLE001 - whatever a runtime tells, the others are heard
                _log.exception("containers_failed")
            self._wake.wait(_LOOK)
            self._stopping.wait(_REST)
            self._wake.clear()

    def _once(self) -> None:
        if not (self._waiting or self._overrun or self._whole or self._told):
            return  # nothing runs containers here: whatever the kernel tells is nothing to us
        namespaces = self._kernel.namespace_tids()
        if namespaces is None:
            return
        if self._overrun:
            self._waiting.clear()
            self._overrun = False
            self._runtimes.listen(self._hear)
        while self._waiting:
            news, (told, seen) = _News(), self._waiting.popleft()
            self.events += 1
            at = self._apply(told, seen, namespaces, news)
            self._report(at, news)
        news, now = _News(), self._clock()
        for identity, known in self._containers.items():
            owner = namespaces.get(known.namespace) if known.namespace else None
            if owner is not None and known.owner is None:  # it was there all the time
                placed = _News()
                self._settle(identity, known, owner, placed)
                self._report(known.at, placed)
            elif owner is not None and owner != known.owner:
                self._settle(identity, known, owner, news)
        self._tell_networks(news)
        self._end_unseen(news)
        self._report(now, news)
        if self._whole and self._runtimes.settled and not self._waiting:
            self._report(self._clock(), _News(), whole=True)

    def _apply(self, told: Told, seen: Key | None, namespaces: Mapping[Key, str], news: _News) -> int:
        """Take in what was told; gives when that was, µs since the epoch. ``seen``: the namespace of one that began."""
        if told.socket not in self._seen:
            self._seen.add(told.socket)
            self._end_known_before(told.socket)
        match told:
            case Listed(socket, containers, networks, ends):
                self.resyncs, now = self.resyncs + 1, self._clock()
                self._networks[socket] = networks
                gone = [one for one, known in self._containers.items() if known.socket == socket and one not in containers]
                for identity in sorted(gone, key=lambda one: ends.get(one) or now * 1000):  # each when it ended
                    end = _News()
                    self._end(identity, end)
                    self._report(self._when(ends.get(identity, 0)), end)
                made = _News()
                self._tell_networks(made)  # first: edges lead from them
                self._report(now, made)
                for there in sorted(containers.values(), key=_began):  # each since it began
                    begin, at = _News(), min(self._when(_began(there)), now)
                    self._put(socket, there, self._namespace_of(socket, there), namespaces, at, begin)
                    self._report(at, begin)
                return now
            case NetworksTold(socket, networks, at):
                self._networks[socket] = networks
                for identity, known in self._containers.items():
                    if known.socket == socket:
                        self._tell_container(identity, known, news)
                self._tell_networks(news)
            case ContainerTold(socket, identity, container, at):
                if container is not None:
                    self._put(socket, container, seen, namespaces, self._when(at), news)
                elif self._may_tell(socket, identity):
                    self._end(identity, news)
        return self._when(at)

    def _when(self, at: int) -> int:
        """A runtime's time (ns) in µs; where it says none, or one to come, now."""
        now = self._clock()
        return at // 1000 if 0 < at // 1000 <= now else now

    def _may_tell(self, socket: str, identity: str) -> bool:
        """Whether a daemon may say anything of a container: a user's own not of what another one told."""
        known = self._containers.get(identity)
        return known is None or known.socket == socket or user_of(socket) is None

    def _put(
        self, socket: str, container: Container, namespace: Key | None, namespaces: Mapping[Key, str], at: int, news: _News
    ) -> None:
        if not self._may_tell(socket, container.id):
            return
        container = as_believed(container, user_of(socket))
        before = self._containers.get(container.id)
        if before is not None and before.container.pid == container.pid and before.namespace:
            before.socket, before.container = socket, container
            self._settle(container.id, before, before.owner, news)
            return
        if namespace is not None and namespace not in namespaces:
            self._kernel.look_for_namespaces()
        known = self._containers[container.id] = _Known(socket, container, namespace, at, before.owner if before else None)
        self._settle(container.id, known, namespaces.get(namespace) if namespace else None, news)

    def _namespace_of(self, socket: str, container: Container) -> Key | None:
        user = user_of(socket)
        believed = user is None or is_of(user, container.pid, self._proc)
        paths = [f"{self._proc}/{container.pid}/ns/net"] if container.pid and believed else []
        for path in (*paths, container.network_namespace) if user is None else paths:
            key = _key_of(path)
            if key is not None:
                return key
        return None

    def _settle(self, identity: str, known: _Known, owner: str | None, news: _News) -> None:
        """A container is in this namespace now."""
        before, known.owner = known.owner, owner
        if before and before != owner:
            self._leave(identity, before, news)
        if owner and owner != self._host_tid:
            self._inside.setdefault(owner, set()).add(identity)
            self._tell_namespace(owner, news)
        self._tell_container(identity, known, news)

    def _end(self, identity: str, news: _News) -> None:
        known = self._containers.pop(identity, None)
        if known is None:
            return
        if known.owner:
            self._leave(identity, known.owner, news)
        self._tell(identity, (), news)

    def _leave(self, identity: str, owner: str, news: _News) -> None:
        if owner in self._inside:
            self._inside[owner].discard(identity)
            self._tell_namespace(owner, news)
            if not self._inside[owner]:
                del self._inside[owner]

    def _end_known_before(self, socket: str) -> None:
        """What the graph has of an earlier run, and has ended since, ended when its runtime says. Of others it is no news."""
        ends = self._runtimes.stopped(socket)
        for identity, at in sorted(ends.items(), key=lambda one: one[1]):
            if identity in self._containers:  # another socket's, which runs: a user's daemon may lie
                continue
            self._report(self._when(at), _News(gone={node_id(container_tid(self._host_tid, identity))}))

    def _end_unseen(self, news: _News) -> None:
        """Those whose process ended while their runtime is away."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK
        up = {one.path for one in self._runtimes.status() if one.up}
        unseen = [one for one, known in self._containers.items() if known.socket not in up and known.container.pid]
        for identity in unseen:
            known = self._containers[identity]
            if known.namespace and _key_of(f"{self._proc}/{known.container.pid}/ns/net") != known.namespace:
                self._end(identity, news)

    def _tell_container(self, identity: str, known: _Known, news: _News) -> None:
        networks = self._networks.get(known.socket, ())
        facts = container_facts(known.container, self._host_tid, known.owner, networks, self._labels)
        self._tell(identity, facts, news)

    def _tell_namespace(self, tid: str, news: _News) -> None:
        inside = [self._containers[one].container for one in self._inside[tid] if one in self._containers]
        self._tell(tid, [namespace_fact(tid, inside)] if inside else (), news)

    def _tell_networks(self, news: _News) -> None:
        self._tell(_NETWORKS, self._network_facts(), news)

    def _network_facts(self) -> Iterator[Fact]:
        told: set[tuple[str, str]] = set()
        devices = cache(self._devices)
        for network in (one for some in self._networks.values() for one in some):
            if (network.runtime, network.id) not in told:  # users' own Podmans give the same IDs
                told.add((network.runtime, network.id))
                device = devices(network.daemon).get(network.device)
                yield from network_facts(network, self._host_tid, device, self._labels)

    def _devices(self, daemon: int) -> Mapping[str, str]:
        """TIDs of the devices where a daemon is."""
        namespace = _key_of(f"{self._proc}/{daemon}/ns/net") if daemon else None
        return self._kernel.device_tids(namespace) if namespace else {}

    def _tell(self, about: str, facts: Iterable[Fact], news: _News) -> None:
        """These are the facts of something now: what is otherwise than before is news."""
        now, before = {fact.id: fact for fact in facts}, self._told.get(about, {})
        for id_, fact in now.items():
            news.gone.discard(id_)
            if before.get(id_) != fact:
                news.changed[id_] = fact
        for id_ in before.keys() - now.keys():
            news.changed.pop(id_, None)
            news.gone.add(id_)
        if now:
            self._told[about] = now
        else:
            self._told.pop(about, None)

    def _report(self, at: int, news: _News, *, whole: bool = False) -> None:
        facts: Sequence[Fact] = tuple(news.changed.values())
        if whole:
            facts = [fact for some in self._told.values() for fact in some.values()]
        if not (facts or news.gone or whole):
            return
        try:
            now = max(self._clock(), at)
            self._sink(Report(self._source, now, tuple(facts), tuple(news.gone), whole, late=now - at))
        except Exception as error:  # noqa: BLE001 - whatever the graph says, the runtimes go on telling
            self._report_failure, self._whole = str(error), True  # once it takes reports again, it gets all
            _log.error("report_failed", probe=self._source.probe, error=str(error))
        else:
            self._report_failure = None
            self._whole = self._whole and not whole


def _began(container: Container) -> int:
    """When, ns since the epoch; 0: nobody says. Of a sandbox nobody tells more than when it was made: it starts at once."""
    return container.started or (container.created if container.sandbox else 0)


def _key_of(path: str) -> Key | None:
    """The network namespace that a file leads to."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
