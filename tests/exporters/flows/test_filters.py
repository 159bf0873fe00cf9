"""The oracle of pcap-filter's words is libpcap itself (tcpdump) on packets that the flows are made of."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.flows.capture_file import CaptureFile
from exporters.flows.filter_questions import question_of
from exporters.flows.filters import parse
from skytrail.asking.terms import Every, compiled
from skytrail.errors import FilterError

Flow = dict[str, Any]

ADDRESSES = {
    "IPV4": ["10.0.0.1", "10.0.0.2", "192.168.1.77"],
    "IPV6": ["2001:db8::1", "fd00::2"],
}
PORTS = [(80, 443), (443, 53), (40000, 80), (22, 22), (53, 5060)]
MACS = ["02:00:00:00:00:01", "02:00:00:00:00:0a"]


@dataclass(frozen=True)
class Conversation:
    """What a packet is made of, and the flow it must be seen as."""

    network: str
    source: str
    destination: str
    protocol: int
    ports: tuple[int, int] | None = None
    macs: tuple[str, str] = (MACS[0], MACS[1])
    vlans: tuple[int, ...] = ()

    def flow(self) -> Flow:
        names = {6: "TCP", 17: "UDP", 132: "SCTP", 1: "ICMPv4", 58: "ICMPv6", 47: "GRE"}
        link = {"Protocol": "ETHERNET", "A": self.macs[0], "B": self.macs[1]}
        if self.vlans:
            link["ID"] = sum(vlan << 12 * index for index, vlan in enumerate(self.vlans))  # type: ignore[assignment]
        path = ["Ethernet"] + ["Dot1Q"] * len(self.vlans)
        if self.network == "ARP":
            return {"Link": link, "LayersPath": "/".join([*path, "ARP"]), "Application": "ARP"}
        path += ["IPv4" if self.network == "IPV4" else "IPv6"] + [names[n] for n in [self.protocol] if n in names]
        network: Flow = {"Protocol": self.network, "A": self.source, "B": self.destination}
        if self.protocol not in names:
            network["IPProtocol"] = self.protocol
        flow: Flow = {"Link": link, "Network": network, "LayersPath": "/".join(path)}
        if self.ports is not None:
            flow["Transport"] = {"Protocol": names[self.protocol], "A": self.ports[0], "B": self.ports[1]}
        return flow

    def frame(self) -> bytes:
        from scapy.layers.inet import ICMP, IP, TCP, UDP
        from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
        from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
        from scapy.layers.sctp import SCTP
        from scapy.packet import Raw

        packet: Any = Ether(src=self.macs[0], dst=self.macs[1])
        for vlan in self.vlans:
            packet /= Dot1Q(vlan=vlan)
        if self.network == "ARP":
            return bytes(packet / ARP(psrc="172.31.0.1", pdst="172.31.0.2"))
        kind, number = (IP, "proto") if self.network == "IPV4" else (IPv6, "nh")
        header: dict[str, Any] = {"src": self.source, "dst": self.destination, number: self.protocol}
        packet /= kind(**header)
        if self.ports is not None:
            transport = {6: TCP, 17: UDP, 132: SCTP}[self.protocol]
            return bytes(packet / transport(sport=self.ports[0], dport=self.ports[1]))
        others: dict[int, Callable[[], Any]] = {1: ICMP, 58: ICMPv6EchoRequest, 47: lambda: GRE(proto=0x6558)}
        return bytes(packet / others.get(self.protocol, Raw)() / Raw(bytes(20)))


def conversations(vlans: list[tuple[int, ...]]) -> list[Conversation]:
    made = [Conversation("ARP", "", "", 0, vlans=stack) for stack in vlans]
    for network, addresses in ADDRESSES.items():
        for (source, destination), stack in itertools.product(itertools.product(addresses, repeat=2), vlans):
            macs = (MACS[addresses.index(source) % 2], MACS[addresses.index(destination) % 2])
            for protocol, ports in itertools.product((6, 17, 132), PORTS):
                made.append(Conversation(network, source, destination, protocol, ports, macs, stack))
            made += [
                Conversation(network, source, destination, protocol, None, macs, stack)
                for protocol in (1 if network == "IPV4" else 58, 47, 103)
            ]
    return made


@dataclass(frozen=True)
class Oracle:
    """Packets in a file, and the flows they stand for, in the same order."""

    path: Path
    flows: list[Flow]
    protocols: list[int]

    def matching(self, expression: str) -> set[int]:
        """Ask libpcap; -O: without its optimiser, which refuses what can never match."""
        user = ["-Z", "root"] if os.geteuid() == 0 else []
        out = self.path.with_suffix(".matching")
        command = ["tcpdump", *user, "-O", "-n", "-r", str(self.path), "-w", str(out), expression]
        run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
        assert run.returncode == 0, f"{expression}: {run.stderr}"
        with CaptureFile(out) as capture:
            return {int(when) // 1000 for batch in capture for when in batch.time_ns}

    def compare(self, expression: str) -> int:
        wanted = parse(expression)
        ours = {index for index, flow in enumerate(self.flows) if wanted.matches(flow)}
        assert ours == self.matching(expression), expression
        if re.search(r"vlan \d", expression) is None:  # of one VLAN a hub cannot ask
            of_hub = compiled(question_of(expression) or Every(()))
            assert {index for index, flow in enumerate(self.flows) if of_hub(self.counted(index, flow))} == ours, expression
        return len(ours)

    def counted(self, index: int, flow: Flow) -> Flow:
        """A flow as our agents tell of it: always with its protocol's number."""
        return {**flow, "Network": {**flow["Network"], "IPProtocol": self.protocols[index]}} if "Network" in flow else flow


def make_oracle(folder: Path, made: list[Conversation]) -> Oracle:
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed (package tcpdump)")
    from scapy.utils import PcapWriter

    path = folder / "packets.pcap"
    with PcapWriter(str(path), linktype=1) as writer:
        writer.write_header(None)
        for index, conversation in enumerate(made):  # the time is the index, in us
            writer.write_packet(conversation.frame(), sec=index // 10**6, usec=index % 10**6)
    return Oracle(path, [conversation.flow() for conversation in made], [conversation.protocol for conversation in made])


@pytest.fixture(scope="module", name="untagged")
def _untagged(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return make_oracle(tmp_path_factory.mktemp("untagged"), conversations([()]))


@pytest.fixture(scope="module", name="tagged")
def _tagged(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return make_oracle(tmp_path_factory.mktemp("tagged"), conversations([(), (8,), (0,), (4095,)]))


DIRECTIONS = ["", "src ", "dst ", "src or dst ", "src and dst ", "dst or src ", "dst and src "]
HOSTS = ["10.0.0.1", "10.0.0.2", "192.168.1.77", "9.9.9.9"]
HOSTS6 = ["2001:db8::1", "2001:DB8:0:0::1", "fd00::2"]
NETS = ["10.0.0.0/8", "10", "10.0.0.2/31", "192.168.1", "192.168", "192.168.1.77", "10.0/16"]
NETS6 = ["2001:db8::/32", "fd00::/8", "fd00::2", "2000::/3"]
PORT_IDS = ["80", "443", "53", "22", "http", "domain", "ssh", "5060", "sip", "0x50"]


def qualified(heads: list[str], identifiers: list[str]) -> st.SearchStrategy[str]:
    """A primitive, now and then with more identifiers that take over its qualifiers."""
    more = st.lists(st.tuples(st.sampled_from([" or ", " and ", " or not "]), st.sampled_from(identifiers)), max_size=2)
    return st.builds(
        lambda direction, head, first, rest: head.format(direction) + " " + first + "".join(a + b for a, b in rest),
        st.sampled_from(DIRECTIONS),
        st.sampled_from(heads),
        st.sampled_from(identifiers),
        st.one_of(st.just([]), more),
    )


PRIMITIVES = st.one_of(
    st.sampled_from(["tcp", "udp", "sctp", "icmp", "icmp6", "ip", "ip6", "arp"]),
    qualified(["{}host", "ip {}host"], HOSTS),
    qualified(["{}host", "ip6 {}host"], HOSTS6),
    qualified(["{}net", "ip {}net"], NETS),
    qualified(["{}net", "ip6 {}net"], NETS6),
    qualified(["{}port"], PORT_IDS),
    qualified(["tcp {}port", "udp {}port", "sctp {}port"], ["80", "443", "53", "5060"]),
    qualified(["{}portrange", "tcp {}portrange"], ["20-80", "443-443", "80-53", "1-65535"]),
    qualified(["ether {}host"], [*MACS, "2:0:0:0:0:A"]),
    qualified(["proto", "ip proto", "ip6 proto"], ["6", "17", "47", "103", "gre", "58", "1", "132", "0"]),
    st.sampled_from(["src 10.0.0.1", "dst fd00::2", "ip src 10.0.0.2", "ether dst 02:00:00:00:00:0a"]),
)
EXPRESSIONS = st.recursive(
    PRIMITIVES,
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["and", "or", "&&", "||"]), inner),
        st.builds("not {}".format, inner),
        st.builds("! {}".format, inner),
        st.builds("({})".format, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=250, deadline=None)
@given(expression=EXPRESSIONS)
def test_words_of_pcap_filter_select_what_libpcap_selects(untagged: Oracle, expression: str) -> None:
    untagged.compare(expression)


@settings(max_examples=50, deadline=None)
@given(vlan=st.sampled_from(["vlan", "vlan 8", "vlan 0", "vlan 4095", "vlan 9"]), expression=EXPRESSIONS)
def test_vlan_before_other_words_selects_what_libpcap_selects(tagged: Oracle, vlan: str, expression: str) -> None:
    # There ether host looks at the bytes of the whole frame, too: what matches is the same.
    tagged.compare(f"{vlan} and ({expression})")


@pytest.mark.parametrize(
    "expression",
    [
        "port 80 or 443",
        "not host 10.0.0.1 and 10.0.0.2",  # the manual page: short for not host … and host …
        "tcp or port 80 and host 10.0.0.1",  # left to right: (tcp or port 80) and host
        "host 10.0.0.1 and udp or tcp and port 22",
        "not tcp and port 53",
        "!tcp&&!(udp||icmp)",
        "port 80 or (443 or 53) and 53",
        "not not udp",
    ],
)
def test_precedence_is_the_manual_page_s(untagged: Oracle, expression: str) -> None:
    assert 0 < untagged.compare(expression) < len(untagged.flows)


def tcp(**changes: object) -> Flow:
    return {
        "UUID": "0a",
        "TrackingID": "8c5af2be29fb6f446d4a53c26774216d",
        "ParentUUID": "",
        "LayersPath": "Ethernet/Dot1Q/Dot1Q/IPv6/TCP",
        "Application": "HTTPS",
        "Interface": "veth12",
        "Link": {"Protocol": "ETHERNET", "A": MACS[0], "B": MACS[1], "ID": 40968},
        "Network": {"Protocol": "IPV6", "A": "2001:db8::1", "B": "2001:db8::2", "ATTL": 64, "IPProtocol": 6},
        "Fragment": True,
        "TCPMetric": {"ABFlags": "SYN|ACK", "SynAckRTT": 11},
        "Transport": {"Protocol": "TCP", "A": 50000, "B": 443},
        "Metric": {"ABPackets": 3, "ABBytes": 1000, "BAPackets": 0, "BABytes": 0, "RTT": 1500},
        "Process": {"Name": "curl", "PID": 77},
        **changes,
    }


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "  ",
        "Network.A=2001:db8::1",
        "Network.A=2001:0DB8:0::1",
        "Metric.ABBytes>999 and Metric.ABBytes>=1000 and Metric.ABBytes<=1000 and Metric.ABBytes<1000.5",
        "Metric.ABBytes==1000",
        "Metric.BABytes=0",
        "Metric.RTT!=0",
        "Application=https",
        "Application!=DNS and Application != 'HTTP'",
        "TrackingID=8C5AF2BE29FB6F446D4A53C26774216D",
        "Link.ID=40968",
        "Interface=veth12",
        "Interface~veth*",
        "Interface~veth[0-9]?",
        "LayersPath~'*IPv6/TCP'",
        'ParentUUID=""',
        "NATTrackingID='' and FinishType=''",
        "TCPMetric.ABFlags~*syn* and TCPMetric.SynAckRTT>10 and Network.ATTL=64 and Fragment=true",
        "Process.Name=curl and Process.PID>70 and Process.Args=''",
        "tcp and (port https or Application=DNS) and not Network.B=10.0.0.1",
        "vlan 8 and vlan 10 and vlan and not vlan 9",
        "port 440-450 and src port 50000",
        "proto tcp and proto \\tcp",
        "Transport.B=443&&Transport.A>1024",
    ],
)
def test_fields_and_words_match(expression: str) -> None:
    assert parse(expression).matches(tcp())
    if re.search(r"vlan \d", expression) is None:
        assert compiled(question_of(expression) or Every(()))(tcp())
    if expression.strip():
        assert not parse(f"not ({expression})").matches(tcp())


@pytest.mark.parametrize(
    "expression",
    [
        "Network.A=2001:db8::2",
        "Metric.ABBytes>1000",
        "Metric.ABBytes<1000",
        "Application=HTTP",
        "Application~HTTP",
        "Interface~*.veth12",
        "FinishType~?*",
        "TCPMetric.ABSynTTL>0",
        "TCPMetric.ABSynTTL=0",
        "Process.Name.First=c",
        "port 442",
        "udp",
    ],
)
def test_fields_and_words_do_not_match(expression: str) -> None:
    assert not parse(expression).matches(tcp())
    asked = question_of(expression)
    assert asked is not None
    assert not compiled(asked)(tcp())


def test_a_hub_is_not_asked_for_one_vlan() -> None:
    with pytest.raises(FilterError, match=r"vlan 8: a hub asks for any VLAN only: write vlan, or Link.ID=8"):
        question_of("tcp and not vlan 8")


def test_many_alternatives_do_not_nest() -> None:
    asked = question_of(" or ".join(f"port {port}" for port in range(400, 450)))
    assert asked is not None
    assert compiled(asked)(tcp())


@pytest.mark.parametrize("flow", [{}, {"Link": None, "Network": None, "Transport": None, "LayersPath": None}])
@pytest.mark.parametrize(
    "expression",
    [
        "host ::1",
        "net 0.0.0.0/0",
        "port 0-65535",
        "src and dst port 0-65535",
        "ether host 2:0:0:0:0:1",
        "tcp",
        "icmp",
        "proto 47",
        "ip",
        "arp",
        "vlan",
        "Metric.ABBytes>=0",
        "Network.A=10.0.0.1",
        "Application=DNS",
    ],
)
def test_a_flow_without_the_layer_does_not_match(flow: Flow, expression: str) -> None:
    assert parse(expression).matches(flow) is False


ERRORS = {
    "prot tcp": (1, "'prot' is not known (did you mean 'proto'?)"),
    "tcp AND udp": (5, "found 'AND' (did you mean 'and'?)"),
    "host": (5, "after 'host' expected what to look for, found the end"),
    "src and": (8, "after 'src and' expected 'dst', found the end"),
    "host and tcp": (6, "after 'host' expected what to look for, found 'and'"),
    "src port http or dst and": (25, "after 'dst and' expected 'src', found the end"),
    "host example.com": (6, "expected an IPv4 or IPv6 address, found 'example.com' (names are not looked up)"),
    "dst 443": (5, "write 'port 443'"),
    "host 10.0.0.0/8": (6, "write 'net 10.0.0.0/8'"),
    "net 10.0.0.1/8": (5, "has bits set behind its prefix: write 'net 10.0.0.0/8'"),
    "net 10.0.0.0/255.0.0.0": (5, "expected a network"),
    "net 10.0.0.0/33": (5, "expected a network"),
    "net 300": (5, "expected a network"),
    "host fe80::1%eth0": (6, "expected an IPv4 or IPv6 address"),
    "ip host ::1": (9, "'::1' is not an address of 'ip'"),
    "tcp host 10.0.0.1": (1, "'tcp host' has no meaning"),
    "src proto 6": (1, "'src proto' has no meaning"),
    "ether port 80": (1, "'ether port' has no meaning"),
    "ether": (6, "after 'ether' expected src, dst, host, found the end"),
    "tcp 80": (5, "after 'tcp' expected src, dst, port, portrange, found '80'"),
    "tcp or 80": (8, "'80' is not known"),
    "10.0.0.1": (1, "'10.0.0.1' is not known"),
    "port 65536": (6, "65536 is too large: expected at most 65535"),
    "port 80-65536": (9, "65536 is too large"),
    "port no-such-service": (6, "is not in /etc/services"),
    "udp port ssh": (10, "is not in /etc/services"),
    "port 8o": (6, "expected a number, found '8o'"),
    "vlan 4096": (6, "at most 4095"),
    "proto gree": (7, "(did you mean 'gre'?)"),
    "proto 256": (7, "at most 255"),
    "ether host 02:00": (12, "expected a MAC address"),
    "(tcp": (1, "this '(' has no ')'"),
    "tcp)": (4, "expected 'and', 'or' or the end, found ')'"),
    "tcp and": (8, "expected a condition such as"),
    "tcp udp": (5, "after 'tcp' expected src, dst, port, portrange, found 'udp'"),
    "icmp udp": (6, "expected 'and', 'or' or the end, found 'udp'"),
    "icmp an udp": (6, "expected 'and', 'or' or the end, found 'an' (did you mean 'and'?)"),
    "tcp & udp": (5, "'&' is not known here: expected '&&'"),
    "Aplication=DNS": (1, "(did you mean 'Application'?)"),
    "network.a=10.0.0.1": (1, "(did you mean 'Network.A'?)"),
    "port=80": (1, "'port' is not a field of a flow"),
    "Metric.ABBytes>many": (15, "compares numbers"),
    "Application>7": (12, "compares numbers"),
    "Metric.ABBytes=many": (16, "Metric.ABBytes is a number, not 'many'"),
    "Application=": (13, "expected a value after '=', found the end"),
    "Application=(x)": (13, "expected a value, in quotes"),
    "Application='x": (13, "expected a value, in quotes"),
    "Interface~" + "*" * 201: (11, "at most 200 characters"),
    "tcp" + " " * 2000: (2001, "at most 2000 are allowed"),
    "(" * 51 + "tcp" + ")" * 51: (52, "more than 50 levels"),
    "!" * 60 + "tcp": (52, "more than 50 levels"),
}


@pytest.mark.parametrize("expression", ERRORS)
def test_what_does_not_parse_names_the_column_and_the_remedy(expression: str) -> None:
    column, message = ERRORS[expression]
    with pytest.raises(FilterError) as caught:
        parse(expression)
    assert str(caught.value).startswith(f"filter, column {column}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_longest_and_deepest_allowed_filters_work_from_a_deep_stack() -> None:
    def deeper(levels: int) -> bool:
        if levels:
            return deeper(levels - 1)
        chain = "ip6||" * 399 + "tcp"
        nested = "(" * 25 + "!(" * 12 + "tcp" + ")" * 37
        return parse(chain).matches(tcp()) and parse(nested).matches(tcp())

    assert deeper(500)


@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(["host", "net", "port", "tcp", "src", "or", "and", "not", "(", ")", "!", "vlan", "=", "~", "'"])
            | st.sampled_from(["10.0.0.1", "80", "Application", "Metric.ABBytes", ">=", "proto", "ether", "::", "1-2"]),
            max_size=12,
        ).map(" ".join),
    )
)
def test_any_text_parses_or_is_one_clear_error(text: str) -> None:
    try:
        wanted = parse(text)
    except FilterError as error:
        message = str(error)
    else:
        assert wanted.matches(tcp()) in {True, False}
        return
    assert message.startswith("filter, column ")
    assert message.isprintable()


def test_a_hostile_pattern_takes_no_time() -> None:
    wanted = parse("LayersPath~" + "*a" * 90 + "b")
    began = time.process_time()
    assert not wanted.matches(tcp(LayersPath="a" * 5000))
    assert time.process_time() - began < 2  # a backtracking expression would take longer than the universe is old


@pytest.mark.parametrize(
    "expression",
    [
        "port (80 or 443)",
        "tcp and not port (22 or 80)",
        "dst host (10.0.0.1 or 10.0.0.2)",
        "src net 10.0.0.0 mask 255.0.0.0",
        "net 10.0.0.0 mask 255.0.0.0 or 192.168",
    ],
)
def test_brackets_of_identifiers_and_masks_are_the_manual_page_s(untagged: Oracle, expression: str) -> None:
    assert 0 < untagged.compare(expression) < len(untagged.flows)


@pytest.mark.parametrize(
    "expression", ["port (", "port ()", "port ((80))", "port (80", "port (not 80)", "net 10 mask 255.0.255.0"]
)
def test_brackets_of_identifiers_and_masks_that_make_no_sense(expression: str) -> None:
    with pytest.raises(FilterError, match=r"^filter, column"):
        parse(expression)
