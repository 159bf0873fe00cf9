"""Which daemon is believed what: a user's own is of that user's processes, and of no container that another one told of.

Nor is it of a Kubernetes pod: the kubelet's runtime is root's.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
from pathlib import Path

from skytrail.runtimes.container import Container

_NS_GET_OWNER_UID = 0xB704
"""``_IO(0xb7, 4)`` of linux/nsfs.h, see ioctl_ns(2)."""


def user_of(socket: str) -> int | None:
    """Whose the daemon behind a socket is, by its place below /run/user (pam_systemd(8)); None: root's."""
    parts = Path(socket).parts
    if parts[:3] != ("/", "run", "user") or len(parts) < 5 or not parts[3].isdigit():
        return None
    return int(parts[3]) or None


def as_believed(container: Container, user: int | None) -> Container:
    """What is believed of a container that the daemon of a user (None: of root) tells of."""
    return container if user is None else dataclasses.replace(container, pod_uid="", pod_name="", pod_namespace="")


def is_of(uid: int, pid: int, proc: str = "/proc") -> bool:
    """Whether a process is a user's, or in a user namespace that the user made; not, where that cannot be seen."""
    place = Path(proc) / str(pid)
    try:
        if place.stat().st_uid == uid:
            return True
        file = os.open(place / "ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        owner = fcntl.ioctl(file, _NS_GET_OWNER_UID, bytes(4))
    except OSError:
        return False
    finally:
        os.close(file)
    return int.from_bytes(owner, "little") == uid
