"""The netlink probe of this host in the tests' own process, before a reconciler and a store, with a clock of the test's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from skytrail.kernel.host import read_host
from skytrail.kernel.links import LinkWatcher
from skytrail.kernel.tid_state import TidRegistry
from skytrail.kernel.worker import NamespaceWorker
from skytrail.tid import host_tid
from support.graphhistory import flaws
from support.graphlab import shortened
from support.graphoracle import Picture, Seen, expected_graph, seen_graph
from support.hublab import now_us
from support.netlab import Net, until
from topology.facts import NodeFact, Report, Source
from topology.probes.netlink.probe import NetlinkProbe
from topology.reconcile import Reconciler
from topology.shape import graph_json
from topology.store.embedded.store import EmbeddedStore

HOST = "here"
SETTLED_SECONDS = 20.0


class ProbeLab:
    """What ``skytrail up`` joins, without its process: started on what an earlier one left in the same folder.

    Args:
        net: whose prefix says what is the test's.
        folder: for the store and the TIDs.
        clock: µs since the epoch, of all parts.
        receive_buffer: bytes of the watcher's queue; 0: as the product has it.
    """

    def __init__(self, net: Net, folder: Path, clock: Callable[[], int] = now_us, receive_buffer: int = 0) -> None:
        self.net, self.clock = net, clock
        host = read_host("")
        tid = host_tid(host.host_id)
        self._closers = contextlib.ExitStack()
        self.store = EmbeddedStore(folder / "graph", clock=clock)
        self._closers.callback(self.store.close)
        self.reconciler = Reconciler(self.store, HOST, clock)
        self.reconciler.report(
            Report(Source("host", HOST), clock(), (NodeFact(tid, {"Type": "host", "Name": HOST}),), whole=True)
        )
        tids = TidRegistry(folder, tid, host.boot_id)
        self._closers.callback(tids.close)
        worker = NamespaceWorker()
        self._closers.callback(worker.close)
        self.probe = NetlinkProbe(self.reconciler.report, Source("netlink", HOST), tid, tids, worker, worker, clock)
        if receive_buffer:
            self.probe.watcher = LinkWatcher(
                self.probe._take, worker, every_namespace=True, details=True, receive_buffer=receive_buffer
            )
        self._closers.callback(self.probe.stop)
        self.probe.start()
        assert self.probe.watcher.wait_synced(SETTLED_SECONDS)

    def seen(self, at: int | None = None) -> Seen:
        """The graph of the test, now or at a moment (µs since the epoch)."""
        revisions = self.store.current() if at is None else self.store.as_of(at)
        return seen_graph(graph_json(revisions), self.net.prefix)

    def settled(self, seconds: float = SETTLED_SECONDS) -> Picture:
        """Wait until the graph is what iproute2 says."""

        def equal() -> Picture:
            expected = expected_graph(self.net.prefix)
            differences = expected.differences(self.seen().picture)
            assert not differences, f"iproute2 (here) and the graph (there) differ:\n{shortened(differences)}"
            return expected

        return until(equal, seconds)

    def flaws(self) -> list[str]:
        """What is wrong with the whole history (``support.graphhistory``). Ends the probe first: what grows is never whole."""
        self.probe.stop()
        return flaws(self.store)

    def close(self) -> None:
        """End the probe, and close the store."""
        self._closers.close()
