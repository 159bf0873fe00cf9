"""The probe before a real Open vSwitch: after each change the graph is what ``ovs-vsctl list`` says."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.hublab import now_us
from support.netlab import Net, until
from support.ovs import Switch

from topology.elements import Kind
from topology.facts import NodeFact, Report, Source
from topology.probes.devices import Device, Devices
from topology.probes.ovsdb.probe import OvsdbProbe
from topology.probes.ovsdb.source import DatabaseSource
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

HOST = "host/h"
STEPS = 30
KINDS = {"ovsbridge": "bridge", "ovsport": "port", "ovsmirror": "mirror"}
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

    def devices(self) -> Devices:
        links = json.loads(self.net.ip("-j -d link", netns=self.netns))
        return Devices(1, tuple(self._device(one) for one in links))

    @staticmethod
    def _device(one: Json) -> Device:
        kind = one.get("linkinfo", {}).get("info_kind", "")
        return Device(1, one["ifname"], one["ifindex"], one.get("address", ""), kind, f"dev/{one['ifname']}")

    def raise_devices(self) -> None:
        for one in self.devices().all:
            self.net.ip(f"link set {one.name} up", netns=self.netns)

    def tell_devices(self) -> set[str]:
        host = NodeFact(HOST, {"Type": "host", "Name": "h"})
        there = self.devices().all
        own = (NodeFact(one.tid, {"Type": "device", "Name": one.name}) for one in there)
        self.reconciler.report(Report(Source("netlink", "h"), now_us(), (host, *own), whole=True))
        self.probe.devices_changed()
        return {one.name for one in there}

    def settled(self, switch: Switch) -> None:
        def equal() -> bool:
            devices = self.tell_devices()
            now, told = self.graph(), expected(switch, devices)
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
            if one.state.kind is Kind.NODE and one.state.metadata.get("Name") == "ovs-netdev":
                found["switch"] = {key: keys[key] for key in ("Ovs", "ExtID") if key in keys}
            if one.state.kind is Kind.NODE and "UUID" in keys:
                what = KINDS.get(keys["Type"], "interface")
                names[one.id] = what, keys["Name"]
                found[what, keys["Name"]] = shown = {key: value for key, value in keys.items() if key != "Name"}
                if what == "interface" and "netlink" in one.state.parts:
                    shown["Shared"] = True
                    if keys["Type"] == "device":
                        del shown["Type"]
        for one in current:
            assert one.state
            if one.state.kind is Kind.EDGE:
                keys = one.state.metadata
                parent = names.get(one.state.parent, HOST)
                said = tuple(keys[key] for key in ("Type", "Direction") if key in keys)
                found[parent, names[one.state.child], keys["RelationType"], *said] = True
        return found

    def close(self) -> None:
        self.probe.stop()
        self.store.close()


Rows = dict[str, Json]
"""By UUID."""


def expected(switch: Switch, devices: set[str]) -> Json:
    """The same by ``ovs-vsctl list``."""
    ports, interfaces, mirrors, controllers = (
        {row["_uuid"]: row for row in switch.rows(table)} for table in ("Port", "Interface", "Mirror", "Controller")
    )
    found: Json = _switch(switch) if "ovs-netdev" in devices else {}
    for row in switch.rows("Bridge"):
        bridge = "bridge", row["name"]
        found[bridge] = _bridge(row, [controllers[one] for one in many(row["controller"])])
        found[HOST, bridge, "ownership"] = True
        for uuid in many(row["ports"]):
            one = ports[uuid]
            members = [interfaces[each] for each in many(one["interfaces"])]
            found |= _port(bridge, one, members)
            for member in members:
                found |= _interface(bridge, ("port", one["name"]), member, devices)
        for uuid in many(row["mirrors"]):
            found |= _mirror(bridge, mirrors[uuid], ports)
    patches = {row["name"]: row["options"].get("peer") for row in interfaces.values() if row["type"] == "patch"}
    for name, peer in patches.items():
        if patches.get(peer) == name and name < peer:
            found[("interface", name), ("interface", peer), "layer2", "patch"] = True
    return found


def _switch(switch: Switch) -> Json:
    [row] = switch.rows("Open_vSwitch")
    managers = [{"Target": one["target"], "IsConnected": one["is_connected"]} for one in switch.rows("Manager")]
    own = {"Version": row["ovs_version"], "DBVersion": row["db_version"], "OtherConfig": row["other_config"]}
    own["Managers"] = sorted(managers, key=lambda one: str(one["Target"]))
    return {"switch": {"Ovs": filled(own), **filled({"ExtID": row["external_ids"]})}}


def _bridge(row: Json, controllers: list[Json]) -> Json:
    own = {"OtherConfig": row["other_config"], "Protocols": sorted(many(row["protocols"])), "DatapathID": row["datapath_id"]}
    own |= {"DatapathType": row["datapath_type"], "FailMode": row["fail_mode"], "FloodVlans": sorted(many(row["flood_vlans"]))}
    own |= {"STP": row["stp_enable"], "RSTP": row["rstp_enable"], "McastSnooping": row["mcast_snooping_enable"]}
    own["Controllers"] = [
        {"Target": one["target"], "IsConnected": one["is_connected"], **filled({"Role": one["role"]})}
        for one in sorted(controllers, key=lambda one: str(one["target"]))
    ]
    return {"Type": "ovsbridge", "UUID": row["_uuid"], "Ovs": filled(own), **filled({"ExtID": row["external_ids"]})}


def _port(bridge: tuple[str, str], row: Json, members: list[Json]) -> Json:
    port, tag, trunks = ("port", row["name"]), many(row["tag"]), sorted(many(row["trunks"]))
    own = {"Tag": row["tag"], "Trunks": trunks, "VlanMode": row["vlan_mode"], "OtherConfig": row["other_config"]}
    own |= {"CVlans": sorted(many(row["cvlans"]))}
    of_mac = {str(each["mac_in_use"]): each["name"] for each in members}
    own["ActiveMember"] = of_mac.get(str(row["bond_active_slave"] or "none"))
    if state := row["status"].get("stp_state"):
        own["STP"] = {"State": state, "Role": row["status"]["stp_role"]}
    if state := row["rstp_status"].get("rstp_port_state"):
        own["RSTP"] = {"State": state, "Role": row["rstp_status"]["rstp_port_role"]}
    keys = {"BondMode": row["bond_mode"], "LACP": row["lacp"], "ExtID": row["external_ids"], "Vlans": [*tag, *trunks]}
    found: Json = {port: {"Type": "ovsport", "UUID": row["_uuid"], **filled({**keys, "Ovs": filled(own)})}}
    found[bridge, port, "ownership"] = found[bridge, port, "layer2"] = True
    return found


def _interface(bridge: tuple[str, str], port: tuple[str, str], row: Json, devices: set[str]) -> Json:
    interface, options, status = ("interface", row["name"]), row["options"], row["status"]
    own = {"Type": row["type"] or "system", "Options": options, "Error": row["error"]}
    own |= {"OtherConfig": row["other_config"], "LACPCurrent": row["lacp_current"]}
    keys = {"OfPort": row["ofport"], "ExtID": row["external_ids"], "RemoteIP": options.get("remote_ip", "")}
    keys |= {"TunEgressIface": status.get("tunnel_egress_iface", ""), "LocalIP": options.get("local_ip", "")}
    keys |= {"TunEgressIfaceCarrier": status.get("tunnel_egress_iface_carrier", "")}
    found: Json = {(port, interface, "layer2"): True}
    if row["name"] in devices and row["type"] in ("", "internal"):
        keys |= {"Shared": True, **({"Type": "internal", "Driver": "openvswitch"} if row["type"] else {})}
    else:
        keys |= {"Type": row["type"] or "system", "Driver": "openvswitch", "MAC": row["mac_in_use"]}
        keys |= {"State": str(row["link_state"] or "").upper(), "MTU": row["mtu"]}
        own["AdminState"] = str(row["admin_state"] or "").upper()
        found[bridge, interface, "ownership"] = True
    found[interface] = {"UUID": row["_uuid"], "Ovs": filled(own), **filled(keys)}
    return found


def _mirror(bridge: tuple[str, str], row: Json, ports: Rows) -> Json:
    mirror = "mirror", row["name"]
    own = {"SelectAll": row["select_all"], "SelectVlans": sorted(many(row["select_vlan"]))}
    own |= {"OutputVlan": row["output_vlan"], "Snaplen": row["snaplen"]}
    found: Json = {(bridge, mirror, "ownership"): True}
    found[mirror] = {"Type": "ovsmirror", "UUID": row["_uuid"], **filled({"ExtID": row["external_ids"], "Ovs": filled(own)})}
    for direction, column in (("in", "select_src_port"), ("out", "select_dst_port")):
        for uuid in many(row[column]):
            found[("port", ports[uuid]["name"]), mirror, "mirror", direction] = True
    for uuid in many(row["output_port"]):
        found[mirror, ("port", ports[uuid]["name"]), "mirror"] = True
    return found


def many(value: Any) -> list[Any]:
    """A set of one is shown as that."""
    return value if isinstance(value, list) else [value]


def filled(keys: Json) -> Json:
    """Without what is not set: a tag or a VLAN may be 0."""
    return {key: value for key, value in keys.items() if value is not None and value is not False and value not in ("", [], {})}


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
            kinds += [self._add_port, self._add_tunnel, self._add_patches, self._add_bond, self._add_mirror]
            kinds += [self._set_bridge, self._set_bridge, self._set_switch]
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
        options = self._chance.choice([
            f"options:remote_ip=10.9.9.{self._count}",
            f"options:remote_ip=10.9.9.{self._count} options:local_ip=10.9.8.1 options:key=7 options:ttl=9 options:tos=inherit",
            f"options:remote_ip=flow options:key=flow options:in_key={self._count}",
            f"options:remote_ip=10.9.9.{self._count} options:csum=true options:df_default=false options:nonsense=1",
            "options:key=1",  # without a remote_ip: an error
        ])  # fmt: skip
        return f"add-port {bridge} {name} -- set interface {name} type={kind} {options}"

    def _add_mirror(self) -> str:
        if not self._ports:
            return self._add_port()
        port, name = self._port(), self._new("m")
        bridge = self._ports[port]
        chosen = self._chance.choice([
            "select-all=true",
            "select-src-port=@p",
            "select-dst-port=@p select-src-port=@p select-vlan=0,9",
            "select-all=true snaplen=99",
        ])  # fmt: skip
        output = self._chance.choice(["output-vlan=9", "output-port=@p"])
        create = f"--id=@m create mirror name={name} {chosen} {output}"
        return f"-- --id=@p get port {port} -- {create} -- add bridge {bridge} mirrors @m"

    def _set_switch(self) -> str:
        return self._chance.choice([
            f"set-manager ptcp:0:127.0.0.1 unix:/nowhere/{self._count}",
            "del-manager",
            f"set open_vswitch . external_ids:system-id=s{self._count} external_ids:ovn-encap-ip=10.0.0.1",
            f"set open_vswitch . other_config:vlan-limit={self._count % 2 + 1}",
        ])  # fmt: skip

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
            "stp_enable=true rstp_enable=false",
            "rstp_enable=true stp_enable=false",
            "mcast_snooping_enable=true",
            f"flood_vlans={self._count},0",
        ]
        if self._chance.random() < 0.3:
            return f"set-controller {self._bridge()} tcp:127.0.0.1:1 ptcp:0:127.0.0.1"
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
            f"set port {name} vlan_mode=dot1q-tunnel tag={tag} cvlans=5,6 other_config:qinq-ethtype=802.1q",
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
        if step % 6 == 5:
            lab.raise_devices()  # a bond then has an active member
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


def test_devices_that_come_and_go_all_the_time_are_looked_at_together(net: Net, tmp_path: Path) -> None:
    switch, taken = Switch(net, net.netns("ovs"), tmp_path / "s"), []
    source = DatabaseSource(switch.remote, lambda _: taken.append(time.monotonic()))
    source.start()
    try:
        until(lambda: taken, 20)
        taken.clear()
        until(lambda: source.wake() or len(taken) > 10, 20, every=0.001)
    finally:
        source.stop()

    assert min(later - earlier for earlier, later in pairwise(taken)) >= 0.02
