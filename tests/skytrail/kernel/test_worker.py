from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from skytrail.errors import RunError
from skytrail.kernel import worker as worker_module
from skytrail.kernel.namespaces import Namespace, NamespaceGoneError
from skytrail.kernel.worker import NamespaceWorker, current_cookie


def thread_namespace() -> str:
    return str(Path("/proc/thread-self/ns/net").readlink())


def namespace_at(path: str, cookie: int) -> Namespace:
    status = Path(path).stat()
    return Namespace(cookie, status.st_ino, status.st_dev, path=path)


@pytest.mark.kernel
def test_a_call_runs_inside_the_namespace_and_the_thread_comes_home(worker: NamespaceWorker, lab: Any) -> None:
    home = thread_namespace()
    path = f"/run/netns/{lab.netns('a')}"
    fd = os.open(path, os.O_RDONLY)
    try:
        assert worker.run(fd, thread_namespace) == f"net:[{Path(path).stat().st_ino}]"
    finally:
        os.close(fd)
    assert worker.run(Namespace(current_cookie(), 0, 0, own=True), thread_namespace) == home
    assert thread_namespace() == home


@pytest.mark.kernel
def test_a_socket_opened_inside_stays_inside(worker: NamespaceWorker, lab: Any) -> None:
    name = lab.netns("a")
    cookie = worker.run(namespace_with_cookie(worker, f"/run/netns/{name}"), current_cookie)
    target = namespace_at(f"/run/netns/{name}", cookie)
    with worker.run(target, socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as inside:
        raw = inside.getsockopt(socket.SOL_SOCKET, worker_module.SO_NETNS_COOKIE, 8)
        assert int.from_bytes(raw, "little") == cookie != current_cookie()


def namespace_with_cookie(worker: NamespaceWorker, path: str) -> Namespace:
    fd = os.open(path, os.O_RDONLY)
    try:
        return namespace_at(path, worker.run(fd, current_cookie))
    finally:
        os.close(fd)


@pytest.mark.kernel
def test_a_namespace_is_found_by_another_way_when_its_path_is_stale(worker: NamespaceWorker, lab: Any) -> None:
    process = lab.process()
    there = namespace_with_cookie(worker, f"/proc/{process.pid}/ns/net")
    stale = Namespace(there.cookie, there.inode, there.dev, path="/proc/0/ns/net")
    assert worker.run(stale, current_cookie) == there.cookie


@pytest.mark.kernel
def test_a_dead_namespace_is_named_in_one_line(worker: NamespaceWorker, lab: Any) -> None:
    process = lab.process()
    gone = namespace_with_cookie(worker, f"/proc/{process.pid}/ns/net")
    lab.end(process)
    with pytest.raises(NamespaceGoneError, match=str(gone.inode)) as caught:
        worker.run(gone, current_cookie)
    assert "\n" not in str(caught.value)


@pytest.mark.kernel
def test_another_namespace_with_the_same_inode_is_not_entered_for_it(worker: NamespaceWorker, lab: Any) -> None:
    path = f"/run/netns/{lab.netns('a')}"
    calls: list[str] = []
    with pytest.raises(NamespaceGoneError):
        worker.run(namespace_at(path, cookie=2**63), lambda: calls.append(thread_namespace()))
    assert calls == []


def test_what_the_call_raises_is_raised_to_the_caller_and_the_worker_goes_on(worker: NamespaceWorker) -> None:
    own = Namespace(current_cookie(), 0, 0, own=True)

    def fail() -> None:
        raise KeyError("mine")

    def late() -> None:
        raise TimeoutError("mine too")

    with pytest.raises(KeyError, match="mine"):
        worker.run(own, fail)
    with pytest.raises(TimeoutError, match="mine too"):
        worker.run(own, late)
    assert worker.run(own, os.getpid) == os.getpid()


def test_a_file_that_is_no_namespace_is_refused_by_the_kernel(worker: NamespaceWorker, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=r"Invalid argument|not permitted"):
            worker.run(fd, os.getpid)
    finally:
        os.close(fd)


@pytest.mark.kernel
def test_many_threads_at_once_each_get_their_own_namespace(worker: NamespaceWorker, lab: Any) -> None:
    spaces = [namespace_with_cookie(worker, f"/run/netns/{lab.netns(f'n{number}')}") for number in range(4)]
    wrong: list[Namespace] = []

    def ask(space: Namespace) -> None:
        wrong.extend(space for _ in range(200) if worker.run(space, current_cookie) != space.cookie)

    threads = [threading.Thread(target=ask, args=(space,)) for space in spaces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_call_from_inside_a_call_is_refused_instead_of_waiting_for_itself(worker: NamespaceWorker) -> None:
    own = Namespace(current_cookie(), 0, 0, own=True)
    with pytest.raises(RuntimeError, match="inside"):
        worker.run(own, worker.run, own, os.getpid)


def test_a_caller_does_not_wait_for_ever() -> None:
    slow = NamespaceWorker(timeout=0.05)
    own = Namespace(current_cookie(), 0, 0, own=True)
    let_go = threading.Event()
    try:
        with pytest.raises(RunError, match=r"0\.05 s"):
            slow.run(own, let_go.wait, 10)
    finally:
        let_go.set()
        slow.close()


def test_a_closed_worker_refuses(worker: NamespaceWorker) -> None:
    worker.close()
    with pytest.raises(RunError, match="it was closed"):
        worker.run(Namespace(current_cookie(), 0, 0, own=True), os.getpid)


@pytest.mark.kernel
def test_a_worker_that_cannot_come_home_ends_and_says_so(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = NamespaceWorker()
    target = namespace_with_cookie(lost, f"/run/netns/{lab.netns('a')}")
    real = worker_module.setns
    entered: list[int] = []

    def only_there(fd: int) -> None:
        if entered:
            raise OSError(1, "Operation not permitted")
        entered.append(fd)
        real(fd)

    monkeypatch.setattr(worker_module, "setns", only_there)
    with pytest.raises(RunError, match="cannot return home"):
        lost.run(target, os.getpid)
    with pytest.raises(RunError, match="has ended"):
        lost.run(target, os.getpid)
