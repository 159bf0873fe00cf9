"""``skytrail up`` while its JanusGraph is away: it starts, says so, exports on, and tells later all that happened meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import janusgraph
from support.hublab import Hub, now_us
from support.netlab import Net, until

from topology.store.janusgraph.store import JanusGraphStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

READY_SECONDS = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    """Not started yet."""
    made = janusgraph.Server(janusgraph.demand(), tmp_path / "server", "berkeleyje")
    yield made
    made.kill()


@pytest.fixture
def hub(server: Any, net: Net, tmp_path: Path) -> Iterator[Hub]:
    settings = {"topology.store": "janusgraph", "topology.janusgraph.url": server.url}
    made = Hub(tmp_path / "hub", settings)
    yield made
    made.close()


def waiting(hub: Hub) -> dict[str, str]:
    """What /readyz says it waits for."""
    try:
        _, body = hub.ask("/readyz")
    except OSError:
        return {}
    told: dict[str, str] = json.loads(body)["waiting"]
    return told


def history(url: str, name: str) -> list[tuple[int | None, int]]:
    """MTU and time of each revision of an interface in which that was another, and of its end (None)."""
    store = JanusGraphStore(url)
    ids = {one.id for one in store.feed(0, 100_000) if one.state and one.state.metadata.get("Name") == name}
    found: list[tuple[int | None, int]] = []
    for one in store.feed(0, 100_000):
        mtu = one.state.metadata.get("MTU") if one.state else None
        if one.id in ids and (not found or found[-1][0] != mtu):
            found.append((mtu, one.updated_at))
    store.close()
    return found


def test_what_happened_before_janusgraph_was_there_is_told_when_it_is(hub: Hub, server: Any, net: Net) -> None:
    netns, link = net.netns("away"), net.name("d0")
    hub.start(ready=False)
    until(lambda: waiting(hub).keys() == {"store"}, READY_SECONDS)
    assert "does not answer" in waiting(hub)["store"]
    moments = []
    for command in (f"link add {link} mtu 1400 type bridge", f"link set {link} mtu 1300", f"link set {link} mtu 1200",
                    f"link del {link}"):  # fmt: skip
        reports = hub.status()["reports"]
        moments.append(now_us())
        net.ip(command, netns=netns)
        until(lambda: hub.status()["reports"] > reports)  # noqa: B023 - called at once
    moments.append(now_us())
    assert [hub.ask(path)[0] for path in ("/healthz", "/metrics", "/readyz", "/api/v1/graph")] == [200, 200, 503, 503]

    server.start()
    until(lambda: waiting(hub) == {}, READY_SECONDS)
    until(lambda: hub.status()["reports_held"] == 0, READY_SECONDS)
    told = history(server.url, link)
    assert [mtu for mtu, _ in told] == [1400, 1300, 1200, None]
    for (_, at), begin, end in zip(told, moments, moments[1:], strict=False):
        assert begin <= at <= end
    assert netns in {node["Metadata"]["Name"] for node in hub.graph()["Nodes"]}
    hub.stop()
