"""Files of /proc/net in the forms of several kernels; against real ones see tests/integration/test_interface_metrics.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporters.interfaces.textfiles import Netstat, sockstat, softnet
from skytrail.settings import tree

SNMP = b"""Ip: Forwarding DefaultTTL InReceives
Ip: 1 64 905
IcmpMsg: InType3 OutType3
IcmpMsg: 41 42
Tcp: RtoAlgorithm MaxConn CurrEstab InErrs
Tcp: 1 -1 7 3
"""
NETSTAT = b"""TcpExt: SyncookiesSent ListenDrops
TcpExt: 11 22
IpExt: InNoRoutes InOctets
IpExt: 0 18446744073709551615
"""
SNMP6 = b"""Ip6InReceives                   \t8
Ip6InOctets                     \t900
Icmp6InType134                  \t5
UdpLite6InErrors                \t2
"""
FILES = {"snmp": SNMP, "netstat": NETSTAT, "snmp6": SNMP6}

NODE_EXPORTERS_DEFAULT = re.compile(
    r"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|"
    r"TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|"
    r"Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|"
    r"Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"
)
"""--collector.netstat.fields of node_exporter 1.12."""


def read(netstat: Netstat, files: dict[str, bytes]) -> dict[str, int]:
    fields, values = netstat.read(files)
    return dict(zip(map("_".join, fields), values, strict=True))


def test_every_field_has_its_protocol_and_value() -> None:
    assert read(Netstat(["*"]), FILES) == {
        "Ip_Forwarding": 1,
        "Ip_DefaultTTL": 64,
        "Ip_InReceives": 905,
        "IcmpMsg_InType3": 41,
        "IcmpMsg_OutType3": 42,
        "Tcp_RtoAlgorithm": 1,
        "Tcp_MaxConn": -1,
        "Tcp_CurrEstab": 7,
        "Tcp_InErrs": 3,
        "TcpExt_SyncookiesSent": 11,
        "TcpExt_ListenDrops": 22,
        "IpExt_InNoRoutes": 0,
        "IpExt_InOctets": 2**64 - 1,
        "Ip6_InReceives": 8,
        "Ip6_InOctets": 900,
        "Icmp6_InType134": 5,
        "UdpLite6_InErrors": 2,
    }


def test_by_default_those_of_node_exporter_are_chosen() -> None:
    everything = read(Netstat(["*"]), {name: (Path("/proc/net") / name).read_bytes() for name in ("snmp", "netstat", "snmp6")})
    expected = {field for field in everything if NODE_EXPORTERS_DEFAULT.match(field)}
    chosen = read(
        Netstat(tree.NETSTAT), {name: (Path("/proc/net") / name).read_bytes() for name in ("snmp", "netstat", "snmp6")}
    )

    assert chosen.keys() == expected
    assert len(expected) > 30


@pytest.mark.parametrize("pattern", tree.NETSTAT)
def test_every_default_pattern_chooses_something(pattern: str) -> None:
    assert read(Netstat([pattern]), {name: (Path("/proc/net") / name).read_bytes() for name in ("snmp", "netstat", "snmp6")})


def test_names_that_change_are_learnt_anew() -> None:
    netstat = Netstat(["IcmpMsg_*"])
    for number in range(200):
        files = {"snmp": b"IcmpMsg: InType%d InType3\nIcmpMsg: 5 %d\n" % (number + 4, number)}
        assert read(netstat, files) == {f"IcmpMsg_InType{number + 4}": 5, "IcmpMsg_InType3": number}


@pytest.mark.parametrize("cut", range(0, len(SNMP), 7))
def test_a_cut_file_makes_no_wrong_value(cut: int) -> None:
    whole = read(Netstat(["*"]), {"snmp": SNMP})
    lines = SNMP[:cut].rpartition(b"\n")[0]

    assert read(Netstat(["*"]), {"snmp": lines}).items() <= whole.items()


def test_no_file_no_pattern() -> None:
    assert read(Netstat(["*"]), {}) == {}
    assert read(Netstat([]), FILES) == {}


def test_sockstat_by_protocol_and_word() -> None:
    text = b"sockets: used 23\nTCP: inuse 2 orphan 0 tw 285 alloc 5 mem 239\nUDPLITE: inuse 0\nFRAG: inuse 1 memory 4096\n"

    assert sockstat(text) == {
        ("sockets", "used"): 23,
        ("TCP", "inuse"): 2,
        ("TCP", "orphan"): 0,
        ("TCP", "tw"): 285,
        ("TCP", "alloc"): 5,
        ("TCP", "mem"): 239,
        ("UDPLITE", "inuse"): 0,
        ("FRAG", "inuse"): 1,
        ("FRAG", "memory"): 4096,
    }


def test_softnet_of_new_kernels_names_its_cpus() -> None:
    """Linux 6: 15 columns; CPU 1 is offline."""
    line = b"0000000a 00000002 00000003 00000000 00000000 00000000 00000000 00000000 00000004 00000005 00000006 00000007 "
    text = line + b"00000000 00000000 00000000\n" + line + b"00000002 00000000 00000000\n"
    expected = {"processed": 10, "dropped": 2, "squeezed": 3, "collisions": 4, "rps": 5, "flow_limit": 6, "backlog": 7}

    assert softnet(text) == {"0": expected, "2": expected}


def test_softnet_of_old_kernels_has_fewer_columns() -> None:
    """Linux 2.6.39: 10 columns, CPUs in their order."""
    line = b"0000000a 00000002 00000003 00000000 00000000 00000000 00000000 00000000 00000004 00000005\n"

    assert softnet(line * 2)["1"] == {"processed": 10, "dropped": 2, "squeezed": 3, "collisions": 4, "rps": 5}
    assert softnet(b"\n0000000a 00000002\n") == {}
