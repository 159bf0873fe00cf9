"""Containers in namespaces of containerd's that no CRI and no Docker tells of: those of nerdctl and ctr, by its own services.

Source: https://github.com/containerd/containerd, api/services/{namespaces,tasks,containers}/v1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from skytrail.runtimes.container import MAX_CONTAINERS, Container, NoSuchApiError, bounded
from skytrail.runtimes.crimessages import PAUSED_TASK, RUNNING_TASK

RUNTIME = "containerd"
OF_DOCKER = "moby"
_OF_OTHERS = frozenset({"k8s.io", OF_DOCKER, "plugins.moby"})
"""Namespaces of which the CRI, or Docker, tells."""

_NAME = "nerdctl/name"  # nerdctl, pkg/labels
_ID = re.compile(r"[0-9a-f]{64}")
_MAX_NAMESPACES = 64


def identity_in(namespace: str, container: str) -> str:
    """A container's ID on its host: ctr's may be any word, and is one's own in each namespace."""
    return container if _ID.fullmatch(container) else f"{namespace}/{container}"


class OtherNamespaces:
    """Lists them.

    Args:
        call: calls a method of :data:`skytrail.runtimes.crimessages.METHODS` in a namespace; raises RuntimeAwayError.
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def listed(self, known: Mapping[str, Container]) -> dict[str, Container] | None:
        """All that run, by ID; None: this is no containerd. Those that are known with their process are not looked at again."""
        try:
            names = [one.name for one in self._call("Namespaces").namespaces if one.name not in _OF_OTHERS]
        except NoSuchApiError:
            return None
        found = (one for name in sorted(names)[:_MAX_NAMESPACES] for one in self._of(name, known))
        return {one.id: one for one in islice(found, MAX_CONTAINERS)}

    def _of(self, namespace: str, known: Mapping[str, Container]) -> Iterator[Container]:
        tasks = {one.container_id or one.id: one for one in self._call("Tasks", namespace).tasks}
        living = {one: task for one, task in tasks.items() if task.status in {RUNNING_TASK, PAUSED_TASK}}
        new = []
        for name, task in living.items():
            before = known.get(identity_in(namespace, name))
            if before is not None and (before.pid, before.paused) == (task.pid, task.status == PAUSED_TASK):
                yield before
            else:
                new.append(name)
        if not new:
            return
        for container in self._call("TaskContainers", namespace, filters=[f'id=="{name}"' for name in new]).containers:
            task = living[container.id]
            labels = dict(container.labels)
            yield Container(
                id=identity_in(namespace, container.id),
                name=labels.get(_NAME) or container.id,
                image=container.image,
                runtime=RUNTIME,
                labels=bounded(labels),
                created=container.created_at.seconds * 10**9 + container.created_at.nanos,
                pid=task.pid,
                paused=task.status == PAUSED_TASK,
            )
