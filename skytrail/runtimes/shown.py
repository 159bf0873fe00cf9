"""Whose a control group is, as people see it: JSON of the container, the pod and the systemd unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skytrail.runtimes.cgroups import CgroupOwner, owner
from skytrail.runtimes.container import Container

Find = Callable[[CgroupOwner], Container | None]
"""The container of a control group, as far as a runtime has told of it."""


def described(path: str, find: Find) -> dict[str, dict[str, str]]:
    """What a control group's path tells: ``Container`` (ID, Name, Image, Runtime), ``Pod`` (UID, Name, Namespace), ``Unit``.

    What is not known is left out.
    """
    told = owner(path)
    container = find(told) if told.container_id else None
    known = {
        "Container": {
            "ID": container.id if container else told.container_id,
            "Name": container.name if container else "",
            "Image": container.image if container else "",
            "Runtime": container.runtime if container else told.runtime,
        },
        "Pod": {
            "UID": container.pod_uid if container and container.pod_uid else told.pod_uid,
            "Name": container.pod_name if container else "",
            "Namespace": container.pod_namespace if container else "",
        },
        "Unit": {"Name": told.unit},
    }
    found: dict[str, dict[str, Any]] = {}
    for key, values in known.items():
        if some := {name: value for name, value in values.items() if value}:
            found[key] = some
    return found
