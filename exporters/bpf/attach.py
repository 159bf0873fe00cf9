"""Attachment of the flows program to one interface: TCX link, clsact filter, raw socket.

All functions act in the network namespace of the calling thread (:class:`skytrail.kernel.worker.NamespaceWorker`).

* TCX (Linux 6.6): at the head of ingress, at the tail of egress. The link goes with its descriptor, so with the process.
* clsact: filters that anybody can see by ``tc filter show``, named ``skytrail_flows_…`` with the number of their owner
  (:func:`exporters.bpf.entry.owner_lives`), and ``_qdisc`` where one of us made the qdisc that they stand in. They outlive
  the process: :mod:`exporters.bpf.guard` removes them when it dies.
* socket: the program as the filter of an AF_PACKET socket that keeps nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from exporters.bpf import syscall
from skytrail.errors import AttachError

if TYPE_CHECKING:
    from pyroute2 import IPRoute

FILTER_NAME = "skytrail_flows"
INGRESS_PRIORITIES, EGRESS_PRIORITIES = range(1, 9), range(49151, 49143, -1)
"""First of all filters coming in, last going out (the kernel itself gives out 49152 downwards to filters without one). A
priority holds filters of one kind and protocol: where others have the first, the next is taken."""

_HANDLE = 0x73000000
"""With the owner's number in its low bits, ours among the filters of one priority: the kernel gives out 1, 2, … to those
that name none, and must not meet it; nor may two agents on one interface meet."""

_CLSACT, _INGRESS, _EGRESS = 0xFFFF0000, 0xFFFFFFF2, 0xFFFFFFF3  # uapi/linux/pkt_sched.h: TC_H_CLSACT, …MIN_INGRESS, …
_ETH_P_ALL = 0x0003
_SO_ATTACH_BPF = 50
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23


class Attachment(Protocol):
    """One interface with our programs on it."""

    kind: str

    def close(self) -> None:
        """Detach. The interface may be gone already."""
        ...


@dataclass(slots=True)
class TcxAttachment:
    """Two TCX links (one for a loopback interface)."""

    links: dict[int, int]
    kind: str = "tcx"

    def close(self) -> None:
        """Close the links."""
        for link in self.links.values():
            os.close(link)
        self.links.clear()


@dataclass(slots=True)
class SocketAttachment:
    """A raw socket whose filter is our program."""

    socket: socket.socket
    kind: str = "socket"

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


@dataclass(slots=True)
class TcAttachment:
    """Two clsact filters. Must be closed in the namespace of the interface."""

    ifindex: int
    owner: int
    kind: str = "tc"
    parents: tuple[int, ...] = field(default=(_INGRESS, _EGRESS))

    def intact(self) -> bool:
        """Whether both filters stand. Raises OSError: the interface is gone."""
        with _route() as route:
            return all(any(mark and mark.owner == self.owner for mark in self._marks(route, parent)) for parent in self.parents)

    def _marks(self, route: IPRoute, parent: int) -> list[_Mark | None]:
        from pyroute2 import NetlinkError  # noqa: PLC0415 - 10 MB, for old kernels only

        try:
            return _marks(route, self.ifindex, parent)
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error
            return []  # no clsact qdisc

    def close(self) -> None:
        """Remove the filters, and the qdisc where it was made for them and serves nobody else."""
        with _route() as route:
            remove_filters(route, self.ifindex, lambda owner: owner == self.owner)


def attach_tcx(ingress: int, egress: int, ifindex: int, *, loopback: bool) -> TcxAttachment:
    """Attach by TCX links. Raises OSError: EINVAL on kernels before 6.6."""
    attached = TcxAttachment({})
    try:
        attached.links[syscall.TCX_INGRESS] = syscall.tcx_attach(ingress, ifindex, syscall.TCX_INGRESS)
        if not loopback:
            attached.links[syscall.TCX_EGRESS] = syscall.tcx_attach(egress, ifindex, syscall.TCX_EGRESS)
    except OSError:
        attached.close()
        raise
    return attached


def attach_tc(ingress: int, egress: int, ifindex: int, *, owner: int, loopback: bool) -> TcAttachment:
    """Attach by clsact filters in direct-action mode, marked with the owner's number.

    Raises:
        AttachError: the kernel refuses.
        OSError: ENODEV, the interface is gone.

    """
    from pyroute2 import NetlinkError  # noqa: PLC0415 - 10 MB, for old kernels only

    with _route() as route:
        try:
            standing = [m.get_attr("TCA_KIND") for m in route.get_qdiscs(index=ifindex) if m["handle"] == _CLSACT]
            if "ingress" in standing:  # its block takes egress filters too, and runs them on what comes in
                raise AttachError(
                    f"interface {ifindex}: it has an ingress qdisc, which leaves no room for clsact: "
                    "replace that by clsact, or attach by tcx or socket"
                )
            if standing:
                marks = [mark for parent in (_INGRESS, _EGRESS) for mark in _marks(route, ifindex, parent)]
                ours = any(mark.our_qdisc for mark in marks if mark)
            else:
                route.tc("add", "clsact", ifindex)
                ours = True
            attached = TcAttachment(ifindex, owner, parents=(_INGRESS,) if loopback else (_INGRESS, _EGRESS))
            for parent in attached.parents:
                _add_filter(route, ifindex, parent, ingress if parent == _INGRESS else egress, _Mark(owner, ours))
        except NetlinkError as error:
            with contextlib.suppress(AttachError):
                remove_filters(route, ifindex, lambda found: found == owner)  # one of the two may stand
            if error.code == errno.ENODEV:
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV)) from error
            raise AttachError(f"interface {ifindex}: clsact filter refused: {error}") from error
    return attached


def attach_socket(program: int, ifindex: int, *, loopback: bool) -> SocketAttachment:
    """Attach to a raw socket. Raises OSError."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, program)
        if loopback:
            raw.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        # Bound only now: no packet passes without the filter.
        address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(_ETH_P_ALL), ifindex, 0, 0, 0, b"")
        _bind(raw, address)
    except OSError:
        raw.close()
        raise
    return SocketAttachment(raw)


def _bind(raw: socket.socket, address: bytes) -> None:
    """bind(2) by interface number: Python's own takes a name only, which may change under it."""
    import ctypes  # noqa: PLC0415 - only here

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(raw.fileno(), address, len(address)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _route() -> IPRoute:
    from pyroute2 import IPRoute  # noqa: PLC0415 - 10 MB, for old kernels only

    return IPRoute()


def _add_filter(route: IPRoute, ifindex: int, parent: int, program: int, mark: _Mark) -> None:
    """Add ours at the first priority that takes it. Raises pyroute2.NetlinkError."""
    from pyroute2 import NetlinkError  # noqa: PLC0415 - as above

    ingress = parent == _INGRESS
    priorities = INGRESS_PRIORITIES if ingress else EGRESS_PRIORITIES
    for priority in priorities:
        try:
            route.tc(
                "add-filter",
                "bpf",
                ifindex,
                handle=_HANDLE | mark.owner & 0xFFFFFF,
                fd=program,
                name=f"{FILTER_NAME}_{'ingress' if ingress else 'egress'}_{mark.owner}{'_qdisc' if mark.our_qdisc else ''}",
                parent=parent,
                prio=priority,
                direct_action=True,
            )
        except NetlinkError as error:
            if error.code not in (errno.EINVAL, errno.EEXIST) or priority == priorities[-1]:
                raise
        else:
            return


class _Mark(NamedTuple):
    """What a filter's name says: whose it is, and whether one of us made the qdisc that it stands in."""

    owner: int
    our_qdisc: bool


def remove_filters(route: IPRoute, ifindex: int, of: Callable[[int], bool]) -> int:
    """Remove clsact filters of some owners from one interface; returns how many there were.

    The clsact qdisc goes too, if one of us made it and no filter of anybody is left.

    Args:
        route: in the interface's namespace.
        ifindex: the interface; one that is gone has no filters.
        of: told an owner's number, says whether its filters go.

    Raises:
        AttachError: the kernel refuses, other than because nothing is there.

    """
    from pyroute2 import NetlinkError  # noqa: PLC0415 - as above

    removed, others, our_qdisc = 0, 0, False
    try:
        for parent in (_INGRESS, _EGRESS):
            for message in route.get_filters(index=ifindex, parent=parent):
                mark = _mark(message)
                if mark and of(mark.owner):
                    protocol_and_priority = message["info"]
                    route.tc("del-filter", "bpf", ifindex, handle=message["handle"], parent=parent, info=protocol_and_priority)
                    removed += 1
                    our_qdisc |= mark.our_qdisc
                elif message["handle"]:
                    others += 1
        if our_qdisc and not others:
            route.tc("del", "clsact", ifindex)
    except NetlinkError as error:
        if error.code not in (errno.ENODEV, errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP):
            raise AttachError(f"interface {ifindex}: its filters cannot be removed: {error}") from error
    return removed


def _marks(route: IPRoute, ifindex: int, parent: int) -> list[_Mark | None]:
    return [_mark(message) for message in route.get_filters(index=ifindex, parent=parent)]


def _mark(message: Any) -> _Mark | None:  # noqa: ANN401 - pyroute2's message
    """The mark of one of our filters; None of those of others."""
    options = message.get_attr("TCA_OPTIONS")
    name = options.get_attr("TCA_BPF_NAME") if options is not None and hasattr(options, "get_attr") else None
    found = re.fullmatch(FILTER_NAME + r"_(?:in|e)gress_(\d+)(_qdisc)?", name) if isinstance(name, str) else None
    return _Mark(int(found[1]), bool(found[2])) if found else None
