"""What becomes of what was told of clusters that the settings do not name any more."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from support.hublab import now_us
from support.netlab import until

from skytrail.cli.clusters import Clusters
from skytrail.settings.tree import Kubernetes
from topology.facts import NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore


@pytest.mark.parametrize("ours", [True, False])
def test_clusters_and_kinds_that_are_not_followed_any_more_are_taken_back(tmp_path: Path, *, ours: bool) -> None:
    settings = Kubernetes(clusters={"prod": str(tmp_path / "kubeconfig")}, kinds=("pod",))
    with contextlib.closing(EmbeddedStore(tmp_path / "graph")) as store:
        reconciler = Reconciler(store, "hub", now_us)
        for probe in ("kubernetes/old/pod", "kubernetes/prod/pod", "kubernetes/prod/job", "kubernetes/prod/cluster", "netlink"):
            fact = NodeFact(f"tid/{probe}", {"Type": "pod", "Name": probe})
            reconciler.report(Report(Source(probe, "", service="hub"), now_us(), (fact,)))

        def there() -> set[str]:
            return {probe for one in store.current() if one.state for probe in one.state.parts}

        everything = there()
        clusters = Clusters(settings, reconciler.report, store.current, now_us, lambda: ours)
        clusters.start()
        try:
            if ours:
                until(lambda: there() == everything - {"kubernetes/old/pod", "kubernetes/prod/job"}, 20)
            else:
                time.sleep(1.5)
                assert there() == everything
        finally:
            clusters.stop()
            reconciler.close()
