"""Events in an order that a real kernel makes only now and then: nothing is left behind, and what is there is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.needs import root

from skytrail.kernel.linkmessages import Link
from skytrail.kernel.linktable import Event, LinkChanged, LinkGone, LinkMoved, NamespaceFound, NamespaceGone
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.tid_state import TidRegistry
from skytrail.kernel.worker import NamespaceWorker
from topology.facts import Report, Source
from topology.probes.netlink.probe import NetlinkProbe

HERE, THERE = Namespace(71, 11, 4, name="here", nsid=1), Namespace(72, 12, 4, name="there", nsid=2)
LINK = Link(HERE.cookie, 5, "v0", "veth", mac=bytes([2, 0, 0, 0, 0, 5]))
MOVED = LinkMoved((HERE.cookie, 5), (THERE.cookie, 5))


class Scene:
    """A probe that reads nothing by itself, and the IDs of the elements that it has told of."""

    def __init__(self, folder: Path, worker: NamespaceWorker) -> None:
        self.there: set[str] = set()
        tids = TidRegistry(folder, "host/h", "boot")
        self.probe = NetlinkProbe(self._take, Source("netlink", "h"), "host/h", tids, worker, worker)

    def _take(self, report: Report) -> None:
        self.there = (set() if report.whole else self.there - set(report.gone)) | {fact.id for fact in report.facts}

    def tell(self, *events: Event) -> set[str]:
        self.probe._take(events)
        return self.there


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    root()
    worker = NamespaceWorker()
    yield Scene(tmp_path, worker)
    worker.close()


@pytest.mark.parametrize(
    "events",
    [
        (MOVED, NamespaceGone(THERE.cookie)),
        (NamespaceGone(THERE.cookie), MOVED),
        (NamespaceGone(THERE.cookie), MOVED, LinkGone(THERE.cookie, 5)),
        (MOVED, LinkChanged(replace(LINK, cookie=THERE.cookie)), NamespaceGone(THERE.cookie)),
    ],
)
def test_a_link_that_moved_to_a_namespace_that_died_is_gone(scene: Scene, events: tuple[Event, ...]) -> None:
    without = scene.tell(NamespaceFound(HERE))
    assert scene.tell(NamespaceFound(THERE), LinkChanged(LINK)) > without
    assert scene.tell(*events) == without
    assert scene.tell(LinkChanged(replace(LINK, ifindex=6, name="v1"))) > without
