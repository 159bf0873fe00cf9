"""What this host says of itself: identities, kernel, clocks, lockdown."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from skytrail.errors import NotSupportedError, RunError

_log = structlog.get_logger(__name__)

Lockdown = Literal["none", "integrity", "confidentiality", "unknown"]

_APPLICATION = uuid.UUID("5f2c6e0a-3f0b-4f8e-9d5c-6a5d1f7b2c11").bytes
"""Salts the machine-id: ours alone, so that nobody else's derived identifier equals ours."""


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the host's folders are: elsewhere in a container that mounts them, or in a test."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    run: Path = Path("/run")
    etc: Path = Path("/etc")


@dataclass(frozen=True, slots=True)
class Host:
    """What identifies this host, and what its kernel is.

    Attributes:
        host_id: what its TID is made of: the setting ``host_id``, or else an identifier derived from the machine-id.
        boot_id: a UUID, new at each boot.
        hostname: as the kernel says it.
        kernel_release: ``uname -r``.
        lockdown: the kernel's lockdown state; "unknown" where securityfs is not mounted or has no such file.
    """

    host_id: str
    boot_id: str
    hostname: str
    kernel_release: str
    lockdown: Lockdown


def read_host(host_id: str = "", roots: Roots | None = None, kept: Path | None = None) -> Host:
    """Read all that :class:`Host` holds.

    Args:
        host_id: the setting of that name; empty: derive it from the machine-id.
        roots: where the host's folders are; None: at their usual places.
        kept: where a machine that has no machine-id at all (no systemd, a bare root) keeps one that is made up here.

    Raises:
        RunError: there is neither a ``host_id`` nor a machine-id.
        NotSupportedError: /proc is not there.
    """
    roots = roots or Roots()
    return Host(
        host_id=host_id or machine_host_id(_kept_id(kept, roots) if kept is not None else machine_id(roots)),
        boot_id=_kernel_text(roots, "random/boot_id"),
        hostname=_kernel_text(roots, "hostname"),
        kernel_release=_kernel_text(roots, "osrelease"),
        lockdown=lockdown(roots),
    )


def machine_id(roots: Roots) -> str:
    """The content of /etc/machine-id: 32 hex digits (machine-id(5)).

    Raises:
        RunError: it is missing, empty or "uninitialized".
    """
    path = roots.etc / "machine-id"
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip().lower()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}: set host_id to this host's lasting name") from error
    try:
        return uuid.UUID(text).hex
    except ValueError:
        raise RunError(f"{path} holds no machine-id: set host_id, or run systemd-machine-id-setup") from None


def _kept_id(path: Path, roots: Roots) -> str:
    """The machine-id, or the one that is kept where there is none. Raises RunError."""
    if (roots.etc / "machine-id").exists():
        return machine_id(roots)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
            _log.warning(
                "host_id_made_up", file=str(path), reason="no /etc/machine-id", remedy="keep that file, or set host_id"
            )
        return uuid.UUID(path.read_text(encoding="ascii").strip()).hex
    except (OSError, ValueError) as error:
        raise RunError(
            f"there is no machine-id, and none in {path} ({error}): set host_id to this host's lasting name"
        ) from error


def machine_host_id(machine: str) -> str:
    """Derive the host's identifier from its machine-id, which must not leave the host as it is (machine-id(5)).

    As sd_id128_get_machine_app_specific(3): the first 16 bytes of HMAC-SHA256 keyed by the machine-id over our own ID.
    """
    digest = hmac.new(bytes.fromhex(machine), _APPLICATION, hashlib.sha256).digest()
    return digest[:16].hex()


def lockdown(roots: Roots) -> Lockdown:
    """The word in brackets of securityfs' ``lockdown`` ("none [integrity] confidentiality")."""
    try:
        text = (roots.sys / "kernel/security/lockdown").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "unknown"
    states: tuple[Lockdown, ...] = ("none", "integrity", "confidentiality")
    return next((state for state in states if f"[{state}]" in text), "unknown")


def clock_offset_ns(readings: int = 5) -> int:
    """CLOCK_REALTIME minus CLOCK_MONOTONIC in ns: added to a time of the kernel's (bpf_ktime_get_ns) it gives the epoch's.

    Each reading puts the realtime clock between two of the monotonic one; the tightest pair wins, so that a preemption
    between them does not count. Its error is at most half the tightest gap (well below 1 µs).
    """
    pairs = []
    for _ in range(readings):
        before = time.monotonic_ns()
        real = time.time_ns()
        after = time.monotonic_ns()
        pairs.append((after - before, real - (before + after) // 2))
    return min(pairs)[1]


def _kernel_text(roots: Roots, name: str) -> str:
    path = roots.proc / "sys/kernel" / name
    try:
        return os.fsdecode(path.read_bytes()).strip()
    except OSError as error:
        raise NotSupportedError(f"cannot read {path}: {error.strerror}", "mount /proc of the host") from error
