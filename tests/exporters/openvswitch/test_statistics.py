"""What a real Open vSwitch counts at ports that the kernel does not have: read, told to Prometheus, kept and asked again."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.agentlab import Metrics
from support.certificates import Pki
from support.hublab import Hub
from support.netlab import Net, until
from support.ovs import Switch
from support.ports import free_port

from exporters.openvswitch.collector import OpenVswitchCollector
from exporters.openvswitch.source import StatisticsSource
from skytrail.errors import RunError
from skytrail.kernel.linkcounters import LINK_COUNTERS

lab = pytest.mark.lab
pytestmark = pytest.mark.timeout(120)

Counts = dict[str, dict[str, int]]


def patched(net: Net, netns: str, folder: Path, *listens: str) -> Switch:
    """Two bridges with a patch between them and an internal port each, in two tenants."""
    switch = Switch(net, netns, folder, *listens)
    for number, other in ((1, 2), (2, 1)):
        bridge, own, far, port = (net.name(word) for word in (f"b{number}", f"q{number}", f"q{other}", f"p{number}"))
        switch.vsctl(f"add-br {bridge} -- set bridge {bridge} datapath_type=netdev")
        switch.vsctl(f"add-port {bridge} {own} -- set interface {own} type=patch options:peer={far}")
        switch.vsctl(f"add-port {bridge} {port} -- set interface {port} type=internal")
        tenant = net.netns(f"t{number}")
        net.ip(f"link set {port} netns {tenant}", netns=netns)
        net.ip(f"address add 10.0.0.{number}/24 dev {port}", netns=tenant)
        net.ip(f"link set {port} up", netns=tenant)
    return switch


def of_switch(switch: Switch) -> Counts:
    """The oracle: ``ovs-vsctl list``."""
    return {row["name"]: row["statistics"] for row in switch.rows("Interface")}


def read(source: StatisticsSource) -> Counts:
    return {one.name: dict(one.statistics) for one in source.read()}


@lab
def test_statistics_are_those_of_the_switch(net: Net, tmp_path: Path) -> None:
    pki, port = Pki(tmp_path / "pki"), free_port()
    there, here = pki.hub("127.0.0.1"), pki.agent("h")
    files = [f"--private-key={there.tls_key}", f"--certificate={there.tls_cert}", f"--ca-cert={there.tls_ca}"]
    switch = patched(net, net.netns("s"), tmp_path / "s", f"--remote=pssl:{port}:127.0.0.1", *files)
    net.ping(net.name("t1"), "10.0.0.2", count=5)
    assert here.tls_key
    assert here.tls_cert
    assert here.tls_ca
    tls = here.tls_key, here.tls_cert, here.tls_ca
    sources = [StatisticsSource(switch.remote), StatisticsSource(f"ssl:127.0.0.1:{port}", tls)]

    def counted() -> Counts:
        told = of_switch(switch)
        assert told[net.name("q1")].get("tx_packets", 0) >= 5
        assert [read(one) for one in sources] == [told, told]
        return told

    told = until(counted, 20)
    collector = OpenVswitchCollector(sources[:1], str, most=1)
    values = {family.metric.name: list(family.samples) for family in collector.families()}
    [name] = {labels[0] for labels, _ in values["skytrail_openvswitch_interface_bytes_total"]}
    assert values["skytrail_openvswitch_interface_packets_total"] == [
        ((name, switch.remote, "patch", "receive"), told[name]["rx_packets"]),
        ((name, switch.remote, "patch", "transmit"), told[name]["tx_packets"]),
    ]
    assert values["skytrail_openvswitch_interfaces_left_out"] == [((), 1)]
    switch.kill_database()
    values = {family.metric.name: list(family.samples) for family in collector.families()}
    assert values["skytrail_openvswitch_interface_bytes_total"] == []
    assert values["skytrail_openvswitch_unread_total"] == [((switch.remote,), 1)]


@lab
@pytest.mark.kernel
def test_they_are_samples_of_an_interface_and_make_no_revision(net: Net, tmp_path: Path) -> None:
    switch = patched(net, net.netns("s"), tmp_path / "s")
    agent_port = free_port()
    settings = {
        "topology.ovsdb.databases": json.dumps([switch.remote]),
        "history.interfaces": "1s",
        "agent.listen": f"127.0.0.1:{agent_port}",
        "agent.collectors": "interfaces",
    }
    hub = Hub(tmp_path / "hub", settings)
    try:
        hub.start()
        query = f"G.V().Has('Name', '{net.name('q1')}', 'Type', 'patch')"

        def ask(gremlin: str) -> Any:
            return json.loads(hub.post("/api/topology", {"GremlinQuery": gremlin}))

        [before] = until(lambda: _some(ask(query)))

        bridge, netns = net.name("b1"), net.name("s")  # its own port, which the kernel has, too
        net.ip(f"address add 10.0.0.9/24 dev {bridge}", netns=netns)
        net.ip(f"link set {bridge} up", netns=netns)
        internal = f"Has('Type', 'internal', 'Name', '{bridge}', 'Driver', 'openvswitch')"

        def sampled() -> int:
            for address in ("10.0.0.2", "10.0.0.9"):
                net.ping(net.name("t1"), address, count=5)  # in vain, before the first sample
            found = _some(ask(f"G.At('now', 60).V('{before['ID']}').Metrics()"))[0][before["ID"]]
            assert sum(sample.get("TxPackets", 0) for sample in found) >= 5
            of_port = _some(ask(f"G.At('now', 60).V().{internal}.Metrics('Ovs')"))[0].values()
            told = sum(sample.get("RxPackets", 0) for samples in of_port for sample in samples)
            assert told >= 5
            return told

        assert until(sampled, 30, every=1) <= of_switch(switch)[bridge]["rx_packets"]
        # Skydive's own queries of such a chain, and its panel's of such counters
        chain = f".Out('Type', 'ovsport', 'Name', '{bridge}').Out('Type', 'internal', 'Name', '{bridge}')"
        assert len(ask(f"G.V().Has('Type', 'ovsbridge', 'Name', '{bridge}'){chain}.Dedup()")) == 1
        assert len(ask(f"G.V().{internal}.HasKey('UUID').HasKey('MAC').HasKey('IfIndex').HasKey('Ovs.Metric')")) == 1
        [after] = ask(query)
        assert (after["Revision"], after["UpdatedAt"]) == (before["Revision"], before["UpdatedAt"])
        with socket.create_connection(("127.0.0.1", agent_port)) as stream:
            stream.sendall(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            text = b"".join(iter(lambda: stream.recv(1 << 16), b"")).decode().partition("\r\n\r\n")[2]
        labels = {"device": net.name("q1"), "database": switch.remote, "kind": "patch", "direction": "transmit"}
        assert Metrics(text).value("skytrail_openvswitch_interface_packets_total", **labels) >= 5
    finally:
        hub.close()


def _some(found: Any) -> Any:
    assert found
    return found


@contextmanager
def server(folder: Path, answer: Callable[[socket.socket], object]) -> Iterator[StatisticsSource]:
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            stream, _ = listening.accept()
            with stream:
                stream.recv(1 << 16)
                answer(stream)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield StatisticsSource(f"unix:{path}")
        finally:
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        b"}" * 1000,
        b"[]",
        b"{}",
        b'{"error": "no", "result": []}',
        b'{"error": null, "result": []}',
        b'{"error": null, "result": [{"rows": [{}]}]}',
        b'{"error": null, "result": [{"rows": [{"_uuid": ["uuid", "u"], "name": "n", "type": "t", "statistics": 7}]}]}',
        b'{"error": null, "result": [{"rows": 7}]}',
        b'{"error": null, "result": [{"rows": [{"_uuid": ["uuid", "u"], "name": 7, "type": "", "statistics": ["map", []]}]}]}',
        b'{"error": null, "result": [{"rows": [{"_uuid": ["uuid", []], "name": "n", "type": "", "statistics": ["map", []]}]}]}',
    ],
)
def test_whatever_a_database_answers_it_is_an_error_of_one_line(answer: bytes, tmp_path: Path) -> None:
    with server(tmp_path, lambda stream: stream.sendall(answer)) as source, pytest.raises(RunError) as failure:
        source.read()
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("value", [-1, 2**63, 2**70, 10**400])
def test_what_is_no_count_is_left_out_and_holds_up_no_other(value: int, tmp_path: Path) -> None:
    statistics = ["map", [["rx_bytes", value], ["tx_bytes", 7]]]
    row = {"_uuid": ["uuid", "u"], "name": "n", "type": "vxlan", "statistics": statistics}
    answer = json.dumps({"error": None, "result": [{"rows": [row]}]}).encode()
    with server(tmp_path, lambda stream: stream.sendall(answer)) as source:
        [(_, rows)] = OpenVswitchCollector([source], str, most=1).counters().items()
        [row_of_one] = rows().values()
    assert dict(zip(LINK_COUNTERS, row_of_one.tolist(), strict=True)) == {**dict.fromkeys(LINK_COUNTERS, 0), "TxBytes": 7}


def _byte_by_byte(stream: socket.socket) -> None:
    with suppress(OSError):  # until nobody listens any more
        while stream.send(b" "):
            time.sleep(0.01)


def test_an_answer_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.openvswitch.source._WHOLE", 0.1)
    with server(tmp_path, _byte_by_byte) as source, pytest.raises(RunError, match="did not answer within"):
        source.read()
