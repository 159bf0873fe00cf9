"""Hints that network namespaces come: namespaces.bpf.c, and a thread that hears it.

The programs hang on links that only this process holds: nothing stays in the kernel when it ends, however it ends.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import selectors
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from exporters.bpf import syscall
from exporters.bpf.libbpf import load_object
from skytrail.errors import LoadError
from skytrail.metrics import Family, Kind, Metric

OBJECT = Path(__file__).with_name("namespaces.bpf.o")

HINTS = Metric(
    "skytrail_namespace_hints_total", "skytrail.namespace.hints", Kind.COUNTER, "{hint}",
    "Times that the kernel told of a network namespace that comes; each hastens a scan of /proc.",
)  # fmt: skip
DECLARED = (HINTS,)

_ALERT = 10.0  # seconds from a hint on; making a namespace takes a millisecond, or as long as others hold the kernel's lock

_log = structlog.get_logger(__name__)


class NamespaceHints:
    """Calls back when a network namespace is made, and when tasks are in one: the first few that are seen there.

    Several hints at once may be one call. While none is made, nothing is looked at; for a while after, each task is
    that leaves its CPU. So it is at the start too, where the namespaces that there are count as new ones.

    Args:
        on_namespace: called on this object's thread; must be quick.
        alert: seconds that tasks are looked at after a hint.
    """

    def __init__(self, on_namespace: Callable[[], None], *, alert: float = _ALERT) -> None:
        self._on_namespace, self._alert = on_namespace, alert
        self._closers = contextlib.ExitStack()
        self._hints = 0

    @property
    def hints(self) -> int:
        """Calls so far."""
        return self._hints

    def start(self) -> None:
        """Load, attach, and begin to listen.

        Raises:
            NotSupportedError: libbpf is missing.
            LoadError: the kernel refused the programs.
        """
        with contextlib.ExitStack() as closers:
            loaded = load_object(OBJECT)
            closers.callback(loaded.close)
            ring = _Ring(loaded.maps["hints"])
            closers.callback(ring.close)
            stop = os.eventfd(0)
            closers.callback(os.close, stop)
            tasks = _Attachment(loaded.programs["entered"])
            closers.callback(tasks.detach)
            made = _Attachment(loaded.programs["created"])
            closers.callback(made.detach)
            try:
                tasks.attach()
                made.attach()
            except OSError as error:
                raise LoadError(f"the kernel did not attach {OBJECT.name} ({error.strerror}): run as root") from error
            thread = threading.Thread(target=self._run, args=(ring, tasks, stop), name="namespace-hints", daemon=True)
            thread.start()
            closers.callback(thread.join)
            closers.callback(os.eventfd_write, stop, 1)
            self._closers = closers.pop_all()

    def stop(self) -> None:
        """Detach, and end the thread. Twice is the same as once."""
        self._closers.close()

    def families(self) -> list[Family]:
        """The metrics of :data:`DECLARED`."""
        return [Family(HINTS, [((), float(self._hints))])]

    def _run(self, ring: _Ring, tasks: _Attachment, stop: int) -> None:
        until = time.monotonic() + self._alert
        with selectors.DefaultSelector() as selector:
            selector.register(ring.fd, selectors.EVENT_READ)
            selector.register(stop, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(until - time.monotonic() if tasks.attached else None)}
                if stop in ready:
                    return
                if ring.fd in ready:
                    ring.empty()
                    until = time.monotonic() + self._alert
                    self._look_at(tasks)  # first: who enters after the scan that is asked for, is seen
                    self._tell()
                elif time.monotonic() >= until:
                    tasks.detach()

    @staticmethod
    def _look_at(tasks: _Attachment) -> None:
        try:
            tasks.attach()
        except OSError as error:
            _log.warning("namespace_hints_fewer", error=error.strerror, remedy="none: it is tried again at the next one")

    def _tell(self) -> None:
        self._hints += 1
        try:
            self._on_namespace()
        except Exception:  # noqa: BLE001  what is told must not end the hearing
            _log.exception("namespace_hint_failed")


class _Attachment:
    """A program that is attached, or not for now."""

    def __init__(self, program: int) -> None:
        self._program = program
        self._link: int | None = None

    @property
    def attached(self) -> bool:
        return self._link is not None

    def attach(self) -> None:
        """Raises OSError."""
        if self._link is None:
            self._link = syscall.tracing_attach(self._program)

    def detach(self) -> None:
        if self._link is not None:
            os.close(self._link)
            self._link = None


class _Ring:
    """A BPF ring buffer of which only matters whether something came (kernel/bpf/ringbuf.c, ``struct bpf_ringbuf``).

    Its first page holds the reader's position, which is written here, the second one the writer's.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._reader = mmap.mmap(fd, mmap.PAGESIZE)
        self._writer = mmap.mmap(fd, mmap.PAGESIZE, prot=mmap.PROT_READ, offset=mmap.PAGESIZE)

    def empty(self) -> None:
        """Pass over all that is there: it is not ready to read until something comes after it."""
        self._reader[:8] = self._writer[:8]

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
