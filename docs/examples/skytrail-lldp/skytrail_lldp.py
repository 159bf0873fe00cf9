"""LLDP neighbours: the switches and the ports of them that this host's interfaces are plugged into, as lldpd hears them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from topology.facts import EdgeFact, Fact, NodeFact
from topology.probes.interface import Here, Probe
from topology.probes.polled import PolledProbe

SOCKET = "/run/lldpd/lldpd.socket"
PERIOD = 10.0  # seconds


def make(here: Here) -> Probe:
    """The probe; what the entry point names."""
    return PolledProbe(here, partial(read, here), PERIOD)


def read(here: Here) -> Iterator[Fact] | None:
    """All that there is now; None: this host has no lldpd."""
    socket = here.options.get("socket", SOCKET)
    return facts(ask(socket), here.tid, here.devices()) if Path(socket).exists() else None


def ask(socket: str) -> dict[str, Any]:
    """What lldpd hears. Raises RuntimeError: it does not answer."""
    command = ["lldpcli", "-u", socket, "-f", "json0", "show", "neighbors"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    if done.returncode:
        raise RuntimeError(f"lldpd does not answer at {socket}: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def facts(answer: dict[str, Any], host: str, devices: Mapping[str, str]) -> Iterator[Fact]:
    """Pure: an answer → switches, their ports, and what they are plugged into; keys are Skydive's.

    Args:
        answer: of lldpd.
        host: TID of this host.
        devices: TIDs of its interfaces by name.
    """
    for heard in answer["lldp"]:
        for interface in heard.get("interface", ()):
            chassis, port = interface["chassis"][0], interface["port"][0]
            chassis_id, port_id = chassis["id"][0], port["id"][0]
            switch_tid = f"{host}/lldp/{chassis_id['value']}"
            port_tid = f"{switch_tid}/{port_id['value']}"
            told = {"ChassisID": chassis_id["value"], "ChassisIDType": chassis_id["type"]}
            told |= {"SysName": text(chassis, "name"), "Description": text(chassis, "descr")}
            told |= {"MgmtAddress": text(chassis, "mgmt-ip")}
            name = told["SysName"] or told["ChassisID"]
            yield NodeFact(switch_tid, {"Type": "switch", "Name": name, "LLDP": filled(told)})
            told = {"PortID": port_id["value"], "PortIDType": port_id["type"], "Description": text(port, "descr")}
            name = told["Description"] or told["PortID"]
            yield NodeFact(port_tid, {"Type": "switchport", "Name": name, "LLDP": filled(told)})
            yield EdgeFact(switch_tid, port_tid, "ownership")
            yield EdgeFact(switch_tid, port_tid, "layer2")
            if interface["name"] in devices:
                yield EdgeFact(port_tid, devices[interface["name"]], "layer2")


def text(told: dict[str, Any], key: str) -> str:
    """The first of what lldpd tells under a key; empty: nothing."""
    values = told.get(key) or [{}]
    return str(values[0].get("value", ""))


def filled(keys: dict[str, str]) -> dict[str, str]:
    """Without what is empty."""
    return {key: value for key, value in keys.items() if value}
