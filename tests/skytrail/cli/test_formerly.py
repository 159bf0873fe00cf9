"""What was told of this host before its settings were others is not there any more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hublab import now_us

from skytrail.cli.hub import HubProcess
from skytrail.cli.plugged import PluggedProbes
from skytrail.cli.probes import HostProbes
from skytrail.kernel.host import read_host
from skytrail.kernel.tid_state import TidRegistry
from skytrail.settings.tree import ContainerFacts, Settings, Topology
from topology.facts import NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

BEFORE, NOW = "host/before", "host/now"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    made = EmbeddedStore(tmp_path / "graph", clock=now_us)
    yield made
    made.close()


def tell(reconciler: Reconciler, probe: str, tid: str) -> None:
    fact = NodeFact(f"{tid}/{probe}", {"Type": "container", "Name": probe})
    reconciler.report(Report(Source(probe, "h", tid=tid), now_us(), (fact,), whole=True))


def names(store: EmbeddedStore) -> set[str]:
    return {one.state.metadata["Name"] for one in store.current() if one.state}


def test_all_that_was_seen_of_a_host_by_its_former_id_ends(tmp_path: Path, store: EmbeddedStore) -> None:
    (tmp_path / "ovsdb.json").write_text(json.dumps(["ovsdb", "ovsdb/tcp:192.0.2.1:6640", "openflow"]))
    (tmp_path / "probes.json").write_text(json.dumps(["lldp"]))
    hub = HubProcess(Settings(state_dir=str(tmp_path)), read_host(""))
    hub.store, hub.reconciler = store, Reconciler(store, "h", now_us)
    hub._end_host_before(tmp_path / "graph", "h", BEFORE)
    told = {"netlink", "host", "containers", "ovsdb", "ovsdb/tcp:192.0.2.1:6640", "openflow", "lldp"}
    for probe in told:
        tell(hub.reconciler, probe, BEFORE)
    assert names(store) == told

    hub._end_host_before(tmp_path / "graph", "h", NOW)
    assert names(store) == set()


def test_containers_that_are_not_to_be_in_the_graph_any_more_leave_it(tmp_path: Path, store: EmbeddedStore) -> None:
    reconciler = Reconciler(store, "h", now_us)
    tell(reconciler, "containers", NOW)
    settings = Settings(topology=Topology(containers=ContainerFacts(enabled=False)))
    tids = TidRegistry(tmp_path, NOW, "boot")
    probes = HostProbes(read_host(""), tids, lambda _: None, reconciler.report, now_us, settings)

    assert probes._containers("h", NOW) is None
    assert names(store) == set()
    tids.close()


@pytest.mark.parametrize(("wanted", "left"), [(None, {"netlink"}), (("lldp",), {"netlink", "lldp"})])
def test_what_a_probe_of_a_package_told_that_is_gone_leaves_the_graph(
    wanted: tuple[str, ...] | None, left: set[str], tmp_path: Path, store: EmbeddedStore
) -> None:
    reconciler = Reconciler(store, "h", now_us)
    for probe in ("lldp", "netlink"):
        tell(reconciler, probe, NOW)
    (tmp_path / "probes.json").write_text(json.dumps(["lldp", "netlink"]))
    probes = PluggedProbes(Topology(other_probes=wanted), tmp_path)
    probes.start(lambda probe: Source(probe, "h", tid=NOW), NOW, reconciler.report, dict, now_us)

    assert names(store) == left  # one that should be there, and fails, deletes nothing
    assert json.loads((tmp_path / "probes.json").read_text()) == list(wanted or ())
