"""Several real databases at once, over unix, tcp and ssl; the kernel's interfaces of their switches by a real netlink probe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Pki
from support.hublab import now_us
from support.netlab import Net, until
from support.ovs import Switch
from support.ports import free_ports
from support.probelab import HOST, ProbeLab

from skytrail.kernel.host import read_host
from skytrail.tid import host_tid
from topology.elements import Kind, State
from topology.facts import Report
from topology.probes.ovsdb.databases import OvsdbProbes

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

KINDS = ("unix", "tcp", "ssl")
OTHERS = ("ovsbridge", "ovsport")


class Lab:
    """A switch for each kind, in a namespace of its own, with a bridge and an internal port; and an address of no database."""

    def __init__(self, net: Net, folder: Path) -> None:
        self.net = net
        tcp, ssl, nobody = free_ports(3)
        pki = Pki(folder / "pki")
        there, here = pki.hub("127.0.0.1"), pki.agent("h")
        assert there.tls_key
        assert here.tls_key
        listens = {
            "unix": (),
            "tcp": (f"--remote=ptcp:{tcp}:127.0.0.1",),
            "ssl": (
                f"--remote=pssl:{ssl}:127.0.0.1",
                f"--private-key={there.tls_key}",
                f"--certificate={there.tls_cert}",
                f"--ca-cert={there.tls_ca}",
            ),
        }
        self.netns = {kind: net.netns(kind) for kind in KINDS}
        self.switches = {kind: Switch(net, self.netns[kind], folder / kind, *listens[kind]) for kind in KINDS}
        for kind, switch in self.switches.items():
            bridge, port = net.name(f"b{kind}"), net.name(f"p{kind}")
            switch.vsctl(f"add-br {bridge} -- set bridge {bridge} datapath_type=netdev")
            switch.vsctl(f"add-port {bridge} {port} tag=1 -- set interface {port} type=internal")
        remotes = {
            "unix": self.switches["unix"].remote,
            "tcp": f"tcp:127.0.0.1:{tcp}",
            "ssl": f"ssl:127.0.0.1:{ssl}",
            "nobody": f"tcp:127.0.0.1:{nobody}",
        }
        self.nobody = f"{remotes['nobody']} does not answer"
        self.graph = ProbeLab(net, folder)
        self.probes = OvsdbProbes(
            remotes,
            self.graph.reconciler.report,
            HOST,
            host_tid(read_host("").host_id),
            self.graph.probe.devices,
            now_us,
            (here.tls_key, str(here.tls_cert), str(here.tls_ca)),
        )
        self.probes.start()

    def named(self, suffix: str) -> tuple[str, State]:
        """The one interface of a name that the database tells of, with its ID."""
        name = self.net.name(suffix)
        states = {one.id: one.state for one in self.graph.store.current() if one.state and one.state.kind is Kind.NODE}
        found = [
            (id_, state)
            for id_, state in states.items()
            if state.metadata["Name"] == name and "UUID" in state.metadata and state.metadata["Type"] not in OTHERS
        ]
        assert len(found) == 1, found
        return found[0]

    def owner(self, id_: str) -> str:
        """The name of who owns a node."""
        states = {one.id: one.state for one in self.graph.store.current() if one.state}
        [parent] = [one.parent for one in states.values() if one.child == id_ and one.metadata["RelationType"] == "ownership"]
        return str(states[parent].metadata["Name"])

    def shared(self, kind: str) -> dict[str, Any]:
        """The node that the kernel and a switch's database both tell of."""
        id_, state = self.named(f"p{kind}")
        assert {"netlink", kind} <= state.parts.keys()
        assert state.metadata["Type"] == "tun"
        return {"ID": id_, "Owner": self.owner(id_), "Tag": self.tag(kind)}

    def tag(self, kind: str) -> int:
        name = self.net.name(f"p{kind}")
        states = [one.state.metadata for one in self.graph.store.current() if one.state]
        [tag] = [keys["Ovs"]["Tag"] for keys in states if keys.get("Name") == name and keys.get("Type") == "ovsport"]
        return int(tag)

    def close(self) -> None:
        self.probes.stop()
        self.graph.close()


@pytest.fixture
def lab(net: Net, tmp_path: Path) -> Iterator[Lab]:
    made = Lab(net, tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_databases_of_every_kind_are_followed_and_none_takes_another_with_it(lab: Lab) -> None:
    before = until(lambda: {kind: lab.shared(kind) for kind in KINDS}, 30)
    assert [before[kind]["Owner"] for kind in KINDS] == [lab.netns[kind] for kind in KINDS]
    assert lab.probes.waiting() == {**dict.fromkeys(KINDS), "nobody": lab.nobody}
    lab.switches["tcp"].kill_database()
    until(lambda: str(lab.probes.waiting()["tcp"]).endswith("went away"))
    lab.switches["ssl"].vsctl(f"set port {lab.net.name('pssl')} tag=2")
    until(lambda: lab.tag("ssl") == 2)
    assert {kind: lab.shared(kind) for kind in KINDS} == {**before, "ssl": {**before["ssl"], "Tag": 2}}
    lab.switches["tcp"].start_database()
    lab.switches["tcp"].vsctl(f"set port {lab.net.name('ptcp')} tag=3")
    until(lambda: lab.tag("tcp") == 3, 30)
    until(lambda: lab.probes.waiting()["tcp"] is None)


def test_an_internal_port_that_moves_into_a_namespace_stays_one_node(lab: Lab) -> None:
    before = until(lambda: lab.shared("unix"), 30)
    tenant, port = lab.net.netns("w"), lab.net.name("punix")
    lab.net.ip(f"link set {port} netns {tenant}", netns=lab.netns["unix"])

    def moved() -> dict[str, Any]:
        found = lab.shared("unix")
        assert found["Owner"] == tenant
        assert lab.switches["unix"].vsctl(f"get interface {port} mac_in_use").strip() == "[]"
        return found

    assert until(moved)["ID"] == before["ID"]
    lab.switches["unix"].vsctl(f"set interface {port} external_ids:iface-id=vm")
    until(lambda: lab.named("punix")[1].metadata.get("ExtID") == {"iface-id": "vm"})
    assert until(moved)["ID"] == before["ID"]


def test_what_a_database_told_that_is_not_asked_any_more_is_taken_back(tmp_path: Path) -> None:
    reports: list[Report] = []
    for remotes in ({"ovsdb": "unix:/nowhere", "ovsdb/x": "unix:/nowhere/x"}, {"ovsdb": "unix:/nowhere"}, {}):
        probes = OvsdbProbes(remotes, reports.append, "h", "host/h", lambda: None, now_us, openflow=1, folder=tmp_path)
        probes.start()
        probes.stop()
    assert {(one.source.probe, one.whole, one.facts) for one in reports[:2]} == {
        ("ovsdb/x", True, ()),
        ("openflow/x", True, ()),
    }
    assert {one.source.probe for one in reports[2:]} == {"ovsdb", "openflow"}
    assert {one.source.tid for one in reports} == {"host/h"}


def test_a_damaged_note_of_probes_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "ovsdb.json").write_bytes(b"{")
    reports: list[Report] = []
    probes = OvsdbProbes({}, reports.append, "h", "host/h", lambda: None, now_us, folder=tmp_path)
    probes.start()
    probes.stop()
    assert (reports, (tmp_path / "ovsdb.json").read_bytes()) == ([], b"[]")
