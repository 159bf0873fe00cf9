"""The composition root of the topology: probes of this host, agents of others → reconciler → store → HTTP."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from skytrail import __version__
from skytrail.asking.asker import Answer, Asker, Nobody
from skytrail.certificates import Certificates
from skytrail.errors import NotSupportedError
from skytrail.settings.tree import Settings

if TYPE_CHECKING:
    from flask import Blueprint

    from gremlin_api.http.subscriber import SubscriberSocket
    from skytrail.addresses.book import Book
    from skytrail.cli.clusters import Clusters
    from skytrail.cli.probes import HostProbes
    from skytrail.http.server import Server
    from skytrail.kernel.host import Host
    from skytrail.kernel.linktable import Event
    from skytrail.kernel.tid_state import TidRegistry
    from skytrail.metrics import Source
    from skytrail.runtimes.client import RuntimesClient
    from skytrail.wire.peers import Other
    from skytrail.wire.security import HubSecurity
    from topology.addresses.follow import AddressFollower
    from topology.duty import Duty
    from topology.linkers.run import Linkers
    from topology.linkers.services import ServiceMap
    from topology.reconcile import Reconciler
    from topology.remote.receiver import Agent, Receiver
    from topology.store.interface import Store

_log = structlog.get_logger(__name__)

_RETENTION_INTERVAL = 600.0
_SLOW_WRITE = 2.0  # seconds
_FOLDER = "graph"


def clock() -> int:
    """µs since the epoch."""
    return time.time_ns() // 1000


def graph_folder(settings: Settings) -> Path:
    """Where the graph is kept."""
    return Path(settings.state_dir) / _FOLDER


def open_store(settings: Settings) -> Store:
    """The store that the settings name. Raises StoreError, NotSupportedError."""
    topology = settings.topology
    if topology.store == "embedded":
        from topology.store.embedded.store import EmbeddedStore  # noqa: PLC0415 - only the one in use

        return EmbeddedStore(graph_folder(settings), synchronous=topology.synchronous, clock=clock)
    try:
        from topology.store.janusgraph.store import JanusGraphStore  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise NotSupportedError("topology.store: janusgraph needs libraries", "pip install 'skytrail[janusgraph]'") from error
    away = topology.janusgraph
    folder = graph_folder(settings)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return JanusGraphStore(
        away.url,
        source=away.source,
        timeout=away.timeout,
        username=away.username,
        password=away.password,
        spool=folder / "janusgraph.spool",
        spool_bytes=away.spool_max,
        transactional=away.transactional,
        clock=clock,
    )


class HubProcess:
    """The topology of hosts, kept and served.

    Args:
        settings: the effective settings.
        host: this host.
        runtimes: who tells of its containers, where it is watched by this process.

    Attributes:
        probes: of this host, where they run in this process: see :meth:`watch`.
        asker: asks agents; the one of this process, where there is one.
    """

    def __init__(self, settings: Settings, host: Host, runtimes: RuntimesClient | None = None) -> None:
        self._settings, self._host, self._runtimes = settings, host, runtimes
        self.asker: Asker = Nobody()
        self._started = time.time()
        self._stopping = threading.Event()
        self._closers = contextlib.ExitStack()
        self.store: Store
        self.duty: Duty
        self.reconciler: Reconciler
        self.linkers: Linkers
        self.services: ServiceMap | None
        self.addresses: AddressFollower
        self.probes: HostProbes | None = None
        self.clusters: Clusters
        self.receiver: Receiver | None = None
        self._look_whom_to_expect: Callable[[], None] = lambda: None
        self._security: HubSecurity | None = None
        self._certificates = Certificates()
        self.subscribers: SubscriberSocket
        self.server: Server
        self.families: Source

    def start(
        self,
        tids: TidRegistry | None = None,
        follow: Callable[[Sequence[Event]], None] = lambda _: None,
        answer: Answer | None = None,
        book: Book | None = None,
    ) -> None:
        """Start every part; what was started is stopped again if a later part fails.

        Args:
            tids: topology IDs, shared with the exporter; with them this host is watched by this process.
            follow: takes the events of links that the netlink probe has taken.
            answer: answers questions to the agent of this process; None: there is none.
            book: the address book of that agent, which is kept as ours; None: it wants none.
        """
        try:
            if answer is not None:
                self._start_local(answer)
            self._start(tids, follow)
            if book is not None:
                from topology.addresses.follow import keep_as  # noqa: PLC0415 - only where both run

                self._closers.callback(keep_as(self.addresses, book))
        except BaseException:
            self.stop()
            raise

    def _start(self, tids: TidRegistry | None, follow: Callable[[Sequence[Event]], None]) -> None:
        from skytrail.cli.probes import HostProbes  # noqa: PLC0415
        from skytrail.http.server import check_exposure  # noqa: PLC0415
        from skytrail.tid import host_tid  # noqa: PLC0415
        from topology.duty import Duty  # noqa: PLC0415
        from topology.reconcile import Reconciler  # noqa: PLC0415
        from topology.store.folder import hold, holder  # noqa: PLC0415

        check_exposure(self._settings.hub.listen, self._settings.http)
        folder = graph_folder(self._settings)
        if self._settings.topology.store == "janusgraph":  # the embedded store does that itself
            self._closers.callback(os.close, hold(folder))
        self.store = open_store(self._settings)
        self._closers.callback(self.store.close)
        who = holder(folder)
        self.duty = Duty(self.store, who)
        self.reconciler = Reconciler(self.store, who, clock)
        self._closers.callback(self.reconciler.close)
        self._start_addresses()
        if tids is not None:
            self._end_host_before(folder, self._host.hostname, host_tid(self._host.host_id))
            self.probes = HostProbes(self._host, tids, follow, self.reconciler.report, clock, self._settings, self._runtimes)
            self._closers.callback(self.probes.stop)
            self.probes.start()
        else:
            self._start_wire()
        self._start_clusters()
        self._start_linkers()
        self._name_owners()
        self._start_retention()
        self._start_http()

    def _start_local(self, answer: Answer) -> None:
        from skytrail.asking.local import LocalAsker  # noqa: PLC0415
        from skytrail.tid import host_tid  # noqa: PLC0415

        settings, tid = self._settings.hub, host_tid(self._host.host_id)
        local = LocalAsker(self._host.hostname, tid, answer, settings.ask_timeout, settings.ask_max)
        self._closers.callback(local.stop)
        self.asker = local

    def _start_wire(self) -> None:
        try:
            from skytrail.wire.security import HubSecurity, wire_files  # noqa: PLC0415 - an extra
            from topology.remote.elsewhere import Elsewhere  # noqa: PLC0415
            from topology.remote.expected import Expected  # noqa: PLC0415
            from topology.remote.receiver import AskBounds, Receiver  # noqa: PLC0415
            from topology.remote.taking import Taking  # noqa: PLC0415
        except ImportError as error:
            raise NotSupportedError("a hub needs libraries", "pip install 'skytrail[wire]'") from error

        from skytrail.wire.exposure import advertised, asking_refusal, check_wire, loopback, peer_refusal  # noqa: PLC0415
        from skytrail.wire.peers import Other  # noqa: PLC0415

        check_wire(self._settings)
        settings, wire = self._settings.hub, self._settings.wire
        self._security = HubSecurity(wire_files(wire), wire.tls_crl)
        self._certificates.add("wire", self._security.files)
        bounds = AskBounds(settings.ask_timeout, settings.ask_max)
        closed = asking_refusal(self._settings, shared=self.store.shared)
        taking, security = Taking(self.reconciler), self._security
        self.receiver = Receiver(settings.wire, taking, self.store, clock, bounds, security, closed, self.addresses)
        self.asker = self.receiver.asker
        self._closers.callback(self.receiver.stop)
        self.receiver.start()
        peers, name, here = self.receiver.peers, self._host.hostname, loopback(self._host.boot_id)
        peers.refuses = functools.partial(peer_refusal, self._settings, here)
        ours = Other(name, advertised(self._settings, name, self.receiver.port), here)
        elsewhere = Elsewhere(self.store, ours, self.receiver.session, self.receiver.connected, clock, peers.are)
        self._closers.callback(elsewhere.stop)
        elsewhere.start()
        expected = Expected(self.store, clock, self.receiver.let_go)
        self.receiver.asker.expected = expected.hosts
        self._look_whom_to_expect = expected.look
        self._closers.callback(expected.stop)
        expected.start()

    def _end_host_before(self, folder: Path, name: str, tid: str) -> None:
        """This host has another ID than at the last start: what was seen of it by that one is not there any more.

        Where others write to the same graph it is left: a copy of this folder may be the one that has another ID.
        """
        from skytrail.cli.plugged import plugged_before  # noqa: PLC0415 - only where this host is watched
        from topology.facts import Report, Source  # noqa: PLC0415
        from topology.probes.ovsdb.databases import probes_before  # noqa: PLC0415
        from topology.store.folder import host_before, remember_host  # noqa: PLC0415

        before = host_before(folder)
        if before and before != tid and self._settings.topology.store == "embedded":
            _log.warning("host_id_changed", before=before, now=tid, effect="the graph of the host by its former ID ends")
            kept = Path(self._settings.state_dir)
            for probe in ("containers", *sorted(probes_before(kept) | plugged_before(kept)), "netlink", "host"):
                self.reconciler.report(Report(Source(probe, name, tid=before), clock(), (), whole=True))
        remember_host(folder, tid)

    def _start_http(self) -> None:
        from exporters.flows.filter_questions import question_of  # noqa: PLC0415
        from gremlin_api.graphs.stored import StoredGraphs  # noqa: PLC0415
        from gremlin_api.graphs.topology import Shown  # noqa: PLC0415
        from gremlin_api.http.subscriber import PATH, SubscriberSocket  # noqa: PLC0415
        from gremlin_api.metrics import gremlin_source  # noqa: PLC0415
        from skytrail.cli.endpoints import Asked, executor_of, finder, served, with_gremlin  # noqa: PLC0415
        from skytrail.http.app import as_asgi, create_app  # noqa: PLC0415
        from skytrail.http.prometheus import Exposition, metrics_blueprint  # noqa: PLC0415
        from skytrail.process import process_families  # noqa: PLC0415
        from skytrail.settings.reference import shown_settings  # noqa: PLC0415
        from topology.addresses.metrics import hub_source  # noqa: PLC0415
        from topology.linkers.metrics import linkers_source  # noqa: PLC0415
        from topology.metrics import probe_source, topology_source  # noqa: PLC0415
        from topology.path.routes import path_blueprint  # noqa: PLC0415
        from topology.probes.containers.metrics import containers_source  # noqa: PLC0415
        from topology.remote.metrics import receiver_source  # noqa: PLC0415
        from topology.resources import resources_blueprint  # noqa: PLC0415
        from topology.routes import graph_blueprint  # noqa: PLC0415
        from topology.rules import Rules  # noqa: PLC0415
        from topology.trace.routes import trace_blueprint  # noqa: PLC0415

        executor = executor_of(self._settings.gremlin)
        self._closers.callback(executor.close)
        sources = [topology_source(self.store, self.reconciler), linkers_source(self.linkers, self.services)]
        sources += [gremlin_source(executor), self._certificates.families, self.clusters.families]
        sources.append(hub_source(self.addresses, self.receiver.book if self.receiver else None))
        if self.probes:
            sources += [probe_source(self.probes.probe), self.probes.ovsdb.families]
            if self.probes.containers:
                sources.append(containers_source(self.probes.containers))
        if self.receiver:
            sources.append(receiver_source(self.receiver))
        self.families = lambda: (family for source in sources for family in source())
        exposition = Exposition([self.families, process_families])
        shown = Shown(self.reconciler.volatile_of, self.reconciler.volatile_keys)
        graphs = StoredGraphs(self.store, shown, clock, self._catch_up)
        find, name = finder(graphs, executor), self._host.hostname
        changes = self.reconciler.changes_seen
        rules = Rules(self.store, self.reconciler.report, find, name, changes, clock, lambda: self.duty.ours)
        rules.start()
        self._closers.callback(rules.stop)
        blueprints = [
            resources_blueprint(rules, name, shown_settings(self._settings)),
            metrics_blueprint(exposition, exemplars=self._settings.prometheus.exemplars),
            graph_blueprint(self.store, self.reconciler.volatile, clock, self._catch_up),
            path_blueprint(self.store, clock, self._catch_up),
            trace_blueprint(self.asker, self.store, question_of, clock, self._catch_up),
        ]
        blueprints.append(self._hosts_routes())
        app = create_app("hub", self._status, self._waiting, blueprints, self._notes)
        self.subscribers = SubscriberSocket(self.store, graphs, shown, executor)
        sockets = {PATH: self.subscribers}
        spoken = with_gremlin(Asked(graphs, graphs, self.asker), executor, self._settings.gremlin, as_asgi(app), sockets)
        self.server = served(spoken, self._settings, self._closers)
        self._certificates.add("http", self.server.certificate)

    def _hosts_routes(self) -> Blueprint:
        from topology.hostroutes import hosts_blueprint  # noqa: PLC0415
        from topology.remote.forgetting import Forgetting  # noqa: PLC0415

        return hosts_blueprint(Forgetting(self.reconciler, self.receiver, self._look_whom_to_expect))

    def _notes(self) -> dict[str, str]:
        return {**(self.probes.notes() if self.probes else {}), **self.clusters.words()}

    def _start_clusters(self) -> None:
        from skytrail.cli.clusters import Clusters  # noqa: PLC0415 - only where a hub runs

        self.clusters = Clusters(
            self._settings.kubernetes, self.reconciler.report, self.store.current, clock, lambda: self.duty.ours
        )
        self._closers.callback(self.clusters.stop)
        self.clusters.start()

    def _start_linkers(self) -> None:
        from topology.linkers.run import Linkers  # noqa: PLC0415 - only where a hub runs
        from topology.linkers.services import NAME, ServiceMap  # noqa: PLC0415

        names = self._settings.topology.linkers
        report, host = self.reconciler.report, self._host.hostname
        self.linkers = Linkers(self.store, report, names, host, clock, lambda: self.duty.ours)
        self._closers.callback(self.linkers.stop)
        self.linkers.start()
        on_duty = lambda: self.duty.ours  # noqa: E731 - it is asked each time
        services = ServiceMap(self.asker, report, host, clock, on=NAME in names, on_duty=on_duty)
        self.services = services if NAME in names else None
        self._closers.callback(services.stop)
        services.start()

    def _start_addresses(self) -> None:
        from topology.addresses.follow import AddressFollower  # noqa: PLC0415 - only where a hub runs

        self.addresses = AddressFollower(self.store, clock)
        self._closers.callback(self.addresses.stop)
        self.addresses.start()

    def _name_owners(self) -> None:
        from topology.addresses.naming import NamingAsker  # noqa: PLC0415 - only where a hub runs

        self.asker = NamingAsker(self.asker, self.store)

    def _start_retention(self) -> None:
        thread = threading.Thread(target=self._retain, name="retention", daemon=True)
        thread.start()
        self._closers.callback(thread.join)
        self._closers.callback(self._stopping.set)

    def _retain(self) -> None:
        from topology.store.interface import StoreError  # noqa: PLC0415

        age, size = self._settings.topology.retention_age, self._settings.topology.retention_size
        while not self._stopping.wait(_RETENTION_INTERVAL):
            with contextlib.suppress(StoreError):  # the store logs it, and says so in its health
                if not self.duty.ours:
                    continue
                before = clock() - int(age * 1e6) if age is not None else None
                retained = self.store.retain(before, size)
                if retained.removed:
                    _log.info("history forgotten", revisions=retained.removed, left=retained.left)

    def _catch_up(self) -> None:
        if self.probes:
            self.probes.catch_up()

    def _status(self) -> dict[str, object]:
        health, counters = self.store.health(), self.reconciler.counters
        return {
            "service": "hub",
            "version": __version__,
            "host": self._host.host_id,
            "started": int(self._started * 1000),
            "store": {
                "elements": health.elements,
                "revisions": health.revisions,
                "bytes": health.size,
                "sequence": health.sequence,
            },
            "addresses": len(self.addresses),
            "reports": counters.reports,
            "reports_held": self.reconciler.held,
            "changes": counters.changes,
            "probes": {**(self.probes.status() if self.probes else {}), **self.clusters.status()},
            # as Skydive's clients read it
            "Agents": self._agents(),
            "Peers": {"Incomers": {}, "Outgoers": self._hubs()},
            "Publishers": {},
            "Subscribers": self.subscribers.status(),
            "Probes": {**(self.probes.shown() if self.probes else {}), **self.clusters.shown()},
        }

    def _agents(self) -> dict[str, object]:
        """By the host's name, or its TID where several have the name."""
        agents = self.receiver.agents() if self.receiver else []
        names = Counter(agent.host for agent in agents)
        return {agent.host if names[agent.host] == 1 else agent.tid: _shown(agent) for agent in agents}

    def _hubs(self) -> dict[str, object]:
        """Other hubs of the graph, by where they are reached, or the name of their host where they told none."""
        found = self.receiver.peers.status() if self.receiver else []
        return {other.address or other.name: _shown_hub(other, failure, ahead) for other, failure, ahead in found}

    def _waiting(self) -> dict[str, str | None]:
        store = self._store_waits()
        return {
            "store": store,
            "linkers": self.linkers.failure,
            "addresses": None if store else self.addresses.failure,  # it has nothing to read then
            "tls": self._certificates.waiting() or (self._security.waiting() if self._security else None),
            **(self.probes.waiting() if self.probes else {}),
            **self.clusters.waiting(),
        }

    def _store_waits(self) -> str | None:
        """Why what the store answers is not all that was seen; None: it is."""
        health, held, waits = self.store.health(), self.reconciler.held, self.reconciler.waits
        if health.failure:
            return health.failure
        if waits > _SLOW_WRITE:
            return f"what is being written has taken {waits:.0f} s so far"
        if health.waiting:
            return f"{health.waiting} batches of changes wait in its spool"
        return f"{held} reports of probes are held" if held else None

    def stop(self) -> None:
        """Stop every part, the last one first."""
        self._closers.close()


def _shown(agent: Agent) -> dict[str, object]:
    """As Skydive's clients read an agent, and more."""
    return {
        "ServiceType": "agent",
        "ClientType": "agent",
        "Host": agent.host,
        "TID": agent.tid,
        "Addr": agent.address,
        "Version": agent.release,
        "IsConnected": agent.connected,
        "Heard": agent.heard // 1000,
        "ClockOffset": agent.offset / 1e6,
        "Taken": agent.taken,
        "Refused": agent.refused,
    }


def _shown_hub(other: Other, failure: str, ahead: int) -> dict[str, object]:
    """As Skydive's clients read an analyzer, and more."""
    return {
        "ServiceType": "analyzer",
        "Host": other.name,
        "Addr": other.address,
        "IsConnected": not failure,
        "Failure": failure,
        "ClockOffset": ahead / 1e6,
        "Agents": sorted(other.agents.values()),
    }
