"""Sockets from the kernel to metrics and answers, with real processes in namespaces."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.netlab import NETNS, Net, in_netns, until

from exporters.bpf import sockets
from exporters.bpf.sockets import EVENT, RECORD, SocketPrograms
from exporters.sockets import metrics
from exporters.sockets.collector import SocketsCollector
from exporters.sockets.leftovers import leftovers
from skytrail.errors import RunError
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.worker import NamespaceWorker, current_cookie
from skytrail.metrics import Metric

pytestmark = pytest.mark.kernel


class Lab:
    """A collector, and the namespace that is looked at."""

    def __init__(self, net: Net) -> None:
        self.net, self.name = net, net.netns("a")
        self.worker = NamespaceWorker()
        status = (NETNS / self.name).stat()
        cookie = in_netns(self.name, current_cookie)
        self.namespace = Namespace(cookie, status.st_ino, status.st_dev, self.name, path=str(NETNS / self.name))
        self.collector = SocketsCollector(
            SocketPrograms(), lambda: {cookie: self.name}, lambda: leftovers(self.worker, [self.namespace]), interval=1.0
        )
        self.collector.start()

    def told(self, metric: Metric) -> dict[tuple[str, ...], Any]:
        """Values of this namespace, by the labels behind it."""
        [family] = [one for one in self.collector.families() if one.metric is metric]
        return {labels[1:]: value for labels, value in family.samples if labels[0] == self.name}

    def sockets(self) -> list[dict[str, Any]]:
        return [one for one in self.collector.sockets() if one["Namespace"] == self.name]

    def close(self) -> None:
        self.collector.stop()
        self.worker.close()


@pytest.fixture
def lab(net: Net) -> Iterator[Lab]:
    made = Lab(net)
    yield made
    made.close()


def test_sockets_are_counted_by_state_once_each_whoever_has_them(lab: Lab) -> None:
    def make() -> list[socket.socket]:
        server = socket.create_server(("127.0.0.1", 0), backlog=9)
        clients = [socket.create_connection(server.getsockname()) for _ in range(3)]
        accepted = server.accept()[0]
        clients[0].sendall(b"x" * 100)
        datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagram.bind(("127.0.0.1", 0))
        return [server, *clients, accepted, accepted.dup(), datagram]

    opened = in_netns(lab.name, make)
    port = str(opened[0].getsockname()[1])
    until(lambda: lab.told(metrics.SOCKETS).get(("tcp", "established")) == 4)
    assert lab.told(metrics.SOCKETS) == {("tcp", "listen"): 1, ("tcp", "established"): 4, ("udp", "close"): 1}
    [(whose, waiting)] = lab.told(metrics.LISTEN_QUEUE).items()
    assert (whose[1], waiting) == (port, 2)
    assert list(lab.told(metrics.LISTEN_LIMIT).values()) == [9]
    until(lambda: lab.told(metrics.RECEIVE_QUEUE)["tcp",] == 100)
    told = [(one["State"], one["FD"]) for one in lab.sockets() if one["Protocol"] == "TCP"]
    assert sorted(told) == sorted([("LISTEN", opened[0].fileno()), *(("ESTABLISHED", one.fileno()) for one in opened[1:-1])])
    for one in opened:
        one.close()
    until(lambda: lab.told(metrics.SOCKETS) == {})


def test_what_a_full_socket_drops_is_counted(lab: Lab) -> None:
    def make() -> tuple[socket.socket, socket.socket]:
        full, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        full.bind(("127.0.0.1", 0))
        return full, sender

    full, sender = in_netns(lab.name, make)
    for _ in range(50):
        sender.sendto(b"x" * 1000, full.getsockname())
    errors = int(lab.net.run(lab.name, "nstat", "-asz", "UdpRcvbufErrors").split()[-2])
    assert errors > 0
    until(lambda: lab.told(metrics.DROPS) == {("udp",): errors})
    for _ in range(7):
        sender.sendto(b"x" * 1000, full.getsockname())
    until(lambda: lab.told(metrics.DROPS) == {("udp",): errors + 7})
    assert [one["Drops"] for one in lab.sockets() if "Drops" in one] == [errors + 7]
    full.close()
    sender.close()


def test_connections_that_find_the_accept_queue_full_are_counted(lab: Lab) -> None:
    def make() -> list[socket.socket]:
        server = socket.create_server(("127.0.0.1", 0), backlog=1)
        clients = [socket.socket() for _ in range(6)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        return [server, *clients]

    opened = in_netns(lab.name, make)

    def agree() -> bool:
        before = dropped()
        ours = lab.told(metrics.DROPS).get(("tcp",), 0)
        return before == dropped() == ours > 0  # nothing was sent again meanwhile

    def dropped() -> int:
        return int(lab.net.run(lab.name, "nstat", "-asz", "TcpExtListenDrops").split()[-2])

    until(agree, 20)
    for one in opened:
        one.close()


def test_what_no_process_has_any_more_is_told_of_as_ss_does(lab: Lab) -> None:
    def make() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            for _ in range(5):
                client = socket.create_connection(server.getsockname())
                accepted, _ = server.accept()
                client.close()
                accepted.close()

    in_netns(lab.name, make)
    lines = lab.net.run(lab.name, "ss", "-Htan").splitlines()
    ss = sorted((line.split()[3], line.split()[4]) for line in lines if line.startswith("TIME-WAIT"))
    assert len(ss) == 5
    told = [one for one in lab.sockets() if one["State"] == "TIME_WAIT"]
    ends = [(f"{one['LocalAddress']}:{one['LocalPort']}", f"{one['RemoteAddress']}:{one['RemotePort']}") for one in told]
    assert sorted(ends) == ss
    assert {(one["Pid"], one["Name"]) for one in told} == {(0, "")}


def test_an_answer_is_json(lab: Lab) -> None:
    opened = in_netns(lab.name, lambda: socket.create_server(("127.0.0.1", 0)))
    [told] = json.loads(json.dumps(lab.sockets()))
    assert told["Pid"] == os.getpid()
    assert Path(told["Process"]).samefile(f"/proc/{os.getpid()}/exe")
    assert (told["LocalAddress"], told["LocalPort"], told["State"]) == (*opened.getsockname(), "LISTEN")
    assert told["Inode"] == os.fstat(opened.fileno()).st_ino
    opened.close()


class Broken:
    """Programs that fail, and do not."""

    def __init__(self) -> None:
        self.fails = True

    def read(self) -> Any:
        if self.fails:
            raise OSError(12, "Cannot allocate memory")
        return np.zeros(0, RECORD)

    def events(self) -> Any:
        return np.zeros(0, EVENT)

    def losses(self) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None:
        """Nothing to close."""


def test_a_pass_that_fails_is_said_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.sockets.collector._LOOK", 0.01)
    broken = Broken()
    collector = SocketsCollector(broken, dict, interval=0.02)
    collector.start()
    until(lambda: collector.failure is not None)
    assert "Cannot allocate memory" in str(collector.failure)
    broken.fails = False
    until(lambda: collector.failure is None)
    collector.stop()


class Slow(Broken):
    """Programs whose pass takes until it is allowed to end."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def read(self) -> Any:
        self.begun.set()
        self.go.wait(30)
        return np.zeros(0, RECORD)


def test_nobody_waits_for_a_pass_that_is_slow() -> None:
    slow = Slow()
    collector = SocketsCollector(slow, dict)
    collector.start()
    assert slow.begun.wait(10)
    asked = threading.Thread(target=lambda: (collector.known(np.ones(1, "u8")), list(collector.families())), daemon=True)
    asked.start()
    asked.join(10)
    assert not asked.is_alive()
    slow.go.set()
    collector.stop()


def test_while_passes_fail_no_old_ones_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.sockets.collector._LOOK", 0.01)
    broken = Broken()
    collector = SocketsCollector(broken, dict, interval=0.02)
    collector.start()
    until(lambda: collector.failure is not None)
    for _ in range(20):
        time.sleep(0.01)  # events are read meanwhile: that is no reason to be well
        assert collector.failure is not None
    with pytest.raises(RunError, match="Cannot allocate memory"):
        list(collector.families())
    collector.stop()


class Told(Broken):
    """Programs that tell what a test says."""

    def __init__(self) -> None:
        self.rows, self.told = np.zeros(0, RECORD), np.zeros(0, EVENT)

    def read(self) -> Any:
        return self.rows

    def events(self) -> Any:
        told, self.told = self.told, np.zeros(0, EVENT)
        return told


def test_namespaces_that_are_not_followed_keep_their_names_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of theirs has a socket at a pass: only what became of them in between tells."""
    source = Told()
    collector = SocketsCollector(source, dict)
    source.told = np.zeros(3, EVENT)
    source.told["kind"], source.told["owner"]["comm"] = sockets.CONNECTED, b"curl"
    source.told["ends"]["netns"], source.told["ends"]["inode"], source.told["ends"]["proto"] = (7, 7, 8), (4007, 4007, 4008), 6

    def connects() -> dict[tuple[str, ...], Any]:
        collector._pass()
        [family] = [one for one in collector.families() if one.metric is metrics.CONNECTS]
        return dict(family.samples)

    assert list(collector.families())
    assert connects() == connects() == {("inode:4007", "curl"): 2, ("inode:4008", "curl"): 1}
    monkeypatch.setattr("exporters.sockets.collector._REMEMBERED", -1.0)
    assert connects() == {}


def test_drops_of_a_namespace_leave_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Told()
    collector = SocketsCollector(source, dict)
    source.rows = np.zeros(1, RECORD)
    source.rows["cookie"], source.rows["drops"], source.rows["type"] = 1, 5, 2
    source.rows["ends"]["netns"], source.rows["ends"]["inode"], source.rows["ends"]["proto"] = 7, 4007, 17

    def dropped() -> dict[tuple[str, ...], Any]:
        collector._pass()
        [family] = [one for one in collector.families() if one.metric is metrics.DROPS]
        return dict(family.samples)

    assert dropped() == {("inode:4007", "udp"): 5}
    source.rows = source.rows[:0]
    assert dropped() == {("inode:4007", "udp"): 5}
    monkeypatch.setattr("exporters.sockets.collector._REMEMBERED", -1.0)
    assert dropped() == {}
