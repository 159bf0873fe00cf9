"""The probe before real bridges: after each change its elements, written as ``ovs-ofctl`` writes them, are what that prints."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Pki
from support.hublab import now_us
from support.netlab import Net, in_netns, until
from support.ovs import Switch

from topology.elements import Kind
from topology.facts import NodeFact, Report, Source
from topology.probes.devices import Devices
from topology.probes.ovsdb.databases import OvsdbProbes
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

HOST = "host/h"
STEPS = 16
MATCHES = (
    "",
    "ip,nw_dst=10.0.0.0/8",
    "in_port=1",
    "arp,dl_src=02:00:00:00:00:01/ff:ff:ff:00:00:00",
    "ct_state=+trk+new,tcp,tp_dst=80",
    "ipv6,ipv6_src=2001:db8::/32,tun_id=0x7,metadata=0x5/0xff",
    "vlan_tci=0x1000/0x1000",
    "packet_type=(1,0x894f)",
    "udp,tp_src=0x10/0xfff0",
)
ACTIONS = (
    "drop",
    "NORMAL",
    "resubmit(,7)",
    "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],controller(reason=action,max_len=64)",
    "learn(table=6,priority=5,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[]),output:1",
    "ct(commit,zone=5,nat(src=1.1.1.1),exec(set_field:1->ct_mark)),goto_table:200",
    "set_field:5->reg0,write_actions(output:1,set_queue:3),goto_table:201",
    "push_vlan:0x8100,set_field:4097->vlan_vid,output:1",
)
GROUPS = (
    "type=select,selection_method=hash,fields(ip_src),bucket=actions=output:1,bucket=weight:3,actions=set_field:9->reg1,output:2",
    "type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_port:2,actions=output:2",
    "type=indirect,bucket=actions=drop",
    "type=all",
)


class Lab:
    def __init__(self, net: Net, folder: Path, most: int) -> None:
        self.store = EmbeddedStore(folder / "graph", clock=now_us)
        self.reconciler = Reconciler(self.store, "h", now_us)
        host = NodeFact(HOST, {"Type": "host", "Name": "h"})
        self.reconciler.report(Report(Source("host", "h"), now_us(), (host,), whole=True))
        self.switch = Switch(net, net.netns("s"), folder / "s")
        remotes = {"ovsdb": self.switch.remote}
        self.probes = OvsdbProbes(
            remotes, self.reconciler.report, "h", HOST, lambda: Devices(1, ()), now_us, None, openflow=most
        )
        self.probes.start()

    def elements(self, kind: str) -> dict[str, list[dict[str, Any]]]:
        """By bridge."""
        states = {one.id: one.state for one in self.store.current() if one.state}
        found: dict[str, list[dict[str, Any]]] = {}
        for state in states.values():
            if state.kind is Kind.EDGE and states[state.child].metadata["Type"] == kind:
                found.setdefault(states[state.parent].metadata["Name"], []).append(dict(states[state.child].metadata))
        return found

    def close(self) -> None:
        self.probes.stop()
        self.reconciler.close()
        self.store.close()


def written(rule: dict[str, Any]) -> str:
    """As ``dump-flows --no-stats`` has it, without what it leaves out where it is nothing."""
    match = ",".join(_term(one) for one in rule.get("Filters", []))
    told = [f"cookie={rule['Cookie']}"] if rule["Cookie"] != "0x0" else []
    told += [f"table={rule['Table']}"] if rule["Table"] else []
    told += [
        f"{word}={rule[key]}" for key, word in (("IdleTimeout", "idle_timeout"), ("HardTimeout", "hard_timeout")) if key in rule
    ]
    told += [*rule.get("Flags", [])]
    told += [f"importance={rule['Importance']}"] if "Importance" in rule else []
    priority = f"priority={rule['Priority']}" if rule["Priority"] != 32768 else ""
    actions = [*rule.get("Actions", [])]
    actions += [f"write_actions({','.join(rule['WriteActions'])})"] if "WriteActions" in rule else []
    actions += [f"goto_table:{rule['GotoTable']}"] if "GotoTable" in rule else []
    return f"{sorted([*told, *filter(None, [priority, match])])} {','.join(actions)}"


def _term(one: dict[str, str]) -> str:
    return one["Type"] + (f"={one['Value']}" if "Value" in one else "") + (f"/{one['Mask']}" if "Mask" in one else "")


def printed(line: str) -> str:
    """The same of a line of ``dump-flows --no-stats``."""
    head, _, actions = line.strip().partition("actions=")
    *told, last = head.strip().split(", ")
    words = [part for word in told for part in word.split(" ")]
    if last.startswith("priority="):
        priority, _, match = last.partition(",")
        return f"{sorted([*words, *filter(None, ['' if priority == 'priority=32768' else priority, match])])} {actions}"
    return f"{sorted([*words, *filter(None, [last])])} {actions}"


def group_line(group: dict[str, Any]) -> str:
    words = {"Id": "bucket_id", "Weight": "weight", "WatchPort": "watch_port", "WatchGroup": "watch_group"}
    head = ",".join(filter(None, [f"group_id={group['GroupId']}", f"type={group['GroupType']}", group.get("Meta")]))
    for bucket in group["Buckets"]:
        said = [f"{word}:{bucket[key]}" for key, word in words.items() if key in bucket]
        head += f",bucket={','.join(said)},actions={','.join(bucket['Actions'])}"
    return head


class Operations:
    def __init__(self, switch: Switch, bridges: list[str], seed: int) -> None:
        self.switch, self.bridges, self.chance = switch, bridges, random.Random(seed)

    def next(self) -> None:
        bridge, chance = self.chance.choice(self.bridges), self.chance
        match, table = chance.choice(MATCHES), chance.randrange(3)
        where = ",".join(filter(None, [f"table={table}", match]))
        more = chance.choice(["", "cookie=0x7,", "idle_timeout=600,send_flow_rem,", "importance=3,hard_timeout=900,"])
        rule = f"{more}priority={chance.choice([1, 32768])},{where}"
        kind = chance.randrange(6)
        if kind < 3:
            self.switch.ofctl("add-flow", bridge, f"{rule},actions={chance.choice(ACTIONS)}")
        elif kind == 3:
            self.switch.ofctl("mod-flows", bridge, f"{where},actions={chance.choice(ACTIONS)}")
        elif kind == 4:
            self.switch.ofctl("del-flows", bridge, where)
        else:
            number = chance.randrange(3)
            self.switch.ofctl("del-groups", bridge, f"group_id={number}")
            self.switch.ofctl("add-group", bridge, f"group_id={number},{chance.choice(GROUPS)}")


@pytest.fixture
def lab(net: Net, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    made = Lab(net, tmp_path, getattr(request, "param", 1000))
    try:
        yield made
    finally:
        made.close()


def of_switch(switch: Switch, bridge: str, what: str) -> list[str]:
    return [
        line
        for line in switch.ofctl(f"dump-{what}", bridge, options=["--no-stats", "--no-names"]).splitlines()
        if "reply" not in line
    ]


@pytest.mark.parametrize("seed", range(2))
def test_after_each_change_the_elements_are_what_the_bridges_have(seed: int, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topology.probes.openflow.probe._PERIOD", 0.3)  # of groups nobody tells
    monkeypatch.setattr("topology.probes.openflow.probe._REST", 0)
    switch, bridges = lab.switch, ["br0", "br1"]
    for bridge in bridges:
        switch.vsctl(f"add-br {bridge} -- set bridge {bridge} datapath_type=netdev")

    def equal() -> bool:
        rules, groups = lab.elements("ofrule"), lab.elements("ofgroup")
        for bridge in bridges:
            assert sorted(map(written, rules.get(bridge, []))) == sorted(map(printed, of_switch(switch, bridge, "flows")))
            told = sorted(line.strip() for line in of_switch(switch, bridge, "groups"))
            assert sorted(map(group_line, groups.get(bridge, []))) == told
        return True

    operations = Operations(switch, bridges, seed)
    for _ in range(STEPS):
        with contextlib.suppress(AssertionError):  # not every action goes with every match
            operations.next()
        until(equal, 30)
    assert sum(map(len, lab.elements("ofrule").values())) > 3
    assert lab.probes.waiting() == {"ovsdb": None, "openflow": None}
    switch.vsctl("del-br br1")
    bridges.remove("br1")
    until(lambda: lab.elements("ofrule").keys() == {"br0"})
    until(equal)


def test_a_rule_that_changes_stays_the_same_element_and_what_it_counts_makes_no_revision(
    lab: Lab, net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topology.probes.openflow.probe._PERIOD", 0.3)
    switch = lab.switch
    switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")
    switch.ofctl("add-flow", "br0", "table=3,ip,actions=drop")

    def rule() -> Any:
        name = "table=3,priority=32768,ip"
        found = [one for one in lab.store.current() if one.state and one.state.metadata.get("Name") == name]
        assert found
        return found[0]

    before = until(rule)
    switch.ofctl("mod-flows", "br0", "table=3,ip,actions=NORMAL")
    until(lambda: rule().state.metadata["Actions"] == ["NORMAL"])
    after = rule()
    assert (after.id, after.number) == (before.id, before.number + 1)
    switch.ofctl("add-flow", "br0", "table=0,priority=9,actions=resubmit(,3)")
    netns = net.name("s")
    net.ip("link set br0 up", netns=netns)
    net.ip("address add 10.0.0.1/24 dev br0", netns=netns)
    net.ip("neighbour add 10.0.0.2 lladdr 02:00:00:00:00:02 dev br0", netns=netns)
    net.run(netns, "ping", "-nqc3", "-i0.02", "-W0.1", "10.0.0.2", check=False)
    until(lambda: lab.reconciler.volatile_of(after.id).get("Metric", {}).get("RxPackets", 0) >= 3)
    assert rule() == after


@pytest.mark.parametrize("lab", [3], indirect=True)
def test_of_too_many_rules_always_the_same_are_told_and_the_others_counted(lab: Lab) -> None:
    lab.switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")
    for number in range(5):
        lab.switch.ofctl("add-flow", "br0", f"table=1,priority={number},actions=drop")

    def told() -> bool:
        names = [one["Name"] for one in lab.elements("ofrule").get("br0", [])]
        assert sorted(names) == ["table=0,priority=0", "table=1,priority=3", "table=1,priority=4"]
        return True

    until(told)
    values = {family.metric.name: list(family.samples) for family in lab.probes.families()}
    assert values["skytrail_openflow_left_out"] == [(("openflow",), 3)]


def test_a_bridge_that_does_not_tell_keeps_what_it_had(lab: Lab) -> None:
    lab.switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")
    until(lambda: lab.elements("ofrule"))
    socket = Path(lab.switch.remote.removeprefix("unix:")).parent / "br0.mgmt"
    before = lab.elements("ofrule")
    lab.switch.kill_switch()
    until(lambda: (lab.probes.waiting()["openflow"] or "").startswith("bridge br0: "), 20)
    assert socket.name in str(lab.probes.waiting()["openflow"])
    assert lab.elements("ofrule") == before
    lab.switch.start_switch()
    until(lambda: lab.probes.waiting()["openflow"] is None, 20)


def test_bridges_of_a_database_elsewhere_are_asked_where_they_listen_for_controllers(net: Net, tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    there, here = pki.hub("127.0.0.1"), pki.agent("h")
    netns, reports = net.netns("s"), list[Report]()
    net.ip("link set lo up", netns=netns)
    switch = Switch(net, netns, tmp_path / "s")
    server = str(Path(switch.remote.removeprefix("unix:")).parent / "ovsdb-server.ctl")
    net.run(netns, "ovs-appctl", "-t", server, "ovsdb-server/add-remote", "ptcp:6640:127.0.0.1")
    switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")
    switch.vsctl("set-ssl", str(there.tls_key), str(there.tls_cert), str(there.tls_ca))
    told = reports.append, "h", HOST, lambda: Devices(1, ()), now_us, (str(here.tls_key), str(here.tls_cert), str(here.tls_ca))
    probes = OvsdbProbes({"ovsdb": "tcp:127.0.0.1:6640"}, *told, openflow=9)
    in_netns(netns, probes.start)  # its threads, and what they run, are there too

    def read(count: int) -> bool:
        assert probes.status()["openflow"]["rules"] == count
        return True

    try:
        until(lambda: probes.active()["ovsdb"])
        assert (probes.active()["openflow"], probes.waiting()["openflow"]) == (False, None)  # it listens nowhere
        for number, target in enumerate(("ptcp:6654:127.0.0.1", "pssl:6655"), 2):
            switch.vsctl(f"set-controller br0 {target}")
            switch.ofctl("add-flow", "br0", f"table=1,priority={number},actions=drop")
            until(partial(read, number), 20)
            assert probes.waiting()["openflow"] is None
        switch.vsctl("del-controller br0")
        until(partial(read, 0), 20)
    finally:
        probes.stop()
    names = [
        fact.metadata["Name"]
        for one in reports
        for fact in one.facts
        if isinstance(fact, NodeFact) and "Table" in fact.metadata
    ]
    assert {"table=0,priority=0", "table=1,priority=2", "table=1,priority=3"} <= set(names)


FOLLOWER = """
import sys, time
from topology.facts import Source
from topology.probes.openflow.probe import OpenFlowProbe
probe = OpenFlowProbe(lambda report: print("told", flush=True), Source("openflow", "h"), "host/h", 9)
probe.follow({"br0": ("u", sys.argv[1])})
probe.start()
time.sleep(600)
"""


@pytest.mark.parametrize("lab", [0], indirect=True)
def test_whoever_kills_the_agent_kills_what_listens_to_the_bridges(lab: Lab) -> None:
    lab.switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")
    folder = Path(lab.switch.remote.removeprefix("unix:")).parent
    target = f"unix:{folder}/br0.mgmt"

    def listeners() -> int:
        found = 0
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                line = path.read_bytes()
                found += b"watch:!initial" in line and target.encode() in line
        return found

    with subprocess.Popen([sys.executable, "-c", FOLLOWER, target], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"told\n"
        until(lambda: listeners() == 1)
        process.kill()
    until(lambda: listeners() == 0)
