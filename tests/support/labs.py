"""Laboratories for tests: built under a name of the test's own, removed at its end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skytrail.lab.build import Extra, build, plan_of, remove
from skytrail.lab.places import run
from skytrail.lab.plan import Place, Plan
from skytrail.lab.state import Lab, locked
from support.needs import root, tool


@contextmanager
def laboratory(topology: str, extra: Extra = lambda _lab, _node: {}) -> Iterator[tuple[Lab, Plan]]:
    """One that is there, and its plan; ``extra``: settings of agents and hub."""
    root()
    if topology == "fabric":
        tool("ovs-vswitchd", "openvswitch-switch")
    name = f"t{secrets.token_hex(3)}"
    try:
        with locked(name) as lock:
            lab = build(name, topology, lock, lambda _: None, extra)
        yield lab, plan_of(lab)
    finally:
        with locked(name):
            remove(name)


def ask_agent(lab: Lab, node: str, path: str) -> Any:
    """The JSON of an agent's answer."""
    status, said = run(lab, Place(node), ["curl", "-sg", f"http://127.0.0.1:8081{path}"])
    assert status == 0, said
    return json.loads(said)
