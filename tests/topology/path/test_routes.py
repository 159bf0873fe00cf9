"""GET /api/v1/path on a real store: now, at a moment of the past, and what is wrong with a question."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pathgraph import Graph

from skytrail.http.app import create_app
from topology.path.routes import path_blueprint
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Batch, Change

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A link between two hosts that was there for 10 s, and is gone for 10 s."""
    made = EmbeddedStore(tmp_path / "graph", clock=lambda: NOW)
    graph = Graph()
    ends = [graph.device(graph.host(name), "eth0", "veth", f"10.0.0.{last}/24") for last, name in ((1, "a"), (2, "b"))]
    graph.pair(*ends)
    epoch = made.lease("w", "h/1", 30.0)
    changes = tuple(Change(one.id, NOW - 20 * SECOND, one.state) for one in graph.revisions)
    made.apply(Batch("w", epoch, 1, NOW, changes))
    made.apply(Batch("w", epoch, 2, NOW, (Change(graph.revisions[-1].id, NOW - 10 * SECOND, None),)))
    yield made
    made.close()


def ask(store: EmbeddedStore, query: str) -> tuple[int, dict[str, object]]:
    app = create_app("hub", dict, dict, [path_blueprint(store, lambda: NOW)])
    answer = app.test_client().get(f"/api/v1/path?{query}")
    return answer.status_code, answer.get_json()


@pytest.mark.parametrize(("at", "decision"), [("-15s", ""), ("now", "over a link that is not in the graph")])
def test_a_path_is_of_the_moment_that_is_asked_for(store: EmbeddedStore, at: str, decision: str) -> None:
    status, found = ask(store, f"src=a&dst=b&at={at}")
    assert status == 200
    hops = found["Hops"]
    assert isinstance(hops, list)
    assert [(hop["Host"], hop["Decision"]) for hop in hops][1:] == [("b", decision)]
    assert found["SameBack"] is True


def test_the_way_back_can_be_left_away(store: EmbeddedStore) -> None:
    assert ask(store, "src=a&dst=b&back=false&at=-15s")[1]["Back"] is None


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("dst=b", "src: say an address, as 10.0.0.1 or 10.0.0.1@host, or the name of a node"),
        ("src=a&dst=b&port=x", "port: 'x' is none: write a number up to 65535"),
        ("src=a&dst=b&port=99999", "port: 99999 is none: 1 to 65535"),
        ("src=a&dst=b&proto=nix", "proto: 'nix' is not known: use icmp, ipip, tcp, udp, ipv6, gre, icmp6, sctp"),
        ("src=a&dst=b&back=maybe", "back: 'maybe' is neither true nor false"),
        ("src=a&dst=b&mtu=9", "'mtu' is not known: use src, dst, port, proto, at, back"),
        ("src=a&dst=c&at=-15s", "dst: 'c' is no address, and no host, namespace or interface of the graph has that name"),
    ],
)
def test_what_is_wrong_is_one_clear_error(store: EmbeddedStore, query: str, reason: str) -> None:
    assert ask(store, query) == (400, {"error": reason, "status": 400})
