"""The probe's own rules: what it does when runtimes, the kernel or the graph are late, away or too fast."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.hublab import now_us
from support.netlab import until

from skytrail.kernel.namespaces import Key
from skytrail.runtimes.client import ContainerTold, EndpointStatus, Listed, NetworksTold, Told
from skytrail.runtimes.container import Attachment, Container, Network
from skytrail.tid import container_network_tid, container_tid
from topology.elements import edge_id, node_id
from topology.facts import NodeFact, Report, Source
from topology.probes.containers.labels import LabelFilter
from topology.probes.containers.probe import ContainersProbe
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

HOST, SPACE, SOCKET, OTHER = "host/h", "host/h/netns/a", "/run/a.sock", "/run/user/1000/docker.sock"
OWN = Path("/proc/self/ns/net").stat()
KEY = OWN.st_dev, OWN.st_ino


class Runtimes:
    """Who tells, as the test wants it to."""

    def __init__(self) -> None:
        self.listener: Callable[[Told], object] = lambda _: None
        self.up = self.settled = True
        self.failure = ""
        self.known: list[Told] = []
        self.ends: dict[str, int] = {}

    def listen(self, listener: Callable[[Told], object]) -> None:
        self.listener = listener
        for told in self.known:
            listener(told)

    def status(self) -> list[EndpointStatus]:
        return [EndpointStatus("docker", SOCKET, self.up, 0, self.failure)]

    def stopped(self, socket: str) -> dict[str, int]:
        assert socket in {SOCKET, OTHER}
        return self.ends


class Kernel:
    """One namespace, which is the test's own."""

    def __init__(self) -> None:
        self.namespaces: dict[Key, str] | None = {KEY: SPACE}
        self.devices: dict[str, str] = {"br0": "host/h/br0"}
        self.looked = 0

    def namespace_tids(self) -> Mapping[Key, str] | None:
        return self.namespaces

    def device_tids(self, namespace: Key) -> Mapping[str, str]:
        assert namespace == KEY
        return self.devices

    def look_for_namespaces(self) -> None:
        self.looked += 1


class Lab:
    """The probe before a real reconciler and store."""

    def __init__(self, folder: Path) -> None:
        self.store = EmbeddedStore(folder, clock=now_us)
        self.reconciler = Reconciler(self.store, "h", now_us)
        self.runtimes, self.kernel = Runtimes(), Kernel()
        self.refuse: Exception | None = None
        there = [NodeFact(tid, {"Type": kind, "Name": tid}) for tid, kind in ((HOST, "host"), (SPACE, "netns"))]
        there.append(NodeFact("host/h/br0", {"Type": "bridge", "Name": "br0"}))
        self.reconciler.report(Report(Source("netlink", "h"), now_us(), tuple(there), whole=True))
        self.probe = self.begin()

    def begin(self) -> ContainersProbe:
        source, labels = Source("containers", "h"), LabelFilter(["*"], [])
        return ContainersProbe(self._sink, source, HOST, self.runtimes, self.kernel, labels, now_us)

    def _sink(self, report: Report) -> None:
        if self.refuse:
            raise self.refuse
        self.reconciler.report(report)

    def there(self) -> set[str]:
        """IDs of all elements of the probe's."""
        return {one.id for one in self.store.current() if one.state and "containers" in one.state.parts}

    def close(self) -> None:
        self.probe.stop()
        self.store.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "graph")
    yield made
    made.close()


def container(identity: str, pid: int = 0, **more: object) -> Container:
    return Container(identity, f"name-{identity}", "box", "docker", pid=pid or os.getpid(), **more)  # type: ignore[arg-type]


def listed(*containers: Container, networks: tuple[Network, ...] = (), ends: Mapping[str, int] | None = None) -> Listed:
    return Listed(SOCKET, {one.id: one for one in containers}, networks, ends or {})


def node(identity: str) -> str:
    return node_id(container_tid(HOST, identity))


def owned(identity: str, owner: str = SPACE) -> str:
    return edge_id(node_id(owner), node(identity), "ownership")


def test_one_that_began_unseen_is_there_from_its_beginning_and_what_changed_unseen_when_it_is_seen(lab: Lab) -> None:
    began = now_us() - 60_000_000
    first = container("a", started=began * 1000, created=1000)
    sandbox = container("pod", created=(began - 5) * 1000, sandbox=True)
    lab.runtimes.known = [listed(first, sandbox, container("b", created=1000))]
    lab.probe.start()
    until(lambda: lab.there() >= {node("a"), node("b"), node("pod")})
    lab.probe.stop()
    lab.runtimes.known = [listed(replace(first, name="renamed"), sandbox, container("b"))]
    listed_at = now_us()
    lab.probe = lab.begin()
    lab.probe.start()

    def begins(identity: str) -> list[int]:
        return sorted(one.updated_at for one in lab.store.between(1, now_us()) if one.id == node(identity) and one.state)

    until(lambda: len(begins("a")) == 2)
    told = begins("a")
    assert told[0] == began
    assert told[1] > listed_at
    assert begins("pod")[0] == began - 5
    assert begins("b")[0] > began + 60_000_000


def test_a_container_hangs_on_its_namespace_and_its_network_on_its_bridge(lab: Lab) -> None:
    network = Network("n1", "net", "docker", "bridge", device="br0", daemon=os.getpid())
    others = (Network("n2", "host", "docker", "host"), Network("n3", "none", "docker", "null"))
    lab.runtimes.known = [listed(container("a", networks=(Attachment("net", "n1"),)), networks=(network, *others))]
    lab.probe.start()

    of_network = node_id(container_network_tid(HOST, "docker", "n1"))
    expected = {node("a"), owned("a"), node_id(SPACE), of_network}
    expected |= {edge_id(node_id(HOST), of_network, "ownership"), edge_id(of_network, node("a"), "network")}
    expected |= {edge_id(of_network, node_id("host/h/br0"), "network")}
    until(lambda: lab.there() == expected)
    lab.runtimes.listener(NetworksTold(SOCKET, (), 0))
    until(lambda: lab.there() == {node("a"), owned("a"), node_id(SPACE)})


def test_a_users_daemon_is_not_believed_of_others_processes_and_containers(lab: Lab) -> None:
    lab.runtimes.known = [
        listed(container("a")),
        Listed(OTHER, {"b": container("b"), "a": replace(container("a"), name="mine")}, (), {}),
    ]
    lab.probe.start()
    expected = {node("a"), owned("a"), node_id(SPACE), node("b")}
    until(lambda: lab.there() >= expected - {owned("a")})
    lab.runtimes.listener(ContainerTold(OTHER, "a", None, 0))
    lab.runtimes.listener(ContainerTold(OTHER, "c", container("c"), 0))
    until(lambda: node("c") in lab.there())
    there = {one.id: one.state.metadata for one in lab.store.current() if one.state}
    assert there.keys() & {owned("a"), owned("b"), owned("c")} == {owned("a")}
    assert there[node("a")]["Name"] == "name-a"
    assert there[node_id(SPACE)]["Containers"] == ["name-a"]


def test_one_with_the_hosts_network_is_the_hosts(lab: Lab) -> None:
    lab.kernel.namespaces = {KEY: HOST}
    lab.runtimes.known = [listed(container("a"))]
    lab.probe.start()

    until(lambda: lab.there() == {node("a"), owned("a", HOST)})


def test_a_namespace_or_device_that_the_kernel_tells_of_later_is_joined_then(lab: Lab) -> None:
    lab.kernel.namespaces, lab.kernel.devices = {}, {}
    network = Network("n1", "net", "docker", "bridge", device="br0", daemon=os.getpid())
    lab.runtimes.known = [listed(container("a"), networks=(network,))]
    lab.probe.start()
    until(lambda: node("a") in lab.there())
    assert owned("a") not in lab.there()
    assert lab.probe.unplaced == 1

    lab.kernel.namespaces, lab.kernel.devices = {KEY: SPACE}, {"br0": "host/h/br0"}
    lab.probe.kernel_changed()
    joined = edge_id(node_id(container_network_tid(HOST, "docker", "n1")), node_id("host/h/br0"), "network")
    until(lambda: {owned("a"), joined} <= lab.there(), 0.9)  # sooner than it looks by itself
    assert lab.probe.unplaced == 0


def test_nothing_is_told_before_the_kernel_was_looked_at(lab: Lab) -> None:
    lab.kernel.namespaces = None
    lab.runtimes.known = [listed(container("a"))]
    lab.probe.start()
    time.sleep(0.1)
    assert lab.there() == set()

    lab.kernel.namespaces = {KEY: SPACE}
    lab.probe.kernel_changed()
    until(lambda: owned("a") in lab.there())


def test_after_a_restart_nothing_ends_before_the_runtime_has_answered(lab: Lab) -> None:
    lab.runtimes.known = [listed(container("a"), container("b"))]
    lab.probe.start()
    until(lambda: {node("a"), node("b")} <= lab.there())
    lab.probe.stop()

    lab.runtimes.known, lab.runtimes.settled = [], False
    lab.probe = lab.begin()
    lab.probe.start()
    time.sleep(0.1)
    assert {node("a"), node("b")} <= lab.there()
    lab.runtimes.settled = True
    lab.runtimes.listener(listed(container("b")))
    until(lambda: node("a") not in lab.there())
    assert node("b") in lab.there()


def test_ends_are_when_the_runtime_says(lab: Lab) -> None:
    lab.runtimes.known = [listed(container("a"), container("b"), container("c"))]
    lab.probe.start()
    until(lambda: {node("a"), node("b"), node("c")} <= lab.there())
    ended = now_us() + 1000
    until(lambda: now_us() > ended + 1000)
    lab.runtimes.listener(listed(container("c"), ends={"a": ended * 1000}))  # of b it does not know
    until(lambda: not {node("a"), node("b")} & lab.there())
    future = (now_us() + 10**9) * 1000
    lab.runtimes.listener(ContainerTold(SOCKET, "c", None, future))
    until(lambda: node("c") not in lab.there())

    ends = {one.id: one.archived_at for one in lab.store.between(0, now_us()) if one.id in {node(name) for name in "abc"}}
    assert ends[node("a")] == ended
    assert ended < ends[node("b")] < ends[node("c")] <= now_us()


def test_what_ended_while_nobody_watched_ended_when_the_runtime_says(lab: Lab) -> None:
    lab.runtimes.known = [listed(container("a"), container("b"))]
    lab.probe.start()
    until(lambda: {node("a"), node("b")} <= lab.there())
    lab.probe.stop()
    ended = now_us() + 1000
    until(lambda: now_us() > ended + 1000)

    lab.runtimes.known, lab.runtimes.ends = [listed(container("c"))], {"a": ended * 1000, "never": (ended - 500) * 1000}
    lab.probe = lab.begin()
    lab.probe.start()
    until(lambda: not {node("a"), node("b")} & lab.there())
    assert node("c") in lab.there()

    ends = {one.id: one.archived_at for one in lab.store.between(0, now_us()) if one.id in {node(name) for name in "abc"}}
    assert ends[node("a")] == ended
    assert ends[node("b")] > ended


def test_no_daemon_ends_what_another_one_runs(lab: Lab) -> None:
    lab.runtimes.known = [listed(container("a"))]
    lab.probe.start()
    until(lambda: {node("a"), owned("a")} <= lab.there())
    lab.runtimes.ends = {"a": now_us() * 1000}
    lab.runtimes.listener(Listed(OTHER, {"b": container("b")}))
    until(lambda: node("b") in lab.there())

    assert {node("a"), owned("a")} <= lab.there()


def test_what_comes_too_fast_is_asked_for_anew(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topology.probes.containers.probe._MAX_WAITING", 3)
    lab.kernel.namespaces = None  # nothing is taken meanwhile
    lab.probe.start()
    told = [container(str(number)) for number in range(10)]
    for one in told:
        lab.runtimes.listener(ContainerTold(SOCKET, one.id, one, 0))
    lab.runtimes.known = [listed(*told[5:])]
    lab.kernel.namespaces = {KEY: SPACE}
    lab.probe.kernel_changed()

    until(lambda: {one for one in lab.there() if one in {node(one.id) for one in told}} == {node(one.id) for one in told[5:]})
    assert lab.probe.dropped == 7


def test_a_graph_that_refuses_gets_all_later(lab: Lab) -> None:
    lab.refuse = RuntimeError("no room")
    lab.runtimes.known = [listed(container("a"))]
    lab.probe.start()
    until(lambda: lab.probe.failure == "no room")

    lab.refuse = None
    until(lambda: lab.there() == {node("a"), owned("a"), node_id(SPACE)})
    assert lab.probe.failure is None


def test_while_a_runtime_is_away_those_whose_process_ended_end(lab: Lab) -> None:
    sleeping = subprocess.Popen(["sleep", "1000"])
    lab.runtimes.known = [listed(container("a", sleeping.pid), container("b"))]
    lab.probe.start()
    until(lambda: {owned("a"), owned("b")} <= lab.there())
    assert lab.probe.failure is None

    lab.runtimes.up, lab.runtimes.failure = False, "it is away"
    assert lab.probe.failure == "it is away"
    sleeping.kill()
    sleeping.wait()
    until(lambda: node("a") not in lab.there())
    assert node("b") in lab.there()


def test_a_runtime_that_never_answered_is_no_failure(lab: Lab) -> None:
    lab.runtimes.up, lab.runtimes.failure = False, "no CRI"
    lab.probe.start()

    assert lab.probe.failure is None
    assert not lab.probe.active


def test_tell_all_tells_all(lab: Lab) -> None:
    lab.runtimes.known = [listed(container("a"))]
    lab.probe.start()
    until(lambda: owned("a") in lab.there())
    lab.reconciler.report(Report(Source("containers", "h"), now_us(), (), whole=True))  # a graph that knows nothing of it
    assert lab.there() == set()

    lab.probe.tell_all()
    until(lambda: lab.there() == {node("a"), owned("a"), node_id(SPACE)})
