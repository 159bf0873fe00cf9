"""The oracle of what a capture file holds is tshark; scapy, tcpdump, editcap, mergecap and this file write them."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters.flows.capture_file import BATCH, MAX_CAPLEN, CaptureFile, Packets
from skytrail.errors import CaptureFileError

Packet = tuple[int, int, int, int, bytes]
"""Time in ns, length, captured length, link type, the first bytes."""


def unpack(batches: list[Packets]) -> list[Packet]:
    found = []
    for batch in batches:
        assert 0 < len(batch) <= BATCH
        rows = zip(batch.time_ns, batch.length, batch.caplen, batch.linktype, batch.offset, strict=True)
        for time_ns, length, caplen, linktype, offset in rows:
            data = bytes(batch.buffer[offset : offset + caplen])
            assert len(data) == caplen
            found.append((int(time_ns), int(length), int(caplen), int(linktype), data[:20]))
    return found


def read(path: Path | str) -> list[Packet]:
    with CaptureFile(path) as capture:
        return unpack(list(capture))


def read_until_error(path: Path | str) -> tuple[list[Packet], str]:
    batches: list[Packets] = []
    try:
        with CaptureFile(path) as capture:
            batches.extend(capture)
    except CaptureFileError as error:
        return unpack(batches), str(error)
    return unpack(batches), ""


def by_tshark(path: Path) -> list[tuple[int, int, int]]:
    """Give (time in ns, length, captured length) of each packet."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed (package tshark)")
    fields = ["-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len"]
    run = subprocess.run(
        ["tshark", "-n", "-r", path, "-T", "fields", *fields], check=True, capture_output=True, text=True, timeout=100
    )
    rows = []
    for line in run.stdout.splitlines():
        epoch, length, caplen = line.split("\t")
        rows.append((int(Fraction(epoch or "0") * 10**9), int(length), int(caplen)))
    return rows


def assert_as_tshark_says(path: Path) -> list[Packet]:
    packets = read(path)
    assert packets
    assert [packet[:3] for packet in packets] == by_tshark(path)
    return packets


def run_tool(*command: str | Path) -> None:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    subprocess.run(list(command), check=True, capture_output=True, timeout=60)


def payload(index: int) -> bytes:
    return bytes([index % 251]) * 12 + b"\x08\x00" + bytes(range(index % 97))


def pcap(order: str = "<", magic: int = 0xA1B2C3D4, linktype: int = 1, records: bytes = b"") -> bytes:
    return struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, linktype) + records


def record(data: bytes, order: str = "<", when: tuple[int, int] = (1_700_000_000, 5), length: int | None = None) -> bytes:
    return struct.pack(f"{order}IIII", *when, len(data), len(data) if length is None else length) + data


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, 12 + len(body)) + body + struct.pack(f"{order}I", 12 + len(body))


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order: str = "<", linktype: int = 1, snaplen: int = 0, options: dict[int, bytes] | None = None) -> bytes:
    body = struct.pack(f"{order}HHI", linktype, 0, snaplen)
    for code, value in (options or {}).items():
        body += struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)
    return block(1, body + (bytes(4) if options else b""), order)


def enhanced(
    data: bytes, order: str = "<", index: int = 0, ticks: int = 1_700_000_000_000_000, length: int | None = None
) -> bytes:
    sizes = (len(data), len(data) if length is None else length)
    body = struct.pack(f"{order}IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, *sizes) + data
    return block(6, body, order)


@pytest.fixture(name="scapy_pcap")
def _scapy_pcap(tmp_path: Path) -> Path:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap

    frames = []
    for index in range(300):
        frame = Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=index + 1, dport=53) / payload(index)
        frame.time = 1_700_000_000 + index / 7
        frames.append(frame)
    path = tmp_path / "scapy.pcap"
    wrpcap(str(path), frames)
    return path


@pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "pcapng"])
def test_files_of_editcap_agree_with_tshark(scapy_pcap: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"edited.{kind}"
    run_tool("editcap", "-F", kind, "-s", "50", scapy_pcap, out)
    packets = assert_as_tshark_says(out)
    assert len(packets) == 300
    assert {packet[3] for packet in packets} == {1}
    assert max(packet[2] for packet in packets) == 50 < max(packet[1] for packet in packets)


def test_a_file_of_tcpdump_agrees_with_tshark(scapy_pcap: Path, tmp_path: Path) -> None:
    out = tmp_path / "tcpdump.pcap"
    run_tool("tcpdump", "-r", scapy_pcap, "--nano", "-w", out, "udp and greater 70")
    assert 0 < len(assert_as_tshark_says(out)) < 300


def test_a_merged_file_keeps_each_interface_s_link_type_and_clock(scapy_pcap: Path, tmp_path: Path) -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.utils import wrpcap

    raw = tmp_path / "raw.pcap"
    frames = [IP(src="10.0.0.3") / UDP() / payload(index) for index in range(50)]
    for index, frame in enumerate(frames):
        frame.time = 1_700_000_000.5 + index / 3
    wrpcap(str(raw), frames, linktype=101, nano=True)
    out = tmp_path / "merged.pcapng"
    run_tool("mergecap", "-F", "pcapng", "-w", out, scapy_pcap, raw)
    packets = assert_as_tshark_says(out)
    assert sum(packet[3] == 101 for packet in packets) == 50
    assert sum(packet[3] == 1 for packet in packets) == 300
    assert all(packet[4][0] == 0x45 for packet in packets if packet[3] == 101)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
@pytest.mark.parametrize("linktype", [0, 1, 12, 101, 108, 113, 228, 229, 276, 147])
def test_pcap_of_both_byte_orders_and_units(tmp_path: Path, order: str, magic: int, linktype: int) -> None:
    path = tmp_path / "made.pcap"
    records = (
        record(b"abc", order, (0, 0)) + record(b"", order, (2**32 - 1, 999_999), 9) + record(payload(90), order, length=9000)
    )
    path.write_bytes(pcap(order, magic, linktype, records))
    packets = assert_as_tshark_says(path)
    assert {packet[3] for packet in packets} == {linktype}


def test_pcapng_of_all_packet_blocks_and_mixed_sections(tmp_path: Path) -> None:
    content = b""
    for order in "<><":
        content += section(order)
        content += interface(order, 1, 64)
        content += interface(order, 113, 0, {9: b"\x09", 14: struct.pack(f"{order}q", 1000), 2: b"eth0"})
        content += interface(order, 101, 0, {9: b"\x8a"})  # 2^-10 s
        content += enhanced(payload(1), order, 0, length=2000)
        content += block(0x7777, b"an unknown block", order)
        content += enhanced(payload(2), order, 1, 1_700_000_000_123_456_789)
        content += block(3, struct.pack(f"{order}I", 100) + payload(80)[:64], order)  # SPB cut at the snaplen
        content += block(3, struct.pack(f"{order}I", 3) + b"xyz", order)
        content += enhanced(payload(3), order, 2, 1_700_000_000 * 1024 + 1)
        obsolete = struct.pack(f"{order}HHIIII", 1, 77, 1_700_000_000_000_000_001 >> 32, 7, 6, 60)
        content += block(2, obsolete + b"sixsix", order)
        content += interface(order, 276)
        content += enhanced(b"", order, 3)
    path = tmp_path / "made.pcapng"
    path.write_bytes(content)
    packets = read(path)
    assert [packet[3] for packet in packets] == [1, 113, 1, 1, 101, 113, 276] * 3
    expected = by_tshark(path)
    assert [packet[1:3] for packet in packets] == [row[1:] for row in expected]
    assert [packet[2] for packet in packets[2:4]] == [64, 3]
    timed = [index for index in range(21) if index % 7 not in {2, 3}]  # an SPB has no time
    assert [packets[index][0] for index in timed] == [expected[index][0] for index in timed]
    assert packets[2][0] == packets[3][0] == 0
    assert packets[1][0] == 1_700_001_000_123_456_789


@given(
    resolution=st.integers(0, 255),
    offset=st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-(10**9), 10**9)),
    ticks=st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 2**52)),
)
def test_every_clock_of_pcapng_is_converted_exactly_or_saturates(resolution: int, offset: int, ticks: int) -> None:
    content = section() + interface(options={9: bytes([resolution]), 14: struct.pack("<q", offset)})
    with tempfile.NamedTemporaryFile() as file:
        file.write(content + enhanced(b"x", ticks=ticks))
        file.flush()
        [(time_ns, *_)] = read(file.name)
    per_second = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    exact = min(ticks * 10**9 // per_second, 2**63 - 1)
    expected = max(-(2**63 - 1), min(2**63 - 1, exact + max(-(2**63 - 1), min(2**63 - 1, offset * 10**9))))
    tolerance = 1 if resolution & 0x80 else 0  # of a binary fraction 34 bits are kept
    assert abs(time_ns - expected) <= tolerance


def test_gzip_is_told_by_its_content_and_may_have_members(scapy_pcap: Path, tmp_path: Path) -> None:
    content = scapy_pcap.read_bytes()
    path = tmp_path / "no-suffix"
    path.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    assert read(path) == read(scapy_pcap)
    with CaptureFile(path) as capture:
        list(capture)
        assert capture.bytes_read == capture.bytes_total == path.stat().st_size


def test_many_batches_give_every_packet_once_and_stay_valid(tmp_path: Path) -> None:
    path = tmp_path / "many.pcap"
    datas = [struct.pack(">I", index) + bytes(index * 7919 % 1500) for index in range(20_000)]
    path.write_bytes(pcap(records=b"".join(record(data, length=70_000) for data in datas)))
    packets = read(path)  # looks into the buffers only after the last batch was read
    assert [int.from_bytes(packet[4][:4], "big") for packet in packets] == list(range(20_000))
    assert [packet[2] for packet in packets] == [len(data) for data in datas]
    with CaptureFile(path) as capture:
        progress = [capture.bytes_read for _ in capture]
        assert progress == sorted(progress)
        assert progress[0] < progress[-1] == capture.bytes_total


def test_the_largest_packet_and_a_large_unknown_block_are_read(tmp_path: Path) -> None:
    largest = bytes(MAX_CAPLEN)
    path = tmp_path / "large"
    path.write_bytes(pcap(records=record(b"a") + record(largest) + record(b"b")))
    assert [packet[2] for packet in read(path)] == [1, MAX_CAPLEN, 1]
    path.write_bytes(section() + interface() + block(10, bytes(5_000_000)) + enhanced(largest) + enhanced(b"b"))
    assert [packet[2] for packet in read(path)] == [MAX_CAPLEN, 1]


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_is_read(scapy_pcap: Path, compress: Callable[[bytes], bytes]) -> None:
    program = (
        "from exporters.flows.capture_file import CaptureFile\n"
        "with CaptureFile('-') as c: print(sum(len(p) for p in c), c.bytes_total, c.bytes_read)"
    )
    sent = compress(scapy_pcap.read_bytes())
    run = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, check=True, timeout=60)
    assert run.stdout.split() == [b"300", b"None", str(len(sent)).encode()]


def test_packets_of_a_live_pipe_are_given_before_the_pipe_ends(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    seen = threading.Event()

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for part in (pcap(), record(b"one")[:10], record(b"one")[10:]):
                file.write(part)
            held.append(seen.wait(20))
            file.write(record(b"two"))

    held: list[bool] = []
    writer = threading.Thread(target=write)
    writer.start()
    lengths = []
    with CaptureFile(pipe) as capture:
        for batch in capture:
            lengths += list(batch.caplen)
            seen.set()
    writer.join()
    assert held == [True]
    assert lengths == [3, 3]


@pytest.mark.parametrize("keep", [1, 15, 16, 17, 40])
def test_a_cut_pcap_gives_what_came_before_and_names_the_place(tmp_path: Path, keep: int) -> None:
    whole = pcap(records=record(b"first") + record(b"second"))
    path = tmp_path / "cut.pcap"
    path.write_bytes(whole + record(bytes(50))[:keep])
    packets, error = read_until_error(path)
    assert [packet[4] for packet in packets] == [b"first", b"second"]
    assert str(path) in error
    assert f"byte {len(whole)}: cut short" in error


@pytest.mark.parametrize("keep", [1, 11, 12, 40, 59])
def test_a_cut_pcapng_gives_what_came_before_and_names_the_place(tmp_path: Path, keep: int) -> None:
    whole = section() + interface() + enhanced(b"first")
    path = tmp_path / "cut.pcapng"
    path.write_bytes(whole + enhanced(bytes(28))[:keep])
    packets, error = read_until_error(path)
    assert [packet[4] for packet in packets] == [b"first"]
    assert f"byte {len(whole)}: cut short" in error


def test_a_cut_gzip_gives_what_came_before(scapy_pcap: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    packed = gzip.compress(scapy_pcap.read_bytes())
    path.write_bytes(packed[: len(packed) // 2])
    packets, error = read_until_error(path)
    assert 0 < len(packets) < 300
    assert packets == read(scapy_pcap)[: len(packets)]
    assert "(uncompressed): cannot be read on" in error


DAMAGED = {
    "empty": (b"", "is empty"),
    "short": (b"\xd4\xc3", "cut short"),
    "foreign": (b"GIF89a........", r"not a pcap or pcapng file \(it begins with 47 49 46 38\)"),
    "pcap header cut": (pcap()[:20], "cut short"),
    "old pcap": (struct.pack("<IHH16x", 0xA1B2C3D4, 2, 2), r"version 2\.2"),
    "huge packet": (
        pcap(records=record(b"a") + struct.pack("<IIII", 1, 2, MAX_CAPLEN + 1, 9)),
        "byte 41: .* 262145 captured",
    ),
    "packet of 4 GiB": (pcap(records=struct.pack("<IIII", 1, 2, 2**32 - 1, 9)), "4294967295 captured bytes"),
    "no byte-order magic": (section().replace(b"\x4d\x3c", b"\x00\x00"), "byte-order magic"),
    "block of length 0": (section() + struct.pack("<II4x", 99, 0), "cannot have the length 0"),
    "block of odd length": (section() + struct.pack("<II5x", 99, 13), "cannot have the length 13"),
    "block of 4 GiB": (section() + struct.pack("<II4x", 6, 2**32 - 4), "cannot have the length 4294967292"),
    "short packet block": (section() + interface() + block(6, bytes(8)), "cannot have the length 20"),
    "no interface": (section() + enhanced(b"a"), "interface 0, which was not described"),
    "later interface": (section() + interface() + enhanced(b"a", index=1) + interface(), "interface 1, which"),
    "interface of the section before": (section() + interface() + section() + enhanced(b"a"), "interface 0, which"),
    "caplen beyond the block": (
        section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 9, 9) + bytes(8)),
        "cannot have 9 captured bytes",
    ),
    "option beyond the block": (
        section() + block(1, struct.pack("<HHIHH", 1, 0, 0, 9, 200)),
        "option 9 reaches beyond",
    ),
    "too many interfaces": (section() + interface() * 65537, "more than 65536 interfaces"),
    "gzip of nothing": (gzip.compress(b""), "is empty"),
    "gzip of rubbish": (b"\x1f\x8b" + bytes(30), "cannot be read on"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, name: str) -> None:
    content, message = DAMAGED[name]
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(CaptureFileError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_packets_before_an_impossible_block_are_given(tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    good = section() + interface() + enhanced(b"one") + enhanced(b"two")
    path.write_bytes(good + enhanced(b"bad", index=7) + enhanced(b"three"))
    packets, error = read_until_error(path)
    assert [packet[4] for packet in packets] == [b"one", b"two"]
    assert f"byte {len(good)}: a packet of interface 7" in error


@pytest.mark.parametrize("path", ["/nonexistent/file", "/", "a\0b"])
def test_a_file_that_cannot_be_opened_is_one_clear_error(path: str) -> None:
    with pytest.raises(CaptureFileError, match="cannot be opened"):
        CaptureFile(path)


SEEDS = [
    pcap(records=record(payload(9)) + record(payload(50), length=99)),
    pcap(">", 0xA1B23C4D, records=record(payload(9), ">")),
    section() + interface(options={9: b"\x09"}) + enhanced(payload(9)) + block(3, struct.pack("<I", 3) + b"xyz"),
    section(">") + interface(">") + enhanced(payload(9), ">") + section() + interface() + enhanced(payload(7)),
    gzip.compress(pcap(records=record(payload(9)) * 20)),
]


@settings(max_examples=500, deadline=1000)  # far beyond a read of some hundred bytes: what hangs or crawls fails
@given(seed=st.sampled_from(SEEDS), data=st.data())
def test_hostile_bytes_give_packets_or_one_error(seed: bytes, data: st.DataObject) -> None:
    content = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(content))
        file.flush()
        packets, error = read_until_error(file.name)
    assert "\n" not in error
    assert sum(packet[2] for packet in packets) <= 20 * len(content)  # all of them are in the file
    assert all(packet[2] <= packet[1] for packet in packets)


@settings(max_examples=300, deadline=1000)
@given(
    magic=st.sampled_from([seed[:4] for seed in SEEDS] + [section() + interface(), pcap(), b""]),
    rest=st.binary(max_size=400),
)
def test_random_bytes_give_packets_or_one_error(magic: bytes, rest: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(magic + rest)
        file.flush()
        packets, error = read_until_error(file.name)
    assert packets or error or magic in {section() + interface(), pcap()}


def test_a_file_of_nothing_but_interfaces_and_tiny_blocks_takes_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pcapng"
    path.write_bytes(section() + (interface() + enhanced(b"")) * 5000 + block(99, b"") * 50_000)
    began = time.process_time()
    assert len(read(path)) == 5000
    assert time.process_time() - began < 20  # measured: 0.4 s; a quadratic reader takes minutes
