"""Who may report as whom, and of which time: what an agent with a good certificate may not say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from skytrail.tid import host_tid
from skytrail.wire import wire_pb2 as wire
from skytrail.wire.security import OPEN, Peer, PeerError
from topology.elements import State
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.remote.admission import Admission
from topology.remote.codec import encode_report
from topology.remote.pieces import Pieces
from topology.remote.receiver import Agent, Receiver
from topology.remote.taking import Taking
from topology.store.embedded.store import EmbeddedStore

NOW = 1_800_000_000_000_000
PEER = Peer(("bad",), 1, 1e12)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    made = EmbeddedStore(tmp_path / "graph", clock=lambda: NOW)
    yield made
    made.close()


@pytest.mark.parametrize(
    "tid", ["host", "host/", "", "/", "host/good/netns/host", "host/good/", "host//", "other/a", "host/%6", "host/" + "x" * 300]
)
def test_what_others_ids_begin_with_or_what_is_on_a_host_is_no_hosts_id(tid: str, store: EmbeddedStore) -> None:
    """By such a one an agent could speak of all that is below it: of all hosts by 'host'."""
    with pytest.raises(PeerError, match="is no host ID"):
        Admission(OPEN, store).greet(PEER, "bad", tid)
    assert store.resources("agent_name") == {}


@pytest.mark.parametrize("host_id", ["0123abcd", "a b/c%", "\u00e4:\udcff", "x" * 255])
def test_the_id_of_a_host_is_one(host_id: str, store: EmbeddedStore) -> None:
    Admission(OPEN, store).greet(PEER, "bad", host_tid(host_id))
    assert store.resources("agent_name") == {host_tid(host_id): b"bad"}


def test_what_is_said_of_the_future_is_of_now_and_what_is_between_hosts_is_seen(store: EmbeddedStore) -> None:
    reconciler = Reconciler(store, "hub", lambda: NOW)
    receiver = Receiver("127.0.0.1:0", Taking(reconciler), store, lambda: NOW)

    def take(name: str, observed: int) -> None:
        said = Report(Source("host", name, tid=f"host/{name}"), observed, (NodeFact(f"host/{name}", {"Name": name}),))
        numbered = wire.Numbered(number=1, report=encode_report(said))
        agent = Agent(name, f"host/{name}", outbox="o", peer=Peer((name,), 1, 1e12))
        receiver._take_in(agent, Pieces(), wire.Reports(reports=[numbered]))
        assert agent.refused == 0

    take("good", NOW - 5000)
    take("other", NOW - 4000)
    take("bad", 4_102_444_700_000_000)  # in the year 2099
    linker = Source("linker/tunnel", "hub", service="hub")
    for far in ("bad", "other"):
        reconciler.report(Report(linker, NOW, (EdgeFact("host/good", f"host/{far}", "tunnel"),)))
    now: list[State] = [one.state for one in store.as_of(NOW + 10) if one.state]
    assert sorted(one.metadata.get("Name", "an edge") for one in now) == ["an edge", "an edge", "bad", "good", "other"]
    receiver._loop.close()
