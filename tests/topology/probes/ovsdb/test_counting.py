"""What a switch counts, shown at the nodes of its interfaces and kept nowhere: real counters, and a database that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hublab import now_us
from support.netlab import Net, until
from support.ovs import Switch

from exporters.openvswitch.collector import counters_of
from exporters.openvswitch.source import StatisticsSource
from topology.facts import NodeFact, Report, Source
from topology.probes.devices import Devices
from topology.probes.ovsdb.counting import Counting
from topology.probes.ovsdb.probe import OvsdbProbe
from topology.reconcile import Reconciler
from topology.shape import graph_json
from topology.store.embedded.store import EmbeddedStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(60)]

HOST = "host/h"


class Lab:
    def __init__(self, net: Net, folder: Path) -> None:
        self.store = EmbeddedStore(folder / "graph", clock=now_us)
        self.reconciler = Reconciler(self.store, "h", now_us)
        self.reconciler.report(
            Report(Source("host", "h"), now_us(), (NodeFact(HOST, {"Type": "host", "Name": "h"}),), whole=True)
        )
        self.switch = Switch(net, net.netns("s"), folder / "s")
        for own, far in (("q1", "q2"), ("q2", "q1")):
            self.switch.vsctl(f"--may-exist add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 {own}")
            self.switch.vsctl(f"set interface {own} type=patch options:peer={far}")
        self.probe = OvsdbProbe(self.reconciler.report, Source("ovsdb", "h"), HOST, lambda: Devices(1, ()), self.switch.remote)
        self.failing = False
        self.source = StatisticsSource(self.switch.remote)
        self.counting = Counting([(self.probe, self.read)], now_us)
        self.probe.start()
        until(lambda: self.shown("q1"))

    def read(self) -> dict[str, dict[str, int]]:
        if self.failing:
            raise ConnectionRefusedError
        return {one.uuid: counters_of(one.statistics) for one in self.source.read()}

    def shown(self, name: str) -> dict[str, Any]:
        nodes = graph_json(self.store.current(), self.reconciler.volatile())["Nodes"]
        found = [one for one in nodes if (one["Metadata"]["Name"], one["Metadata"]["Type"]) == (name, "patch")]
        assert found
        return dict(found[0])

    def close(self) -> None:
        self.probe.stop()
        self.reconciler.close()
        self.store.close()


@pytest.fixture
def lab(net: Net, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(net, tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_counters_of_the_switch_stand_beside_what_it_says_and_make_no_revision(lab: Lab) -> None:
    before = lab.shown("q1")
    assert "Metric" not in before["Metadata"]["Ovs"]
    lab.counting.read()
    first = lab.shown("q1")["Metadata"]["Ovs"]
    assert first["Options"] == {"peer": "q2"}
    assert set(first) - set(before["Metadata"]["Ovs"]) == {"Metric"}
    lab.switch.ofctl("packet-out", "br0", "in_port=LOCAL,packet=" + "ff" * 12 + "0800" + "00" * 46 + ",actions=output:q1")

    def counted() -> dict[str, Any]:
        rows = {row["name"]: row["statistics"] for row in lab.switch.rows("Interface")}
        assert rows["q1"]["tx_packets"] > 0
        lab.counting.read()
        shown = dict(lab.shown("q1")["Metadata"]["Ovs"])
        assert {key: shown["Metric"].get(key, 0) for key in ("TxPackets", "TxBytes")} == {
            "TxPackets": rows["q1"]["tx_packets"],
            "TxBytes": rows["q1"]["tx_bytes"],
        }
        return shown

    shown = until(counted, 20)
    assert shown["Metric"]["Last"] >= shown["LastUpdateMetric"]["Last"] > shown["LastUpdateMetric"]["Start"]
    lab.failing = True
    lab.counting.read()
    after = lab.shown("q1")
    assert after["Metadata"]["Ovs"] == shown  # what was shown stays
    assert (after["Revision"], after["UpdatedAt"]) == (before["Revision"], before["UpdatedAt"])
