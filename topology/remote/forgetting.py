"""Forgetting a host that is gone for good: its graph ends now and stays in the history, and nobody waits for its agent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from skytrail.errors import RunError
from topology.reconcile import Reconciler
from topology.remote.receiver import ConnectedError, Receiver
from topology.store.interface import StaleWriterError

_log = structlog.get_logger(__name__)

_SHOWN = 100  # characters of what is not known


class UnknownHostError(RunError):
    """The graph has no such host."""


class InTheWayError(RunError):
    """A host cannot be forgotten now; says what to do first."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was done. ``changes``: elements that ended."""

    host: str
    tid: str
    changes: int


class Forgetting:
    """Forgets hosts, one after the other. For any thread.

    Args:
        reconciler: ends what agents said.
        receiver: knows the agents that report here; None: the one host is watched by this process.
        look: lets it be looked anew whose agents are waited for. Raises StoreError.
    """

    def __init__(self, reconciler: Reconciler, receiver: Receiver | None, look: Callable[[], None]) -> None:
        self._reconciler, self._receiver, self._look = reconciler, receiver, look
        self._lock = threading.Lock()

    def forget(self, host: str) -> Forgotten:
        """Forget a host by its name or TID.

        Raises:
            UnknownHostError: the graph has none.
            InTheWayError: its agent is connected; or several hosts have that name; or its lease has not run out.
            StoreError: the store is away.
        """
        with self._lock:
            tid, name = self._find(host)
            if self._receiver is None:
                raise InTheWayError("this process is agent and hub of the one host of its graph: there is nothing to forget")
            if any(tid in agents for agents in self._receiver.peers.agents().values()):
                raise InTheWayError(_connected(name, "to another hub"))
            try:
                changes = self._receiver.forget(tid, lambda: self._reconciler.end_host(tid))
                self._look()
            except ConnectedError as error:
                raise InTheWayError(_connected(name, "here")) from error
            except StaleWriterError as error:
                raise InTheWayError(f"the agent of {name!r} was there a moment ago: ask again in half a minute") from error
        _log.info("host_forgotten", host=name, agent=tid, elements=changes)
        return Forgotten(name, tid, changes)

    def _find(self, host: str) -> tuple[str, str]:
        hosts = self._reconciler.hosts()
        if host in hosts:
            return host, hosts[host]
        found = [tid for tid, name in hosts.items() if name == host]
        if not found:
            raise UnknownHostError(f"the graph has no host {host[:_SHOWN]!r}: 'skytrail query' with hasLabel('host') lists all")
        if len(found) > 1:
            raise InTheWayError(f"several hosts are called {host!r}: name one by its TID: {', '.join(sorted(found))}")
        return found[0], host


def _connected(host: str, where: str) -> str:
    return f"the agent of {host!r} is connected {where}: stop it for good first (systemctl disable --now skytrail-agent)"
