"""Two hubs that start on one graph."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from support.netlab import until
from support.ports import free_port

from skytrail.cli.hub import HubProcess
from skytrail.kernel.host import read_host
from skytrail.settings.tree import Hub, Settings
from topology.store.embedded.store import EmbeddedStore


class OneGraph(EmbeddedStore):
    """One that both have, in the place of JanusGraph."""

    shared = True

    def close(self) -> None:
        """The test ends it."""


def test_a_second_hub_starts_though_the_first_has_every_lease_and_they_can_ask_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, ports = OneGraph(tmp_path / "graph"), [free_port(), free_port()]
    monkeypatch.setattr("skytrail.cli.hub.open_store", lambda _: graph)
    with contextlib.ExitStack() as hubs:
        hubs.callback(EmbeddedStore.close, graph)
        both = []
        for number, port in enumerate(ports):
            folder = tmp_path / str(number)
            (folder / "graph").mkdir(parents=True)
            listen = Hub(listen="127.0.0.1:0", wire=f"127.0.0.1:{port}")
            hub = HubProcess(Settings(state_dir=str(folder), hub=listen), read_host(""))
            hub.start()
            hubs.callback(hub.stop)
            both.append(hub)
        for hub, port in zip(both, reversed(ports), strict=True):
            until(lambda hub=hub, port=port: shown(hub).get(f"127.0.0.1:{port}") == (True, ""), 20)


def shown(hub: HubProcess) -> dict[str, tuple[bool, str]]:
    """The other hubs, whether they can be asked, and why not."""
    peers: Any = hub._status()["Peers"]
    return {address: (one["IsConnected"], one["Failure"]) for address, one in peers["Outgoers"].items()}
