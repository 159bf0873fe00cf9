"""Attaches the flows program wherever it is wanted, and follows links as they come, go, are renamed and move."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from exporters.bpf.attach import Attachment, attach_socket, attach_tc, attach_tcx
from exporters.bpf.entry import dead_are_left
from exporters.bpf.program import FlowProgram
from exporters.flows.choice import Choice, is_loopback, link_type
from exporters.flows.points import Point, Points
from skytrail.errors import AttachError, RunError, SkytrailError
from skytrail.kernel.linkmessages import Link
from skytrail.kernel.links import LinkWatcher
from skytrail.kernel.linktable import (
    Event,
    LinkChanged,
    LinkGone,
    LinkKey,
    LinkMoved,
    NamespaceFound,
    NamespaceGone,
    Resynced,
)
from skytrail.kernel.namespaces import Namespace, NamespaceGoneError
from skytrail.kernel.tid_state import TidRegistry
from skytrail.kernel.worker import NamespaceWorker

_log = structlog.get_logger(__name__)

_BATCHES = 1024
_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOENT})
_TCX_MISSING = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


@dataclass(slots=True)
class _Captured:
    link: Link
    attachment: Attachment
    number: int
    point: Point


class Capture:
    """Keeps the program attached to the links that the choice wants.

    Args:
        program: what to attach.
        choice: where.
        points: gets the capture points.
        worker: enters namespaces.
        tids: topology IDs of links.
        mode: ``auto``, ``tcx``, ``tc``, ``socket``.
        every_namespace: capture in all, not only in our own.
        tunnel_ports: from the settings, by kind; devices add theirs.

    """

    def __init__(
        self,
        program: FlowProgram,
        choice: Choice,
        points: Points,
        worker: NamespaceWorker,
        tids: TidRegistry,
        *,
        mode: str = "auto",
        every_namespace: bool = False,
        tunnel_ports: dict[str, frozenset[int]],
    ) -> None:
        self._program, self._choice, self._points, self._worker = program, choice, points, worker
        self._tids, self._mode, self._every = tids, mode, every_namespace
        self._ports = {kind: {0: ports} for kind, ports in tunnel_ports.items()}
        self._device_ports: dict[LinkKey, tuple[str, int]] = {}
        self._captured: dict[LinkKey, _Captured] = {}
        self._namespaces: dict[int, Namespace] = {}
        # Full, the watcher waits; what the kernel then cannot tell it, it asks for again (ENOBUFS).
        self._events: queue.Queue[Sequence[Event] | None] = queue.Queue(_BATCHES)
        self._ready = threading.Event()
        self._failures: dict[LinkKey, str] = {}
        self._roomless: dict[LinkKey, Link] = {}
        self._guard: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self.watcher = LinkWatcher(self._events.put, worker, every_namespace=every_namespace)

    def start(self, timeout: float = 30.0) -> None:
        """Attach to all that is there. Raises RunError where nothing at all can be attached, AttachError with its reason."""
        if dead_are_left():
            _log.info("removing the filters of an agent that was killed")
            subprocess.run([sys.executable, "-m", "exporters.bpf.guard"], stdin=subprocess.DEVNULL, timeout=60, check=False)
        self._tell_tunnel_ports()
        self._thread.start()
        self.watcher.start()
        if not self._ready.wait(timeout):
            raise RunError(f"the links of this host were not listed within {timeout:g} s: see the log")
        if self._failures and not self._captured:
            raise AttachError(next(iter(self._failures.values())))
        if not self._captured:
            _log.warning("no interface that is up is chosen by flow.interfaces: nothing is counted until one comes")

    def stop(self) -> None:
        """Detach from everything."""
        self.watcher.stop()
        self._events.put(None)
        self._thread.join()
        for key in list(self._captured):
            self._detach(key)
        if self._guard and self._guard.stdin:
            with contextlib.suppress(OSError):
                self._guard.stdin.write("done\n")
                self._guard.stdin.close()
            self._guard.wait(5)

    def room(self) -> None:
        """There are numbers of capture points again: links that found none are tried once more."""
        if self._roomless:
            with contextlib.suppress(queue.Full):  # then the next one that frees a number says it again
                self._events.put_nowait(())

    def captured(self) -> list[tuple[Point, str]]:
        """Each capture point with the way it is attached."""
        return [(item.point, item.attachment.kind) for item in list(self._captured.values())]

    def failures(self) -> list[str]:
        """Why links that are wanted are not captured."""
        return list(self._failures.values())

    def _run(self) -> None:
        while (batch := self._events.get()) is not None:
            if not self._ready.is_set():  # the first batch is all that there is
                links = [event.link for event in batch if isinstance(event, LinkChanged)]
                self._tids.prune(links, [event.namespace for event in batch if isinstance(event, NamespaceFound)])
            for event in batch or [LinkChanged(link) for link in self._roomless.values()]:
                try:
                    self._tids.follow(event)
                    self._take(event)
                except Exception as error:  # noqa: BLE001 - one event's failure must not end the following of all others
                    unforeseen = not isinstance(error, (SkytrailError, OSError))
                    _log.warning(
                        "event of a link failed", event_kind=type(event).__name__, error=str(error), exc_info=unforeseen
                    )

    def _take(self, event: Event) -> None:
        match event:
            case LinkChanged(link):
                self._changed(link)
            case LinkGone(cookie, ifindex):
                self._detach((cookie, ifindex))
            case LinkMoved(old, new):
                self._move(old, new)
            case NamespaceFound(namespace):
                self._namespaces[namespace.cookie] = namespace
            case NamespaceGone(cookie):
                self._namespaces.pop(cookie, None)
            case Resynced():
                self._ready.set()

    def _changed(self, link: Link) -> None:
        key = (link.cookie, link.ifindex)
        self._learn_tunnel_port(key, link)
        known = self._captured.get(key)
        if known is None:
            if link.up and self._choice.wants(link):
                self._attach(link)
        elif not self._choice.wants(link):
            self._detach(key)
        else:  # one that went down stays: no packet passes it, and it may come up again
            known.link, known.point = link, self._point(link)
            self._points.rename(known.number, known.point)

    def _point(self, link: Link) -> Point:
        namespace = self._namespaces[link.cookie]
        name = "" if namespace.own else namespace.name or f"inode:{namespace.inode}"
        return Point(link.name, name, self._tids.tid_of(link, namespace))

    def _attach(self, link: Link) -> None:
        key, point = (link.cookie, link.ifindex), self._point(link)
        added = self._points.add(point)
        if added is None:
            if key not in self._roomless:
                most = self._program.max_points - 1
                self._fail(key, link, f"there are {most} capture points already; raise flow.max_points")
            self._roomless[key] = link
            return
        self._roomless.pop(key, None)
        number, fresh = added
        if fresh:
            self._program.set_point(number, link_type(link))
        try:
            attachment = self._worker.run(self._namespaces[link.cookie], self._attach_here, link, number)
        except (OSError, SkytrailError) as error:
            self._points.remove(number)
            gone = isinstance(error, NamespaceGoneError) or (isinstance(error, OSError) and error.errno in _GONE)
            if not gone:  # the watcher will say so
                self._fail(key, link, str(error))
            return
        self._failures.pop(key, None)
        self._captured[key] = _Captured(link, attachment, number, point)
        _log.debug("captured", interface=link.name, namespace=point.namespace, attach=attachment.kind)

    def _fail(self, key: LinkKey, link: Link, reason: str) -> None:
        self._failures[key] = f"{link.name}: not captured: {reason}"
        _log.warning("interface is not captured", interface=link.name, reason=reason)

    def _attach_here(self, link: Link, number: int) -> Attachment:
        """In the link's namespace, by the first way that works. The kernel keeps the programs; our descriptors close."""
        loopback = is_loopback(link)
        with contextlib.ExitStack() as stack:

            def entry(direction: int, *, socket: bool = False) -> int:
                fd = self._program.entry(number, direction, socket=socket)
                stack.callback(os.close, fd)
                return fd

            if self._mode in ("auto", "tcx"):
                try:
                    return attach_tcx(entry(0), entry(1), link.ifindex, loopback=loopback)
                except OSError as error:
                    if self._mode == "tcx" or error.errno not in _TCX_MISSING:
                        raise
            if self._mode in ("auto", "tc"):
                self._start_guard()
                try:
                    return attach_tc(entry(0), entry(1), link.ifindex, owner=self._program.owner, loopback=loopback)
                except AttachError:
                    if self._mode == "tc":
                        raise
            return attach_socket(entry(0, socket=True), link.ifindex, loopback=loopback)

    def _start_guard(self) -> None:
        if self._guard is None:
            command = [sys.executable, "-m", "exporters.bpf.guard", str(self._program.owner)]
            self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def _detach(self, key: LinkKey) -> None:
        self._failures.pop(key, None)
        self._roomless.pop(key, None)
        self._forget_tunnel_port(key)
        item = self._captured.pop(key, None)
        if item is None:
            return
        namespace = self._namespaces.get(key[0])
        with contextlib.suppress(OSError, SkytrailError):
            if item.attachment.kind == "tc" and namespace:
                self._worker.run(namespace, item.attachment.close)
            else:
                item.attachment.close()
        self._points.remove(item.number)

    def _move(self, old: LinkKey, new: LinkKey | None) -> None:
        """A TCX link goes along with its device; filters and sockets stay behind. Its point remains what it is."""
        item = self._captured.get(old)
        if item is None:
            return
        if new is None or item.attachment.kind != "tcx" or new[0] not in self._namespaces:
            self._detach(old)
            return
        del self._captured[old]
        self._captured[new] = item

    def _learn_tunnel_port(self, key: LinkKey, link: Link) -> None:
        if link.kind in self._ports and link.tunnel_port and self._device_ports.get(key) != (link.kind, link.tunnel_port):
            self._device_ports[key] = (link.kind, link.tunnel_port)
            self._tell_tunnel_ports()

    def _forget_tunnel_port(self, key: LinkKey) -> None:
        # The program goes on taking the port for a tunnel's as long as a device somewhere uses it.
        if self._device_ports.pop(key, None):
            self._tell_tunnel_ports()

    def _tell_tunnel_ports(self) -> None:
        known = {kind: set(ports[0]) for kind, ports in self._ports.items()}
        for kind, port in self._device_ports.values():
            known[kind].add(port)
        self._program.set_tunnel_ports({kind: frozenset(ports) for kind, ports in known.items()})
