"""Whether an agent is who it says, and speaks of its own host alone: by its certificate, where the wire has TLS.

The name of the host stands in the certificate. A host ID is that of who reported by it first: the hub keeps whose it is, and
another name is refused from then on, unless the certificate has the name of before, too.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from skytrail.tid import is_host_tid
from skytrail.wire.security import HubSecurity, Peer, PeerError
from topology.facts import EdgeFact, Report
from topology.remote.codec import MalformedReportError
from topology.store.interface import Store

_log = structlog.get_logger(__name__)

_SHOWN = 100  # characters of what is refused
_LATEST = 4_102_444_800_000_000  # the year 2100, µs since the epoch
RESOURCE = "agent_name"
MOST_IDS = 64
"""Host IDs under which a host may have reported; each is kept for good."""


class Admission:
    """Lets agents in.

    Args:
        security: who may connect as whom.
        store: where it is kept whose a host ID is.
    """

    def __init__(self, security: HubSecurity, store: Store) -> None:
        self._security, self._store = security, store

    def greet(self, peer: Peer | None, host: str, tid: str) -> None:
        """Let an agent in as a host. Raises PeerError: it is not that host; StoreError."""
        if peer is None:
            return
        if not is_host_tid(tid):  # what others' begin with, or what is on their hosts
            raise PeerError(f"{tid[:_SHOWN]!r} is no host ID: set host_id to another, and upgrade the agent")
        bound = self._store.resources(RESOURCE)
        known = bound[tid].decode() if tid in bound else None
        self._security.admit(peer, host, known)
        if known is None and sum(name == host.encode() for name in bound.values()) >= MOST_IDS:
            raise PeerError(f"{host!r} has reported under {MOST_IDS} host IDs: set host_id, that it stays the same")
        if known != host:
            self._store.put_resource(RESOURCE, tid, host.encode())
            _log.info("host_id_bound", agent=tid, host=host, before=known)

    def of_peer(self, peer: Peer | None, tids: Collection[str]) -> set[str]:
        """Those host IDs that are bound to a name in the certificate; all, where nobody is known. Raises StoreError."""
        if peer is None or not tids:
            return set(tids)
        bound = self._store.resources(RESOURCE)
        return {tid for tid in tids if tid in bound and bound[tid].decode() in peer.hosts}


def check_report(peer: Peer | None, tid: str, report: Report) -> None:
    """Refuse a report of a time that is none, and what an agent says of others.

    Where the wire has no TLS nobody is known, and anybody may speak of others.

    Args:
        peer: the agent.
        tid: of its host.
        report: of one of its probes.

    Raises:
        MalformedReportError: it is of no time that a store has a place for; or it, or a fact in it, is of another host.
    """
    for at in (report.observed, report.observed - report.late):
        if not 0 <= at < _LATEST:
            raise MalformedReportError(f"{at} is no time in µs since the epoch")
    if peer is None:
        return
    source = report.source
    if source.tid != tid or source.host not in peer.hosts:
        raise MalformedReportError(f"an agent of {peer.hosts[0]} cannot report for {source.host!r} ({source.tid})")
    below = f"{tid}/"
    for fact in report.facts:
        for one in (fact.parent, fact.child) if isinstance(fact, EdgeFact) else (fact.tid,):
            if not one.startswith(below) and one != tid:
                raise MalformedReportError(f"an agent of {peer.hosts[0]} cannot tell of {one}")
