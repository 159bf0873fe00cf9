"""``skytrail probe``: what one probe sees, without a hub."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.netlab import Net, until

pytestmark = pytest.mark.kernel
COMMAND = (sys.executable, "-m", "skytrail", "probe")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60)


def test_once_it_ends_with_all_that_is_there(net: Net) -> None:
    netns = net.netns("h")
    net.ip(f"link add {net.name('a')} type veth peer name {net.name('b')}", netns=netns)
    done = run("netlink", "--once", "--json")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    names = {one["Metadata"].get("Name") for one in told if "TID" in one}
    links = json.loads(net.ip("-j link", netns=netns))
    assert {one["ifname"] for one in links} | {netns} <= names
    ids = {one["TID"] for one in told if "TID" in one}
    assert all(one["Child"] in ids for one in told if one.get("RelationType") == "ownership")


def test_it_goes_on_until_it_is_interrupted(net: Net) -> None:
    netns = net.netns("h")
    process = subprocess.Popen([*COMMAND, "netlink"], stdout=subprocess.PIPE, text=True)
    lines: list[str] = []

    def read() -> None:
        assert process.stdout
        lines.extend(iter(process.stdout.readline, ""))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until(lambda: len(lines) > 3, 20)
        name = net.name("late")
        net.ip(f"link add {name} type veth peer name {net.name('peer')}", netns=netns)
        until(lambda: any(line.startswith("+ ") and f"Name={name}" in line for line in lines))
        net.ip("link del", name, netns=netns)
        until(lambda: any(line.startswith("- ") and f"Name={name}" in line for line in lines))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        reader.join()


def test_a_reader_that_goes_away_ends_it() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -1; exit "${PIPESTATUS[0]}"', "-", *COMMAND, "netlink"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert (done.returncode, done.stderr) == (141, "")


def test_without_a_name_it_lists_all() -> None:
    done = run("--json")
    states: dict[str, Any] = {one["Name"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert states["netlink"] == {"Name": "netlink", "Package": "skytrail", "State": "active"}
    assert states["containers"]["Package"] == "skytrail"
    assert states["ovsdb"]["State"] in ("active", "its source is not here")


def test_a_long_name_is_a_column_of_its_own() -> None:
    done = run("--set", "topology.ovsdb.databases=unix:/nowhere/at/all")
    [words] = [line.split(maxsplit=2) for line in done.stdout.splitlines() if line.startswith("ovsdb")]
    assert words == ["ovsdb/unix:/nowhere/at/all", "skytrail", "its source is not here"]


@pytest.mark.parametrize(
    ("name", "status", "message"), [("nix", 2, "there is no probe 'nix'"), ("ovsdb/unix:/nowhere", 1, "nowhere sees nothing")]
)
def test_what_cannot_be_is_one_line(name: str, status: int, message: str) -> None:
    done = run(name, "--once", "--set", "topology.ovsdb.databases=unix:/nowhere")
    assert (done.returncode, done.stdout) == (status, "")
    [line] = done.stderr.splitlines()
    assert message in line


def test_what_an_agent_keeps_stays_as_it_is(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "ovsdb.json"
    kept.write_text('["ovsdb/tcp:192.0.2.1:6640"]')
    monkeypatch.setenv("SKYTRAIL_STATE_DIR", str(tmp_path))
    done = run("host", "--once")

    assert done.returncode == 0, done.stderr
    assert kept.read_text() == '["ovsdb/tcp:192.0.2.1:6640"]'
    assert list(tmp_path.iterdir()) == [kept]
