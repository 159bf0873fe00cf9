"""docs/write-a-probe.md: the example, installed as another package is, sees a real lldpd's neighbours in a real hub's graph."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import needs
from support.hublab import Hub
from support.netlab import End, Net, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "skytrail-lldp"
PAGE = Path(__file__).parents[3] / "docs" / "write-a-probe.md"
RUN = Path("/run/lldpd")
Json = dict[str, Any]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's package, as pip installs it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("lldp")
    source = shutil.copytree(EXAMPLE, folder / "source")  # setuptools writes beside what it builds
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", folder / "site", source], check=True)
    return folder / "site"


class Lldp:
    """lldpd of one host; two of them on one cable hear each other."""

    def __init__(self, net: Net, netns: str, words: str) -> None:
        RUN.mkdir(exist_ok=True)  # it changes its root to there, and lldpcli, no more root by then, must get at the socket
        self.socket = RUN / f"{netns}.sock"
        command = [needs.tool("lldpd", "lldpd"), "-d", "-u", self.socket, "-S", words, "-I", f"{net.prefix}*"]
        enter = ["nsenter", f"--net=/run/netns/{netns}"]
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen([*enter, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: subprocess.run(["lldpcli", "-u", self.socket, "show", "chassis"], capture_output=True).returncode == 0)

    def tell(self) -> None:
        """Send what is sent each 30 s by itself."""
        subprocess.run(["lldpcli", "-u", self.socket, "update"], check=True, capture_output=True)

    def close(self) -> None:
        """As an administrator ends it: it says goodbye to its neighbours."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        for left in RUN.glob(f"{self.socket.name}*"):
            left.unlink()


def test_the_example_sees_its_neighbour_in_a_real_hub(
    net: Net, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = net.netns("h"), net.netns("sw")
    net.ip("link set lo up", netns=here)
    cable = End(here, net.name("a"), ""), End(there, net.name("b"), "")
    net.veth(*cable)
    switch = Lldp(net, there, "a switch")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]))
    socket = RUN / f"{here}.sock"
    options = {"topology.probe_options": json.dumps({"lldp.socket": str(socket)})}
    hub = Hub(tmp_path / "hub", {**options, "agent.keep_capabilities": '["dac_override"]'}, netns=here).start()
    ours = None
    try:
        assert hub.status()["probes"]["lldp"]["connected"] is False  # there is no lldpd yet: nobody is told of a failure
        ours = Lldp(net, here, "a host")
        port = until(lambda: heard(hub, switch), 40, every=0.5)
        assert port["Metadata"]["Name"] == cable[1].interface
        switch_node = by_type(hub, "switch")
        assert switch_node["Metadata"]["LLDP"]["Description"] == "a switch"
        assert neighbours(hub, port["ID"]) == {
            ("ownership", switch_node["ID"]),
            ("layer2", switch_node["ID"]),
            ("layer2", interface(hub, cable[0].interface)),
        }
        assert hub.status()["probes"]["lldp"]["connected"] is True

        ours.process.kill()  # it fails: nothing is deleted
        until(lambda: b"lldpd does not answer" in hub.ask("/readyz")[1], 30)
        assert by_type(hub, "switch")["ID"] == switch_node["ID"]
        ours.close()
        ours = Lldp(net, here, "a host")
        until(lambda: (switch.tell(), hub.ask("/readyz")[0])[1] == 200, 40, every=0.5)
        switch.close()  # which says goodbye: now it is gone
        until(lambda: not by_type(hub, "switch"), 30)
    finally:
        for one in (switch, *([ours] if ours else [])):
            one.close()
        hub.close()


def heard(hub: Hub, switch: Lldp) -> Json:
    """The port that the hub's host is plugged into, after its switch told of itself once more."""
    switch.tell()
    found = by_type(hub, "switchport")
    assert found, (hub.status()["probes"]["lldp"], hub.ask("/readyz"))
    return found


def by_type(hub: Hub, type_: str) -> Json:
    found = [node for node in hub.graph()["Nodes"] if node["Metadata"]["Type"] == type_]
    assert len(found) <= 1, found
    return found[0] if found else {}


def interface(hub: Hub, name: str) -> str:
    """ID of an interface of the hub's own."""
    [found] = [node["ID"] for node in hub.graph()["Nodes"] if node["Metadata"].get("Name") == name]
    return str(found)


def neighbours(hub: Hub, node: str) -> set[tuple[str, str]]:
    edges = [edge for edge in hub.graph()["Edges"] if node in (edge["Parent"], edge["Child"])]
    return {(edge["Metadata"]["RelationType"], edge["Child"] if edge["Parent"] == node else edge["Parent"]) for edge in edges}


def test_it_is_run_alone_and_its_facts_are_printed(net: Net, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = net.netns("h"), net.netns("sw")
    cable = End(here, net.name("a"), ""), End(there, net.name("b"), "")
    net.veth(*cable)
    both = [Lldp(net, there, "a switch"), Lldp(net, here, "a host")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]))
    try:
        known = ("lldpcli", "-u", str(both[1].socket), "show", "neighbors")
        until(lambda: (both[0].tell(), "a switch" in net.run(here, *known))[1], 40, every=0.5)
        options = ["--set", f"topology.probe_options={json.dumps({'lldp.socket': str(both[1].socket)})}"]
        done = net.run(here, sys.executable, "-m", "skytrail", "probe", "lldp", "--once", "--json", *options)
    finally:
        for one in both:
            one.close()
    told = [json.loads(line) for line in done.splitlines()]
    assert {one["Change"] for one in told} == {"added"}
    assert sorted(one["Metadata"]["Type"] for one in told if "TID" in one) == ["switch", "switchport"]
    assert sorted(one["RelationType"] for one in told if "Parent" in one) == ["layer2", "layer2", "ownership"]


def test_the_page_shows_the_tested_file() -> None:
    page = PAGE.read_text()
    for name, language in (("skytrail_lldp.py", "python"), ("pyproject.toml", "toml")):
        text = (EXAMPLE / name).read_text()
        assert f"```{language}\n{text}```" in page, f"docs/write-a-probe.md has another {name}: copy it"
    assert len((EXAMPLE / "skytrail_lldp.py").read_text().splitlines()) < 100
