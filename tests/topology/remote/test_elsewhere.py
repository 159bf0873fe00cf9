"""Hubs tell each other by a store that they share where they are reached, and which agents report to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from support.netlab import until

from skytrail.wire.peers import Other
from topology.remote.elsewhere import Elsewhere
from topology.store.embedded.store import EmbeddedStore

HALF_HOUR = 1_800_000_000  # µs


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    made = EmbeddedStore(tmp_path / "graph")
    made.shared = True
    yield made
    made.close()


class Site:
    """Some hubs on one store, whose clocks may differ."""

    def __init__(self, store: EmbeddedStore, ahead: int = 0) -> None:
        self.now = 1_000_000_000
        self.known: list[Mapping[str, Other]] = [{}, {}]
        self.agents = [{f"tid/{n}": f"host{n}"} for n in range(2)]
        self.hubs = [self._hub(n, store, ahead) for n in range(2)]

    def _hub(self, n: int, store: EmbeddedStore, ahead: int) -> Elsewhere:
        def tell(others: Mapping[str, Other]) -> None:
            self.known[n] = others

        ours = Other(f"hub{n}", f"192.0.2.{n}:8083", f"netns{n}")
        return Elsewhere(store, ours, f"session{n}", lambda: dict(self.agents[n]), lambda: self.now + n * ahead, tell)


def told(n: int, **agents: str) -> Other:
    return Other(f"hub{n}", f"192.0.2.{n}:8083", f"netns{n}", agents or {f"tid/{n}": f"host{n}"})


def test_each_knows_the_others_until_these_go_or_are_not_heard_of(store: EmbeddedStore) -> None:
    site = Site(store)
    first, second = site.hubs
    first.look()
    assert site.known[0] == {}
    second.look()
    first.look()
    assert site.known == [{"session1": told(1)}, {"session0": told(0)}]
    site.now += 31_000_000
    first.look()
    assert site.known[0] == {}
    assert store.resources("hub").keys() == {"session0"}
    second.start()
    until(lambda: "session1" in store.resources("hub"))
    second.stop()
    assert store.resources("hub").keys() == {"session0"}


def test_hubs_whose_clocks_differ_know_each_other_and_what_is_renewed_no_more_is_forgotten(store: EmbeddedStore) -> None:
    site = Site(store, HALF_HOUR)
    for _ in range(5):
        for one in site.hubs:
            one.look()
        site.now += 10_000_000
    assert store.resources("hub").keys() == {"session0", "session1"}
    assert site.known == [{"session1": told(1)}, {"session0": told(0)}]
    for _ in range(5):  # the one that is ahead is gone
        site.hubs[0].look()
        site.now += 10_000_000
    assert site.known[0] == {}
    assert store.resources("hub").keys() == {"session0"}


def test_a_list_is_written_when_agents_come_or_go_or_it_is_old_and_not_at_each_look(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, written = Site(store), list[bytes | None]()
    real = store.put_resource

    def note(kind: str, id_: str, body: bytes | None) -> None:
        written.append(body)
        real(kind, id_, body)

    monkeypatch.setattr(store, "put_resource", note)
    for _ in range(6):  # seconds 0, 2 … 10
        site.hubs[0].look()
        site.now += 2_000_000
    assert len(written) == 2
    site.agents[0]["tid/new"] = "new"
    site.hubs[0].look()
    assert len(written) == 3
    site.hubs[1].look()
    assert site.known[1]["session0"].agents == {"tid/0": "host0", "tid/new": "new"}
    site.now -= HALF_HOUR  # the clock was set back
    site.hubs[0].look()
    assert len(written) == 5


def test_a_list_of_an_earlier_release_is_read_and_ours_is_by_one(store: EmbeddedStore) -> None:
    class Before(msgspec.Struct):
        hub: str
        agents: dict[str, str]
        until: int

    site = Site(store)
    store.put_resource("hub", "old", msgspec.json.encode(Before("hub9", {"tid/9": "host9"}, 7)))
    site.hubs[0].look()
    assert site.known[0] == {"old": Other("hub9", agents={"tid/9": "host9"})}
    assert msgspec.json.decode(store.resources("hub")["session0"], type=Before).agents == {"tid/0": "host0"}


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'{"hub": 5}'])
def test_a_list_that_cannot_be_read_hides_no_other_and_goes_once_it_is_not_renewed(store: EmbeddedStore, body: bytes) -> None:
    site = Site(store)
    site.hubs[1].look()
    store.put_resource("hub", "bad", body)
    for second in range(0, 30, 10):
        site.hubs[0].look()
        assert site.known[0] == {"session1": told(1)}
        site.hubs[1].look()
        assert site.known[1] == {"session0": told(0)}
        site.now += 10_000_000
        if second == 10:
            store.put_resource("hub", "bad", b"!" + body)  # it is renewed
    site.hubs[0].look()
    assert "bad" in store.resources("hub")
    site.now += 21_000_000
    site.hubs[0].look()
    assert "bad" not in store.resources("hub")
