"""What rules of OpenFlow do with a frame is what ``ofproto/trace`` of a real Open vSwitch says, or it is left open."""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from support.netlab import Net
from support.ovs import Switch

from topology.path.openflow import LOCAL, Decision, Rule, Rules
from topology.path.packets import Frame, Packet
from topology.probes.openflow.translate import read_rule

pytestmark = [pytest.mark.lab, pytest.mark.timeout(60)]

BRIDGE = "br0"
MACS = "02:00:00:00:00:01", "02:00:00:00:00:02"
MATCHES = (
    "", "in_port=1", "in_port=2", "in_port=LOCAL", "arp", "ip", "icmp", "tcp", "udp,tp_dst=53", "tcp,tp_dst=0x50/0xfff0",
    "ip,nw_src=10.0.0.1", "ip,nw_dst=10.0.0.0/24", "ip,nw_dst=10.9.0.0/16", "arp,arp_tpa=10.0.0.2", "ipv6", "icmp6",
    "ipv6,ipv6_dst=2001:db8::/32", "ipv6,ipv6_src=2001:db8::1", "tcp6", "dl_src=02:00:00:00:00:01",
    "dl_dst=02:00:00:00:00:00/ff:ff:ff:ff:ff:00", "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", "dl_vlan=5", "dl_vlan=0xffff",
    "vlan_tci=0x1000/0x1000", "vlan_tci=0/0x1fff", "dl_type=0x806", "ip,nw_proto=17", "ip,nw_tos=4", "reg0=7", "metadata=1",
    "ct_state=+trk,ip",
)  # fmt: skip
ACTIONS = (
    "drop", "drop", "NORMAL", "output:2", "1", "output:1,output:2", "LOCAL", "IN_PORT", "resubmit(,1)", "resubmit(,2)", "FLOOD",
    "set_field:7->reg0,output:2", "set_field:9->tun_id,set_field:10.1.1.1->tun_dst,output:2", "set_field:7->reg0,resubmit(,1)",
    "mod_vlan_vid:9,output:2", "goto_table:1", "write_actions(output:2)", "controller", "mod_nw_ttl:3,goto_table:2",
)  # fmt: skip


def frames(chance: random.Random) -> tuple[int, Frame, str]:
    """A frame, the port that it comes in by, and both as the trace takes them."""
    version, asks, vlan = chance.choice((4, 4, 6)), chance.random() < 0.3, chance.choice(((), (), (5,), (6,)))
    src, dst = ("10.0.0.1", chance.choice(("10.0.0.2", "10.9.0.9"))) if version == 4 else ("2001:db8::1", "2001:db8::2")
    proto, port = chance.choice((("tcp", 80), ("tcp", 443), ("udp", 53), ("udp", 54)))
    number = {"tcp": 6, "udp": 17}[proto]
    packet = Packet(ipaddress.ip_address(src), ipaddress.ip_address(dst), number, port)
    in_port, broadcast = chance.choice((1, 2, LOCAL)), "ff:ff:ff:ff:ff:ff"
    frame = Frame(packet, packet.dst, broadcast if asks else MACS[1], vlan, MACS[0])
    words = [f"in_port={in_port}", f"dl_src={MACS[0]}"]
    if asks and version == 4:
        words += ["arp", f"dl_dst={broadcast}", f"arp_spa={src}", f"arp_tpa={dst}", "arp_op=1"]
    elif asks:
        words += ["icmp6", "dl_dst=33:33:ff:00:00:02", f"ipv6_src={src}", "ipv6_dst=ff02::1:ff00:2", "icmpv6_type=135"]
    elif version == 4:
        words += [proto, f"dl_dst={MACS[1]}", f"nw_src={src}", f"nw_dst={dst}", f"{proto}_dst={port}"]
    else:
        words += [f"{proto}6", f"dl_dst={MACS[1]}", f"ipv6_src={src}", f"ipv6_dst={dst}", f"{proto}_dst={port}"]
    return in_port, frame, ",".join([*words, *(f"dl_vlan={one}" for one in vlan)])


def traced(text: str) -> str:
    """What the trace says is done: ``drop``, ``NORMAL``, or the numbers of the ports."""
    lines = [line.strip() for line in text.splitlines()]
    if "NORMAL" in lines:
        return "NORMAL"
    ports = {f"output:{number}": number for number in (1, 2)} | {"LOCAL": LOCAL}
    after = [*lines[1:], ""]
    out = [ports[line] for line, next_ in zip(lines, after, strict=True) if line in ports and "skipping output" not in next_]
    return str(sorted(out)) if out else "drop"


def decided(decision: Decision) -> str:
    return "drop" if decision.drops else "NORMAL" if decision.normal else str(sorted(decision.ports))


def test_what_is_decided_is_what_the_switch_would_do(net: Net, tmp_path: Path) -> None:
    switch, chance, told = Switch(net, net.netns("s"), tmp_path / "s"), random.Random(7), Counter[str]()
    switch.vsctl(f"add-br {BRIDGE} -- set bridge {BRIDGE} datapath_type=netdev fail_mode=secure")
    for number in (1, 2):
        port = f"set interface p{number} type=internal ofport_request={number}"
        switch.vsctl(f"add-port {BRIDGE} p{number} -- {port}")
    for _ in range(5):
        switch.flows(BRIDGE, "priority=0,actions=NORMAL")
        for at, priority in enumerate(chance.sample(range(1, 1000), 12)):
            rule = f"table={at % 3},priority={priority},{chance.choice(MATCHES)},actions={chance.choice(ACTIONS)}"
            with suppress(AssertionError):  # a table may not lead back
                switch.ofctl("add-flow", BRIDGE, rule)
        dumped = switch.ofctl("dump-flows", BRIDGE, options=["--no-names"]).splitlines()
        read = [one for line in dumped if (one := read_rule(line))]
        known = Rules.of(msgspec.convert({**one.metadata, "Name": one.name}, Rule) for one in read)
        for _ in range(14):
            in_port, frame, words = frames(chance)
            decision = known.decide(frozenset({in_port}), frame)
            if decision is None:
                told["open"] += 1
                continue
            text = switch.appctl("ofproto/trace", BRIDGE, words)
            assert decided(decision) == traced(text), (decision, words, text)
            told[decided(decision)] += 1
    assert told["open"] < 50, told
    assert min(told["drop"], told["NORMAL"], told["[2]"]) >= 3, told
