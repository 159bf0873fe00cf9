"""The probe before a real Open vSwitch: after each change the graph is what ``ovs-vsctl list`` says."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hublab import now_us
from support.netlab import Net, until
from support.ovs import Switch

from topology.elements import Kind
from topology.facts import NodeFact, Report, Source
from topology.probes.ovsdb.probe import OvsdbProbe
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

HOST = "host/h"
STEPS = 20
Json = dict[str, Any]


class Lab:
    """The probe, and in netlink's place what iproute2 says of the namespace's devices."""

    def __init__(self, net: Net, folder: Path) -> None:
        self.net, self.netns = net, net.netns("ovs")
        self.store = EmbeddedStore(folder / "graph", clock=now_us)
        self.reconciler = Reconciler(self.store, "h", now_us)
        self.folder = folder / "s"
        remote = f"unix:{self.folder / 'db.sock'}"
        self.probe = OvsdbProbe(self.reconciler.report, Source("ovsdb", "h"), HOST, self.devices, remote)

    def devices(self) -> dict[str, str]:
        names = [one["ifname"] for one in json.loads(self.net.ip("-j link", netns=self.netns))]
        return {name: f"dev/{name}" for name in names}

    def tell_devices(self) -> None:
        host = NodeFact(HOST, {"Type": "host", "Name": "h"})
        own = (NodeFact(tid, {"Type": "device", "Name": name}) for name, tid in self.devices().items())
        self.reconciler.report(Report(Source("netlink", "h"), now_us(), (host, *own), whole=True))
        self.probe.devices_changed()

    def settled(self, switch: Switch) -> None:
        def equal() -> bool:
            self.tell_devices()
            now, told = self.graph(), expected(switch, set(self.devices()))
            assert now == told, {key: (told.get(key), now.get(key)) for key in told | now if told.get(key) != now.get(key)}
            return True

        until(equal, 20)

    def graph(self) -> Json:
        """Nodes that the database tells of by (what, name), edges among them."""
        current = [one for one in self.store.current() if one.state is not None and "ovsdb" in one.state.parts]
        names: dict[str, tuple[str, str]] = {}
        found: Json = {}
        for one in current:
            assert one.state
            keys = one.state.metadata
            if one.state.kind is Kind.NODE and "UUID" in keys:
                what = {"ovsbridge": "bridge", "ovsport": "port"}.get(keys["Type"], "interface")
                names[one.id] = what, keys["Name"]
                shared = keys["Type"] == "device"
                shown = {key: value for key, value in keys.items() if key not in ("Type", "MAC", "Name", "Driver")}
                shown["Ovs"] = {key: value for key, value in keys.get("Ovs", {}).items() if key != "DatapathID"}
                found[what, keys["Name"]] = {**shown, "Shared": shared} if what == "interface" else shown
        for one in current:
            assert one.state
            if one.state.kind is Kind.EDGE:
                parent = names.get(one.state.parent, HOST)
                found[parent, names[one.state.child], one.state.metadata["RelationType"]] = True
        return found

    def close(self) -> None:
        self.probe.stop()
        self.store.close()


def expected(switch: Switch, devices: set[str]) -> Json:
    """The same by ``ovs-vsctl list``."""
    ports = {row["_uuid"]: row for row in switch.rows("Port")}
    interfaces = {row["_uuid"]: row for row in switch.rows("Interface")}
    found: Json = {}
    for row in switch.rows("Bridge"):
        bridge = "bridge", row["name"]
        own = {"OtherConfig": row["other_config"], "Protocols": sorted(many(row["protocols"]))}
        own |= {"DatapathType": row["datapath_type"], "FailMode": row["fail_mode"]}
        found[bridge] = {"UUID": row["_uuid"], "Ovs": filled(own), **filled({"ExtID": row["external_ids"]})}
        found[HOST, bridge, "ownership"] = True
        for of_port in many(row["ports"]):
            one = ports[of_port]
            port, tag, trunks = ("port", one["name"]), many(one["tag"]), sorted(many(one["trunks"]))
            own = {"Tag": one["tag"], "Trunks": trunks, "VlanMode": one["vlan_mode"], "OtherConfig": one["other_config"]}
            keys = {"BondMode": one["bond_mode"], "LACP": one["lacp"], "ExtID": one["external_ids"], "Vlans": [*tag, *trunks]}
            found[port] = {"UUID": of_port, "Ovs": filled(own), **filled(keys)}
            found[bridge, port, "ownership"] = found[bridge, port, "layer2"] = True
            for uuid in many(one["interfaces"]):
                below = interfaces[uuid]
                interface, options = ("interface", below["name"]), below["options"]
                shared = below["name"] in devices and below["type"] in ("", "internal")
                own = {"Type": below["type"] or "system", "Options": options, "Error": below["error"]}
                keys = {"OfPort": below["ofport"], "ExtID": below["external_ids"], "RemoteIP": options.get("remote_ip", "")}
                status = below["status"]
                keys |= {"TunEgressIface": status.get("tunnel_egress_iface", "")}
                keys |= {"TunEgressIfaceCarrier": status.get("tunnel_egress_iface_carrier", "")}
                found[interface] = {"UUID": uuid, "Ovs": filled(own), **filled(keys), "Shared": shared}
                found[port, interface, "layer2"] = True
                if not shared:
                    found[bridge, interface, "ownership"] = True
    patches = {row["name"]: row["options"].get("peer") for row in interfaces.values() if row["type"] == "patch"}
    for name, peer in patches.items():
        if patches.get(peer) == name and name < peer:
            found[("interface", name), ("interface", peer), "layer2"] = True
    return found


def many(value: Any) -> list[Any]:
    """A set of one is shown as that."""
    return value if isinstance(value, list) else [value]


def filled(keys: Json) -> Json:
    return {key: value for key, value in keys.items() if value not in ("", [], {})}


class Operations:
    """Random ones, each possible when it is done."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._count = 0
        self._bridges: list[str] = []
        self._ports: dict[str, str] = {}  # port → bridge

    def next(self) -> str:
        kinds: list[Callable[[], str]] = [self._add_bridge] if len(self._bridges) < 3 else [self._delete_bridge]
        if self._bridges:
            kinds += [self._add_port, self._add_tunnel, self._add_patches, self._add_bond, self._set_bridge]
        if self._ports:
            kinds += [self._delete_port, self._set_port, self._set_vlans, self._set_vlans, self._set_interface]
        return self._chance.choice(kinds)()

    def _new(self, prefix: str, bridge: str = "") -> str:
        self._count += 1
        name = f"{prefix}{self._count}"
        if bridge:
            self._ports[name] = bridge
        return name

    def _bridge(self) -> str:
        return self._chance.choice(self._bridges)

    def _port(self) -> str:
        return self._chance.choice(list(self._ports))

    def _add_bridge(self) -> str:
        name = self._new("br")
        self._bridges.append(name)
        return f"add-br {name} -- set bridge {name} datapath_type=netdev"

    def _delete_bridge(self) -> str:
        name = self._bridge()
        self._bridges.remove(name)
        self._ports = {port: bridge for port, bridge in self._ports.items() if bridge != name}
        return f"del-br {name}"

    def _add_port(self) -> str:
        bridge = self._bridge()
        name = self._new("p", bridge)
        return f"add-port {bridge} {name} tag={self._chance.randrange(4096)} -- set interface {name} type=internal"

    def _add_tunnel(self) -> str:
        bridge = self._bridge()
        name, kind = self._new("t", bridge), self._chance.choice(["vxlan", "geneve", "gre"])
        return f"add-port {bridge} {name} -- set interface {name} type={kind} options:remote_ip=10.9.9.{self._count}"

    def _add_patches(self) -> str:
        one, other = self._bridge(), self._bridge()
        left, right = self._new("l", one), self._new("r", other)
        ends = ((one, left, right), (other, right, left))
        return " -- ".join(f"add-port {br} {own} -- set interface {own} type=patch options:peer={far}" for br, own, far in ends)

    def _add_bond(self) -> str:
        bridge = self._bridge()
        name = self._new("bond", bridge)
        members = [f"{name}a", f"{name}b"]
        kinds = " ".join(f"-- set interface {one} type=internal" for one in members)
        return f"add-bond {bridge} {name} {' '.join(members)} bond_mode=active-backup lacp=off {kinds}"

    def _delete_port(self) -> str:
        name = self._port()
        del self._ports[name]
        return f"del-port {name}"

    def _set_bridge(self) -> str:
        what = [
            "fail_mode=secure",
            "protocols=OpenFlow13,OpenFlow10",
            f"external_ids:n={self._count}",
            "other_config:mac-aging-time=9",
        ]
        return f"set bridge {self._bridge()} {self._chance.choice(what)}"

    def _set_port(self) -> str:
        return f"set port {self._port()} external_ids:n={self._count} other_config:priority-tags=always"

    def _set_vlans(self) -> str:
        name, tag = self._port(), self._chance.randrange(4096)
        return self._chance.choice([
            f"set port {name} tag={tag}",
            f"clear port {name} tag",
            f"set port {name} trunks={tag},0,4095",
            f"set port {name} vlan_mode=native-untagged tag={tag}",
            f"clear port {name} vlan_mode trunks",
        ])  # fmt: skip

    def _set_interface(self) -> str:
        name = self._port()
        if name.startswith("bond"):
            name += "a"
        return f"set interface {name} external_ids:iface-id=vm-{self._count}"


@pytest.fixture
def lab(net: Net, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(net, tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("seed", range(3))
def test_after_each_change_the_graph_is_what_the_database_says(seed: int, lab: Lab) -> None:
    lab.probe.start()
    switch, operations = Switch(lab.net, lab.netns, lab.folder), Operations(seed)
    for step in range(STEPS):
        if step == STEPS // 2:
            switch.kill_database()
            until(lambda: lab.probe.failure is not None)
            switch.start_database()
        switch.vsctl(operations.next())
        lab.settled(switch)
    assert lab.probe.status()["resyncs"] == 2
    assert len(switch.rows("Port")) > 0


def test_a_database_that_is_away_takes_nothing_with_it(lab: Lab) -> None:
    lab.probe.start()
    assert (lab.probe.failure, lab.probe.active) == (None, False)  # none is there, and that is well
    switch = Switch(lab.net, lab.netns, lab.folder)
    switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 p0 tag=7 -- set interface p0 type=internal")
    lab.settled(switch)
    assert (lab.probe.failure, lab.probe.active) == (None, True)
    before = lab.graph()
    switch.kill_database()
    until(lambda: lab.probe.failure is not None)
    assert lab.probe.failure == f"{switch.remote} went away"
    lab.tell_devices()
    lab.probe.tell_all()
    assert lab.graph() == before
    switch.start_database()
    switch.vsctl("set port p0 tag=8")
    lab.settled(switch)
    until(lambda: lab.probe.failure is None)


def test_who_takes_no_report_gets_all_once_more(lab: Lab, net: Net) -> None:
    reports: list[Report] = []

    def sink(report: Report) -> None:
        reports.append(report)
        if len(reports) == 2:
            raise RuntimeError("full")

    switch = Switch(net, lab.netns, lab.folder)
    lab.probe._sink = sink
    lab.probe.start()
    until(lambda: len(reports) == 1)
    assert reports[0].whole
    switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")
    until(lambda: len(reports) >= 2)
    switch.vsctl("set bridge br0 external_ids:a=b")
    until(lambda: lab.probe.failure is None and len(reports) >= 3)
    assert reports[2].whole
    assert any(isinstance(fact, NodeFact) and fact.metadata.get("Name") == "br0" for fact in reports[2].facts)
