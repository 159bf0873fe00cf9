"""The one thread that enters network namespaces.

A socket belongs to the namespace of the thread that opens it, and BPF_LINK_CREATE looks its ifindex up there, so such
calls run here, one at a time. No other thread ever leaves the home namespace.
"""

from __future__ import annotations

import ctypes
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import structlog

from skytrail.errors import NotSupportedError, RunError
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import Namespace, NamespaceGoneError, open_namespace

P = ParamSpec("P")
T = TypeVar("T")

CLONE_NEWNET = 0x40000000
SO_NETNS_COOKIE = 71
_HOME = "/proc/thread-self/ns/net"

_log = structlog.get_logger(__name__)
_libc = ctypes.CDLL(None, use_errno=True)


def setns(fd: int) -> None:
    """Move the calling thread into the network namespace behind ``fd`` (setns(2); Python has os.setns from 3.12 on).

    Raises:
        OSError: the kernel refuses (EPERM without CAP_SYS_ADMIN, EINVAL for another kind of namespace).
    """
    if _libc.setns(ctypes.c_int(fd), ctypes.c_int(CLONE_NEWNET)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def current_cookie() -> int:
    """The cookie of the caller's network namespace: unique until the next boot, never used again (Linux 5.14).

    Raises:
        NotSupportedError: the kernel does not know SO_NETNS_COOKIE.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            raw = probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        except OSError as error:
            raise NotSupportedError("SO_NETNS_COOKIE is missing", "use Linux 5.14 or later") from error
    return int(struct.unpack("=Q", raw)[0])


@dataclass(slots=True)
class _Job:
    target: int | Namespace
    call: Callable[[], Any]
    result: Future[Any]


class NamespaceWorker:
    """Runs callables inside network namespaces, one after the other, on one daemon thread.

    Args:
        roots: where /proc and /run are, to open a namespace by its value.
        limit: how many calls may wait; one more waits for room.
        timeout: seconds that a caller waits for its result.
    """

    def __init__(self, roots: Roots | None = None, *, limit: int = 64, timeout: float = 30.0) -> None:
        self._roots = roots or Roots()
        self._timeout = timeout
        self._jobs: queue.Queue[_Job | None] = queue.Queue(limit)
        self._reason = "it was closed"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="namespace-worker", daemon=True)
        self._thread.start()

    def run(self, target: int | Namespace, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``fn(*args, **kwargs)`` inside a namespace and give its result; what it raises is raised here.

        Args:
            target: an open file descriptor of the namespace, or its value, which is opened and checked by its cookie.
            fn: what to run; it must not block for long, since all namespaces wait for it.
            *args: handed to ``fn``.
            **kwargs: handed to ``fn``.

        Raises:
            NamespaceGoneError: the namespace of that value is gone.
            OSError: the kernel does not let us in.
            RunError: the worker has ended, or gives no result in time (the call then ends on its own, unheard).
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("NamespaceWorker.run was called from inside a call of its own")
        job = _Job(target, lambda: fn(*args, **kwargs), Future())
        try:
            self._jobs.put(job, timeout=self._timeout)
            if self._over.is_set():  # nobody reads the queue any more: let all that wait there know
                self._drain()
            result: T = job.result.result(self._timeout)
        except (queue.Full, TimeoutError) as error:
            if job.result.done() and job.result.exception() is error:
                raise  # a TimeoutError of fn's own
            job.result.cancel()
            raise RunError(f"the namespace worker gave no result within {self._timeout:g} s: see the log") from error
        return result

    def close(self) -> None:
        """End the thread after the calls that wait; later ones raise RunError."""
        if not self._over.is_set():
            self._jobs.put(None)
            self._thread.join(self._timeout)

    def _drain(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None and job.result.set_running_or_notify_cancel():
                job.result.set_exception(RunError(f"the namespace worker has ended: {self._reason}: restart the agent"))

    def _work(self) -> None:
        home = os.open(_HOME, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while (job := self._jobs.get()) is not None:
                if job.result.set_running_or_notify_cancel():
                    self._serve(job, home)
        except OSError as error:
            self._reason = f"it cannot return to the home namespace ({error.strerror})"
            _log.critical("namespace_worker_ended", reason=self._reason, remedy="restart the agent")
        finally:
            os.close(home)
            self._over.set()
            self._drain()

    def _serve(self, job: _Job, home: int) -> None:
        """Do one job and return home, whatever happened; raises OSError only if there is no way home."""
        outcome: Any = None
        failure: BaseException | None = None
        entered = False
        try:
            entered = self._enter(job.target)
            if isinstance(job.target, Namespace) and current_cookie() != job.target.cookie:
                raise NamespaceGoneError(job.target)  # noqa: TRY301  the way home is the same for every failure
            outcome = job.call()
        except BaseException as error:  # noqa: BLE001  whatever it was belongs to the caller
            failure = error
        if entered:
            try:
                setns(home)
            except OSError as error:
                job.result.set_exception(RunError(f"the namespace worker cannot return home: {error.strerror}"))
                raise
        if failure is not None:
            job.result.set_exception(failure)
        else:
            job.result.set_result(outcome)

    def _enter(self, target: int | Namespace) -> bool:
        """Move into the namespace; False if that is where we are already.

        Raises:
            NamespaceGoneError: nothing leads to the namespace of that value any more; we are home.
            OSError: the kernel does not let us in; we are home.
        """
        if isinstance(target, int):
            setns(target)
            return True
        if target.own:
            return False
        fd = open_namespace(target, self._roots)
        try:
            setns(fd)
        finally:
            os.close(fd)
        return True
