"""Attaches the flows program wherever it is wanted, and follows links as they come, go, are renamed and move."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from exporters.bpf.attach import Attachment, TcAttachment, attach_socket, attach_tc, attach_tcx
from exporters.bpf.entry import dead_are_left
from exporters.bpf.program import FlowProgram
from exporters.flows.choice import Choice, is_loopback, link_type
from exporters.flows.points import Point, Points
from skytrail.errors import AttachError, RunError, SkytrailError
from skytrail.kernel.capabilities import while_starting
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

_BATCHES = 8192
_PATIENCE = 30.0  # seconds without any progress at the start
_VERIFY = 60.0  # seconds between looks whether others removed our clsact filters: nothing tells of it
_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOENT})
_TCX_MISSING = frozenset({errno.EINVAL, errno.EOPNOTSUPP})


@dataclass(slots=True)
class _Wanted:
    """A link that is up and chosen: captured as ``number`` by ``attachment``, or the reason why it is not."""

    link: Link
    point: Point
    attachment: Attachment | None = None
    number: int = 0
    failure: str | None = None
    roomless: bool = False


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
        shared: somebody else watches the links of all namespaces, tells the topology IDs what happens, and then :meth:`take`.
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
        shared: bool = False,
        tunnel_ports: dict[str, frozenset[int]],
    ) -> None:
        self._program, self._choice, self._points, self._worker = program, choice, points, worker
        self._tids, self._mode, self._every = tids, mode, every_namespace
        self._ports = {kind: {0: ports} for kind, ports in tunnel_ports.items()}
        self._device_ports: dict[LinkKey, tuple[str, int]] = {}
        self._links: dict[LinkKey, _Wanted] = {}
        self._namespaces: dict[int, Namespace] = {}
        # Full, the watcher waits; what the kernel then cannot tell it, it asks for again (ENOBUFS).
        self._events: queue.Queue[Sequence[Event] | None] = queue.Queue(_BATCHES)
        self._ready = threading.Event()
        self._stopping = False
        self._handled = 0
        self._guard: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._own = 0  # cookie of our own namespace
        self.watcher = None if shared else LinkWatcher(self._events.put, worker, every_namespace=every_namespace)

    def start(self) -> None:
        """Attach to all that is there. Raises RunError where nothing at all can be attached, AttachError with its reason."""
        _remove_what_the_dead_left()
        self._tell_tunnel_ports()
        self._thread.start()
        if self.watcher:
            self.watcher.start()
        handled = -1
        while not self._ready.wait(_PATIENCE):  # the kernel takes some 10 ms to attach to an interface: thousands take a while
            if handled == self._handled:
                raise RunError(f"the interfaces of this host were not listed within {_PATIENCE:g} s: see the log")
            handled = self._handled
            _log.info("attaching", captured=len(self.captured()))
        captured = self.captured()
        if not captured and (failures := self.failures()):
            raise AttachError(failures[0])
        if not captured:
            _log.warning("no interface that is up is chosen by flow.interfaces: nothing is counted until one comes")

    @property
    def following(self) -> bool:
        """Whether the links are watched, as far as that is ours to do."""
        return self.watcher is None or self.watcher.alive

    @property
    def ready(self) -> bool:
        """Whether all that was there at the start is attached to."""
        return self._ready.is_set()

    def take(self, events: Sequence[Event]) -> None:
        """Take what another's watcher of all namespaces tells; it is waited for only where thousands are waiting."""
        if not self._every:
            events = list(self._here(events))
        if events and not self._stopping:
            self._events.put(events)

    def _here(self, events: Iterable[Event]) -> Iterator[Event]:
        """What a watcher of our own namespace alone would have told."""
        for event in events:
            match event:
                case NamespaceFound(namespace) if namespace.own:
                    self._own = namespace.cookie
                    yield event
                case LinkChanged(link) if link.cookie == self._own:
                    yield event
                case LinkGone(cookie, _) if cookie == self._own:
                    yield event
                case LinkMoved(old, _) if old[0] == self._own:
                    yield LinkGone(*old)
                case Resynced():
                    yield event

    def stop(self) -> None:
        """Detach from everything."""
        self._stopping = True
        if self.watcher:
            self.watcher.stop()
        if self._thread.ident is not None:
            self._events.put(None)
            self._thread.join()
        for key in list(self._links):
            self._detach(key)
        if self._guard and self._guard.stdin:
            with contextlib.suppress(OSError):
                self._guard.stdin.write("done\n")
                self._guard.stdin.close()
            self._guard.wait(5)

    def room(self) -> None:
        """There are numbers of capture points again: links that found none are tried once more."""
        if any(item.roomless for item in list(self._links.values())):
            with contextlib.suppress(queue.Full):  # then the next one that frees a number says it again
                self._events.put_nowait(())

    def captured(self) -> list[tuple[Point, str]]:
        """Each capture point with the way it is attached."""
        return [(item.point, item.attachment.kind) for item in list(self._links.values()) if item.attachment]

    def failures(self) -> list[str]:
        """Why links that are wanted are not captured."""
        return [item.failure for item in list(self._links.values()) if item.failure]

    def _run(self) -> None:
        verify_at = time.monotonic() + _VERIFY
        while True:
            try:
                batch = self._events.get(timeout=max(0.0, verify_at - time.monotonic()))
            except queue.Empty:
                verify_at = time.monotonic() + _VERIFY
                batch = [LinkChanged(item.link) for item in self._removed()]
            if batch is None:
                return
            if self.watcher and not self._ready.is_set():  # the first batch is all that there is
                links = [event.link for event in batch if isinstance(event, LinkChanged)]
                self._tids.prune(links, [event.namespace for event in batch if isinstance(event, NamespaceFound)])
            for event in batch or [LinkChanged(item.link) for item in self._links.values() if item.roomless]:
                try:
                    if self.watcher:
                        self._tids.follow(event)
                    self._take(event)
                except Exception as error:  # noqa: BLE001 - one event's failure must not end the following of all others
                    unforeseen = not isinstance(error, (SkytrailError, OSError))
                    _log.warning(
                        "event of a link failed", event_kind=type(event).__name__, error=str(error), exc_info=unforeseen
                    )
                self._handled += 1

    def _removed(self) -> list[_Wanted]:
        """Those whose clsact filters somebody else removed; they are detached."""
        removed = []
        for key, item in list(self._links.items()):
            namespace = self._namespaces.get(key[0])
            if isinstance(item.attachment, TcAttachment) and namespace:
                with contextlib.suppress(OSError, SkytrailError):
                    if not self._worker.run(namespace, item.attachment.intact):
                        _log.warning("filters were removed by somebody else: attaching again", interface=item.link.label)
                        self._detach(key)
                        removed.append(item)
        return removed

    def _take(self, event: Event) -> None:
        match event:
            case LinkChanged(link):
                self._changed(link)
            case LinkGone(cookie, ifindex):
                self._forget_tunnel_port((cookie, ifindex))
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
        known = self._links.get(key)
        if known is None or known.attachment is None:
            if known:
                self._detach(key)
            if link.up and self._choice.wants(link):
                self._attach(link)
        elif not self._choice.wants(link):
            self._detach(key)
        elif known.point.link != link_type(link):
            self._detach(key)
            self._attach(link)
        else:  # one that went down stays: no packet passes it, and it may come up again
            known.link, known.point = link, self._point(link)
            self._points.rename(known.number, known.point)

    def _point(self, link: Link) -> Point:
        namespace = self._namespaces[link.cookie]
        # told by another, it may be gone meanwhile: then its TID is free, and must stay so
        tid = self._tids.tid_of(link, namespace, hold=self.watcher is not None)
        return Point(link.label, namespace.label, tid, link_type(link))

    def _attach(self, link: Link) -> None:
        item = self._links[link.cookie, link.ifindex] = _Wanted(link, self._point(link))
        added = self._points.add(item.point)
        if added is None:
            item.roomless = True
            self._fail(item, f"there are {self._program.max_points - 1} capture points already; raise flow.max_points")
            return
        item.number, fresh = added
        if fresh:
            self._program.set_point(item.number, item.point.link)
        try:
            item.attachment = self._worker.run(self._namespaces[link.cookie], self._attach_here, link, item.number)
        except (OSError, SkytrailError) as error:
            self._points.remove(item.number)
            if isinstance(error, NamespaceGoneError) or (isinstance(error, OSError) and error.errno in _GONE):
                del self._links[link.cookie, link.ifindex]  # the watcher will say so
            else:
                self._fail(item, str(error))
            return
        _log.debug("captured", interface=link.label, namespace=item.point.namespace, attach=item.attachment.kind)

    def _fail(self, item: _Wanted, reason: str) -> None:
        item.failure = f"{item.link.label}: not captured: {reason}"
        _log.warning("interface is not captured", interface=item.link.label, reason=reason)

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

    @while_starting
    def _start_guard(self) -> None:
        if self._guard is None:
            command = [sys.executable, "-m", "exporters.bpf.guard", str(self._program.owner)]
            self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def _detach(self, key: LinkKey) -> None:
        item = self._links.pop(key, None)
        if item is None or item.attachment is None:
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
        port, item = self._device_ports.pop(old, None), self._links.get(old)
        if port and new:
            self._device_ports[new] = port
        if item and new and item.attachment and item.attachment.kind == "tcx" and new[0] in self._namespaces:
            self._links[new] = self._links.pop(old)
        else:
            self._detach(old)

    def _learn_tunnel_port(self, key: LinkKey, link: Link) -> None:
        if link.kind in self._ports and link.tunnel_port and self._device_ports.get(key) != (link.kind, link.tunnel_port):
            self._device_ports[key] = (link.kind, link.tunnel_port)
            self._tell_tunnel_ports()

    def _forget_tunnel_port(self, key: LinkKey) -> None:
        # The program goes on taking the port for a tunnel's as long as a device somewhere uses it.
        if self._device_ports.pop(key, None):
            self._tell_tunnel_ports()

    def _tell_tunnel_ports(self) -> None:
        self._program.set_tunnel_ports(self.tunnel_ports())

    def tunnel_ports(self) -> dict[str, frozenset[int]]:
        """UDP destination ports that are tunnels now, by kind."""
        known = {kind: set(ports[0]) for kind, ports in self._ports.items()}
        for kind, port in [*self._device_ports.values()]:
            known[kind].add(port)
        return {kind: frozenset(ports) for kind, ports in known.items()}


@while_starting
def _remove_what_the_dead_left() -> None:
    if dead_are_left():
        _log.info("removing the filters of an agent that was killed")
        subprocess.run([sys.executable, "-m", "exporters.bpf.guard"], stdin=subprocess.DEVNULL, timeout=60, check=False)
