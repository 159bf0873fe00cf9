"""The netlink probe: follows links, addresses and namespaces of a host and reports them as facts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from skytrail.kernel.linkmessages import RTM_DELADDR, RTM_NEWADDR, RTM_NEWLINK
from skytrail.kernel.links import LinkWatcher
from skytrail.kernel.linktable import (
    DumpBegan,
    DumpEnded,
    Event,
    LinkChanged,
    LinkGone,
    LinkKey,
    LinkMoved,
    NamespaceFound,
    NamespaceGone,
    Resynced,
    Told,
)
from skytrail.kernel.namespaces import Key, Namespace
from skytrail.kernel.netlink import NetlinkDecodeError
from skytrail.kernel.tid_state import TidRegistry
from skytrail.kernel.worker import NamespaceWorker
from topology.elements import Metadata, node_id
from topology.facts import Fact, Report, Source
from topology.probes.devices import Device, Devices
from topology.probes.ethtool.monitor import Changes
from topology.probes.ethtool.watcher import EthtoolWatcher, Found
from topology.probes.netlink.addressdata import decode_address
from topology.probes.netlink.hostlinks import AddressKey, HostLink, HostLinks
from topology.probes.netlink.linkdata import port_metadata
from topology.probes.netlink.statistics import metrics
from topology.probes.netlink.tables import Tables, read_tables
from topology.probes.netlink.translate import edge_facts, interface_fact, namespace_facts
from topology.probes.reader import NamespaceReader

_log = structlog.get_logger(__name__)

_AFTER_HINT, _AFTER_LINK = 0.05, 0.25  # seconds until tables are read; links that come in a storm are told of first
_TABLES_PERIOD = 30.0  # seconds; as Skydive's agent.topology.netlink.metrics_update

_CALM = 0.1  # seconds without a change of links before tables and settings are read: a storm's links are told of first

_AT_ONCE = 32  # links, of which tables are noted before links that changed get their turn

Sink = Callable[[Report], object]


class NetlinkProbe:
    """Reports to a sink, on its own thread.

    Args:
        sink: takes a report; what it raises is logged, and the watching goes on.
        source: under which the facts are reported.
        host_tid: of this host.
        tids: topology IDs of links and namespaces; followed here.
        worker: enters namespaces to know which they are.
        reader: enters them to read tables and settings, which takes longer.
        clock: µs since the epoch.
        follow: takes each batch of events after us.

    """

    def __init__(
        self,
        sink: Sink,
        source: Source,
        host_tid: str,
        tids: TidRegistry,
        worker: NamespaceWorker,
        reader: NamespaceWorker,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        follow: Callable[[Sequence[Event]], None] = lambda _: None,
    ) -> None:
        self._sink, self._source, self._host_tid, self._tids = sink, source, host_tid, tids
        self._clock, self._follow = clock, follow
        self._namespaces: dict[int, Namespace] = {}
        self._own = 0  # cookie of our own
        self._cookies: dict[int, int] = {}  # our number for a namespace → its cookie
        self._links = HostLinks(self._cookies.get)
        self._unseen: dict[int, set[tuple[int, AddressKey]]] = {}  # addresses not told yet by the dump under way
        self._facts_of: dict[LinkKey, set[str]] = {}  # elements that a link tells of
        self._tellers: dict[str, set[LinkKey]] = {}  # and who tells of an element
        self._facts_of_namespace: dict[int, set[str]] = {}
        self._first = self._whole = True
        self._tables: dict[int, tuple[int, Tables]] = {}  # by cookie; when they were read, µs since the epoch
        self._lock = threading.Lock()  # holds all of this between the watcher's thread and the reader's
        self._busy_until = 0.0  # monotonic seconds
        self._reader = NamespaceReader(
            "netlink-tables", reader, lambda _: read_tables(), self._keep_tables, period=_TABLES_PERIOD, hold=self._hold
        )
        self._ethtool = EthtoolWatcher(reader, self._keep_ethtool, self._ethtool_heard, self._hold)
        self.malformed = 0
        self.failure: str | None = "its first look at the host is under way"
        self.watcher = LinkWatcher(self._take, worker, every_namespace=True, details=True)

    def start(self) -> None:
        """Begin. Raises OSError, NotSupportedError: this kernel lets us not."""
        self._ethtool.start()
        self.watcher.start()
        self._reader.start()

    def tell_all(self) -> None:
        """Report all that is there once more; after the first look, which tells all anyway."""
        with self._lock:
            self._whole = True
            if not self._first:
                self._report(self._clock(), {}, {}, set())

    def devices(self) -> Devices | None:
        """All links that are followed; None: before the first look."""
        with self._lock:
            if self._first:
                return None
            known = [(cookie, one.link, one.tid) for (cookie, _), one in self._links.by_key.items()]
            own, owners = self._own, {cookie: self._owner(cookie) for cookie in self._namespaces}
        found = (Device(cookie, link.name, link.ifindex, link.mac.hex(":"), link.kind, tid) for cookie, link, tid in known)
        return Devices(own, tuple(found), owners)

    def namespace_tids(self) -> dict[Key, str] | None:
        """TIDs of namespaces, the host's for its own; None: before the first look."""
        with self._lock:
            return None if self._first else {one.key: self._owner(cookie) for cookie, one in self._namespaces.items()}

    def device_tids(self, namespace: Key) -> dict[str, str]:
        """TIDs of a namespace's links by name."""
        with self._lock:
            cookies = [cookie for cookie, one in self._namespaces.items() if one.key == namespace]
            found = [self._links.by_key[key] for cookie in cookies for key in self._links.of(cookie)]
            return {known.link.name: known.tid for known in found}

    def look_for_namespaces(self) -> None:
        """Somebody saw that one may have come: cheap, from any thread."""
        self.watcher.hint()

    def stop(self) -> None:
        """End the watching."""
        self.watcher.stop()
        self._reader.stop()
        self._ethtool.stop()

    def _take(self, events: Sequence[Event]) -> None:
        """A batch of events becomes one report."""
        observed = self._clock()  # before we wait for the lock: a store that is going away may keep it for a while
        if any(isinstance(event, LinkChanged | LinkGone | LinkMoved | NamespaceFound) for event in events):
            self._busy_until = time.monotonic() + _CALM
        try:
            with self._lock:
                self._take_all(events, observed)
        finally:
            self._follow(events)

    def _hold(self) -> float:
        return self._busy_until

    def _take_all(self, events: Sequence[Event], observed: int) -> None:
        first, self._first = self._first, False
        changed: dict[LinkKey, None] = {}
        namespaces: dict[int, None] = {}
        gone: set[str] = set()
        with self._tids.together():  # before any of them is in a report
            if first:
                self._tids.prune(
                    [event.link for event in events if isinstance(event, LinkChanged)],
                    [event.namespace for event in events if isinstance(event, NamespaceFound)],
                )
            for event in events:
                self._tids.follow(event)
                self._apply(event, changed, namespaces, gone)
                cookie, within = _about(event)
                if cookie in self._namespaces:
                    self._reader.want(self._namespaces[cookie], within)
        if first:  # whole from the start: what was known before a restart must not seem to vanish for a moment
            for namespace in self._namespaces.values():
                self._keep_ethtool_of(namespace.cookie, self._ethtool.read(namespace))
                tables, read_at = self._reader.read(namespace), self._clock()
                if tables is not None:
                    self._keep_tables_of(self._links.of(namespace.cookie), tables, read_at, 0, None)
                    self._keep_rules(namespace.cookie, tables, read_at)
            observed = self._clock()
        self._report(observed, changed, namespaces, gone)

    def _keep_tables(self, namespace: Namespace, tables: Tables) -> None:
        cookie, read_at = namespace.cookie, self._clock()
        with self._lock:
            keys, before = self._links.of(cookie), self._tables.get(cookie, (0, None))
        for first in range(0, len(keys), _AT_ONCE):  # a little at a time: links wait for the lock
            with self._lock:
                part = [key for key in keys[first : first + _AT_ONCE] if key in self._links.by_key]
                changed = self._keep_tables_of(part, tables, read_at, *before)
                same = [self._links.by_key[key] for key in part if key not in changed]
                self._report(read_at, changed, {}, set(), {node_id(known.tid): dict(known.volatile) for known in same})
        with self._lock:
            if cookie in self._namespaces:
                self._report(read_at, {}, self._keep_rules(cookie, tables, read_at), set())

    def _keep_tables_of(
        self, keys: list[LinkKey], tables: Tables, read_at: int, before_at: int, before: Tables | None
    ) -> dict[LinkKey, None]:
        """Note what tables say of links; gives those that are otherwise."""
        changed: dict[LinkKey, None] = {}
        for key in keys:
            known, ifindex = self._links.by_key[key], key[1]
            metadata = tables.metadata(ifindex)
            if known.tables != metadata:
                known.tables = metadata
                changed[key] = None
            counted, earlier = tables.counters.get(ifindex, {}), before.counters.get(ifindex) if before else None
            known.volatile = tables.states(ifindex) | metrics(counted, earlier, read_at // 1000, before_at // 1000)
        return changed

    def _keep_rules(self, cookie: int, tables: Tables, read_at: int) -> dict[int, None]:
        """Note a namespace's tables; gives it if its rules, or its routes to nowhere, are otherwise."""
        _, before = self._tables.get(cookie, (0, None))
        self._tables[cookie] = read_at, tables
        same = before is not None and (before.rules, before.nowhere()) == (tables.rules, tables.nowhere())
        return {} if same else {cookie: None}

    def _keep_ethtool(self, namespace: Namespace, found: Found) -> None:
        observed = self._clock()
        with self._lock:
            self._report(observed, self._keep_ethtool_of(namespace.cookie, found), {}, set())

    def _keep_ethtool_of(self, cookie: int, found: Found) -> dict[LinkKey, None]:
        """Note what ethtool says; gives the links that are otherwise."""
        changed: dict[LinkKey, None] = {}
        for ifindex, keys in found.items():
            known = self._links.by_key.get((cookie, ifindex))
            if known is not None and known.ethtool != keys:
                known.ethtool = keys
                changed[cookie, ifindex] = None
        return changed

    def _ethtool_heard(self, changes: Changes) -> None:
        with self._lock:
            heard = {
                (self._own if nsid is None else self._cookies.get(nsid, 0), ifindex) for nsid, ifindex in changes.interfaces
            }
            for cookie, ifindex in self._links.by_key if changes.lost else heard:
                if cookie in self._namespaces:
                    self._ethtool.want(self._namespaces[cookie], ifindex)

    def _apply(self, event: Event, changed: dict[LinkKey, None], namespaces: dict[int, None], gone: set[str]) -> None:
        match event:
            case NamespaceFound(namespace):
                self._namespaces[namespace.cookie] = namespace
                if namespace.own:
                    self._own = namespace.cookie
                if namespace.nsid is not None:
                    self._cookies[namespace.nsid] = namespace.cookie
                namespaces[namespace.cookie] = None
            case NamespaceGone(cookie):
                for key in self._links.of(cookie):  # of what moved here when it died, nobody tells
                    self._leave(key, None, changed, gone)
                self._forget_namespace(cookie, gone)
            case LinkChanged():
                self._change(event, changed)
            case LinkMoved(old, new) if new is not None:
                self._leave(old, new, changed, gone)
            case LinkGone(cookie, ifindex):
                self._leave((cookie, ifindex), None, changed, gone)
            case Told(cookie, kind, payload) if kind in (RTM_NEWADDR, RTM_DELADDR):
                self._address(cookie, kind, payload, changed)
            case Told(cookie, kind, payload) if kind == RTM_NEWLINK:
                self._port(cookie, payload, changed)
            case Resynced():
                self._whole = True
            case _:
                self._dump(event, changed)

    def _dump(self, event: Event, changed: dict[LinkKey, None]) -> None:
        """Addresses that a dump does not tell of are not there."""
        match event:
            case DumpBegan(cookie, _):
                self._unseen[cookie] = {
                    (key[1], address) for key in self._links.of(cookie) for address in self._links.by_key[key].addresses
                }
            case DumpEnded(cookie, _):
                for ifindex, address in self._unseen.pop(cookie, ()):
                    known = self._links.by_key.get((cookie, ifindex))
                    if known and known.addresses.pop(address, None):
                        changed[cookie, ifindex] = None

    def _leave(self, old: LinkKey, new: LinkKey | None, changed: dict[LinkKey, None], gone: set[str]) -> None:
        """A link is not there any more, but at another place, or nowhere, as in a namespace that has died meanwhile."""
        changed |= self._links.around([old])
        if new is None or new[0] not in self._namespaces:
            self._links.remove(old)
        else:
            self._links.move(old, new)
            changed[new] = None
        self._tell_nothing(old, gone)

    def _change(self, event: LinkChanged, changed: dict[LinkKey, None]) -> None:
        link, key = event.link, (event.link.cookie, event.link.ifindex)
        namespace = self._namespaces.get(link.cookie)
        if namespace is None:
            return
        before = self._links.by_key.get(key)
        was = (before.link.flags, before.link.operstate, before.link.name) if before else None
        changed |= self._links.around([key])
        self._links.put(link, self._tids.tid_of(link, namespace))
        changed |= self._links.around([key])
        if was != (link.flags, link.operstate, link.name):
            self._ethtool.want(namespace, link.ifindex)

    def _address(self, cookie: int, kind: int, payload: bytes, changed: dict[LinkKey, None]) -> None:
        try:
            address = decode_address(payload)
        except NetlinkDecodeError:
            self.malformed += 1
            return
        if address is None:
            return
        key, ifindex = (address.family, address.local, address.prefix_length), address.ifindex
        known = self._links.by_key.get((cookie, ifindex))
        self._unseen.get(cookie, set()).discard((ifindex, key))
        if known is None:
            return
        if kind == RTM_DELADDR:
            known.addresses.pop(key, None)
        elif known.addresses.get(key) == address:
            return
        else:
            known.addresses[key] = address
        changed[cookie, ifindex] = None

    def _port(self, cookie: int, payload: bytes, changed: dict[LinkKey, None]) -> None:
        """A bridge tells of a port: the link itself is not told of for that."""
        try:
            told = port_metadata(payload)
        except NetlinkDecodeError:
            self.malformed += 1
            return
        known = self._links.by_key.get((cookie, told[0])) if told else None
        if told and known and told[1]:
            known.port = told[1]
            changed[cookie, told[0]] = None

    def _forget_namespace(self, cookie: int, gone: set[str]) -> None:
        namespace = self._namespaces.pop(cookie, None)
        self._tables.pop(cookie, None)
        self._reader.forget(cookie)
        self._ethtool.forget(cookie)
        self._unseen.pop(cookie, None)
        if namespace and namespace.nsid is not None and self._cookies.get(namespace.nsid) == cookie:
            del self._cookies[namespace.nsid]
        gone |= self._facts_of_namespace.pop(cookie, set())

    def _tell_nothing(self, key: LinkKey, gone: set[str]) -> None:
        """A link is not there any more."""
        self._tell(key, [], gone)
        del self._facts_of[key]

    def _tell(self, key: LinkKey, facts: list[Fact], gone: set[str]) -> None:
        """These are the facts that a link tells now: what it told before and nobody tells any more is gone."""
        now = {fact.id for fact in facts}
        before = self._facts_of.get(key, set())
        self._facts_of[key] = now
        for id_ in now - before:
            self._tellers.setdefault(id_, set()).add(key)
        for id_ in before - now:
            self._tellers[id_].discard(key)
            if not self._tellers[id_]:
                del self._tellers[id_]
                gone.add(id_)

    def _report(
        self,
        observed: int,
        changed: dict[LinkKey, None],
        namespaces: dict[int, None],
        gone: set[str],
        volatile: Mapping[str, Metadata] | None = None,
    ) -> None:
        whole, self._whole = self._whole, False
        if whole:
            changed, namespaces = dict.fromkeys(self._links.by_key), dict.fromkeys(self._namespaces)
        facts: dict[str, Fact] = {}
        for cookie in namespaces:
            if cookie in self._namespaces:
                tables, owner = self._tables.get(cookie, (0, Tables()))[1], self._owner(cookie)
                found = list(namespace_facts(self._namespaces[cookie], owner, self._host_tid, tables.rules, tables.nowhere()))
                self._facts_of_namespace[cookie] = {fact.id for fact in found}
                facts |= {fact.id: fact for fact in found}
        for key in changed:
            if key in self._links.by_key:
                told = self._facts(key)
                self._tell(key, told, gone)
                facts |= {fact.id: fact for fact in told}
        if not (facts or gone or whole or volatile):
            return
        report = Report(self._source, observed, tuple(facts.values()), tuple(gone - facts.keys()), whole, volatile or {})
        try:
            self._sink(report)
        except Exception as error:  # noqa: BLE001 - whatever the graph says, the kernel goes on telling
            self.failure = str(error)
            self._whole = True  # once it takes reports again, it gets all
            _log.error("report_failed", probe=self._source.probe, error=str(error))
        else:
            self.failure = None

    def _facts(self, key: LinkKey) -> list[Fact]:
        known = self._links.by_key[key]
        peer = self._links.by_key.get(self._links.peer(key) or (0, 0))
        facts: list[Fact] = []
        try:
            facts.append(interface_fact(known, peer, self._namespaces.get(self._linked(known, peer))))
        except NetlinkDecodeError:
            self.malformed += 1
        facts += edge_facts(key, self._links, self._owner(key[0]), self._own)
        return facts

    def _linked(self, known: HostLink, peer: HostLink | None) -> int:
        """The other namespace that a link's peer or lower device is in; 0: none, or none that is followed."""
        if peer is not None:
            return peer.link.cookie if peer.link.cookie != known.link.cookie else 0
        return 0 if known.link.link_nsid is None else self._cookies.get(known.link.link_nsid, 0)

    def _owner(self, cookie: int) -> str:
        namespace = self._namespaces[cookie]
        return self._host_tid if namespace.of_host else self._tids.namespace_tid(namespace)

    def status(self) -> dict[str, Any]:
        """What it knows, for ``/api/status``."""
        return {"links": len(self._links.by_key), "namespaces": len(self._namespaces), "malformed": self.malformed}


def _about(event: Event) -> tuple[int, float]:
    """The namespace (0: none) whose routes, rules or neighbours are otherwise after an event, or may be; when to read them.

    Those that may be are behind an event of a link: the routes of one that goes down vanish unheard.
    """
    match event:
        case LinkChanged(link):
            return link.cookie, _AFTER_LINK
        case NamespaceFound(namespace):
            return namespace.cookie, _AFTER_LINK
        case Told(cookie, _, _):
            return cookie, _AFTER_HINT
    return 0, 0.0
