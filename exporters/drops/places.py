"""What the kernel's numbers of namespaces and devices are called now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skytrail.kernel.links import LinkWatcher

Place = tuple[int, int]
"""(cookie of the namespace, ifindex); ifindex 0: no device."""


@dataclass(frozen=True, slots=True)
class Places:
    """The names of one moment.

    Attributes:
        namespaces: by cookie; empty for our own.
        devices: by place.

    """

    namespaces: Mapping[int, str]
    devices: Mapping[Place, str]

    def find(self, place: Place) -> tuple[str, str] | None:
        """Names of device and namespace; None where they are not known, or there no more."""
        netns = self.namespaces.get(place[0])
        device = self.devices.get(place) if place[1] else ""
        return None if netns is None or device is None else (device, netns)


def watched(watcher: LinkWatcher) -> Places:
    """The names that a watcher knows."""
    namespaces = {found.cookie: found.label for found in watcher.namespaces()}
    return Places(namespaces, {(link.cookie, link.ifindex): link.label for link in watcher.snapshot()})
