"""Hints of new network namespaces by Debian's kernels: one without a name is found without a scan of /proc for its own sake."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.netlab import unnamed_netns, until

from exporters.bpf.namespaces import NamespaceHints
from skytrail.kernel.links import LinkWatcher
from skytrail.kernel.linktable import Event, NamespaceFound
from skytrail.kernel.worker import NamespaceWorker

pytestmark = pytest.mark.skipif(
    os.environ.get("SKYTRAIL_KERNEL_VM") != "1", reason="runs inside the virtual machines of `make kernels`"
)

NEVER = 1e6
BRIEFLY = 0.2


def test_short_namespaces_are_found_by_hints_alone() -> None:
    found: set[int] = set()

    def take(events: Sequence[Event]) -> None:
        found.update(event.namespace.inode for event in events if isinstance(event, NamespaceFound))

    worker = NamespaceWorker()
    watcher = LinkWatcher(take, worker, every_namespace=True, scan_interval=NEVER)
    hints = NamespaceHints(watcher.hint, alert=BRIEFLY)
    watcher.start()
    processes = []
    try:
        assert watcher.wait_synced(60)
        hints.start()
        for _ in range(4):
            before = hints.hints
            processes.append(unnamed_netns())
            inode = Path(f"/proc/{processes[-1].pid}/ns/net").stat().st_ino

            until(lambda inode=inode: inode in found, 60)

            assert hints.hints > before
    finally:
        for process in processes:
            process.kill()
            process.wait()
        hints.stop()
        watcher.stop()
        worker.close()
