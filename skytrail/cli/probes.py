"""The composition of this host's probes: what they see, as reports, to whoever takes them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from skytrail.cli.plugged import PluggedProbes

if TYPE_CHECKING:
    from exporters.openvswitch.source import StatisticsSource
    from skytrail.kernel.host import Host
    from skytrail.kernel.linktable import Event
    from skytrail.kernel.tid_state import TidRegistry
    from skytrail.runtimes.client import RuntimesClient
    from skytrail.settings.tree import Ovsdb, Settings
    from topology.facts import Report
    from topology.probes.containers.probe import ContainersProbe
    from topology.probes.netlink.probe import NetlinkProbe
    from topology.probes.ovsdb.databases import OvsdbProbes

_FIRST_LOOK = 10.0  # seconds that who needs the host's interfaces waits until they are known
_CATCH_UP = 0.05  # seconds that an answer about now waits for what the kernel told before the question


def ovsdb_tls(given: Ovsdb) -> tuple[str, str, str] | None:
    """Files of key, certificate and authorities for databases; None: none is given. Raises UsageError: ssl wants them."""
    from skytrail.errors import UsageError  # noqa: PLC0415 - only where a database is

    if given.tls_key and given.tls_cert and given.tls_ca:
        files = given.tls_key, given.tls_cert, given.tls_ca
        if missing := next((file for file in files if not Path(file).is_file()), None):
            raise UsageError(f"topology.ovsdb: no file {missing}: set tls_key, tls_cert and tls_ca to those that are there")
        return files
    if any(remote.startswith("ssl:") for remote in given.databases):
        raise UsageError("topology.ovsdb: ssl needs tls_key, tls_cert and tls_ca: set all three")
    return None


def _counters(source: StatisticsSource) -> dict[str, dict[str, int]]:
    """What a database counts, by the UUID of an interface's row. Raises OSError, SkytrailError: it does not tell."""
    from exporters.openvswitch.collector import counters_of  # noqa: PLC0415 - only where a database is

    return {one.uuid: counters_of(one.statistics) for one in source.read()}


class HostProbes:
    """The probes of this host.

    Args:
        host: this host.
        tids: topology IDs, shared with the exporter.
        follow: takes the events of links that the netlink probe has taken.
        report: takes reports.
        clock: µs since the epoch.
        settings: the effective ones.
        runtimes: who tells of containers; None: nobody.
    """

    def __init__(
        self,
        host: Host,
        tids: TidRegistry,
        follow: Callable[[Sequence[Event]], None],
        report: Callable[[Report], object],
        clock: Callable[[], int],
        settings: Settings,
        runtimes: RuntimesClient | None = None,
    ) -> None:
        self._host, self._tids, self._follow, self._report, self._clock = host, tids, follow, report, clock
        self._settings, self._runtimes = settings, runtimes
        self._plugged = PluggedProbes(settings.topology, Path(settings.state_dir))
        self._closers = contextlib.ExitStack()
        self._looked = threading.Event()  # the first look at the host is over
        self.probe: NetlinkProbe
        self.ovsdb: OvsdbProbes
        self.containers: ContainersProbe | None = None

    def start(self) -> None:
        """Report the host, and begin to watch."""
        from skytrail.kernel.worker import NamespaceWorker  # noqa: PLC0415 - only where probes run
        from skytrail.tid import host_tid  # noqa: PLC0415
        from topology.facts import Source  # noqa: PLC0415
        from topology.probes.netlink.probe import NetlinkProbe  # noqa: PLC0415

        name, tid = self._host.hostname, host_tid(self._host.host_id)
        self._tell_host()
        # two, and not the exporter's, each of whose programs takes the kernel 10 ms and more: who asks which namespace
        # one is does not wait for what is read of others
        worker, reader = NamespaceWorker(), NamespaceWorker()
        for one in (worker, reader):
            self._closers.callback(one.close)
        source = Source("netlink", name, tid=tid)
        self.probe = NetlinkProbe(self._report, source, tid, self._tids, worker, reader, self._clock, self._followed)
        self._closers.callback(self.probe.stop)
        self.ovsdb = self._ovsdb(name, tid)
        self.containers = self._containers(name, tid)
        self.probe.start()
        self._closers.callback(self.ovsdb.stop)
        self.ovsdb.start()
        if self.containers:
            self._closers.callback(self.containers.stop)
            self.containers.start()
        self._closers.callback(self._plugged.stop)
        own = lambda probe: Source(probe, name, tid=tid)  # noqa: E731 - used here alone
        self._plugged.start(own, tid, self._report, self._own_devices, self._clock)

    def _own_devices(self) -> dict[str, str]:
        """TIDs of our own namespace's interfaces by name.

        Waits for the first look: who told all without them would end, at each start, the edges to them that there were.
        Raises RunError: it takes too long.
        """
        from skytrail.errors import RunError  # noqa: PLC0415 - only where another package's probe is

        self._looked.wait(_FIRST_LOOK)
        if (devices := self.probe.devices()) is None:
            raise RunError("the first look at the host's interfaces is under way")
        return {one.name: one.tid for one in devices.all if one.namespace == devices.own}

    def _containers(self, name: str, tid: str) -> ContainersProbe | None:
        from topology.facts import Report, Source  # noqa: PLC0415 - only where probes run
        from topology.probes.containers.labels import LabelFilter  # noqa: PLC0415
        from topology.probes.containers.probe import ContainersProbe  # noqa: PLC0415

        kept, source = self._settings.topology.containers, Source("containers", name, tid=tid)
        if not kept.enabled:
            self._report(Report(source, self._clock(), whole=True))  # what it said while it ran
        if self._runtimes is None or not kept.enabled:
            return None
        labels = LabelFilter(kept.labels, kept.labels_denied)
        return ContainersProbe(self._report, source, tid, self._runtimes, self.probe, labels, self._clock)

    def _ovsdb(self, name: str, tid: str) -> OvsdbProbes:
        """Raises UsageError: ssl without its files."""
        from exporters.openvswitch.source import StatisticsSource  # noqa: PLC0415
        from skytrail.settings.tree import Ovsdb  # noqa: PLC0415
        from topology.probes.ovsdb.databases import NAME, OvsdbProbes  # noqa: PLC0415

        given = self._settings.topology.ovsdb
        remotes = {NAME if remote in Ovsdb().databases else f"{NAME}/{remote}": remote for remote in given.databases}
        told = remotes, self._report, name, tid, self.probe.devices, self._clock
        tls = ovsdb_tls(given)
        counters = {probe: partial(_counters, StatisticsSource(remote, tls)) for probe, remote in remotes.items()}
        return OvsdbProbes(*told, tls, given.openflow, Path(self._settings.state_dir), counters)

    def _followed(self, events: Sequence[Event]) -> None:
        from skytrail.kernel.linktable import LinkChanged, LinkGone, LinkMoved, NamespaceFound  # noqa: PLC0415 - as above

        self._looked.set()
        self._follow(events)
        if any(isinstance(event, LinkChanged | LinkGone | LinkMoved) for event in events):
            self.ovsdb.devices_changed()
            self._plugged.wake()
        if self.containers and any(isinstance(event, LinkChanged | LinkGone | LinkMoved | NamespaceFound) for event in events):
            self.containers.kernel_changed()

    def _tell_host(self) -> None:
        from skytrail.tid import host_tid  # noqa: PLC0415 - only where probes run
        from topology.facts import NodeFact, Report, Source  # noqa: PLC0415
        from topology.probes.host.source import read_host_metadata  # noqa: PLC0415

        name, tid = self._host.hostname, host_tid(self._host.host_id)
        host = NodeFact(tid, {"Type": "host", **read_host_metadata(name)})
        self._report(Report(Source("host", name, tid=tid), self._clock(), (host,), whole=True))

    def tell_all(self) -> None:
        """Report all that is there once more: to one who does not know what the store does not have."""
        self._tell_host()
        self.probe.tell_all()
        self.ovsdb.tell_all()
        if self.containers:
            self.containers.tell_all()
        self._plugged.tell_all()

    def catch_up(self) -> None:
        """Wait, not for long, until what the kernel told before is reported."""
        self.probe.watcher.catch_up(_CATCH_UP)

    def waiting(self) -> dict[str, str | None]:
        """Why a probe does not see what it watches, by its name; None: it does, or there is nothing of the kind."""
        of_kernel = self.probe.failure or (None if self.probe.watcher.alive else "the link watcher has ended: see the log")
        of_containers = {"containers": self.containers.failure} if self.containers else {}
        return {"netlink": of_kernel, **self.ovsdb.waiting(), **of_containers, **self._plugged.waiting()}

    def notes(self) -> dict[str, str]:
        """What a probe leaves out, by its name, which holds up nothing."""
        return self.ovsdb.notes()

    def active(self) -> dict[str, bool]:
        """Which probes see their source, by name."""
        of_containers = {"containers": self.containers.active} if self.containers else {}
        return {"netlink": self.probe.watcher.alive, **self.ovsdb.active(), **of_containers, **self._plugged.active()}

    def status(self) -> dict[str, object]:
        """How each probe is, by its name."""
        of_containers = {"containers": self.containers.status()} if self.containers else {}
        return {"netlink": self.probe.status(), **self.ovsdb.status(), **of_containers, **self._plugged.status()}

    def shown(self) -> dict[str, object]:
        """The same as Skydive's clients read it; of those that have something to watch."""
        shown: dict[str, object] = {"netlink": {"Status": self.probe.failure or "active"}, **self.ovsdb.shown()}
        if self.containers and (self.containers.active or self.containers.failure):
            shown["containers"] = {"Status": self.containers.failure or "active"}
        waits = self._plugged.waiting()
        others = {name: waits.get(name) for name, there in self._plugged.active().items() if there or waits.get(name)}
        return shown | {name: {"Status": failure or "active"} for name, failure in others.items()}

    def stop(self) -> None:
        """Watch no more."""
        self._looked.set()  # nobody waits for it any more
        self._closers.close()
