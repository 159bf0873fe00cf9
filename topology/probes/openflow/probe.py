"""The OpenFlow probe: reports the rules and groups of a switch's bridges as facts, anew when they change."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from skytrail.errors import RunError
from topology.elements import Metadata
from topology.facts import Fact, NodeFact, Report, Source
from topology.probes.openflow.source import BridgeSource, Found
from topology.probes.openflow.translate import Rule, group_fact, owned, rule_fact

_log = structlog.get_logger(__name__)

_TOGETHER = 0.03  # seconds in which changes that come together become one
_REST = 4  # a bridge rests so many times as long as its reading took
_PERIOD = 10.0  # seconds until it is read anyway: of groups nobody tells, and counters grow
_AGAIN, _LONGEST = 1.0, 30.0  # seconds until the next try after a failure


@dataclass(slots=True)
class _Bridge:
    """One that is followed. Times are monotonic seconds."""

    uuid: str
    source: BridgeSource
    due: float = 0.0
    not_before: float = 0.0
    wait: float = _AGAIN
    listener: subprocess.Popen[bytes] | None = None
    failure: str | None = "its rules are being read"
    read_at: int = 0  # µs since the epoch
    found: Found = field(default_factory=lambda: Found([], []))
    told: dict[str, Fact] = field(default_factory=dict)


class OpenFlowProbe:
    """Reports to a sink, on its own thread.

    Args:
        sink: takes a report; what it raises is logged, and the watching goes on.
        source: under which the facts are reported.
        host_tid: of this host.
        most: rules, and groups, of each bridge that are told; more are counted.
        clock: µs since the epoch.
        tls: files of our key, of our certificate and of the authorities; for bridges at ``ssl`` only.
    """

    def __init__(
        self,
        sink: Callable[[Report], object],
        source: Source,
        host_tid: str,
        most: int,
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        tls: tuple[str, str, str] | None = None,
    ) -> None:
        self._sink, self._source, self._host_tid, self._most = sink, source, host_tid, most
        self._clock, self._tls = clock, tls
        self._wanted: Mapping[str, tuple[str, str]] | None = None
        self._bridges: dict[str, _Bridge] = {}  # by name
        self.malformed = 0
        self._whole = True
        self._failure: str | None = None
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._waking = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="openflow", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def follow(self, bridges: Mapping[str, tuple[str, str]]) -> None:
        """The bridges that there are now: by name their UUIDs, and where they are asked."""
        if bridges != self._wanted:
            self._wanted = dict(bridges)
            self._awake()

    def tell_all(self) -> None:
        """Report all that is there once more."""
        self._whole = True
        self._awake()

    def stop(self) -> None:
        """End."""
        self._stopping = True
        self._awake()
        if self._thread.ident is not None:
            self._thread.join()
        with self._waking:
            self._selector.close()
            os.close(self._wake)
            self._wake = -1

    @property
    def failure(self) -> str | None:
        """Why the graph may not be as the bridges; None: it is."""
        failures = (f"bridge {name}: {one.failure}" for name, one in list(self._bridges.items()) if one.failure)
        return self._failure or next(failures, None)

    def status(self) -> dict[str, Any]:
        """What it knows, for ``/api/status``."""
        found = [one.found for one in list(self._bridges.values())]
        return {
            "rules": sum(len(one.rules) for one in found),
            "groups": sum(len(one.groups) for one in found),
            "left_out": self.left_out(),
            "malformed": self.malformed,
        }

    @property
    def active(self) -> bool:
        """Whether it has bridges."""
        return bool(self._bridges)

    def left_out(self) -> int:
        """Rules and groups beyond what is told."""
        return sum(one.found.left_out for one in list(self._bridges.values()))

    def _awake(self) -> None:
        with self._waking:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - whatever a bridge says, the others are read on
                self._failure, self._whole = repr(error), True
                _log.exception("openflow_failed")
                time.sleep(_AGAIN)
        for bridge in self._bridges.values():
            self._unheard(bridge)

    def _step(self) -> None:
        self._choose()
        now = time.monotonic()
        for bridge in [one for one in self._bridges.values() if one.due <= now]:
            self._read(bridge)
        self._tell_whole()
        due = min((bridge.due for bridge in self._bridges.values()), default=now + _PERIOD)
        for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
            if key.fd == self._wake:
                os.eventfd_read(self._wake)
            else:
                self._heard(key.data)

    def _choose(self) -> None:
        """Begin with bridges that came, end with those that went."""
        wanted = self._wanted or {}
        for name, bridge in list(self._bridges.items()):
            if wanted.get(name) != (bridge.uuid, bridge.source.target):
                self._unheard(bridge)
                del self._bridges[name]
                self._report(self._clock(), (), tuple(bridge.told), {})
        for name, (uuid, target) in wanted.items():
            if name not in self._bridges:
                self._bridges[name] = _Bridge(uuid, BridgeSource(target, self._most, self._tls))

    def _heard(self, bridge: _Bridge) -> None:
        """Its listener said something, or ended."""
        assert bridge.listener
        assert bridge.listener.stdout
        if not os.read(bridge.listener.stdout.fileno(), 1 << 16):
            self._unheard(bridge)
            bridge.due = max(time.monotonic() + bridge.wait, bridge.not_before)
            return
        bridge.due = min(bridge.due, max(time.monotonic() + _TOGETHER, bridge.not_before))

    def _unheard(self, bridge: _Bridge) -> None:
        if bridge.listener is not None:
            assert bridge.listener.stdout
            self._selector.unregister(bridge.listener.stdout)
            bridge.listener.kill()
            bridge.listener.communicate()
            bridge.listener = None

    def _read(self, bridge: _Bridge) -> None:
        """Read a bridge, and report what is otherwise; one that does not tell keeps what it had."""
        began = time.monotonic()
        try:
            if bridge.listener is None:  # before it is read: what changes meanwhile is heard
                bridge.listener = bridge.source.listen()
                assert bridge.listener.stdout
                self._selector.register(bridge.listener.stdout, selectors.EVENT_READ, bridge)
            observed = self._clock()
            found = bridge.source.read()
        except (OSError, RunError) as error:
            bridge.failure = str(error)
            bridge.due = time.monotonic() + bridge.wait
            bridge.wait = min(2 * bridge.wait, _LONGEST)
            return
        ended = time.monotonic()
        bridge.not_before = ended + _REST * (ended - began)
        bridge.due = max(ended + _PERIOD, bridge.not_before)
        self._take(bridge, found, observed)
        bridge.failure, bridge.wait = None, _AGAIN

    def _take(self, bridge: _Bridge, found: Found, observed: int) -> None:
        self.malformed += found.malformed
        before = {rule: rule.counted for rule in bridge.found.rules}
        span = {"Start": bridge.read_at // 1000, "Last": observed // 1000}
        rules = (rule_fact(self._host_tid, bridge.uuid, one, _grown(one, before.get(one), span)) for one in found.rules)
        groups = (group_fact(self._host_tid, bridge.uuid, one) for one in found.groups)
        facts = {fact.id: fact for nodes in (rules, groups) for fact in owned(self._host_tid, bridge.uuid, iter(nodes))}
        changed, volatile = [], {}
        for id_, fact in facts.items():
            was = bridge.told.get(id_)
            if isinstance(fact, NodeFact) and isinstance(was, NodeFact) and was.metadata == fact.metadata:
                volatile[id_] = fact.volatile
            elif was != fact:
                changed.append(fact)
        gone = tuple(bridge.told.keys() - facts.keys())
        bridge.found, bridge.told, bridge.read_at = found, facts, observed
        self._report(observed, tuple(changed), gone, volatile)

    def _tell_whole(self) -> None:
        """Once every bridge has been read, what was there before a restart and is no more is gone."""
        if self._whole and self._wanted is not None and all(one.read_at for one in self._bridges.values()):
            facts = tuple(fact for one in self._bridges.values() for fact in one.told.values())
            self._whole = False
            self._report(self._clock(), facts, (), {}, whole=True)

    def _report(
        self,
        observed: int,
        facts: tuple[Fact, ...],
        gone: tuple[str, ...],
        volatile: Mapping[str, Metadata],
        *,
        whole: bool = False,
    ) -> None:
        if not (facts or gone or volatile or whole):
            return
        try:
            self._sink(Report(self._source, observed, facts, gone, whole, volatile))
        except Exception as error:  # noqa: BLE001 - whatever the graph says, the bridges go on
            self._failure, self._whole = str(error), True  # once it takes reports again, it gets all
            _log.error("report_failed", probe=self._source.probe, error=str(error))
        else:
            self._failure = None


def _grown(rule: Rule, before: Mapping[str, int] | None, span: Mapping[str, int]) -> dict[str, int]:
    """What a rule had since the last look; empty: nothing, or it is new."""
    grown = {key: count - before.get(key, 0) for key, count in rule.counted.items()} if before else {}
    more = {key: count for key, count in grown.items() if count > 0}
    return {**more, **span} if more else {}
