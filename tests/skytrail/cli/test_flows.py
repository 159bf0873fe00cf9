"""``skytrail flows`` of capture files and of a running agent: order, limits, damaged files, narrow terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from support import frames
from support.capture import Captured, write_pcapng
from support.needs import root

pytestmark = pytest.mark.kernel

START_NS = 1_700_000_000_000_000_000
MESSAGES = {"one": 10, "two": 400, "three": 30, "four": 200}


@pytest.fixture(scope="module")
def pcap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four UDP flows: ports 1001 to 1004, one packet each, of different sizes."""
    root()
    path = tmp_path_factory.mktemp("cli") / "four.pcapng"
    packets = []
    for at, size in enumerate(MESSAGES.values()):
        datagram = frames.udp(1001 + at, 9, b"x" * size)
        frame = frames.ethernet(*frames.ip("192.0.2.101", "198.51.100.102", frames.UDP, datagram))
        packets.append(Captured(frame, START_NS + at * 1_000_000_000))
    write_pcapng(path, packets)
    return path


def skytrail(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "skytrail", "flows", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def ports(output: str) -> list[int]:
    return [json.loads(line)["Transport"]["A"] for line in output.splitlines()]


def udp(port: int) -> bytes:
    return frames.ethernet(*frames.ip("192.0.2.101", "198.51.100.102", frames.UDP, frames.udp(port, 9, b"x")))


def test_each_interface_of_a_file_is_a_capture_point_of_its_own(tmp_path: Path) -> None:
    root()
    path = tmp_path / "two.pcapng"
    sent = [("eth0", udp(7)), ("eth1", udp(7)), ("eth0", udp(8))]
    write_pcapng(path, [Captured(data, START_NS + at, interface=name) for at, (name, data) in enumerate(sent)])
    flows = [json.loads(line) for line in skytrail("--pcap", path, "--json").stdout.splitlines()]
    seen = sorted((flow["Interface"], flow["Transport"]["A"], flow["Metric"]["ABPackets"]) for flow in flows)
    assert seen == [("eth0", 7, 1), ("eth0", 8, 1), ("eth1", 7, 1)]
    same = [flow for flow in flows if flow["Transport"]["A"] == 7]
    assert len({flow["TrackingID"] for flow in same}) == 1
    assert len({flow["NodeTID"] for flow in same}) == len({flow["UUID"] for flow in same}) == 2


def test_a_file_with_more_conversations_than_the_table_has_room_for_loses_no_packet(tmp_path: Path) -> None:
    root()
    path = tmp_path / "many.pcapng"
    write_pcapng(path, [Captured(udp(1 + at % 60_000), START_NS + at * 1000) for at in range(50_000)])
    done = skytrail("--pcap", path, "--json", "--set", "flow.max_flows=1024")
    packets = sum(json.loads(line)["Metric"]["ABPackets"] for line in done.stdout.splitlines())
    assert (packets, done.stderr) == (50_000, "")


def test_times_before_the_epoch_are_the_epoch(tmp_path: Path) -> None:
    root()
    path = tmp_path / "early.pcapng"
    write_pcapng(path, [Captured(udp(7), 5, offset=-1000)])
    done = skytrail("--pcap", path, "--json")
    [flow] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (flow["Start"], flow["Metric"]["ABPackets"], done.stderr) == (0, 1, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sort", "bytes"], [1002, 1004, 1003, 1001]),
        (["--sort", "start"], [1004, 1003, 1002, 1001]),
        (["--limit", "1"], [1002]),
        (["--limit", "2", "--sort", "last"], [1004, 1003]),
        (["--filter", "port 1003 or port 1001", "--limit", "5"], [1003, 1001]),
    ],
)
def test_flows_of_a_file_are_ordered_and_limited(pcap: Path, words: list[str], expected: list[int]) -> None:
    done = skytrail("--pcap", pcap, "--json", *words)
    assert (done.returncode, ports(done.stdout)) == (0, expected)


def test_file_from_standard_input(pcap: Path) -> None:
    with pcap.open() as stream:
        done = skytrail("--pcap", "-", "--json", stdin=stream)
    assert sorted(ports(done.stdout)) == [1001, 1002, 1003, 1004]


@pytest.mark.parametrize("as_json", [True, False])
def test_what_came_before_a_damage_is_shown_and_the_damage_named(pcap: Path, tmp_path: Path, as_json: bool) -> None:
    cut = tmp_path / "cut.pcapng"
    cut.write_bytes(pcap.read_bytes()[:-20])

    done = skytrail("--pcap", cut, *(["--json"] * as_json))

    assert done.returncode == 1
    for port in (1001, 1002, 1003):
        assert (f'"A":{port}' if as_json else f":{port} ") in done.stdout
    assert done.stderr.count("\n") == 1
    assert "cut.pcapng" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--pcap", "/nowhere.pcap"], 1, "/nowhere.pcap"),
        (["--pcap", "/etc/hostname"], 1, "/etc/hostname"),
        (["--sort", "size"], 2, "sort: 'size' is not known: use one of bytes"),
        (["--limit", "many"], 2, "limit: 'many' is not a number"),
        (["--filter", "port banana"], 2, "banana"),
        (["--listen", "127.0.0.1:9", "--json"], 1, "nobody answers on 127.0.0.1:9"),
    ],
)
def test_errors_are_one_line(words: list[str], status: int, message: str) -> None:
    done = skytrail(*words)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def on_terminal(columns: int, *arguments: str | Path) -> str:
    """What the command writes to a terminal of that width."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "skytrail", "flows", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=subprocess.DEVNULL, env=environment)
    os.close(terminal)
    said = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            part = os.read(controller, 65536)
        except OSError:  # EIO: the other side is closed
            break
        said += part
    os.close(controller)
    assert process.wait(10) == 0
    return re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", said.decode())  # colours


@pytest.mark.parametrize(
    ("columns", "there", "gone"),
    [
        (200, ["Interface", "Application", "A→B", "B→A", "Rate", "RTT", "Tracking ID"], []),
        (80, ["Application", "A→B"], ["Tracking ID"]),
        (60, ["A→B"], ["Tracking ID", "Rate", "Interface"]),
    ],
)
def test_narrow_terminal_loses_columns_but_no_character_of_the_ends(
    pcap: Path, columns: int, there: list[str], gone: list[str]
) -> None:
    said = on_terminal(columns, "--pcap", pcap)
    assert "192.0.2.101:1002" in said
    assert "198.51.100.102:9" in said
    assert "…" not in said
    assert [title for title in there if title not in said] == []
    assert [title for title in gone if title in said] == []
    assert max(len(line.rstrip()) for line in said.splitlines()) <= columns


def test_completion_offers_keys_to_sort_by() -> None:
    variables = {**os.environ, "_SKYTRAIL_COMPLETE": "bash_complete", "COMP_WORDS": "skytrail flows --sort ", "COMP_CWORD": "3"}
    command = [Path(sys.executable).parent / "skytrail"]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=30)
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == ["bytes", "packets", "last", "start", "rtt"]


def shown(*flows: dict[str, Any], width: int = 200) -> str:
    """Flows as the table shows them."""
    import io

    from rich.console import Console

    from skytrail.cli.flows import _table

    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(_table(list(flows), {}, width))
    return out.getvalue()


FLOW = {
    "UUID": "u",
    "ParentUUID": "",
    "Namespace": "",
    "Interface": "eth0",
    "Application": "TCP",
    "Network": {"A": "fe80::1", "B": "fe80::2"},
    "Transport": {"A": 1, "B": 80},
    "Metric": {"ABPackets": 1, "ABBytes": 1, "BAPackets": 1, "BABytes": 1},
    "TrackingID": "0" * 32,
}


def test_names_and_addresses_are_shown_as_they_are_and_never_obeyed_by_the_terminal() -> None:
    owner = {"A": {"Kind": "pod", "Name": "\x1b]0;ho\x07", "Namespace": "shop"}}
    text = shown(FLOW | {"Interface": "\x1b]0;hi\x07[red]", "Owner": owner})
    assert "\\x1b]0;hi\\x07[red]" in text
    assert "pod shop/\\x1b]0;ho\\x07" in text
    assert "[fe80::1]:1" in text
    assert "\x1b]" not in text


def test_owners_are_shown_where_there_are_some_and_there_is_room() -> None:
    owners = {"A": {"Kind": "pod", "Name": "web-1", "Namespace": "shop", "Host": "n1"}, "B": {"Kind": "host", "Name": "db1"}}
    text = shown(FLOW, FLOW | {"Owner": owners}, FLOW | {"Owner": {"B": owners["B"]}})
    heading, *rows = (line for line in text.splitlines() if line.strip() and "─" not in line)
    places = [heading.index(title) for title in ("Owner of A", "Owner of B")]
    found = [tuple(row[place:].partition("  ")[0] for place in places) for row in rows]
    assert found == [("", ""), ("pod shop/web-1", "host db1"), ("", "host db1")]
    assert "Owner" not in shown(FLOW)
    narrow = shown(FLOW | {"Owner": owners}, width=50)
    assert "Owner" not in narrow
    assert "[fe80::1]:1" in narrow
