"""One client of all container runtimes on this host: it knows which container an ID belongs to.

Each runtime whose socket is there is followed by a thread of its own; one that comes later is found when its socket appears.
Whoever asks is answered from memory, at once.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from skytrail.metrics import Family
from skytrail.runtimes import metrics
from skytrail.runtimes.activation import Activation, refused
from skytrail.runtimes.cgroups import CgroupOwner
from skytrail.runtimes.container import (
    MAX_CONTAINERS,
    Change,
    Container,
    Network,
    NetworkChange,
    NoSuchApiError,
    NotRunningError,
    RuntimeApi,
    RuntimeAwayError,
)
from skytrail.runtimes.endpoints import DEFAULTS, Endpoint, Protocol, connect, present

_log = structlog.get_logger(__name__)

_DISCOVER = 5.0  # seconds between two looks at which sockets are there
_FIRST_RETRY, _LAST_RETRY = 0.5, 30.0  # seconds; doubled after each failure
_NO_API_RETRY = 300.0  # seconds; who does not speak it will hardly learn to
_NOBODY_RETRY = 5.0  # seconds, where nobody listens: to see that takes no time
_NOBODY_SHARE = 100  # but where it does take some, as on a host of thousands of processes, so many times as long
_GONE = 60.0  # seconds for which nobody listens, after which a daemon is not one that is just being restarted
_REMEMBERED = 300.0  # seconds for which a container that ended is still known: flows are reported later than they end
_UNKNOWN = 30.0  # seconds for which an ID that nobody told of is not asked for again
_MAX_ENDED = 10_000
_MAX_UNKNOWN = 10_000
_JOIN = 7.0  # seconds; a call has a limit of 5


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """How one socket does, for ``skytrail check`` and the status of an agent.

    Attributes:
        runtime: who it is.
        path: the socket's.
        up: whether it answers.
        containers: that run.
        failure: why it does not answer; empty if it does, or was not tried yet.
        other: whether somebody else answers, who does not speak a runtime's API, or whoever it is cannot be asked here.
        gone: whether nobody has listened for long: the runtime does not run, or is not here any more.
    """

    runtime: str
    path: str
    up: bool
    containers: int
    failure: str
    other: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """All that a socket tells of.

    Attributes:
        socket: its path.
        containers: that run, by ID.
        networks: of its runtime.
        ends: when those that were known and run no more ended, by ID, ns since the epoch; 0: that is not known.
    """

    socket: str
    containers: Mapping[str, Container]
    networks: tuple[Network, ...] = ()
    ends: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerTold:
    """A container began, or is otherwise; with None it ended. ``at``: ns since the epoch; 0: the runtime does not say."""

    socket: str
    id: str
    container: Container | None
    at: int


@dataclass(frozen=True, slots=True)
class NetworksTold:
    """These are a runtime's networks now. ``at`` as above."""

    socket: str
    networks: tuple[Network, ...]
    at: int


Told = Listed | ContainerTold | NetworksTold


class RuntimesClient:
    """Follows the runtimes and finds their containers. :meth:`find` and the others may be called from any thread.

    Args:
        endpoints: where runtimes may listen.
        root: what their paths are below: elsewhere than ``/`` in a container that has the host's file system mounted.
        eager: connect also to those that systemd starts for whoever connects, before anybody asks for a container.
        remembered: seconds for which a container that ended is still found.
        discover: seconds between two looks at which sockets are there.
        gone: seconds for which nobody listens, after which a runtime does not run: what it told of ends, but for containers
            whose processes live, and networks with such.
        connect: makes a client for an endpoint.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint] = DEFAULTS,
        *,
        root: Path = Path("/"),
        eager: bool = False,
        remembered: float = _REMEMBERED,
        discover: float = _DISCOVER,
        gone: float = _GONE,
        connect: Callable[[Endpoint], RuntimeApi] = connect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints, self._root, self._connect, self._clock = tuple(endpoints), root, connect, clock
        self._remembered, self._discover, self._gone = remembered, discover, gone
        self._start = time.time_ns()
        self._lock = threading.Lock()
        self._running: dict[str, tuple[str, Container]] = {}  # by ID: its socket's path, and what it is
        self._held: Counter[str] = Counter()  # how many of these, by path
        self._ended: OrderedDict[str, tuple[float, Container]] = OrderedDict()  # by ID: when it ended; the oldest first
        self._unknown: OrderedDict[str, float] = OrderedDict()  # by ID: until when nobody is asked again; the soonest first
        self._wanted: set[str] = set()  # runtimes of which a container was asked for; "": of whichever
        self._eager, self._looked = eager, False
        self._version = 0
        self._lookups: Counter[str] = Counter()
        self._followers: dict[str, _Follower] = {}
        self._absences: dict[str, _Absence] = {}  # by path, of those at which nobody listens
        self._counts: dict[str, _Counts] = {}
        self._networks: dict[str, tuple[Network, ...]] = {}  # by path, of those that were listed
        self._listener: Callable[[Told], object] = lambda _: None
        self._stopping, self._look = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._find_sockets, name="runtimes", daemon=True)

    def start(self) -> None:
        """Start looking for runtimes; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop all threads; what is known stays known. More than once does no harm."""
        self._stopping.set()
        self._look.set()
        with self._lock:
            followers = list(self._followers.values())
        for follower in followers:
            follower.stop()
        for thread in (self._thread, *(follower.thread for follower in followers)):
            if thread.is_alive():
                thread.join(_JOIN)

    @property
    def version(self) -> int:
        """Grows whenever a container began, ended or got another name."""
        return self._version

    def find(self, container_id: str, runtime: str = "") -> Container | None:
        """The container of an ID, also for some minutes after it ended; None where no runtime has told of it, or not yet.

        Never waits. An ID that nobody knows makes the runtimes that have to be asked look sooner, once in a while.
        ``runtime`` is which it belongs to, where its control group told.
        """
        with self._lock:
            running = self._running.get(container_id)
            if running:
                self._lookups["running"] += 1
                return running[1]
            ended = self._ended.get(container_id)
            if ended and self._clock() - ended[0] <= self._remembered:
                self._lookups["ended"] += 1
                return ended[1]
            self._lookups["unknown"] += 1
            if self._unknown.get(container_id, 0.0) > self._clock() or not container_id:
                return None
            self._unknown.pop(container_id, None)
            self._unknown[container_id] = self._clock() + _UNKNOWN
            if len(self._unknown) > _MAX_UNKNOWN:
                self._unknown.popitem(last=False)
            if runtime not in self._wanted:
                self._wanted.add(runtime)
                self._look.set()
            followers = list(self._followers.values())
        for follower in followers:
            follower.wake()
        return None

    def find_owner(self, owner: CgroupOwner) -> Container | None:
        """The container that a control group belongs to, as :meth:`find` does.

        Of one that runs in another container it is the nearest that this host's runtimes know: they know nothing of what a
        runtime inside of a container runs.
        """
        for identity, runtime in ((owner.container_id, owner.runtime), *((outer, "") for outer in owner.outer)):
            found = self.find(identity, runtime) if identity else None
            if found:
                return found
        return None

    def listen(self, listener: Callable[[Told], object]) -> None:
        """Have one listener told all that is known, and each change from now on, in order; it must not take long.

        Sockets that systemd waits at are connected to from now on: who listens wants to know of every container.
        """
        with self._lock:
            self._listener = listener
            self._looked, self._eager = self._looked and self._eager, True
            for path, networks in self._networks.items():
                listener(Listed(path, self._of(path), networks))
        self._look.set()

    def _of(self, path: str) -> dict[str, Container]:
        return {identity: container for identity, (at, container) in self._running.items() if at == path}

    def containers(self) -> list[Container]:
        """All that run."""
        with self._lock:
            return [container for _, container in self._running.values()]

    def status(self) -> list[EndpointStatus]:
        """Each socket that was found."""
        with self._lock:
            gone = self._gone_for_long()
            return [
                EndpointStatus(
                    follower.runtime, path, follower.up, self._held[path], follower.failure, follower.other, path in gone
                )
                for path, follower in self._followers.items()
            ]

    def stopped(self, socket: str) -> dict[str, int]:
        """When containers of a socket's that have ended, and that it keeps all the same, did; by ID, ns since the epoch.

        Asked there and then, by a client of its own; nothing, where there is no answer.
        """
        with self._lock:
            follower = self._followers.get(socket)
        if follower is None:
            return {}
        try:
            with contextlib.closing(self._connect(follower.endpoint)) as api:
                return api.stopped()
        except (ImportError, RuntimeAwayError) as error:
            _log.debug("runtime_tells_no_ends", socket=socket, error=str(error))
            return {}

    @property
    def settled(self) -> bool:
        """Whether every socket that is here was looked for, and has told all that it has, if anybody is behind it."""
        return self._looked and all(one.up or one.other or one.gone for one in self.status())

    def families(self) -> Iterable[Family]:
        """The metrics of :data:`metrics.DECLARED`."""
        states = self.status()
        running = Counter(container.runtime for container in self.containers())
        with self._lock:
            lookups = [((result,), float(self._lookups[result])) for result in ("running", "ended", "unknown")]
            running.update(dict.fromkeys(self._counts, 0))
            counts = {runtime: (count.lists, count.seconds, count.failures) for runtime, count in self._counts.items()}
        yield Family(metrics.UP, [((state.runtime, state.path), float(state.up)) for state in states])
        yield Family(metrics.CONTAINERS, [((runtime,), float(count)) for runtime, count in running.items()])
        for position, metric in enumerate((metrics.LISTS, metrics.LIST_SECONDS, metrics.FAILURES)):
            samples = [((runtime,), float(count[position])) for runtime, count in counts.items()]
            yield Family(metric, samples, self._start)
        yield Family(metrics.LOOKUPS, lookups, self._start)

    def _find_sockets(self) -> None:
        while not self._stopping.is_set():
            self._look.clear()
            try:
                self._follow(present(self._endpoints, self._root))
                self._forget()
            except Exception as error:  # noqa: BLE001 - the search goes on whatever the file system does
                _log.error("runtimes_search_failed", error=str(error), exc_info=True)
            self._look.wait(self._discover)

    def _follow(self, endpoints: Sequence[Endpoint]) -> None:
        """Start a thread for each new socket, and let go of those that have gone."""
        with self._lock:
            for path in self._followers.keys() - {endpoint.path for endpoint in endpoints}:
                self._followers.pop(path).stop()
                self._absences.setdefault(path, _Absence(self._clock(), time.time_ns()))
            for endpoint in endpoints:
                if endpoint.path in self._followers or self._stopping.is_set() or not self._is_wanted(endpoint):
                    continue
                follower = _Follower(endpoint, self._connect, self)
                self._followers[endpoint.path] = follower
                follower.start()
            self._looked = True

    def _is_wanted(self, endpoint: Endpoint) -> bool:
        return self._eager or not endpoint.on_demand or bool(self._wanted & {"", endpoint.runtime})

    def gone(self, path: str, containers: Sequence[Container]) -> list[str]:
        """Those that a socket told of, and that are not among what it tells of now. For followers."""
        with self._lock:
            return list(self._of(path).keys() - {container.id for container in containers})

    def sync(
        self,
        path: str,
        runtime: str,
        containers: Sequence[Container],
        networks: tuple[Network, ...],
        ends: Mapping[str, int],
        seconds: float,
    ) -> None:
        """What a socket tells of is all that runs there. For followers."""
        new = {container.id: container for container in containers}
        with self._lock:
            count = self._counts.setdefault(runtime, _Counts())
            count.lists, count.seconds = count.lists + 1, count.seconds + seconds
            if path in self._followers:
                self._absences.pop(path, None)
            self._end_all(path, but=new)
            for container in new.values():
                self._begin(path, container)
            self._networks[path] = networks
            self._listener(Listed(path, self._of(path), networks, ends))

    def apply(self, path: str, change: Change | NetworkChange, networks: tuple[Network, ...]) -> None:
        """What happened. For followers."""
        with self._lock:
            if isinstance(change, NetworkChange):
                self._networks[path] = networks
                self._listener(NetworksTold(path, networks, change.at))
            elif change.container is None:
                if self._running.get(change.id, ("",))[0] == path:
                    self._end(change.id)
                    self._listener(ContainerTold(path, change.id, None, change.at))
            elif self._begin(path, change.container):
                self._listener(ContainerTold(path, change.id, change.container, change.at))

    def failed(self, path: str, runtime: str, *, nobody: bool) -> None:
        """A runtime did not answer. ``nobody``: nobody listens. For followers."""
        with self._lock:
            self._counts.setdefault(runtime, _Counts()).failures += 1
            if not nobody:
                self._absences.pop(path, None)
            elif path in self._followers:
                self._absences.setdefault(path, _Absence(self._clock(), time.time_ns()))

    def _begin(self, path: str, container: Container) -> bool:
        """Note it; False: it is as it was, or another's."""
        known = self._running.get(container.id)
        if known is None:
            if self._held[path] >= MAX_CONTAINERS:
                return False
            self._held[path] += 1
        elif known[0] != path or known[1] == container:  # whoever told of it first keeps it: a user's daemon may lie
            return False
        self._running[container.id] = path, container
        self._ended.pop(container.id, None)
        self._unknown.pop(container.id, None)
        self._version += 1
        return True

    def _end_all(self, path: str, but: Collection[str] = frozenset()) -> None:
        for identity in [identity for identity, (at, _) in self._running.items() if at == path and identity not in but]:
            self._end(identity)

    def _end(self, identity: str) -> None:
        known = self._running.pop(identity, None)
        if known is None:
            return
        self._held[known[0]] -= 1
        self._ended[identity] = self._clock(), known[1]
        if len(self._ended) > _MAX_ENDED:
            self._ended.popitem(last=False)
        self._version += 1

    def _forget(self) -> None:
        with self._lock:
            now = self._clock()
            while self._ended and now - next(iter(self._ended.values()))[0] > self._remembered:
                self._ended.popitem(last=False)
            while self._unknown and next(iter(self._unknown.values())) <= now:
                self._unknown.popitem(last=False)
            for path in self._gone_for_long():
                self._let_go(path, self._absences[path])

    def _gone_for_long(self) -> list[str]:
        now = self._clock()
        return [path for path, absence in self._absences.items() if now - absence.since > self._gone]

    def _let_go(self, path: str, absence: _Absence) -> None:
        """End what a daemon that is gone told of, but for containers whose processes live, and networks with such."""
        containers = self._of(path)
        for identity, container in containers.items():
            if not (container.pid and Path(f"/proc/{container.pid}").exists()):
                self._end(identity)
                self._listener(ContainerTold(path, identity, None, 0 if container.pid else absence.at))
        if self._held[path]:
            absence.at = 0
            return
        if self._networks.pop(path, ()):
            self._listener(NetworksTold(path, (), absence.at))
        if path not in self._followers:
            del self._absences[path], self._held[path]


@dataclass(slots=True)
class _Absence:
    """Nobody listens.

    Attributes:
        since: by the client's clock.
        at: when what has no process ended, ns since the epoch; 0: not before the last process did, just now.
    """

    since: float
    at: int


@dataclass(slots=True)
class _Counts:
    lists: int = 0
    seconds: float = 0.0
    failures: int = 0


class _Follower:
    """A thread that follows one socket; what it learns it hands on."""

    def __init__(self, endpoint: Endpoint, connect: Callable[[Endpoint], RuntimeApi], client: RuntimesClient) -> None:
        self.runtime, self.up, self.failure, self.other = endpoint.runtime, False, "", False
        self.endpoint, self._connect, self._client = endpoint, connect, client
        self._api: RuntimeApi | None = None
        self._activation = Activation()
        self._stopping = threading.Event()
        self._retry = _FIRST_RETRY
        self.thread = threading.Thread(target=self._run, name=f"runtime-{endpoint.runtime}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def wake(self) -> None:
        if self._api:
            self._api.wake()

    def stop(self) -> None:
        """End the thread; does not wait for it."""
        self._stopping.set()
        if self._api:
            self._api.interrupt()

    def _run(self) -> None:
        try:
            self._api = self._connect(self.endpoint)
        except ImportError as error:
            self.other = True  # it will not answer: nobody waits for it
            self._lost(error, "install the optional packages: pip install 'skytrail[otlp]'")
            return
        try:
            while not self._stopping.is_set():
                begun = time.monotonic()
                try:
                    self._once(self._api)
                    continue
                except NoSuchApiError as error:
                    self._retry, self.other = _NO_API_RETRY, True
                    self._lost(error, "switch its CRI plugin on, if its containers are to have names")
                except NotRunningError as error:
                    self._retry = max(min(self._retry, _NOBODY_RETRY), _NOBODY_SHARE * (time.monotonic() - begun))
                    self._lost(error, "none needed, if it is not to run: it is waited for")
                    self._api.close()  # a client of the CRI would connect by itself
                    self._api = self._connect(self.endpoint)
                except RuntimeAwayError as error:
                    denied = self.other = isinstance(error.__cause__, PermissionError)
                    self._lost(error, "run as root, or in the socket's group" if denied else "none needed: it is tried again")
                except Exception as error:  # noqa: BLE001 - a runtime that answers with nonsense is tried again too
                    self._lost(error, "report this", exc_info=True)
                self._stopping.wait(self._retry)
                self._retry = min(2 * self._retry, _LAST_RETRY)
        finally:
            self._api.close()

    def _once(self, api: RuntimeApi) -> None:
        self._look_who_listens()
        begun = time.monotonic()
        containers = api.start()
        self.runtime, path = api.runtime, self.endpoint.path
        ends = {identity: api.ended(identity) for identity in self._client.gone(path, containers)}
        self._client.sync(path, self.runtime, containers, api.networks(), ends, time.monotonic() - begun)
        if not self.up:
            _log.info("runtime_found", runtime=self.runtime, socket=self.endpoint.path, containers=len(containers))
        self.up, self.failure, self.other, self._retry = True, "", False, _FIRST_RETRY
        for change in api.follow():
            if self._stopping.is_set():
                return
            self._client.apply(path, change, api.networks())

    def _look_who_listens(self) -> None:
        """Raises NotRunningError: nobody, or but systemd, which would start somebody whom a person may have stopped."""
        path = self.endpoint.path
        if self.endpoint.protocol is Protocol.PODMAN:
            return
        if not self.endpoint.on_demand and self._activation.waits(path):
            raise NotRunningError(f"{path}: it does not run; systemd would start it for whoever connects")
        if not self.up and refused(path):
            raise NotRunningError(f"{path}: nobody listens: Connection refused")

    def _lost(self, error: Exception, remedy: str, *, exc_info: bool = False) -> None:
        if self._stopping.is_set():
            return
        self._client.failed(self.endpoint.path, self.runtime, nobody=isinstance(error, NotRunningError))
        failure = str(error)
        if self.up or failure != self.failure:  # said once, not at every retry
            _log.warning("runtime_away", runtime=self.runtime, error=failure, remedy=remedy, exc_info=exc_info)
        self.up, self.failure = False, failure
