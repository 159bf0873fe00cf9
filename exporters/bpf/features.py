"""What this kernel and host offer to the flows program: probes without side effects, each with where it comes from."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from exporters.bpf import syscall
from exporters.bpf.bcc import DEBIAN_PACKAGES
from exporters.bpf.drops import DropPrograms, kernel_enums
from exporters.bpf.namespaces import NamespaceHints
from exporters.bpf.select import KERNEL_BTF, choose_loader
from exporters.bpf.sockets import SocketPrograms
from skytrail.errors import SkytrailError
from skytrail.kernel.host import Roots, lockdown
from skytrail.kernel.sockdiag import DiagAsker
from skytrail.kernel.worker import current_cookie


class Finding(NamedTuple):
    """One line of ``skytrail check``: state is ok, missing (the agent cannot run), optional (absent), unknown or note."""

    name: str
    state: str
    found: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that is there or not.

    Attributes:
        name: in words.
        since: the kernel version or package it comes with.
        needed: the agent cannot run without.
        remedy: what to do where it is missing.
        probe: True, False, or None where it could not be told; with what was found.

    """

    name: str
    since: str
    needed: bool
    remedy: str
    probe: Callable[[], tuple[bool | None, str]]


def examine() -> list[Finding]:
    """Probe everything."""
    return [_finding(feature) for feature in FEATURES]


def _finding(feature: Feature) -> Finding:
    try:
        there, found = feature.probe()
    except (OSError, SkytrailError) as error:
        there, found = None, str(error)
    if there is None:
        return Finding(feature.name, "unknown", found, "run as root" if os.geteuid() else "")
    state = "ok" if there else "missing" if feature.needed else "optional"
    return Finding(feature.name, state, found, f"{feature.remedy} ({feature.since})")


def _root() -> tuple[bool, str]:
    """CapEff of capabilities(7): CAP_NET_ADMIN 12, CAP_SYS_ADMIN 21 (other namespaces), CAP_PERFMON 38, CAP_BPF 39."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = int(status.split("CapEff:")[1].split()[0], 16)
    names = {12: "CAP_NET_ADMIN", 39: "CAP_BPF"}
    lacking = [name for bit, name in names.items() if not effective >> bit & 1]
    return not lacking, f"without {', '.join(lacking)}" if lacking else "CAP_BPF and CAP_NET_ADMIN"


def _library(name: str) -> tuple[bool, str]:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False, f"{name} is not there"
    return True, name


def _bcc() -> tuple[bool, str]:
    headers = Path(os.environ.get("BCC_KERNEL_SOURCE", f"/lib/modules/{os.uname().release}/build"))
    if not DEBIAN_PACKAGES.joinpath("bcc").is_dir():
        return False, "python3-bpfcc is not installed"
    if not headers.exists():
        return False, f"installed, but there are no kernel headers at {headers}"
    return True, f"installed, with kernel headers at {headers}"


def _tcx() -> tuple[bool | None, str]:
    """BPF_LINK_CREATE on an interface that cannot be: ENODEV where the kernel knows TCX, EINVAL where it does not."""
    program = choose_loader("auto", max_flows=1024, max_points=16)
    try:
        entry = program.entry(1, 0)
        try:
            syscall.tcx_attach(entry, 0x7FFFFFFF, syscall.TCX_INGRESS)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return True, "links"
            return (False, "not in this kernel: clsact filters are used") if error.errno == errno.EINVAL else (None, str(error))
        finally:
            os.close(entry)
    finally:
        program.close()
    return None, "the kernel attached to an interface that is not there"


def _loads() -> tuple[bool, str]:
    began = time.perf_counter()
    try:
        program = choose_loader("auto", max_flows=1024, max_points=16)
    except SkytrailError as error:
        return False, str(error)
    loader = program.loader
    program.close()
    return True, f"by {loader} in {(time.perf_counter() - began) * 1000:.0f} ms"


def _namespace_hints() -> tuple[bool, str]:
    hints = NamespaceHints(lambda: None)
    try:
        hints.start()
    except SkytrailError as error:
        return False, str(error)
    hints.stop()
    return True, "namespaces without a name are found as they come"


def _sockets() -> tuple[bool, str]:
    try:
        programs = SocketPrograms()
    except SkytrailError as error:
        return False, str(error)
    sees = programs.sees_datagrams
    programs.close()
    return True, "all sockets with their processes" + ("" if sees else "; short-lived UDP ones need a mounted cgroup2")


def _sock_diag() -> tuple[bool, str]:
    try:
        with DiagAsker() as asker:
            asker.sockets(socket.IPPROTO_TCP, states=0)
    except FileNotFoundError:
        return False, "not of TCP"
    return True, "sockets by netlink"


def _drops() -> tuple[bool, str]:
    (reasons,) = kernel_enums("skb_drop_reason")
    try:
        DropPrograms({}).close()
    except SkytrailError as error:
        return False, str(error)
    return bool(reasons), f"{len(reasons)} reasons"


def _packet_socket() -> tuple[bool, str]:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return False, str(error.strerror)
    return True, "AF_PACKET"


def _lockdown() -> tuple[bool | None, str]:
    state = lockdown(Roots())
    return (None, "/sys/kernel/security is not mounted, or says nothing of it") if state == "unknown" else (True, state)


FEATURES = (
    Feature("kernel", "proven: 6.1, 6.12, 6.18", False, "none", lambda: (True, os.uname().release)),
    Feature("lockdown", "5.4", False, "none needed: the program loads under it", _lockdown),
    Feature("privileges", "5.8", True, "run as root", _root),
    Feature("kernel BTF", "CONFIG_DEBUG_INFO_BTF, 5.2", False, "without it bcc compiles the program: install python3-bpfcc "
            "and the kernel's headers", lambda: (KERNEL_BTF.exists(), str(KERNEL_BTF))),
    Feature("libbpf", "libbpf 1.0", False, "apt install libbpf1", lambda: _library("libbpf.so.1")),
    Feature("bcc", "second loader", False, "needed only without kernel BTF", _bcc),
    Feature("flows program", "6.1", True, "see -v for the verifier's log", _loads),
    Feature("TCX", "6.6, commit e420bed02507", False, "clsact filters or a raw socket are used instead", _tcx),
    Feature("namespace hints", "CONFIG_DEBUG_INFO_BTF, 5.19", False, "none needed: namespaces without a name are found by a "
            "scan of /proc, every 30 s", _namespace_hints),
    Feature("socket iterators", "CONFIG_DEBUG_INFO_BTF, 5.16", False, "without them sock_diag and /proc tell of sockets, but "
            "not of short-lived ones, nor of connects, accepts, latencies and how connections end", _sockets),
    Feature("sock_diag", "CONFIG_INET_DIAG, 3.3", False, "without it nobody tells of sockets that no process has any more; "
            "without it and iterators, whose a socket or a flow is", _sock_diag),
    Feature("drop reasons", "CONFIG_DEBUG_INFO_BTF, 5.17", False, "without them nobody says why packets die", _drops),
    Feature("raw socket", "3.19", False, "CAP_NET_RAW", _packet_socket),
    Feature("namespace cookies", "5.14", True, "use Linux 5.14 or later", lambda: (True, f"this one is {current_cookie()}")),
)  # fmt: skip
