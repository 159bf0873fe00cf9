"""Traces of containers on interfaces that stand on a host's own, of which the agent sees the host's alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.netlab import Net
from support.stackedlab import CONTAINERS, Stacked, check

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]


def test_a_container_on_a_macvlan_is_well(net: Net, tmp_path: Path) -> None:
    check(net, tmp_path, "macvlan mode bridge")


def test_two_containers_on_one_interface_are_well(net: Net, tmp_path: Path) -> None:
    lab = Stacked(net, tmp_path, "macvlan mode bridge")
    lab.hub.start()
    try:
        trace = lab.pinged(lab.containers[0], CONTAINERS[1], 4003)
        assert trace["Verdict"]["Kind"] == "well", trace["Verdict"]
    finally:
        lab.hub.close()
