"""The programs of workloads, on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from support.ports import free_port

from skytrail.lab import apps

PROGRAM = [sys.executable, "-I", apps.__file__]


def start(*words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def port() -> Iterator[int]:
    chosen = free_port()
    process = start("serve", "--tcp", str(chosen), "--udp", str(chosen))
    yield chosen
    process.kill()
    process.communicate()


def ask(*words: str) -> str:
    return subprocess.run([*PROGRAM, "try", *words], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_serves_http_and_udp(port: int, address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    assert urllib.request.urlopen(f"http://{host}:{port}/", timeout=5).read() == b"ok\n"
    assert len(urllib.request.urlopen(f"http://{host}:{port}/70000", timeout=5).read()) == 70_000
    assert ask("tcp", address, str(port), "5000", "3") == "3"
    assert ask("udp", address, str(port), "1400", "2") == "2"


def test_nonsense_is_no_answer_and_no_end(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET /x HTTP/1.0\r\n\r\n")
        assert client.recv(100) == b""
    assert ask("tcp", "127.0.0.1", str(port), "3", "1") == "1"


def test_who_does_not_listen_does_not_answer() -> None:
    assert ask("tcp", "127.0.0.1", str(free_port()), "3", "2") == "0"
    assert ask("udp", "127.0.0.1", str(free_port()), "3", "1") == "0"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_stuck_accepts_nobody(address: str) -> None:
    port = free_port()
    process = start("stuck", "--tcp", str(port))
    try:
        assert ask("tcp", address, str(port), "3", "1") == "0"
    finally:
        process.kill()
        process.communicate()


def test_load_counts_what_it_does(port: int) -> None:
    rows = [
        ("tcp", "127.0.0.1", port, 100, 50.0),
        ("udp", "127.0.0.1", port, 60, 50.0),
        ("tcp", "127.0.0.1", free_port(), 9, 20.0),
        ("tcp", "127.0.0.1", port, 100, 0.000001),
    ]
    done = subprocess.run(
        [*PROGRAM, "load", "--seconds", "1", "--seed", "3"], input=json.dumps(rows), capture_output=True, text=True, check=True
    )
    http, dns, nobody, seldom = json.loads(done.stdout)
    assert http["asked"] == http["answered"] > 10
    assert http["bytes"] == 100 * http["answered"]
    assert dns["bytes"] == 60 * dns["answered"] > 0
    assert [seldom[key] for key in ("asked", "answered", "failed", "bytes")] == [0, 0, 0, 0]
    assert nobody["failed"] == nobody["asked"] > 0
