"""Traces of containers on macvlan interfaces of a host whose agent looks at the host's own namespace alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hublab import Hub
from support.netlab import Net, until
from support.stackedlab import CONTAINERS, NOBODY, Stacked

Json = dict[str, Any]
Trace = Callable[[str], Json]


@pytest.fixture
def lab(net: Net) -> Stacked:
    return Stacked(net, "macvlan mode bridge")


@pytest.fixture
def trace(lab: Stacked, tmp_path: Path) -> Iterator[Trace]:
    """Gives the trace of pings to an address."""
    settings = {"flow.interfaces": lab.parent, "topology.linkers": "[]", "flow.drain": "100ms"}
    hub = Hub(tmp_path, settings, netns=lab.host).start()
    try:
        yield lambda address: hub.get("/api/v1/trace", filter=f"icmp and host {address}", duration="20s")
    finally:
        hub.close()


def test_what_goes_to_containers_is_well_and_what_is_for_nobody_is_lost(net: Net, lab: Stacked, trace: Trace) -> None:
    def told(source: str, address: str, kind: str, *, answered: bool) -> Json:
        net.run(source, "ping", "-n", "-c2", "-i0.1", "-W0.2", address, check=answered)
        found = trace(address)
        assert [point["Interface"] for point in found["Forth"]["Points"]] == [lab.parent]
        assert found["Verdict"]["Kind"] == kind, found["Verdict"]
        return found

    into = until(lambda: told(lab.client, CONTAINERS[0], "well", answered=True), 20)
    assert into["Verdict"]["Text"] == "no loss is seen; an end lies where no agent looks"
    assert until(lambda: told(lab.containers[0], CONTAINERS[1], "well", answered=True), 20)
    assert until(lambda: told(lab.client, NOBODY, "lost", answered=False), 20)
