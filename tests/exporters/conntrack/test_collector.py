"""The collector of conntrack: nobody waits while it reads all that there is, and nothing makes it do so for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support.needs import root
from support.netlab import until

from exporters.bpf import layout
from exporters.conntrack import metrics, source
from exporters.conntrack.collector import ConntrackCollector
from exporters.conntrack.entries import ENTRY
from exporters.conntrack.source import Events
from exporters.flows.points import Points
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import Namespace, own_key
from skytrail.kernel.worker import NamespaceWorker, current_cookie

pytestmark = pytest.mark.kernel


class Dumps:
    """Stands for readings of all: each waits until it may go on; counted."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = threading.Event()

    def __call__(self, _: NamespaceWorker, __: Namespace) -> Any:
        self.begun += 1
        self.go.wait(10)
        return np.zeros(0, ENTRY)


@pytest.fixture
def dumps(monkeypatch: pytest.MonkeyPatch) -> Dumps:
    made = Dumps()
    monkeypatch.setattr(source, "dump", made)
    return made


@pytest.fixture
def collector(dumps: Dumps) -> Iterator[ConntrackCollector]:
    root()
    dev, inode = own_key(Roots())
    own = Namespace(current_cookie(), inode, dev, own=True)
    workers = NamespaceWorker(), NamespaceWorker()
    made = ConntrackCollector(*workers, lambda: [own], Points(), most=1000)
    made.start()
    yield made
    dumps.go.set()
    made.stop()
    for worker in workers:
        worker.close()


def test_neither_flows_nor_metrics_wait_while_all_is_read(collector: ConntrackCollector, dumps: Dumps) -> None:
    until(lambda: dumps.begun)
    begun = time.monotonic()
    assert not len(collector.of_flows(np.zeros(3, layout.KEY6), np.full(3, 4, np.uint8), np.zeros((3, 2), np.uint64)).flow)
    assert metrics.RESYNCS in [family.metric for family in collector.families()]
    assert time.monotonic() - begun < 5
    assert (dumps.begun, dumps.go.is_set()) == (1, False)
    assert collector.failure == "conntrack was not read yet"
    dumps.go.set()
    until(lambda: collector.failure is None)


def test_lost_events_do_not_keep_it_reading(
    collector: ConntrackCollector, dumps: Dumps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is read anew, but that takes a tenth of the time at most."""
    until(lambda: dumps.begun)
    read = Events.read
    monkeypatch.setattr(Events, "read", lambda self: (*read(self)[:2], True))
    time.sleep(0.5)  # how long this reading takes
    dumps.go.set()
    until(lambda: collector.failure is None)
    rested = time.monotonic() + 1.5
    until(lambda: time.monotonic() > rested, 5)
    assert dumps.begun == 1
    until(lambda: dumps.begun == 2, 10)
