"""The Open vSwitch probe: follows a host's database and reports its bridges, ports and interfaces as facts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from topology.facts import Fact, NodeFact, Report, Source
from topology.probes.devices import Devices
from topology.probes.ovsdb.bridges import bridges
from topology.probes.ovsdb.joining import Joining
from topology.probes.ovsdb.source import LOCAL, DatabaseSource
from topology.probes.ovsdb.translate import Tables, Translator

_log = structlog.get_logger(__name__)


class OvsdbProbe:
    """Reports to a sink, on its own thread, what is otherwise than before. A database that is away is waited for.

    Args:
        sink: takes a report; what it raises is logged, and the watching goes on.
        source: under which the facts are reported.
        host_tid: of this host.
        devices: the kernel's; None: not known yet. After a change :meth:`devices_changed` is called.
        remote: where the database is.
        clock: µs since the epoch.
        tls: for ``ssl`` (:class:`DatabaseSource`).
        follow: is told the bridges, by name their UUIDs and where they are asked, after each change of the database.
    """

    def __init__(
        self,
        sink: Callable[[Report], object],
        source: Source,
        host_tid: str,
        devices: Callable[[], Devices | None],
        remote: str,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        tls: tuple[str, str, str] | None = None,
        follow: Callable[[Mapping[str, tuple[str, str]]], object] = lambda _: None,
    ) -> None:
        self._follow, self._remote = follow, remote
        self._sink, self._source, self._devices, self._clock = sink, source, devices, clock
        self._translator = Translator(host_tid)
        self._joining = Joining(near=remote.startswith(LOCAL))
        self._told: dict[str, Fact] = {}
        self._tables: Tables | None = None
        self._whole = True
        self._failure: str | None = None
        self._lock = threading.Lock()
        self.database = DatabaseSource(remote, self._take, tls)

    def start(self) -> None:
        """Begin."""
        self.database.start()

    def stop(self) -> None:
        """End the watching."""
        self.database.stop()

    @property
    def failure(self) -> str | None:
        """Why the graph may not be as the database; None: it is, or there is no Open vSwitch here."""
        return self._failure or (None if self.database.absent else self.database.failure)

    @property
    def active(self) -> bool:
        """Whether it sees a database."""
        return self.database.failure is None

    def devices_changed(self) -> None:
        """A device of the kernel's came, went or changed."""
        if self._tables is not None:
            self.database.wake()

    def tell_all(self) -> None:
        """Report all that is there once more; nothing, as long as the database has not been seen."""
        with self._lock:
            self._whole = True
            if self._tables is not None:
                self._report(self._tables)

    def _take(self, tables: Tables) -> None:
        with self._lock:
            self._tables = tables
            self._report(tables)
        self._follow(bridges(tables, self._remote))

    def _report(self, tables: Tables) -> None:
        observed, devices = self._clock(), self._devices()
        if devices is None:
            return
        joined = self._joining.join(tables["Interface"], devices)
        now = self._translator.facts(tables, joined)
        whole, before = self._whole, {} if self._whole else self._told
        changed = tuple(fact for id_, fact in now.items() if (was := before.get(id_)) is not fact and was != fact)
        gone = tuple(before.keys() - now.keys())
        if not (changed or gone or whole):
            return
        try:
            self._sink(Report(self._source, observed, changed, gone, whole))
        except Exception as error:  # noqa: BLE001 - whatever the graph says, the switch goes on
            self._failure, self._whole = str(error), True  # once it takes reports again, it gets all
            _log.error("report_failed", probe=self._source.probe, error=str(error))
        else:
            self._failure, self._whole, self._told = None, False, now

    def count(self, counted: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
        """Show what the switch counts at interfaces (``Metric``, ``LastUpdateMetric``), by the UUID of their rows."""
        with self._lock:
            rows = {fact.metadata.get("UUID"): id_ for id_, fact in self._told.items() if isinstance(fact, NodeFact)}
            shown = {
                rows[uuid]: {f"Ovs.{key}": metric for key, metric in metrics.items()}
                for uuid, metrics in counted.items()
                if uuid in rows
            }
            if not shown or self._whole:
                return
            try:
                self._sink(Report(self._source, self._clock(), volatile=shown))
            except Exception as error:  # noqa: BLE001 - the next ones are told all the same
                _log.error("report_failed", probe=self._source.probe, error=str(error))

    def status(self) -> dict[str, Any]:
        """What it knows, for ``/api/status``."""
        tables = self._tables or {}
        counts = {f"{name.lower()}s": len(tables.get(name, ())) for name in ("Bridge", "Port", "Interface")}
        return {"connected": self.active, **counts, "resyncs": self.database.resyncs}
