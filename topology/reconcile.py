"""Reports of probes → changes of elements, and the graph as it is now.

One :class:`Reconciler` stands before a store and is the only one to write to it. It keeps what is there now (states as the
store has them, so that after a restart it goes on where it was) and what waits: edges whose nodes are not both there yet,
additions to nodes that are not there yet.

Times: an element's changes keep the order in which they came, whoever reported them, and else a source's that in which it
reported them; an edge is never there before its nodes. Where a clock stepped back, or is behind another's, changes follow each
other by 1 µs until the clock has caught up.

Where other hubs write to the same store, what they change is followed, and each element is written as all sources have it: what
a source says that reports here is ours to say, the rest is as the store has it. A source reports to one hub at a time: who
takes its reports has its lease. What was done meanwhile is looked at before the first is taken; who has lost a lease forgets
what the source said.

While the store is away and does not let changes wait itself (it was never there since the start, or a lease is not had yet),
reports are held, and taken in their order once it is there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from skytrail.tid import is_host_tid
from topology.elements import FOREVER, Kind, Metadata, Part, Revision, State, node_id
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.held import Held
from topology.store.interface import AwayError, Batch, BehindError, Change, Note, StaleWriterError, Store, StoreError

_log = structlog.get_logger(__name__)

_LEASE_SECONDS = 30.0
_OF_THE_GRAPH = "hub"  # the service of rules, linkers, probes of clusters
_SHOWN = 200  # characters of a fact that is refused
_LOOK = 0.5  # seconds between two looks at what others changed
_TRIES = 10
_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
_MAX_ENDS = 10_000  # ends that are remembered: 2 MB


@dataclass(slots=True)
class ReconcilerCounters:
    """What a reconciler did since its start."""

    reports: int = 0
    facts: int = 0
    changes: int = 0
    refused: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Node:
    """What is said of a node: defined by at least one part that does not enrich, it is there.

    The store's states share ``parts``: another takes their place, they are never changed.
    """

    tid: str
    host: str
    origin: str
    parts: dict[str, Part] = field(default_factory=dict)
    volatile: dict[str, Metadata] = field(default_factory=dict)

    @property
    def there(self) -> bool:
        return any(not part.enriches for part in self.parts.values())

    def state(self) -> State:
        return State(self.host, self.origin, self.parts, self.tid)


@dataclass(slots=True)
class _Edge:
    parent: str
    child: str
    host: str
    origin: str
    parts: dict[str, Part] = field(default_factory=dict)

    def state(self) -> State:
        return State(self.host, self.origin, self.parts, parent=self.parent, child=self.child)


class Reconciler:
    """The graph as it is now, fed by reports.

    Args:
        store: where changes are kept; its graph is where we go on.
        holder: who we are, for leases: one process (:meth:`topology.store.interface.Store.lease`).
        clock: µs since the epoch.

    Raises:
        StoreError: the store cannot be read. One that is away is no error: it is waited for.

    Attributes:
        volatile_keys: those of what was ever said to be volatile.
    """

    def __init__(self, store: Store, holder: str, clock: Callable[[], int]) -> None:
        self._store, self._holder, self._clock = store, holder, clock
        self._lock = threading.Lock()  # one report after the other
        self._looking = threading.Lock()  # holds what is read meanwhile, and never while the store is waited for
        self._writing_since: float | None = None  # monotonic seconds
        self._nodes: dict[str, _Node] = {}
        self._edges: dict[str, _Edge] = {}
        self._edges_of: dict[str, set[str]] = {}  # node → edges that begin or end there, waiting ones too
        self._there: dict[str, State] = {}  # what the store has
        self._said: dict[tuple[str, str], set[str]] = {}  # (probe, host) → elements that it speaks of
        self._latest: dict[tuple[str, str], int] = {}  # (probe, host) → time of its latest change
        self._since: dict[str, int] = {}  # of what the store has: the time of its latest change
        # of nodes that the store has: when the last edge ended that one had, by who said so
        self._left: dict[str, dict[tuple[str, str], int]] = {}
        self._ends: OrderedDict[str, int] = OrderedDict()  # of what we ended: when, the latest last
        self._ends_forgotten = 0  # the latest time of those that are not among these any more
        self._adopted: set[Source] = set()  # those whose host has been looked for under other names
        self._owed: dict[tuple[str, str], list[str]] = {}  # source → elements whose changes the store did not take
        self._writers: dict[str, _Writer] = {}
        self._followed = 0  # elements that others changed
        self._seen = 0  # sequence up to which we know what others changed
        self._ours: dict[tuple[str, str], _Ours] = {}  # source → it, if it reports here
        self._held = Held()
        self._taken_in = False  # the last report was
        self._begun = False
        self._stopping = threading.Event()
        self._waiting: threading.Thread | None = None
        self.counters = ReconcilerCounters()
        self.volatile_keys: set[str] = set()
        self._keeping_up: threading.Thread | None = None
        try:
            self._begin()
        except AwayError as error:
            with self._lock:
                self._wait(error)
        if store.shared:
            self._keeping_up = threading.Thread(target=self._keep_up, name="other-hubs", daemon=True)
            self._keeping_up.start()

    def _begin(self) -> None:
        """Learn what the store has. What waits in its spool is from before us: it comes first."""
        health = self._store.health()
        if health.waiting:
            raise AwayError(f"{health.waiting} batches wait in the spool: they are applied first")
        self._seen = health.sequence
        current = list(self._store.current())
        ended = self._ended()
        with self._lock:
            for revision in current:
                self._go_on_with(revision)
            for key, at in ended.items():
                self._latest[key] = max(self._latest.get(key, 0), at)
            self._begun = True

    def _go_on_with(self, revision: Revision) -> None:
        state = revision.state
        assert state is not None, "what is there has a state"
        self._there[revision.id], self._since[revision.id] = state, revision.updated_at
        self._note(state, revision.updated_at)
        for probe in state.parts:
            self._said.setdefault((probe, state.host), set()).add(revision.id)
        self._know(revision.id, state)

    def _know(self, id_: str, state: State) -> None:
        if state.kind is Kind.NODE:
            self._nodes[id_] = _Node(state.tid, state.host, state.origin, state.parts)
        else:
            self._edges[id_] = _Edge(state.parent, state.child, state.host, state.origin, state.parts)
            for end in (state.parent, state.child):
                self._edges_of.setdefault(end, set()).add(id_)

    def _note(self, state: State, at: int) -> None:
        """Those who say something of an element said so at that time, or later."""
        for probe in state.parts:
            key = probe, state.host
            self._latest[key] = max(self._latest.get(key, 0), at)

    def _ended(self) -> dict[tuple[str, str], int]:
        """A source's latest change may be an element's end. That matters if the clock stepped back while we were away."""
        now = self._clock()
        ends: dict[tuple[str, str], int] = {}
        latest = self._store.feed(max(self._store.health().sequence - 1, 0), 1)
        if all(max(one.updated_at, one.recorded_at) <= now for one in latest):
            return ends
        for one in self._store.between(now, FOREVER - 1):
            if one.archived_at < FOREVER and one.state is not None:
                for probe in one.state.parts:
                    key = probe, one.state.host
                    ends[key] = max(ends.get(key, 0), one.archived_at)
        return ends

    def report(self, report: Report, note: Note | None = None) -> int:
        """Take in a report; when this returns, what it changed is in the store, or held until the store is there.

        A note is kept with its changes; where it makes none, or is held, it is not kept.

        Returns how many changes it made; 0 where it is held.

        Raises:
            StoreError: the store cannot take it. What it owes is written with the source's next report.
        """
        with self._lock:
            self.counters.reports += 1
            self.counters.facts += len(report.facts)
            if self._waiting is not None:
                self._held.add(report)
                return 0
            try:
                return self._take_in(report, note)
            except AwayError as error:
                self._held.put_back(self._left_of(report))
                self._wait(error)
                return 0

    def keep(self, source: Source, note: Note) -> None:
        """Keep a note, as the one who writes for a source. Raises StoreError."""
        with self._lock:
            if self._waiting is not None:
                raise AwayError("the store is away")
            try:
                self._apply(source, (), note)
            except StoreError:
                self._writers.pop(_writer_of(source), None)
                raise

    def claim(self, source: Source, holder: str) -> bool:
        """Write for a source from now on, as ``holder`` (:meth:`topology.store.interface.Store.lease`), before it reports.

        Returns whether another may have written for it meanwhile, up to now: what it noted is to be read anew.

        Raises:
            StaleWriterError: another one does.
            StoreError: the store does not answer.
        """
        if not self._store.shared:
            return False
        with self._lock:
            if self._waiting is not None:
                raise AwayError("the store is away")
            return self._speak_for(source, holder)

    def _take_in(self, report: Report, note: Note | None = None) -> int:
        source = report.source
        self._writing_since = began = time.monotonic()
        self._taken_in = False
        try:
            if self._store.shared:
                self._speak_for(source)
            with self._looking:
                taken = self._take(report)
            self._taken_in = True
            return self._settle(report, taken, note)
        except StoreError as error:
            self._writers.pop(_writer_of(source), None)  # what arrived there is asked anew
            if isinstance(error, StaleWriterError):
                self._lose(source)
            raise
        finally:
            self._writing_since = None
            self.counters.seconds += time.monotonic() - began

    def _settle(self, report: Report, taken: list[str], note: Note | None) -> int:
        """Write what is otherwise than in the store; looks again where others were first."""
        key = _key_of(report.source)
        touched = dict.fromkeys(taken)
        for left in reversed(range(_TRIES)):
            touched = dict.fromkeys([*self._owed.pop(key, ()), *touched])
            changes = self._changes(list(touched))
            try:
                if changes:
                    self._write(report, changes, note)
            except BehindError:
                self._owed[key] = list(touched)
                if not left:
                    raise
                self._follow()
            except StoreError:
                self._owed[key] = list(touched)
                raise
            else:
                break
        if key in self._ours:
            self._ours[key].unsaid.clear()
        return len(changes)

    def _speak_for(self, source: Source, holder: str = "") -> bool:
        """Have the lease of a source; where another may have had it since, forget what was said, and follow. Returns that."""
        key = _key_of(source)
        ours = self._ours.get(key)
        try:
            writer = self._writer(_writer_of(source), holder or (ours.holder if ours else self._holder))
        except StaleWriterError:
            self._lose(source)
            raise
        if ours is not None and ours.source == source and writer.epoch - ours.epoch in {0, 1}:  # the one before is ours
            ours.epoch, ours.holder = writer.epoch, writer.holder
            return False
        self._lose(source)
        self._follow()
        self._writers[writer.name] = writer
        self._ours[key] = _Ours(source, writer.epoch, writer.holder)
        return True

    def _lose(self, source: Source) -> None:
        """Speak no more for a source: what it says is as the store has it."""
        key = _key_of(source)
        self._writers.pop(_writer_of(source), None)
        self._adopted.discard(source)
        if (ours := self._ours.pop(key, None)) is None:
            return
        self._owed.pop(key, None)
        with self._looking:
            said = self._said.get((source.probe, ours.source.host), set())
            mine = {id_ for id_ in said if self._may_end(id_, source)}
            said -= mine
            for id_ in sorted(mine | ours.unsaid):
                self._merge(id_)

    def _keep_up(self) -> None:
        while not self._stopping.wait(_LOOK):
            with contextlib.suppress(StoreError):  # said where somebody reports
                self.look()

    def look(self) -> None:
        """Take in what other processes changed, and write what follows of what is said here. Raises StoreError."""
        with self._lock:
            if self._begun and self._waiting is None:
                self._follow()
                for key, ours in list(self._ours.items()):
                    if key in self._owed:
                        self._take_in(Report(ours.source, self._clock()))

    def _follow(self) -> None:
        """Take in what other processes changed. Raises StoreError."""
        seen, ids = self._store.changed_by_others(self._seen)
        found = {one.id: one for one in self._store.as_of(FOREVER - 1, ids)} if ids else {}
        self._seen = seen
        self._followed += len(ids)
        with self._looking:
            for id_ in ids:
                self._follow_one(id_, found.get(id_))
        for id_ in dict.fromkeys(one for end in ids for one in (end, *sorted(self._edges_of.get(end, ())))):
            if self._state(id_) != self._there.get(id_):  # to be written by one of those who speak of it here
                parts = (self._nodes.get(id_) or self._edges.get(id_) or _NOTHING).parts
                key = next((key for probe in parts if (key := self._speaker(probe, id_))), None)
                key = key or next((key for key, ours in self._ours.items() if id_ in ours.unsaid), None)
                if key is not None:
                    self._owed.setdefault(key, []).append(id_)

    def _follow_one(self, id_: str, revision: Revision | None) -> None:
        state, before = revision.state if revision else None, self._there.get(id_)
        if revision is not None and state is not None:
            self._there[id_], self._since[id_] = state, revision.updated_at
            self._note(state, revision.updated_at)
        elif before is not None:
            del self._there[id_], self._since[id_]
            self._left.pop(id_, None)
        for probe in before.parts if before else ():
            gone = before is not None and (state is None or probe not in state.parts or before.host != state.host)
            if gone and before is not None and not self._speaker(probe, id_):
                self._said.get((probe, before.host), set()).discard(id_)
        self._merge(id_)

    def _merge(self, id_: str) -> None:
        """What is said of an element: by our sources as they said, by all others as the store has it."""
        state = self._there.get(id_)
        known: _Node | _Edge | None = self._nodes.get(id_) or self._edges.get(id_)
        parts = {probe: part for probe, part in (known.parts if known else {}).items() if self._speaker(probe, id_)}
        for probe, part in (state.parts if state else {}).items():
            if not self._speaker(probe, id_):
                assert state is not None
                parts[probe] = part
                self._said.setdefault((probe, state.host), set()).add(id_)
        if known is None and state is not None and parts:
            self._know(id_, state)
            known = self._nodes.get(id_) or self._edges[id_]
        if known is None:
            return
        known.parts = parts
        if state is not None and not any(self._speaker(probe, id_) for probe, part in parts.items() if not part.enriches):
            known.host, known.origin = state.host, state.origin
        if isinstance(known, _Node):
            known.volatile = {probe: one for probe, one in known.volatile.items() if self._speaker(probe, id_)}
        if not parts:
            self._unknow(id_)

    def _speaker(self, probe: str, id_: str) -> tuple[str, str] | None:
        """Of our sources the one that says, or takes back, what a probe says of an element."""
        for key, ours in self._ours.items():
            if key[0] == probe and (id_ in ours.said or id_ in ours.unsaid):
                return key
        return None

    def hosts(self) -> dict[str, str]:
        """Names of the hosts that are there now, by TID."""
        with self._looking:
            nodes = [self._nodes.get(id_) for id_, state in self._there.items() if is_host_tid(state.tid)]
            return {node.tid: node.host for node in nodes if node is not None}

    def end_host(self, tid: str) -> int:
        """End all that is said of a host and of what is on it, as if its probes told that nothing is there.

        Returns how many changes that made.

        Raises:
            StaleWriterError: another one writes for a source of its.
            StoreError: the store cannot take it.
        """
        with self._lock:
            if self._waiting is not None:
                raise AwayError("the store is away")
            with self._looking:
                there = {id_ for id_ in self._there if self._is_of(id_, tid)}
                host = self._nodes[node_id(tid)].host if node_id(tid) in self._nodes else ""
                probes = {probe for (probe, _), said in self._said.items() if said & there}
            sources = [Source(probe, host, tid=tid) for probe in sorted(probes, key=lambda probe: probe == "host")]
            if self._store.shared:
                for source in sources:  # all or none
                    self._speak_for(source)
            return sum(self._take_in(Report(source, self._clock(), whole=True)) for source in sources)

    def changes_seen(self) -> int:
        """How often the graph changed so far: by us, and by others as far as we know."""
        return self.counters.changes + self._followed

    @property
    def waits(self) -> float:
        """Seconds that the store has been taking for what is being written; 0: nothing is."""
        since = self._writing_since
        return 0.0 if since is None else time.monotonic() - since

    def _wait(self, error: AwayError) -> None:
        _log.warning("store_away", reason=str(error), meanwhile="what is reported is held until it is there")
        self._waiting = threading.Thread(target=self._until_there, name="reconciler", daemon=True)
        self._waiting.start()

    def _until_there(self) -> None:
        wait = _FIRST_WAIT
        while not self._stopping.wait(wait):
            try:
                if not self._begun:
                    self._begin()
                if self._take_held():
                    return
                wait = 0.0
            except AwayError:
                wait = min(max(2 * wait, _FIRST_WAIT), _LONGEST_WAIT)
            except StoreError as error:
                wait = _LONGEST_WAIT
                _log.error("store_refused", reason=str(error))

    def _take_held(self) -> bool:
        """Take the next of those that are held; True: there is none any more."""
        with self._lock:
            report = self._held.first()
            if report is None:
                self._waiting = None  # under the lock: the next report goes to the store itself
                return True
            try:
                self._take_in(report)
            except AwayError:
                self._held.put_back(self._left_of(report))
                raise
        return False

    def _left_of(self, report: Report) -> Report:
        """The last report: where it was taken in, and only its changes are owed, it says nothing more."""
        return Report(report.source, report.observed) if self._taken_in else report

    @property
    def held(self) -> int:
        """Reports that are held until the store is there; 0 when all are taken."""
        return len(self._held) or int(self._waiting is not None)

    def close(self) -> None:
        """Wait for the store no longer; what is held is lost, and seen again after the next start."""
        self._stopping.set()
        for thread in (self._waiting, self._keeping_up):
            if thread is not None:
                thread.join()

    def _take(self, report: Report) -> list[str]:
        """Note what is said; gives the elements that it may change, nodes that come before their edges, that go after."""
        source = report.source
        said = self._said.setdefault((source.probe, source.host), set())
        if source not in self._adopted:
            self._adopted.add(source)
            if source.tid:
                said |= self._said_under_other_names(source)
            elif source.service == _OF_THE_GRAPH:
                said |= self._said_of_any_host(source)
        nodes: dict[str, None] = {}
        edges: dict[str, None] = {}
        for fact in report.facts:
            try:
                self._put(source, fact)
            except (TypeError, ValueError, OverflowError) as error:  # it cannot be encoded: the others are taken all the same
                self.counters.refused += 1
                _log.error("fact_refused", probe=source.probe, fact=repr(fact)[:_SHOWN], error=str(error), remedy="report this")
            else:
                (nodes if isinstance(fact, NodeFact) else edges)[fact.id] = None
        for id_, volatile in report.volatile.items():
            if (node := self._nodes.get(id_)) and source.probe in node.parts and (id_ in said or id_ in nodes):
                node.volatile[source.probe] = volatile
                self.volatile_keys.update(volatile)
        now = nodes.keys() | edges.keys()
        not_told = {id_ for id_ in said if not self._stays(id_, report)} if report.whole else set()
        gone = {id_ for id_ in (not_told | set(report.gone)) - now if self._may_end(id_, source)}
        for id_ in gone & said:
            self._take_back(source, id_)
        if ours := self._ours.get(_key_of(source)):
            ours.unsaid |= gone & said
            ours.unsaid -= now
            ours.said |= now
            ours.said -= gone
        said |= now
        said -= gone
        touched = [*nodes, *gone]
        for id_ in touched:
            edges |= dict.fromkeys(sorted(self._edges_of.get(id_, ())))
        return [*touched, *edges]

    def _said_under_other_names(self, source: Source) -> set[str]:
        """What the probe on that host said while the host had another name; it is nobody else's from now on."""
        found: set[str] = set()
        for (probe, host), said in self._said.items():
            if probe == source.probe and host != source.host:
                mine = {id_ for id_ in said if self._is_of(id_, source.tid)}
                said.difference_update(mine)
                found |= mine
        return found

    def _said_of_any_host(self, source: Source) -> set[str]:
        """What the probe said of elements of any host: of those of the whole graph there is one."""
        found: set[str] = set()
        for (probe, host), said in self._said.items():
            if probe == source.probe and host != source.host:
                found |= said
                said.clear()
        return found

    def _is_of(self, id_: str, host_tid: str) -> bool:
        """Whether a node is a host's, or an edge one end of which is."""
        return any(f"{tid}/".startswith(f"{host_tid}/") for tid in self._tids(id_))

    def _may_end(self, id_: str, source: Source) -> bool:
        """Whether what a source does not tell of is not there: it may be another host's of the same name."""
        return not source.tid or self._is_of(id_, source.tid) or not self._tids(id_)

    def _stays(self, id_: str, report: Report) -> bool:
        """Whether a whole report says nothing of an element, though it does not tell of it."""
        return bool(report.unknown) and id_ in self._edges and report.spares(self._tids(id_))

    def _tids(self, id_: str) -> list[str]:
        """Of a node, or of the nodes that are known of an edge."""
        edge = self._edges.get(id_)
        ends = [self._nodes.get(one) for one in ((edge.parent, edge.child) if edge else (id_,))]
        return [node.tid for node in ends if node]

    def _put(self, source: Source, fact: NodeFact | EdgeFact) -> None:
        """Note a fact. Raises TypeError, ValueError, OverflowError for what cannot be encoded."""
        if isinstance(fact, NodeFact):
            part = Part.of(fact.metadata, enriches=fact.enriches)  # first: what cannot be encoded leaves nothing behind
            node = self._nodes.get(fact.id)
            if node is None:
                node = self._nodes[fact.id] = _Node(fact.tid, source.host, source.origin)
            if not fact.enriches:
                node.host, node.origin = source.host, source.origin
            node.parts = {**node.parts, source.probe: part}
            if fact.volatile:
                node.volatile[source.probe] = fact.volatile
                self.volatile_keys.update(fact.volatile)
            return
        part = Part.of({"RelationType": fact.relation, **fact.metadata})
        edge = self._edges.get(fact.id)
        if edge is None:
            edge = self._edges[fact.id] = _Edge(node_id(fact.parent), node_id(fact.child), source.host, source.origin)
            for end in (edge.parent, edge.child):
                self._edges_of.setdefault(end, set()).add(fact.id)
        elif edge.parts.keys() <= {source.probe}:
            edge.host, edge.origin = source.host, source.origin
        edge.parts = {**edge.parts, source.probe: part}

    def _take_back(self, source: Source, id_: str) -> None:
        node, edge = self._nodes.get(id_), self._edges.get(id_)
        if node:
            node.parts = _without(node.parts, source.probe)
            node.volatile.pop(source.probe, None)
            if not node.parts:
                self._unknow(id_)
        elif edge:
            edge.parts = _without(edge.parts, source.probe)
            if not edge.parts:
                self._unknow(id_)

    def _unknow(self, id_: str) -> None:
        self._nodes.pop(id_, None)
        if (edge := self._edges.pop(id_, None)) is not None:
            for end in {edge.parent, edge.child}:  # it may lead back to where it begins
                self._edges_of[end].discard(id_)
                if not self._edges_of[end]:
                    del self._edges_of[end]

    def _state(self, id_: str) -> State | None:
        """What an element is by what is said; None where that is not enough for it to be there."""
        node = self._nodes.get(id_)
        if node:
            return node.state() if node.there else None
        edge = self._edges.get(id_)
        if edge is None or not all((end := self._nodes.get(one)) and end.there for one in (edge.parent, edge.child)):
            return None
        return edge.state()

    def _changes(self, touched: list[str]) -> list[tuple[str, State | None]]:
        """What is otherwise than in the store: what comes, nodes first, then what goes, edges first."""
        come: list[tuple[str, State | None]] = []
        go: list[tuple[str, State | None]] = []
        for id_ in touched:
            state, there = self._state(id_), self._there.get(id_)
            if state is None and there is not None:
                go.append((id_, None))
            elif state is not None and state != there:
                come.append((id_, state))
        return [*come, *reversed(go)]

    def _write(self, report: Report, changes: list[tuple[str, State | None]], note: Note | None) -> None:
        source = report.source
        key = source.probe, source.host
        at = max(report.observed, self._latest.get(key, 0) + 1)
        timed = self._timed(source, at, max(at - max(report.late, 0), self._ends_forgotten + 1), changes)
        self._apply(source, timed, note)
        self._latest[key] = at
        with self._looking:
            for change in timed:
                if change.state is None:
                    del self._there[change.id], self._since[change.id]
                else:
                    self._there[change.id], self._since[change.id] = change.state, change.at
        self.counters.changes += len(changes)

    def _apply(self, source: Source, changes: tuple[Change, ...], note: Note | None) -> None:
        ours = self._ours.get(_key_of(source))
        writer = self._writer(_writer_of(source), ours.holder if ours else self._holder)
        seen = self._seen if self._store.shared else None
        self._store.apply(Batch(writer.name, writer.epoch, writer.number + 1, self._clock(), changes, note, seen))
        writer.number += 1

    def _timed(self, source: Source, at: int, began: int, changes: list[tuple[str, State | None]]) -> tuple[Change, ...]:
        """When each change was: when it began, unless what others said of the element, or of an edge's nodes, is later.

        A node ends when its last edge has, or later, as far as one source ended both.
        Where the source itself said something of the element after that beginning, the change is when it was seen.
        That moves this change alone: what the source says of other elements has its own time, though it be told late.
        """
        found: dict[str, Change] = {}
        key = _key_of(source)
        for id_, state in changes:
            ends = (state.parent, state.child) if state else ()
            nodes = (found[end].at if end in found else self._since.get(end, 0) for end in ends)
            before = self._since.get(id_, 0)
            gone_before = 0 if before else self._ends.get(id_, 0)
            said = before >= began and source.probe in self._there[id_].parts
            left = self._left.get(id_, {}).get(key, 0) if state is None else 0
            when = max(at if said else began, before + 1, gone_before, left, *nodes)
            found[id_] = Change(id_, when, state)
            if state is None:
                self._note_end(id_, when)
                if (gone := self._there[id_]).kind is Kind.EDGE:
                    for end in (gone.parent, gone.child):
                        left_by = self._left.setdefault(end, {})
                        left_by[key] = max(left_by.get(key, 0), when)
        return tuple(found.values())

    def _note_end(self, id_: str, at: int) -> None:
        """If it comes again, then not before that."""
        self._left.pop(id_, None)
        self._ends.pop(id_, None)
        self._ends[id_] = at
        if len(self._ends) > _MAX_ENDS:
            self._ends_forgotten = max(self._ends_forgotten, self._ends.popitem(last=False)[1])

    def _writer(self, name: str, holder: str) -> _Writer:
        """The lease for a source, taken or kept."""
        now = self._clock()
        writer = self._writers.get(name)
        if writer is None or now > writer.renew_at or writer.holder != holder:
            epoch = self._store.lease(name, holder, _LEASE_SECONDS)
            number = self._store.last_number(name, epoch)
            writer = self._writers[name] = _Writer(name, epoch, number, now + int(_LEASE_SECONDS / 3 * 1e6), holder)
        return writer

    def volatile(self) -> dict[str, dict[str, Any]]:
        """What is volatile of the nodes that are there now, by ID."""
        with self._looking:
            found = [(id_, list(node.volatile.values())) for id_, node in self._nodes.items() if id_ in self._there]
        return {id_: {key: value for more in parts for key, value in more.items()} for id_, parts in found if parts}

    def volatile_of(self, id_: str) -> dict[str, Any]:
        """What is volatile of one node now."""
        with self._looking:
            node = self._nodes.get(id_)
            parts = list(node.volatile.values()) if node is not None else ()
        return {key: value for more in parts for key, value in more.items()}

    def __len__(self) -> int:
        return len(self._there)


def _without(parts: dict[str, Part], probe: str) -> dict[str, Part]:
    return {name: part for name, part in parts.items() if name != probe}


def _key_of(source: Source) -> tuple[str, str]:
    """The probe, and whose it is: hosts may share a name."""
    return source.probe, source.tid or source.host


def _writer_of(source: Source) -> str:
    """Hosts may share a name, but not what they are known by. What a hub says of the whole graph, one hub says at a time."""
    whose = "" if source.service == _OF_THE_GRAPH else source.host
    return f"{source.probe}@{source.tid or whose}"


@dataclass(slots=True)
class _Writer:
    """Our lease for one source. ``renew_at``: µs since the epoch."""

    name: str
    epoch: int
    number: int
    renew_at: int
    holder: str


@dataclass(slots=True)
class _Ours:
    """A source that reports here, and whose lease we have, where others write, too.

    Attributes:
        source: itself.
        epoch: of the lease.
        holder: by which we have it.
        said: elements of which it said something in that epoch.
        unsaid: those of which it took that back, until that is written.
    """

    source: Source
    epoch: int
    holder: str
    said: set[str] = field(default_factory=set)
    unsaid: set[str] = field(default_factory=set)


_NOTHING = _Node("", "", "")
