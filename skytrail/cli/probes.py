"""The composition of this host's probes: what they see, as reports, to whoever takes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skytrail.cli.plugged import PluggedProbes
    from skytrail.kernel.host import Host
    from skytrail.kernel.linktable import Event
    from skytrail.kernel.tid_state import TidRegistry
    from skytrail.settings.tree import Ovsdb
    from topology.facts import Report
    from topology.probes.netlink.probe import NetlinkProbe
    from topology.probes.ovsdb.probe import OvsdbProbe

_CATCH_UP = 0.05  # seconds that an answer about now waits for what the kernel told before the question


class HostProbes:
    """The probes of this host.

    Args:
        host: this host.
        tids: topology IDs, shared with the exporter.
        follow: takes the events of links that the netlink probe has taken.
        report: takes reports.
        clock: µs since the epoch.
        ovsdb: where Open vSwitch's database is.
        plugged: those of other packages.
    """

    def __init__(
        self,
        host: Host,
        tids: TidRegistry,
        follow: Callable[[Sequence[Event]], None],
        report: Callable[[Report], object],
        clock: Callable[[], int],
        ovsdb: Ovsdb,
        plugged: PluggedProbes,
    ) -> None:
        self._host, self._tids, self._follow, self._report, self._clock = host, tids, follow, report, clock
        self._ovsdb_settings, self._plugged = ovsdb, plugged
        self._closers = contextlib.ExitStack()
        self.probe: NetlinkProbe
        self.ovsdb: OvsdbProbe | None = None

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
        self.probe.start()
        if self.ovsdb:
            self._closers.callback(self.ovsdb.stop)
            self.ovsdb.start()
        self._closers.callback(self._plugged.stop)
        own = lambda probe: Source(probe, name, tid=tid)  # noqa: E731 - used here alone
        self._plugged.start(own, tid, self._report, self.probe.own_devices, self._clock)

    def _ovsdb(self, name: str, tid: str) -> OvsdbProbe | None:
        """Raises UsageError: ssl without its files."""
        from skytrail.errors import UsageError  # noqa: PLC0415 - only where probes run
        from topology.facts import Source  # noqa: PLC0415
        from topology.probes.ovsdb.probe import OvsdbProbe  # noqa: PLC0415

        given = self._ovsdb_settings
        if given.remote is None:
            return None
        tls = (given.tls_key, given.tls_cert, given.tls_ca) if given.tls_key and given.tls_cert and given.tls_ca else None
        if given.remote.startswith("ssl:") and tls is None:
            raise UsageError("topology.ovsdb: ssl needs tls_key, tls_cert and tls_ca: set all three")
        source = Source("ovsdb", name, tid=tid)
        return OvsdbProbe(self._report, source, tid, self.probe.own_devices, given.remote, self._clock, tls)

    def _followed(self, events: Sequence[Event]) -> None:
        from skytrail.kernel.linktable import LinkChanged, LinkGone, LinkMoved  # noqa: PLC0415 - only where probes run

        self._follow(events)
        if any(isinstance(event, LinkChanged | LinkGone | LinkMoved) for event in events):
            if self.ovsdb:
                self.ovsdb.devices_changed()
            self._plugged.wake()

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
        if self.ovsdb:
            self.ovsdb.tell_all()
        self._plugged.tell_all()

    def catch_up(self) -> None:
        """Wait, not for long, until what the kernel told before is reported."""
        self.probe.watcher.catch_up(_CATCH_UP)

    def waiting(self) -> dict[str, str | None]:
        """Why a probe does not see what it watches, by its name; None: it does, or there is nothing of the kind."""
        of_kernel = self.probe.failure or (None if self.probe.watcher.alive else "the link watcher has ended: see the log")
        return {"netlink": of_kernel, **({"ovsdb": self.ovsdb.failure} if self.ovsdb else {}), **self._plugged.waiting()}

    def active(self) -> dict[str, bool]:
        """Which probes see their source, by name."""
        of_ovsdb = {"ovsdb": self.ovsdb.active} if self.ovsdb else {}
        return {"netlink": self.probe.watcher.alive, **of_ovsdb, **self._plugged.active()}

    def status(self) -> dict[str, object]:
        """How each probe is, by its name."""
        of_ovsdb = {"ovsdb": self.ovsdb.status()} if self.ovsdb else {}
        return {"netlink": self.probe.status(), **of_ovsdb, **self._plugged.status()}

    def shown(self) -> dict[str, object]:
        """The same as Skydive's clients read it; of those that have something to watch."""
        shown: dict[str, object] = {"netlink": {"Status": self.probe.failure or "active"}}
        if self.ovsdb and (self.ovsdb.active or self.ovsdb.failure):
            shown["ovsdb"] = {"Status": self.ovsdb.failure or "active"}
        waits = self._plugged.waiting()
        others = {name: waits.get(name) for name, there in self._plugged.active().items() if there or waits.get(name)}
        return shown | {name: {"Status": failure or "active"} for name, failure in others.items()}

    def stop(self) -> None:
        """Watch no more."""
        self._closers.close()
