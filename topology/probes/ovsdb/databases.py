"""Several databases of Open vSwitch at once: a probe for each, which knows nothing of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from topology.facts import Report, Source
from topology.probes.devices import Devices
from topology.probes.ovsdb.probe import OvsdbProbe


class OvsdbProbes:
    """All of them as one.

    Args:
        remotes: where the databases are, by the probe's name: each is a source of its own, so that one that is away takes
            nothing with it.
        sink, host_tid, devices, clock, tls: as :class:`OvsdbProbe` takes them.
        host: its Name.
    """

    def __init__(
        self,
        remotes: Mapping[str, str],
        sink: Callable[[Report], object],
        host: str,
        host_tid: str,
        devices: Callable[[], Devices | None],
        clock: Callable[[], int],
        tls: tuple[str, str, str] | None = None,
    ) -> None:
        self._probes = {
            name: OvsdbProbe(sink, Source(name, host, tid=host_tid), host_tid, devices, remote, clock, tls)
            for name, remote in remotes.items()
        }

    def start(self) -> None:
        """Begin."""
        for probe in self._probes.values():
            probe.start()

    def stop(self) -> None:
        """End the watching."""
        for probe in self._probes.values():
            probe.stop()

    def devices_changed(self) -> None:
        """A device of the kernel's came, went or changed."""
        for probe in self._probes.values():
            probe.devices_changed()

    def tell_all(self) -> None:
        """Report all that is there once more."""
        for probe in self._probes.values():
            probe.tell_all()

    def waiting(self) -> dict[str, str | None]:
        """Why the graph may not be as a database, by the probe's name; None: it is, or there is none."""
        return {name: probe.failure for name, probe in self._probes.items()}

    def status(self) -> dict[str, dict[str, Any]]:
        """What each knows, by its name."""
        return {name: probe.status() for name, probe in self._probes.items()}

    def shown(self) -> dict[str, dict[str, str]]:
        """The same as Skydive's clients read it; of those that have something to watch."""
        return {
            name: {"Status": probe.failure or "active"} for name, probe in self._probes.items() if probe.active or probe.failure
        }
