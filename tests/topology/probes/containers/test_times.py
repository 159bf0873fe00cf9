"""When things happened, where they are told late: nothing is moved behind what was only learnt meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from skytrail.kernel.namespaces import Key
from skytrail.runtimes.client import ContainerTold, EndpointStatus, Told
from skytrail.runtimes.container import Container
from topology.facts import EdgeFact, Report, Source
from topology.probes.containers.labels import LabelFilter
from topology.probes.containers.probe import ContainersProbe

HOST, SPACE, SOCKET, PID = "host/h", "host/h/netns/a", "/run/a.sock", "1"
SECOND = 1_000_000


class Runtimes:
    """Tells what the test says."""

    settled = True

    def listen(self, listener: Callable[[Told], object]) -> None:
        self.tell = listener

    def status(self) -> list[EndpointStatus]:
        return []

    def stopped(self, socket: str) -> dict[str, int]:
        assert socket == SOCKET
        return {}


class Kernel:
    """Has namespaces when the test says so."""

    def __init__(self) -> None:
        self.namespaces: dict[Key, str] = {}

    def namespace_tids(self) -> Mapping[Key, str]:
        return self.namespaces

    def device_tids(self, namespace: Key) -> Mapping[str, str]:
        assert namespace in self.namespaces
        return {}

    def look_for_namespaces(self) -> None:
        """It is late."""


def test_a_namespace_that_is_learnt_of_late_is_the_containers_from_its_beginning(tmp_path: Path) -> None:
    (tmp_path / PID / "ns").mkdir(parents=True)
    space = tmp_path / PID / "ns/net"
    space.touch()
    key, now, reports = (space.stat().st_dev, space.stat().st_ino), [10 * SECOND], list[Report]()
    runtimes, kernel = Runtimes(), Kernel()
    probe = ContainersProbe(
        reports.append, Source("containers", "h"), HOST, runtimes, kernel, LabelFilter((), ()), lambda: now[0], tmp_path
    )
    runtimes.listen(probe._hear)
    began = 3 * SECOND
    runtimes.tell(ContainerTold(SOCKET, "c", Container("c", "c", "i", "docker", pid=int(PID)), began * 1000))
    probe._once()
    now[0], kernel.namespaces = 15 * SECOND, {key: SPACE}
    probe._once()

    edges = [report for report in reports if not report.whole and any(isinstance(one, EdgeFact) for one in report.facts)]
    assert {report.observed - report.late for report in edges} == {began}
    assert [one.parent for one in reports[-1].facts if isinstance(one, EdgeFact)] == [SPACE]

    runtimes.tell(ContainerTold(SOCKET, "short", Container("short", "short", "i", "docker", pid=int(PID)), 16 * SECOND * 1000))
    space.unlink()  # it has ended before anybody looks
    probe._once()
    assert [one.parent for one in reports[-1].facts if isinstance(one, EdgeFact)] == [SPACE]

    now[0], kernel.namespaces = 20 * SECOND, {key: f"{SPACE}/named"}  # it has another identity from now on
    probe._once()
    assert reports[-1].observed == now[0]
