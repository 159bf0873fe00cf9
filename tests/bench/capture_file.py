"""``skytrail flows --pcap``: packets per second, against tshark reading the same file."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from support.capture import Captured, write_pcapng

from tests.bench.report import Line

PACKETS, FLOWS = 600_000, 5_000


def pcap() -> Iterator[Line]:
    """600,000 packets of 5,000 TCP and UDP conversations; the time of the whole command, its start too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.pcapng"
        _write(path)
        ours = _took(sys.executable, "-m", "skytrail", "flows", "--pcap", str(path), "--json")
        theirs = _took("tshark", "-r", str(path), "-q", "-z", "io,stat,0")
    yield Line("flows --pcap", PACKETS / ours, "packets/s", PACKETS / theirs, "tshark -z io,stat", least=150_000)


def _write(path: Path) -> None:
    chosen = random.Random(3)
    frames = []
    for number in range(FLOWS):
        transport = TCP if number % 2 else UDP
        ends = IP(src=f"10.0.{number >> 8}.{number & 255}", dst="10.9.9.9") / transport(sport=1024 + number, dport=443)
        frames.append(bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / ends / bytes(chosen.randrange(1400))))
    packets = [Captured(chosen.choice(frames), 1_700_000_000_000_000_000 + at * 10_000) for at in range(PACKETS)]
    write_pcapng(path, packets)


def _took(*command: str) -> float:
    before = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - before
