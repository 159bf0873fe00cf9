"""The laboratory of two hosts: hosts that see only themselves, one hub, and nothing left of it afterwards."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.breaking import check_fault
from support.labs import ask_agent, laboratory
from support.needs import root
from support.netlab import until

from skytrail.lab.build import connected
from skytrail.lab.places import run
from skytrail.lab.plan import Place, Plan
from skytrail.lab.state import ROOT, Lab, read_lab
from skytrail.lab.traffic import Rates, traffic

pytestmark = pytest.mark.timeout(240)

Built = tuple[Lab, Plan]


@pytest.fixture(scope="module")
def two_hosts() -> Iterator[Built]:
    with laboratory("two-hosts") as built:
        yield built


def links() -> set[str]:
    told = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    return {link["ifname"] for link in told}


def holders(name: str) -> list[str]:
    """Processes whose arguments name a laboratory's folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(ROOT / name) in (folder / "cmdline").read_text():
                found.append(folder.name)
        except OSError:
            continue
    return found


def skytrail(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "skytrail", "lab", *words], capture_output=True, text=True)


def test_a_host_sees_itself_and_nobody_else(two_hosts: Built) -> None:
    lab, plan = two_hosts
    assert run(lab, Place("h1"), ["hostname"])[1] == "h1\n"
    assert sorted(line.split()[0] for line in run(lab, Place("h1"), ["ip", "netns"])[1].splitlines()) == ["a1", "a2"]
    assert set(run(lab, Place("h1"), ["ls", "/sys/class/net"])[1].split()) == {"lo", "eth0", "br0", "a1", "a2", "mgmt0"}
    assert connected(lab) == {"h1", "h2"}

    assert traffic(lab, plan, Rates(http=4, dns=4, bulk=0, ping=2), 1.0, 1)

    def everywhere() -> bool:
        return all(ask_agent(lab, node, "/api/v1/flows?filter=port+80") for node in ("h1", "h2"))

    until(everywhere, 20)
    for node in ("h1", "h2"):
        tids = {flow["NodeTID"] for flow in ask_agent(lab, node, "/api/v1/flows")}
        assert {tid.split("/")[1] for tid in tids} == {f"{lab.name}-{node}"}
        assert not {tid for tid in tids if tid.endswith("/mgmt0")}
        namespaces = {socket["Namespace"] for socket in ask_agent(lab, node, "/api/v1/sockets")}
        assert namespaces <= {"", *(one.netns for one in plan.workloads if one.node == node)}


def test_what_programs_counted_is_what_flows_say(two_hosts: Built) -> None:
    lab, plan = two_hosts
    counts = traffic(lab, plan, Rates(http=0, dns=20, bulk=0, ping=0), 2.0, 7)
    asked = sum(
        int(str(one["asked"])) for one in counts if (one["source"], one["destination"], one["family"]) == ("a1", "b1", 4)
    )
    assert asked > 0
    assert all(one["asked"] == one["answered"] for one in counts)

    def seen() -> int:
        path = "/api/v1/flows?filter=host+10.10.1.1+and+host+10.10.2.1+and+udp+port+53&limit=10000"
        flows = [flow for flow in ask_agent(lab, "h2", path) if flow["NodeTID"].endswith("/netns/name/b1/link/veth/eth0")]
        return sum(flow["Metric"]["ABPackets"] for flow in flows if flow["Network"]["A"] == "10.10.1.1")

    until(lambda: seen() >= asked, 20)


def test_traffic_is_told_of(two_hosts: Built) -> None:
    told = skytrail("traffic", "--name", two_hosts[0].name, "--seconds", "1", "--bulk", "0.01")
    assert told.returncode == 0, told.stderr
    assert sum(" → " in line for line in told.stdout.splitlines()) == 4 * 3 * 4 * 2  # workloads, others, kinds, families
    assert told.stdout.splitlines()[-1].endswith(" answered")


@pytest.mark.parametrize(("kind", "seed"), [("drop-rule", 0), ("no-route", 1), ("closed-port", 2), ("nat", 3), ("mtu", 4)])
def test_a_fault_and_its_mending(two_hosts: Built, kind: str, seed: int) -> None:
    check_fault(*two_hosts, kind, seed)


def test_twice_beside_another_and_down_twice(two_hosts: Built) -> None:
    name = f"t{secrets.token_hex(3)}"
    try:
        first = skytrail("up", "two-hosts", "--name", name)
        assert first.returncode == 0, first.stderr
        assert f"laboratory '{name}': two-hosts; hub http://127.0.0.1:" in first.stdout
        assert skytrail("up", "two-hosts", "--name", name).stdout.startswith(f"laboratory '{name}' is there already")
        other = skytrail("up", "fabric", "--name", name)
        assert other.returncode == 2
        assert "is there as two-hosts: 'skytrail lab down' first" in other.stderr
        assert skytrail("exec", "--name", name, "a1", "ping", "-c1", "-W2", "b1").returncode == 0
        assert skytrail("probe", "--name", name, "a1", "outside", "-6").returncode == 0
        lab = read_lab(name)
        assert lab is not None
        assert lab.index != two_hosts[0].index
        assert lab.link in links()
    finally:
        assert skytrail("down", "--name", name).stdout == f"laboratory '{name}' is removed\n"
    assert skytrail("down", "--name", name).stdout == f"there is no laboratory '{name}'\n"
    assert lab.link not in links()
    assert holders(name) == []
    assert not list(ROOT.glob(f"{name}*"))


@pytest.mark.parametrize("when", ["nodes", "lab.json", "hub/hub.pid"])
def test_killed_while_it_builds(when: str) -> None:
    root()
    name = f"t{secrets.token_hex(3)}"
    building = subprocess.Popen(
        [sys.executable, "-m", "skytrail", "lab", "up", "--name", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until((ROOT / name / when).exists, 30)
        building.send_signal(signal.SIGKILL)
        building.wait()
    finally:
        lab = read_lab(name)
        assert skytrail("down", "--name", name).returncode == 0
    until(lambda: not holders(name), 5)
    assert lab is None or lab.link not in links()
    assert not (ROOT / name).exists()
