"""``skytrail agent`` and ``skytrail up``: the composition root of the exporter."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import threading
import time
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
import structlog

from skytrail import __version__
from skytrail.addresses.book import Book
from skytrail.certificates import Certificates
from skytrail.cli.flows import flows
from skytrail.cli.options import Session, common, settings_options
from skytrail.errors import AgentAwayError, NotSupportedError, RunError, SkytrailError
from skytrail.privileges import give_up
from skytrail.process import keep_private, return_memory, take_turns
from skytrail.settings.tree import Otlp, OtlpSignal, Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from exporters.bpf.namespaces import NamespaceHints
    from exporters.bpf.program import FlowProgram
    from exporters.conntrack.collector import ConntrackCollector
    from exporters.drops.collector import DropsCollector
    from exporters.flows.applications import Applications
    from exporters.flows.capture import Capture
    from exporters.flows.collector import FlowsCollector
    from exporters.flows.names import FlowNames
    from exporters.flows.owners import Owners
    from exporters.flows.owntraffic import OwnTraffic
    from exporters.flows.peers import Peers
    from exporters.flows.points import Points
    from exporters.flows.receivers import EndSockets, Translations
    from exporters.flows.table import Timeouts
    from exporters.interfaces.collector import InterfacesCollector
    from exporters.openvswitch.collector import OpenVswitchCollector
    from exporters.outputs.otlp import config as otlp_config
    from exporters.outputs.otlp.exporter import OtlpExporter
    from exporters.sockets.collector import SocketsCollector
    from exporters.sockets.known import Known, Whose
    from skytrail.cli.answering import Answering
    from skytrail.cli.hub import HubProcess
    from skytrail.cli.probes import HostProbes
    from skytrail.collectors import Collectors
    from skytrail.http.server import Server
    from skytrail.kernel.host import Host
    from skytrail.kernel.linktable import Event
    from skytrail.kernel.namespaces import Namespace
    from skytrail.kernel.tid_state import TidRegistry
    from skytrail.metrics import Family
    from skytrail.runtimes.client import RuntimesClient
    from topology.remote.sender import Sender

_log = structlog.get_logger(__name__)

_OPTIONS = (
    "flow.interfaces",
    "flow.netns",
    "flow.bpf_loader",
    "flow.attach",
    "agent.listen",
    "agent.collectors",
    "otlp.endpoint",
    "http.insecure",
)
_CLOSE_TIMEOUT = 5.0
_DRIVER_PATIENCE = 2.0  # seconds
_SLOW_STOP = 10.0  # seconds
_TURN = 0.001  # seconds; Python's 0.005 is as long as a change takes from the kernel to its readers


class Told(Protocol):
    """What has metrics."""

    def families(self) -> Iterable[Family]:
        """All of them, as of now."""
        ...


class AgentProcess:
    """All parts of one agent, joined.

    Args:
        settings: the effective settings.
        topology: the graph of this host too, kept and served by a hub in this process.

    """

    def __init__(self, settings: Settings, *, topology: bool = False) -> None:
        from skytrail.kernel.host import read_host  # noqa: PLC0415 - only where an agent runs

        self._settings, self._topology = settings, topology
        self._host: Host = read_host(settings.host_id or "", kept=Path(settings.state_dir) / "host_id")
        self._started = time.time()
        self._stopping = threading.Event()
        self._begun = False
        self._closers = contextlib.ExitStack()
        self._otlp: OtlpExporter | None = None
        self._own: OwnTraffic | None = None
        self._hub: HubProcess | None = None
        self._probes: HostProbes | None = None
        self._sender: Sender | None = None
        self._hints: NamespaceHints | None = None
        self._collectors: Collectors | None = None
        self._certificates = Certificates()
        self._book = Book()
        self.interfaces: InterfacesCollector | None = None
        self.openvswitch: OpenVswitchCollector | None = None
        self.sockets: SocketsCollector | None = None
        self.drops: DropsCollector | None = None
        self.conntrack: ConntrackCollector | None = None
        self._refused: dict[str, str] = {}  # collectors that could not be started, and why
        self._runtimes: RuntimesClient
        self._points: Points
        self._answering: Answering
        self.collector: FlowsCollector
        self.server: Server

    def start(self) -> None:
        """Start every part; what was started is stopped again if a later part fails."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        from skytrail.http.server import check_exposure  # noqa: PLC0415
        from skytrail.wire.exposure import check_hubs  # noqa: PLC0415

        # what must not be is refused before anything is touched
        check_exposure(self._settings.agent.listen, self._settings.http)
        check_hubs(self._settings)
        self._start_otlp()
        self._start_points()
        self._start_runtimes()
        self._start_conntrack()
        self._start_flows()
        self._start_sockets()
        self._start_interfaces()
        self._start_drops()
        self._start_metrics()
        self._start_http()
        assert self.collector.capture
        self.collector.capture.start()  # last: with many interfaces it takes a while, and is watched over HTTP
        self._answering.start()
        if self.sockets:
            self.sockets.start()
        if self.conntrack:
            self.conntrack.start()
        if self.drops:
            try:
                self.drops.start()
            except (OSError, SkytrailError) as error:
                _log.warning("drops_not_counted", error=str(error), remedy="see 'skytrail check'")
                self.drops, self._refused["drops"] = None, str(error)
            else:
                self._closers.callback(self.drops.stop)
                self._answering.tell_drops(self.drops)
        self._start_hints()
        self._begun = True

    def _start_points(self) -> None:
        from exporters.flows.points import Points  # noqa: PLC0415

        self._points = Points(self._settings.flow.max_points)

    def _start_runtimes(self) -> None:
        """Names of containers, as far as a runtime is here."""
        from skytrail.runtimes.client import RuntimesClient  # noqa: PLC0415
        from skytrail.runtimes.endpoints import endpoints  # noqa: PLC0415

        self._runtimes = RuntimesClient(endpoints(self._settings.containers.docker, self._settings.containers.cri))
        self._runtimes.start()
        self._closers.callback(self._runtimes.stop)

    def _described(self, cgroup: str) -> dict[str, dict[str, str]]:
        from skytrail.runtimes.shown import described  # noqa: PLC0415

        return described(cgroup, self._runtimes.find_owner)

    def _start_flows(self) -> None:
        from exporters.bpf.select import choose_loader  # noqa: PLC0415
        from exporters.flows.applications import Applications  # noqa: PLC0415
        from exporters.flows.capture import Capture  # noqa: PLC0415
        from exporters.flows.choice import Choice  # noqa: PLC0415
        from exporters.flows.collector import FlowsCollector  # noqa: PLC0415
        from exporters.flows.perflow import TopTalkers  # noqa: PLC0415
        from exporters.flows.table import in_memory  # noqa: PLC0415
        from skytrail.cli.answering import Answering, rescue_of  # noqa: PLC0415
        from skytrail.kernel.host import clock_offset_ns  # noqa: PLC0415
        from skytrail.kernel.tid_state import TidRegistry  # noqa: PLC0415
        from skytrail.kernel.worker import NamespaceWorker  # noqa: PLC0415
        from skytrail.tid import host_tid  # noqa: PLC0415

        flow, per_flow = self._settings.flow, self._settings.prometheus.per_flow
        choice = Choice(flow.interfaces if "flows" in self._settings.agent.collectors else ())
        program: FlowProgram = choose_loader(
            flow.bpf_loader, max_flows=flow.max_flows, max_points=flow.max_points, sampling=flow.sampling
        )
        self._closers.callback(program.close)
        worker = NamespaceWorker()
        self._closers.callback(worker.close)
        host = host_tid(self._host.host_id)
        tids = TidRegistry(Path(self._settings.state_dir), host, self._host.boot_id)
        self._closers.callback(tids.close)
        points, rescue = self._points, rescue_of(self._settings, self._points)
        applications = Applications({"tcp": flow.application_ports.tcp, "udp": flow.application_ports.udp})
        ends, owners = self._ends_of_flows(points)
        names = self._names_of_flows(points, tids, host)
        self.collector = FlowsCollector(
            program,
            points,
            applications,
            timeouts(self._settings),
            clock_offset_ns,
            drain=flow.drain,
            own_traffic=self._own,
            talkers=TopTalkers(points, per_flow.max, per_flow.ttl) if per_flow.enabled else None,
            owners=owners if "sockets" in self._settings.agent.collectors else None,
            subnets=self._settings.subnets,
            sockets=self._known,
            ends=ends,
            described=self._described,
            fates=self._fates,
            dropped=self._dropped,
            records=rescue.allocate if rescue else in_memory,
            drained=rescue.drained if rescue else lambda _: None,
            names=names,
            peers=self._peers(points, names),
        )
        self._answering = Answering(self._settings, self.collector, points, applications, tids, rescue)
        self._closers.callback(self._answering.stop)
        self._answering.remember_flows(program, self._known, self._described, self._fates, names)
        self._start_spans(points, applications, program, names)
        capture = Capture(
            program,
            choice,
            points,
            worker,
            tids,
            mode=flow.attach,
            every_namespace=flow.netns == "all",
            shared=self._topology or bool(self._settings.agent.hubs),
            tunnel_ports={
                "vxlan": frozenset(flow.tunnel_ports.vxlan),
                "geneve": frozenset(flow.tunnel_ports.geneve),
            },
        )
        self.collector.capture = capture
        if self._topology:
            from skytrail.cli.hub import HubProcess  # noqa: PLC0415

            hub = HubProcess(self._settings, self._host, self._runtimes)
            hub.start(tids, capture.take, self._answering.answer, self._book if self._settings.flow.names else None)
            self._closers.callback(hub.stop)
            self._hub, self._probes = hub, hub.probes
        elif self._settings.agent.hubs:
            self._start_probes(tids, capture.take)
        self.collector.start()
        self._closers.callback(self.collector.stop)
        self._closers.callback(self._stop_capture, capture)  # run first: nothing is counted while the last records are read
        watcher = self._probes.probe.watcher if self._probes else capture.watcher
        if watcher and (self._probes or flow.netns == "all"):
            from exporters.bpf.namespaces import NamespaceHints  # noqa: PLC0415

            self._hints = NamespaceHints(watcher.hint)

    def _names_of_flows(self, points: Points, tids: TidRegistry, host: str) -> FlowNames:
        """What names the ends of flows by the hub's address book."""
        from exporters.flows.names import FlowNames  # noqa: PLC0415

        def places() -> dict[str, str]:
            return {one.label: host if one.of_host else tids.namespace_tid(one) for one in self._namespaces()}

        return FlowNames(self._book, points, host, places)

    def _peers(self, points: Points, names: FlowNames) -> Peers | None:
        """The metrics of who sends to whom, where they are wanted."""
        from exporters.flows.peers import Peers  # noqa: PLC0415

        most = self._settings.prometheus.peers
        return Peers(points, names, most) if most else None

    def _start_spans(self, points: Points, applications: Applications, program: FlowProgram, names: FlowNames) -> None:
        if self._otlp is None or not self._settings.otlp.exports("traces"):
            return
        from exporters.flows.spans import SpanBuilder  # noqa: PLC0415

        epoch = int((self._settings.otlp.trace_epoch or 0) * 1e9)
        subnets, otlp = self._settings.subnets, self._otlp
        builder = SpanBuilder(
            points, applications, epoch, subnets, program, self._known, self._described, self._translations, names
        )
        self.collector.add_sink(lambda batch: otlp.export_spans(builder.build(batch)))

    def _stop_capture(self, capture: Capture) -> None:
        self._answering.ending()
        capture.stop()

    @property
    def _translations(self) -> Translations | None:
        return self.conntrack.of_flows if self.conntrack else None

    def _ends_of_flows(self, points: Points) -> tuple[EndSockets, Owners]:
        """What tells the sockets at both ends of flows, and counts flows by their owners."""
        from exporters.flows.owners import Owners  # noqa: PLC0415
        from exporters.flows.receivers import Receivers  # noqa: PLC0415
        from skytrail.kernel.worker import NamespaceWorker  # noqa: PLC0415

        addresses = NamespaceWorker()  # of its own: the drain waits for it, and not for what is being attached
        self._closers.callback(addresses.close)
        ends = Receivers(points, self._receivers, self._namespaces, addresses, self._translations).sockets
        owners = Owners(points, self._whose, ends, self._described, self._settings.prometheus.owners)
        return ends, owners

    def _start_probes(self, tids: TidRegistry, follow: Callable[[Sequence[Event]], None]) -> None:
        """What this host is made of, told to a hub."""
        from skytrail.cli.hub import clock  # noqa: PLC0415
        from skytrail.cli.probes import HostProbes  # noqa: PLC0415
        from skytrail.tid import host_tid  # noqa: PLC0415
        from topology.remote.outbox import Clocks, Outbox  # noqa: PLC0415

        try:
            from skytrail.wire.security import connector, wire_files  # noqa: PLC0415 - an extra
            from topology.remote.sender import Identity, Sender  # noqa: PLC0415
        except ImportError as error:
            raise NotSupportedError("agent.hubs needs libraries", "pip install 'skytrail[wire]'") from error
        settings = self._settings.agent
        clocks = Clocks.of_machine(self._host.boot_id)
        outbox = Outbox(Path(self._settings.state_dir) / "outbox", settings.outbox_max, clocks)
        identity = Identity(self._host.hostname, host_tid(self._host.host_id))
        files = wire_files(self._settings.wire)
        self._certificates.add("wire", files)
        probes = HostProbes(self._host, tids, follow, outbox.put, clock, self._settings, self._runtimes)
        answer = self._answering.answer
        book = self._book if self._settings.flow.names else None
        self._sender = Sender(settings.hubs, outbox, identity, clock, answer, probes.tell_all, connector(files), book)
        self._closers.callback(self._sender.stop)
        self._probes = probes
        self._closers.callback(self._probes.stop)
        self._probes.start()
        self._sender.start()

    def _start_sockets(self) -> None:
        """Without them the agent goes on: a kernel may have neither iterators nor sock_diag."""
        if "sockets" not in self._settings.agent.collectors:
            return
        from exporters.sockets.collector import SocketsCollector  # noqa: PLC0415
        from exporters.sockets.leftovers import leftovers  # noqa: PLC0415
        from exporters.sockets.source import choose_source  # noqa: PLC0415
        from skytrail.kernel.worker import NamespaceWorker  # noqa: PLC0415

        worker = NamespaceWorker()
        self._closers.callback(worker.close)
        try:
            source = choose_source(self._settings.sockets.source, worker, self._namespaces)
        except (OSError, SkytrailError) as error:
            _log.warning("sockets_not_read", error=str(error), remedy="see 'skytrail check'")
            self._refused["sockets"] = str(error)
            return
        self.sockets = SocketsCollector(
            source,
            lambda: {one.cookie: one.label for one in self._namespaces()},
            lambda: leftovers(worker, self._namespaces()),
            self._described,
            interval=self._settings.sockets.interval,
            most=self._settings.prometheus.owners,
            shared_kernel=self._settings.agent.shared_kernel,
        )
        self._closers.callback(self.sockets.stop)
        names = lambda: {one.cookie: one.label for one in self._namespaces()}  # noqa: E731 - as above
        self._answering.remember_sockets(self.sockets, names, self._described)

    def _start_interfaces(self) -> None:
        if "interfaces" not in self._settings.agent.collectors:
            return
        from exporters.interfaces.collector import InterfacesCollector  # noqa: PLC0415
        from exporters.interfaces.drivers import DriverStatistics  # noqa: PLC0415
        from exporters.interfaces.source import InterfaceSource  # noqa: PLC0415
        from exporters.interfaces.textfiles import Netstat  # noqa: PLC0415
        from skytrail.kernel.worker import NamespaceWorker  # noqa: PLC0415

        settings = self._settings.interfaces
        worker = NamespaceWorker(timeout=_DRIVER_PATIENCE)  # of its own: a driver that sleeps holds up nobody else
        self._closers.callback(worker.close)
        drivers = DriverStatistics(settings.driver_statistics) if settings.driver_statistics else None
        source = InterfaceSource(worker, drivers)
        self.interfaces = InterfacesCollector(
            source.read, self._namespaces, source.softnet, netstat=Netstat(settings.netstat), most=settings.max
        )
        self.openvswitch = self._openvswitch()
        self._answering.remember_interfaces(self._namespaces, self.openvswitch.counters())

    def _openvswitch(self) -> OpenVswitchCollector:
        from exporters.openvswitch.collector import OpenVswitchCollector  # noqa: PLC0415
        from exporters.openvswitch.source import StatisticsSource  # noqa: PLC0415
        from skytrail.cli.probes import ovsdb_tls  # noqa: PLC0415
        from skytrail.tid import host_tid, ovs_tid  # noqa: PLC0415

        given, host = self._settings.topology.ovsdb, host_tid(self._host.host_id)
        sources = [StatisticsSource(remote, ovsdb_tls(given)) for remote in given.databases]
        return OpenVswitchCollector(sources, partial(ovs_tid, host), self._settings.interfaces.max)

    def _start_conntrack(self) -> None:
        if "conntrack" not in self._settings.agent.collectors:
            return
        from exporters.conntrack.collector import ConntrackCollector  # noqa: PLC0415
        from skytrail.kernel.worker import NamespaceWorker  # noqa: PLC0415

        worker, counting = NamespaceWorker(), NamespaceWorker()
        self._closers.callback(worker.close)
        self._closers.callback(counting.close)
        self.conntrack = ConntrackCollector(worker, counting, self._namespaces, self._points, most=self._settings.conntrack.max)
        self._closers.callback(self.conntrack.stop)

    def _start_drops(self) -> None:
        """Without them the agent goes on: a kernel may tell no reasons."""
        if "drops" not in self._settings.agent.collectors:
            return
        from exporters.drops.collector import DropsCollector  # noqa: PLC0415
        from exporters.drops.places import Places, watched  # noqa: PLC0415

        def places() -> Places:
            assert self.collector.capture
            watcher = self._probes.probe.watcher if self._probes else self.collector.capture.watcher
            return watched(watcher) if watcher else Places({}, {})

        def tunnel_ports() -> Mapping[str, frozenset[int]]:
            return self.collector.capture.tunnel_ports() if self.collector.capture else {}

        self.drops = DropsCollector(places, tunnel_ports, shared_kernel=self._settings.agent.shared_kernel)

    def _known(self, cookies: NDArray[Any]) -> Mapping[int, Known]:
        return self.sockets.known(cookies) if self.sockets else {}

    def _whose(self, cookies: NDArray[Any]) -> Whose:
        from exporters.sockets.known import Sockets  # noqa: PLC0415

        return (self.sockets or Sockets()).whose(cookies)

    def _receivers(self, ends: NDArray[Any]) -> NDArray[np.uint64]:
        import numpy as np  # noqa: PLC0415

        return self.sockets.receivers(ends) if self.sockets else np.zeros(len(ends), np.uint64)

    def _fates(self, rows: NDArray[Any]) -> Sequence[Mapping[str, Any]]:
        from exporters.flows.ends import seen  # noqa: PLC0415

        keys, families, flow = rows["key"], rows["family"], rows["flow"]
        told = [self.drops.of_flows(keys, families, flow["reversed"])] if self.drops else []
        told += [self.conntrack.shown(keys, families, seen(flow))] if self.conntrack else []
        return [dict(ChainMap(*of_one)) for of_one in zip(*told, strict=True)] if told else [{}] * len(rows)

    def _dropped(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        import numpy as np  # noqa: PLC0415

        return self.drops.lossy(rows["key"], rows["family"]) if self.drops else np.zeros(len(rows), np.bool_)

    def _namespaces(self) -> list[Namespace]:
        """Those that are followed."""
        assert self.collector.capture
        watcher = self._probes.probe.watcher if self._probes else self.collector.capture.watcher
        return watcher.namespaces() if watcher else []

    def _start_hints(self) -> None:
        """Namespaces without a name are found without them too, at the next scan of /proc."""
        if self._hints is None:
            return
        try:
            self._hints.start()
        except (OSError, SkytrailError) as error:
            remedy = "none needed: those without a name are found by a scan of /proc, every 30 s"
            _log.warning("namespaces_found_late", error=str(error), remedy=remedy)
        else:
            self._closers.callback(self._hints.stop)

    def _start_otlp(self) -> None:
        settings = self._settings.otlp
        wanted = [name for name in ("traces", "metrics") if settings.exports("traces" if name == "traces" else "metrics")]
        if not wanted:
            return
        from exporters.flows.owntraffic import OwnTraffic  # noqa: PLC0415
        from exporters.outputs.otlp.config import Signal  # noqa: PLC0415
        from exporters.outputs.otlp.exporter import OtlpExporter  # noqa: PLC0415
        from exporters.outputs.otlp.queue import Limits  # noqa: PLC0415

        resource = {
            "service.name": settings.service_name,
            "service.version": __version__,
            "host.name": self._host.hostname,
            "host.id": self._host.host_id,
            **settings.resource_attributes,
        }
        self._own = None if self._settings.flow.own_traffic else OwnTraffic()
        self._otlp = OtlpExporter(
            _otlp_config(settings),
            resource,
            version=__version__,
            signals=[Signal(name) for name in wanted],
            limits=Limits(max_bytes=settings.queue_max),
            batch_max=settings.batch_max,
            connections=self._own,
        )
        self._closers.callback(self._otlp.close, _CLOSE_TIMEOUT)

    def _start_metrics(self) -> None:
        if self._otlp is None or not self._settings.otlp.exports("metrics"):
            return
        thread = threading.Thread(target=self._export_metrics, args=(self._otlp,), name="otlp-metrics", daemon=True)
        thread.start()
        self._closers.callback(thread.join)
        self._closers.callback(self._stopping.set)

    def _export_metrics(self, otlp: OtlpExporter) -> None:
        """Every interval and once more at the end, as OpenTelemetry's periodic reader does: a short run is told of too."""
        last = False
        while not last:
            last = self._stopping.wait(self._settings.otlp.metrics_interval)
            sources = [*self._sources(), *([self._hub.families] if self._hub else [])]
            try:
                otlp.export_metrics([family for source in sources for family in source()])
            except Exception as error:  # noqa: BLE001 - whatever a source does, the next export is tried
                _log.error("otlp_metrics_failed", error=str(error), exc_info=True)

    def _sources(self) -> list[Callable[[], Iterable[Family]]]:
        from skytrail.process import process_families  # noqa: PLC0415

        if self._collectors is None:
            from skytrail.collectors import Collectors  # noqa: PLC0415

            parts = {
                "flows": self.collector,
                "interfaces": self.interfaces,
                "openvswitch": self.openvswitch,
                "sockets": self.sockets,
                "drops": self.drops,
                "conntrack": self.conntrack,
                "otlp": self._otlp,
                "runtimes": self._runtimes,
                "namespaces": self._hints,
                "history": self._answering,
            }
            sources: dict[str, Callable[[], Iterable[Family]]] = {
                name: partial(self._told, name, part)
                for name, part in parts.items()
                if part is not None or name in self._refused
            }
            if self._sender and self._probes:
                from topology.metrics import probe_source  # noqa: PLC0415 - only where probes run
                from topology.remote.metrics import sender_source  # noqa: PLC0415

                sources |= {"wire": sender_source(self._sender), "netlink": probe_source(self._probes.probe)}
                sources["ovsdb"] = self._probes.ovsdb.families
                if self._probes.containers:
                    from topology.probes.containers.metrics import containers_source  # noqa: PLC0415 - the same

                    sources["containers"] = containers_source(self._probes.containers)
            if self._sender or self._topology:
                from topology.addresses.metrics import agent_source  # noqa: PLC0415 - only where there is a hub

                sources["addresses"] = agent_source(self._book, self._sender.book if self._sender else None)
            sources["certificates"] = self._certificates.families
            self._collectors = Collectors({**sources, "memory": self._part_families})
        return [self._collectors.families, process_families]

    def _told(self, name: str, part: Told | None) -> Iterable[Family]:
        """What a part tells; drops may turn out only later to be one that cannot be started. Raises RunError."""
        if part is None or name in self._refused:
            raise RunError(self._refused[name])
        return part.families()

    def _part_families(self) -> Iterable[Family]:
        from skytrail.metrics import Family  # noqa: PLC0415
        from skytrail.process import PART_BYTES  # noqa: PLC0415

        parts: dict[str, Any] = {"flows": self.collector.table, "history": self._answering.history}
        parts |= {"sockets": self.sockets, "drops": self.drops, "conntrack": self.conntrack}
        yield Family(PART_BYTES, [((name,), float(part.memory())) for name, part in parts.items() if part is not None])

    def _start_http(self) -> None:
        from exporters.routes import flows_blueprint, sockets_blueprint  # noqa: PLC0415
        from skytrail.http.app import as_asgi, create_app  # noqa: PLC0415
        from skytrail.http.prometheus import Exposition, metrics_blueprint  # noqa: PLC0415
        from skytrail.http.server import serve  # noqa: PLC0415

        exposition = Exposition(self._sources())
        blueprints = [
            metrics_blueprint(exposition, exemplars=self._settings.prometheus.exemplars),
            flows_blueprint(self.collector, self._answering.answer),
            sockets_blueprint(self.sockets, self._answering.answer),
        ]
        notes = self._probes.notes if self._sender and self._probes else dict
        app = create_app("agent", self._status, self._waiting, blueprints, notes)
        self.server = serve(as_asgi(app), self._settings.agent.listen, self._settings.http)
        self._certificates.add("http", self.server.certificate)
        self.server.start()
        self._closers.callback(self.server.stop)

    def _status(self) -> dict[str, object]:
        captured = self.collector.capture.captured() if self.collector.capture else []
        return {
            "service": "agent",
            "version": __version__,
            "host": self._host.host_id,
            "hostname": self._host.hostname,
            "kernel": self._host.kernel_release,
            "started": int(self._started * 1000),
            "loader": self.collector.loader,
            "flows": len(self.collector.table),
            "addresses": len(self._book),
            "capture_points": [
                {"interface": point.name, "namespace": point.namespace, "tid": point.tid, "attach": kind}
                for point, kind in captured
            ],
            "failures": self.collector.capture.failures() if self.collector.capture else [],
            "runtimes": [asdict(one) for one in self._runtimes.status()],
            **({"hub": self._hub_status(self._sender)} if self._sender else {}),
            **({"probes": self._probes.status()} if self._sender and self._probes else {}),
        }

    @staticmethod
    def _hub_status(sender: Sender) -> dict[str, object]:
        return {
            "address": sender.hub,
            "failure": sender.failure,
            "waiting": sender.outbox.waiting,
            "clock_offset": sender.clock_offset / 1e6,
        }

    def _waiting(self) -> dict[str, str | None]:
        capture = self.collector.capture
        assert capture
        failures = capture.failures()
        if not capture.ready:
            failures = [f"attaching to interfaces, {len(capture.captured())} so far"]
        return {
            "drain": self.collector.failure,
            "flows": failures[0] if failures else None,
            "links": None if capture.following else "the link watcher has ended: see the log",
            "collectors": self._collectors_wait(),
            "tls": self._certificates.waiting(),
            **(self._probes.waiting() if self._sender and self._probes else {}),  # else the hub in this process says so
        }

    def _collectors_wait(self) -> str | None:
        if not self._begun:
            return "collectors are starting"
        return next(
            (one.failure for one in (self.sockets, self.drops, self.conntrack) if one is not None and one.failure is not None),
            None,
        )

    def stop(self) -> None:
        """Stop every part, the last one first; one that fails keeps no other from it."""
        self._closers.close()


def timeouts(settings: Settings) -> Timeouts:
    """The flow table's timeouts, from the settings."""
    from exporters.flows.table import Timeouts  # noqa: PLC0415

    flow = settings.flow
    return Timeouts(flow.update, flow.idle.tcp, flow.idle.udp, flow.idle.other, flow.linger)


def _otlp_config(settings: Otlp) -> otlp_config.OtlpConfig:
    from exporters.outputs.otlp.config import Compression, OtlpConfig, Overrides, Wire  # noqa: PLC0415

    def overrides(own: OtlpSignal) -> Overrides:
        return Overrides(
            endpoint=own.endpoint,
            protocol=Wire(own.protocol) if own.protocol else None,
            headers=tuple(own.headers.items()) if own.headers is not None else None,
            compression=Compression(own.compression) if own.compression else None,
            timeout=own.timeout,
            certificate=own.certificate,
            client_key=own.client_key,
            client_certificate=own.client_certificate,
            insecure=own.insecure,
        )

    return OtlpConfig(
        endpoint=settings.endpoint or "",
        protocol=Wire(settings.protocol),
        headers=tuple(settings.headers.items()),
        compression=Compression(settings.compression),
        timeout=settings.timeout,
        certificate=settings.certificate,
        client_key=settings.client_key,
        client_certificate=settings.client_certificate,
        insecure=settings.insecure,
        traces=overrides(settings.spans_to),
        metrics=overrides(settings.metrics_to),
    )


def run(session: Session, *, show: bool = False, topology: bool = False) -> None:
    """Run an agent until SIGINT, SIGTERM or SIGHUP (its terminal went away).

    With ``show``, its flows are a live table on the terminal meanwhile.
    """
    session.start_logs()
    keep_private()
    take_turns(_TURN)
    return_memory()
    settings = session.settings
    others = topology or bool(settings.agent.hubs) or settings.flow.netns == "all"
    starter = give_up(settings.agent.keep_capabilities, others=others)
    process = AgentProcess(settings, topology=topology)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: done.set())
    process.start()
    if starter is not None:
        starter.end()
    try:
        points = len(process.collector.capture.captured()) if process.collector.capture else 0
        _log.info("ready", url=process.server.url, capture_points=points, loader=process.collector.loader, version=__version__)
        if show:
            _show(process, done)
        done.wait()
    finally:
        faulthandler.dump_traceback_later(_SLOW_STOP)  # who does not end says where
        process.stop()


def _show(process: AgentProcess, done: threading.Event) -> None:
    from exporters.flows.query import Query  # noqa: PLC0415
    from skytrail.cli.flows import TABLE_ROWS, show_live  # noqa: PLC0415

    collector, query = process.collector, Query(limit=TABLE_ROWS)

    def ask(begun: int, seconds: float) -> tuple[list[dict[str, Any]], int]:
        begun = collector.wait_for_flows(begun, seconds)
        return collector.flows(query), begun

    captured = collector.capture.captured() if collector.capture else []
    names = ", ".join(point.name for point, _ in captured[:4]) + (" …" if len(captured) > 4 else "")
    show_live(ask, done, f"captured: {names or 'no interface'}   {process.server.url}/metrics   Ctrl-C ends")


@click.command()
@settings_options(*_OPTIONS, "agent.hubs")
@common
@click.pass_obj
def agent(session: Session) -> None:
    """Run the agent: count flows, serve Prometheus, export to OpenTelemetry."""
    run(session)


@click.command()
@settings_options(*_OPTIONS, "hub.listen")
@common
@click.pass_obj
def up(session: Session) -> None:
    """Run everything in one process, with a live table of flows on a terminal: what a newcomer starts.

    Where an agent runs already, its flows are shown.
    """
    from skytrail.http.client import Client  # noqa: PLC0415

    show = sys.stdout.isatty()
    with contextlib.suppress(AgentAwayError):
        status = Client(session.settings).get("/api/status", {})
        click.echo(f"an agent runs already on {session.settings.agent.listen}, version {status['version']}")
        if show:
            click.get_current_context().invoke(flows)
        return
    run(session, show=show, topology=session.settings.topology.enabled)
