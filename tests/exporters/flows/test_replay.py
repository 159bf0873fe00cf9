"""Flows of capture files: the file's clock rules times and timeouts, and every packet is in a record or has a reason."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import frames
from support.capture import Captured, write_pcapng
from support.frames import ACK, FIN, RST, SYN, TCP, UDP
from support.lab import TUNNEL_PORTS, snapshot
from support.needs import root, tool

from exporters.bpf.libbpf import LibbpfLoader
from exporters.bpf.program import FlowProgram
from exporters.flows.applications import Applications
from exporters.flows.capture_file import CaptureFile
from exporters.flows.points import Point, Points
from exporters.flows.records import Renderer
from exporters.flows.replay import LONGEST, Replay
from exporters.flows.table import Timeouts
from exporters.flows.totals import Totals

pytestmark = pytest.mark.kernel

S = 1_000_000_000
START = 1_600_000_000 * S


@pytest.fixture(scope="module")
def loaded() -> Iterator[FlowProgram]:
    root()
    made = FlowProgram(LibbpfLoader(), max_flows=65536, max_points=2, replay=True)
    made.set_tunnel_ports(TUNNEL_PORTS)
    yield made
    made.close()


@pytest.fixture
def program(loaded: FlowProgram) -> FlowProgram:
    return emptied(loaded)


def emptied(program: FlowProgram) -> FlowProgram:
    left = snapshot(program)
    program.delete_flows(left.keys, left.family)
    program.set_point(0, 0)
    return program


class Report:
    """What a replay reported of a file.

    Attributes:
        records: the last that was said of each record, in the order of their beginnings.
        updates: how often a living record was reported.
    """

    def __init__(self, program: FlowProgram, path: Path, timeouts: Timeouts) -> None:
        points, applications = Points(1, Point("the file", "", "file-tid")), Applications()
        replay = Replay(program, Totals(points, applications, 0), points, timeouts)
        renderer = Renderer(points, applications)
        said: dict[str, dict[str, Any]] = {}
        self.updates: list[dict[str, Any]] = []
        with CaptureFile(path) as capture:
            batches = (batch for packets in capture for batch in replay.packets(packets))
            for batch in (*batches, replay.finish()):
                for flow, ended in zip(
                    renderer.render(batch.rows, ended=batch.ended, quoted=replay.quoted(batch.rows)), batch.ended, strict=True
                ):
                    assert said.get(flow["UUID"], {}).get("FinishType", "NOT_FINISHED") == "NOT_FINISHED"
                    said[flow["UUID"]] = flow
                    if not ended:
                        self.updates.append(flow)
        self.records = sorted(said.values(), key=lambda flow: flow["Start"])

    def packets(self) -> list[int]:
        return [flow["Metric"]["ABPackets"] + flow["Metric"]["BAPackets"] for flow in self.records]

    def finishes(self) -> list[str]:
        return [flow["FinishType"] for flow in self.records]


def report(program: FlowProgram, folder: Path, packets: list[tuple[float, bytes]], timeouts: Timeouts | None = None) -> Report:
    path = folder / "capture.pcapng"
    write_pcapng(path, [Captured(data, START + round(at * S)) for at, data in packets])
    return Report(program, path, timeouts or Timeouts())


def tcp(flags: int, *, back: bool = False, port: int = 50000, seq: int = 0, ack: int = 0) -> bytes:
    ends, ports = (("10.0.0.2", "10.0.0.1"), (80, port)) if back else (("10.0.0.1", "10.0.0.2"), (port, 80))
    return frames.ethernet(*frames.ip(*ends, TCP, frames.tcp(*ports, flags, seq=seq, ack=ack)))


def udp(port: int = 9999) -> bytes:
    return frames.ethernet(*frames.ip("10.0.0.1", "10.0.0.2", UDP, frames.udp(40000, port, b"data")))


@pytest.mark.parametrize(
    ("frame", "silence", "records"),
    [(udp(), 29.0, 1), (udp(), 31.0, 2), (tcp(ACK), 299.0, 1), (tcp(ACK), 301.0, 2)],
    ids=["udp-29s", "udp-31s", "tcp-299s", "tcp-301s"],
)
def test_idle_flows_end_by_the_files_clock(
    program: FlowProgram, tmp_path: Path, frame: bytes, silence: float, records: int
) -> None:
    found = report(program, tmp_path, [(0, frame), (1, frame), (1 + silence, frame)])
    assert found.packets() == ([3] if records == 1 else [2, 1])
    assert found.finishes() == (["NOT_FINISHED"] if records == 1 else ["TIMEOUT", "NOT_FINISHED"])
    assert len({flow["TrackingID"] for flow in found.records}) == 1
    assert found.records[0]["Start"] == START // 1_000_000
    assert found.records[0]["Last"] == (START + (S if records == 2 else round((1 + silence) * S))) // 1_000_000


def test_what_is_idle_at_the_end_of_the_file_has_timed_out(program: FlowProgram, tmp_path: Path) -> None:
    found = report(program, tmp_path, [(0, udp()), (31, tcp(ACK))])
    assert found.finishes() == ["TIMEOUT", "NOT_FINISHED"]


def test_sparse_packets_are_records_of_their_own(program: FlowProgram, tmp_path: Path) -> None:
    found = report(program, tmp_path, [(at, udp()) for at in range(0, 600, 60)])
    assert found.packets() == [1] * 10
    assert not program.points()[0]["lost"]["skbs"].any()


def test_timeouts_are_settings(program: FlowProgram, tmp_path: Path) -> None:
    quick = Timeouts(tcp=8, udp=6, other=6, linger=5)
    assert len(report(program, tmp_path, [(0, tcp(ACK)), (9, tcp(ACK))], quick).records) == 2
    assert len(report(emptied(program), tmp_path, [(0, tcp(ACK)), (7, tcp(ACK))], quick).records) == 1


CONNECTION = [
    (0.0, tcp(SYN, seq=1)),
    (0.01, tcp(SYN | ACK, back=True, seq=9, ack=2)),
    (0.02, tcp(ACK, seq=2, ack=10)),
    (1.0, tcp(FIN | ACK, seq=2, ack=10)),
    (1.1, tcp(FIN | ACK, back=True, seq=10, ack=3)),
]


def test_the_last_ack_makes_no_second_flow(program: FlowProgram, tmp_path: Path) -> None:
    # another packet has the table drained in between
    found = report(program, tmp_path, [*CONNECTION, (6.05, udp()), (6.09, tcp(ACK, seq=3, ack=11)), (60, udp(53))])
    assert found.packets() == [6, 1, 1]
    assert found.finishes()[0] == "TCP_FIN"


def test_an_ended_flow_is_reported_after_it_lingered(program: FlowProgram, tmp_path: Path) -> None:
    found = report(program, tmp_path, [*CONNECTION, *((6.0 + second, udp()) for second in range(20))])
    assert found.finishes() == ["TCP_FIN", "NOT_FINISHED"]
    assert found.updates == [found.records[1]]  # what is alive at the end of the file


def test_a_new_syn_begins_a_new_record_at_once(program: FlowProgram, tmp_path: Path) -> None:
    again = [(at + 2.0, data) for at, data in CONNECTION]
    found = report(program, tmp_path, [*CONNECTION, *again, (100, udp())])
    first, second = found.records[:2]
    assert found.packets() == [5, 5, 1]
    assert first["TrackingID"] == second["TrackingID"]
    assert first["UUID"] != second["UUID"]
    assert found.finishes() == ["TCP_FIN", "TCP_FIN", "NOT_FINISHED"]
    assert second["Start"] - first["Start"] == 2000
    assert (first["Metric"]["RTT"], second["Metric"]["RTT"]) == (10_000_000, 10_000_000)


def test_long_flows_are_updated_and_the_windows_add_up(program: FlowProgram, tmp_path: Path) -> None:
    packets = [(float(second), tcp(ACK)) for second in range(0, 200, 2)]
    found = report(program, tmp_path, packets)
    assert found.packets() == [100]
    windows = [flow["LastUpdateMetric"] for flow in found.updates]
    assert len(windows) >= 3
    assert sum(window["ABPackets"] for window in windows) == 100
    assert sum(window["ABBytes"] for window in windows) == found.records[0]["Metric"]["ABBytes"]
    assert all(earlier["Last"] == later["Start"] for earlier, later in itertools.pairwise(windows))


def test_inner_flows_name_their_outer_ones(program: FlowProgram, tmp_path: Path) -> None:
    outer = frames.ip4("10.0.0.1", "10.0.0.2", UDP, frames.udp(50000, 4789, frames.vxlan(7, tcp(ACK))))
    found = report(program, tmp_path, [(at, frames.ethernet(0x0800, outer)) for at in (0, 1, 2)])
    parent, inner = sorted(found.records, key=lambda flow: bool(flow["ParentUUID"]))
    assert inner["ParentUUID"] == parent["UUID"]
    assert found.packets() == [3, 3]
    assert {flow["NodeTID"] for flow in found.records} == {"file-tid"}


def test_long_packets_have_their_true_lengths(program: FlowProgram, tmp_path: Path) -> None:
    """Longer than BPF_PROG_TEST_RUN can take, whole or cut by the capture."""
    long = frames.ethernet(*frames.ip("10.0.0.1", "10.0.0.2", UDP, frames.udp(1, 2, bytes(9000))))
    path = tmp_path / "long.pcapng"
    write_pcapng(path, [Captured(long, START), Captured(long[:60], START + S, length=len(long))])
    assert len(long) > LONGEST
    found = Report(program, path, Timeouts())
    assert [flow["Metric"]["ABBytes"] for flow in found.records] == [2 * len(long)]


def test_flows_agree_with_tsharks_conversations(program: FlowProgram, tmp_path: Path) -> None:
    """A mixed file: packets and bytes each way of all TCP and UDP conversations, against ``tshark -z conv``."""
    random.seed(7)
    packets: list[tuple[float, bytes]] = []
    for at in range(3000):
        proto = random.choice((TCP, UDP))
        ends, ports = ("10.0.0.1", f"10.0.0.{random.randint(2, 5)}"), (random.randint(40000, 40007), random.choice((53, 80)))
        if random.random() < 0.4:
            ends, ports = ends[::-1], ports[::-1]
        payload = bytes(random.randint(0, 400))
        segment = frames.tcp(*ports, ACK, payload) if proto == TCP else frames.udp(*ports, payload)
        packets.append((at / 1000, frames.ethernet(*frames.ip(*ends, proto, segment))))
    found = report(program, tmp_path, packets)
    ours = {}
    for flow in found.records:
        network, transport, metric = flow["Network"], flow["Transport"], flow["Metric"]
        a, b = (f"{network[side]}:{transport[side]}" for side in "AB")
        ours[transport["Protocol"], a, b] = tuple(metric[key] for key in ("ABPackets", "ABBytes", "BAPackets", "BABytes"))
    assert ours == _conversations(tmp_path / "capture.pcapng")


def _conversations(path: Path) -> dict[tuple[str, str, str], tuple[int, ...]]:
    command = [tool("tshark", "tshark"), "-r", str(path), "-n", "-T", "fields", "-E", "occurrence=f"]
    fields = ["frame.len", "ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport"]
    text = subprocess.run(
        [*command, *(word for name in fields for word in ("-e", name))], capture_output=True, check=True
    ).stdout
    found: dict[tuple[str, str, str], list[int]] = {}
    for line in text.decode().splitlines():
        length, source, destination, *ports = line.split("\t")
        name = "TCP" if ports[0] else "UDP"
        first, second = ports[:2] if ports[0] else ports[2:]
        ends = (f"{source}:{first}", f"{destination}:{second}")
        back = (name, *ends[::-1]) in found
        counts = found.setdefault((name, *(ends[::-1] if back else ends)), [0, 0, 0, 0])
        counts[2 if back else 0] += 1
        counts[3 if back else 1] += int(length)
    return {key: tuple(counts) for key, counts in found.items()}


FLAGS = st.sampled_from((SYN, SYN | ACK, ACK, FIN | ACK, RST))
STEPS = st.lists(
    st.tuples(st.floats(0.001, 40), st.integers(0, 3), st.booleans(), FLAGS, st.booleans()), min_size=1, max_size=40
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_every_packet_is_in_one_record_or_has_a_reason(
    loaded: FlowProgram, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, int, bool, int, bool]]
) -> None:
    """Whatever ends, times out and begins again."""
    at, packets = 0.0, []
    for wait, port, back, flags, is_udp in steps:
        at += wait
        packets.append((at, udp(port) if is_udp else tcp(flags, back=back, port=50000 + port)))
    folder = tmp_path_factory.mktemp("steps")
    program = emptied(loaded)
    found = report(program, folder, packets)
    shutil.rmtree(folder)
    lost = program.points()[0]["lost"]["skbs"]
    assert sum(found.packets()) + int(lost.sum()) == len(packets)
    assert not lost.any()


def test_records_are_json(program: FlowProgram, tmp_path: Path) -> None:
    """Numbers of numpy would not be."""
    found = report(program, tmp_path, [*CONNECTION, (7, udp())])
    assert json.loads(json.dumps(found.records)) == found.records


def test_classic_pcap_and_pcapng_give_the_same_records(program: FlowProgram, tmp_path: Path) -> None:
    path = tmp_path / "classic.pcap"
    body = b"".join(
        struct.pack("<IIII", *divmod(START + round(at * S), S), len(data), len(data)) + data for at, data in CONNECTION
    )
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1) + body)
    classic = Report(program, path, Timeouts()).records
    assert classic == report(emptied(program), tmp_path, CONNECTION).records


def test_each_connection_on_the_same_ports_is_a_record(program: FlowProgram, tmp_path: Path) -> None:
    """Many within what would be one drain."""
    packets, count = [], 13
    for number in range(count):
        base = 1000 * number
        for step, frame in enumerate(
            (
                tcp(SYN, seq=base + 1),
                tcp(SYN | ACK, back=True, seq=base + 7, ack=base + 2),
                tcp(ACK, seq=base + 2, ack=base + 8),
                tcp(RST, seq=base + 2),
            )
        ):
            packets.append((number * 0.1 + step * 0.001, frame))

    found = report(program, tmp_path, packets)

    assert found.packets() == [4] * count
    assert found.finishes() == ["TCP_RST"] * count
    assert [flow["Metric"]["RTT"] for flow in found.records] == [1_000_000] * count


def test_packets_out_of_order_make_no_nonsense(program: FlowProgram, tmp_path: Path) -> None:
    """The SYN-ACK stands in the file with an earlier time than its SYN."""
    [flow] = report(program, tmp_path, [(1, tcp(SYN, seq=1)), (0, tcp(SYN | ACK, back=True, seq=7, ack=2))]).records

    assert "RTT" not in flow["Metric"]
    assert flow["Start"] == flow["Last"] == (START + S) // 1_000_000
