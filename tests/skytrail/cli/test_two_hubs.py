"""Two hubs that start on one graph."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
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


def test_a_second_hub_starts_though_the_first_has_every_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = OneGraph(tmp_path / "graph")
    monkeypatch.setattr("skytrail.cli.hub.open_store", lambda _: graph)
    with contextlib.ExitStack() as hubs:
        hubs.callback(EmbeddedStore.close, graph)
        for number in range(2):
            folder = tmp_path / str(number)
            (folder / "graph").mkdir(parents=True)
            listen = Hub(listen="127.0.0.1:0", wire=f"127.0.0.1:{free_port()}")
            hub = HubProcess(Settings(state_dir=str(folder), hub=listen), read_host(""))
            hub.start()
            hubs.callback(hub.stop)
