"""What of root a process keeps: capabilities(7), of all threads, by giving up the rest before there are any.

Capabilities belong to threads, and a thread begins with those of its maker; nobody can take another thread's. So they are given
up first, by the only thread there is. What only the start needs stays with one thread, the :class:`Starter`, on which that
runs (:func:`while_starting`), and ends with it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import queue
import struct
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from pathlib import Path
from threading import Lock, Thread, current_thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)

NUMBERS = {
    "chown": 0, "dac_override": 1, "dac_read_search": 2, "fowner": 3, "fsetid": 4, "kill": 5, "setgid": 6, "setuid": 7,
    "setpcap": 8, "linux_immutable": 9, "net_bind_service": 10, "net_broadcast": 11, "net_admin": 12, "net_raw": 13,
    "ipc_lock": 14, "ipc_owner": 15, "sys_module": 16, "sys_rawio": 17, "sys_chroot": 18, "sys_ptrace": 19, "sys_pacct": 20,
    "sys_admin": 21, "sys_boot": 22, "sys_nice": 23, "sys_resource": 24, "sys_time": 25, "sys_tty_config": 26, "mknod": 27,
    "lease": 28, "audit_write": 29, "audit_control": 30, "setfcap": 31, "mac_override": 32, "mac_admin": 33, "syslog": 34,
    "wake_alarm": 35, "block_suspend": 36, "audit_read": 37, "perfmon": 38, "bpf": 39, "checkpoint_restore": 40,
}  # fmt: skip
"""linux/capability.h."""

_VERSION_3 = 0x20080522
_CAPBSET_DROP, _SET_NO_NEW_PRIVS, _CAP_AMBIENT = 24, 38, 47
_AMBIENT_LOWER = 3


def effective(status: Path = Path("/proc/thread-self/status")) -> frozenset[str]:
    """Those of a thread: of this one, or by its file in /proc."""
    mask = int(status.read_text(encoding="ascii").split("CapEff:")[1].split()[0], 16)
    return frozenset(name for name, number in NUMBERS.items() if mask >> number & 1)


def confine(names: Collection[str]) -> None:
    """Give up all but some, for good: this thread, those that it makes, and the programs that they start.

    Raises:
        OSError: the kernel refuses.
    """
    _prctl(_SET_NO_NEW_PRIVS, 1)
    gone = effective() - frozenset(names)
    if "setpcap" in effective():  # else a program that we start as root may have what its bounding set has
        for name in gone:
            _prctl(_CAPBSET_DROP, NUMBERS[name])
    for name in gone:
        _prctl(_CAP_AMBIENT, _AMBIENT_LOWER, NUMBERS[name])
    _set(effective() & frozenset(names))


def _set(names: Iterable[str]) -> None:
    """Have these, permitted, effective and inheritable: what of them is ambient stays so, for programs that we start."""
    mask = sum(1 << NUMBERS[name] for name in names)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("=6I", low, low, low, high, high, high)
    if _libc.capset(struct.pack("=Ii", _VERSION_3, 0), data):
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def _prctl(option: int, *arguments: int) -> None:
    given = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    if _libc.prctl(ctypes.c_int(option), *given):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")


class Starter:
    """The one thread that has more than all others, while the process starts. Made when there is no other one yet.

    At its end nobody has more than was kept.

    Args:
        kept: what all others keep.
        more: what it has beside that, of what the process has.

    Raises:
        OSError: the kernel refuses.
    """

    def __init__(self, kept: Collection[str], more: Collection[str]) -> None:
        global _starter  # noqa: PLW0603 - capabilities are the process's
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._ending, self._ended = Lock(), False
        self._thread = Thread(target=self._run, name="starter", daemon=True)
        self._thread.start()
        self.run(lambda: confine({*kept, *more}))
        confine(kept)
        _starter = self

    def run(self, call: Callable[[], T]) -> T:
        """What a call gives or raises, run there; after the end, as who asks is."""
        future: Future[T] = Future()
        with self._ending:
            there = not self._ended and current_thread() is not self._thread
            if there:
                self._calls.put((future, call))
        return future.result() if there else call()

    def end(self) -> None:
        """Everything has started."""
        global _starter  # noqa: PLW0603
        _starter = None
        with self._ending:
            self._ended = True
            self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (given := self._calls.get()) is not None:
            future, call = given
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - whatever it was belongs to the caller
                future.set_exception(error)


_starter: Starter | None = None


def while_starting(call: Callable[P, T]) -> Callable[P, T]:
    """Run a function with what only the start has, as long as that lasts; then, and where nothing is given up, as we are."""

    @functools.wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        starter = _starter
        return call(*args, **kwargs) if starter is None else starter.run(lambda: call(*args, **kwargs))

    return run
