"""What events tell, and when that was, though containers are looked at later than it happened."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from skytrail.runtimes.container import Change, Network
from skytrail.runtimes.dockermessages import Actor, Event, Inspected, nanoseconds
from skytrail.runtimes.engine import EngineState

SECOND = 10**9
FIRST, LATER = "2026-11-26T15:00:00Z", "2026-11-26T15:00:07Z"
AT = nanoseconds(FIRST)


class Daemon:
    """Has one container, as it is when it is looked at."""

    def __init__(self) -> None:
        self.found = Inspected("c", name="/loop")

    def runs(self, since: str) -> None:
        self.found.state.running, self.found.state.started_at = True, since

    def ended(self, at: str) -> None:
        self.found.state.running, self.found.state.finished_at = False, at

    def look(self, identities: Iterable[str]) -> dict[str, Inspected]:
        return dict.fromkeys(identities, self.found)

    def read_networks(self) -> tuple[Network, ...]:
        return ()

    def pod_name(self, identity: str) -> str:
        return identity


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


def times(daemon: Daemon, state: EngineState, action: str, at: int) -> list[int]:
    event = Event("container", action, Actor("c"), at)
    found = daemon.found if state.about(event) else None
    return [one.at for one in state.tell(event, found) if isinstance(one, Change)]


def tell(state: EngineState, kind: str, action: str, at: int, found: Inspected | None) -> list[Change]:
    attributes = {"container": "c"} if kind == "network" else {}
    event = Event(kind, action, Actor("n" if kind == "network" else "c", attributes), at)
    assert state.about(event) == "c"
    return [one for one in state.tell(event, found) if isinstance(one, Change)]


def test_a_short_one_that_was_seen_as_it_joined_its_network_keeps_its_process(daemon: Daemon) -> None:
    state = EngineState(daemon)
    assert tell(state, "network", "connect", AT - SECOND, daemon.found) == []  # it does not run yet
    daemon.runs(FIRST)
    daemon.found.state.pid = 7
    [begun] = tell(state, "network", "connect", AT - SECOND, daemon.found)
    assert begun.container
    assert (begun.at, begun.container.pid) == (AT, 7)
    assert tell(state, "container", "start", AT + SECOND // 2, None) == []
    daemon.ended(LATER)
    assert tell(state, "container", "start", AT + SECOND // 2, daemon.found) == []
    [ended] = tell(state, "container", "die", AT + 8 * SECOND, daemon.found)
    assert (ended.container, ended.at) == (None, nanoseconds(LATER))


def test_a_start_is_when_the_container_says_and_not_when_it_started_again(daemon: Daemon) -> None:
    daemon.runs(FIRST)
    assert times(daemon, EngineState(daemon), "start", AT + SECOND) == [AT]  # the event comes a while after the process
    daemon.runs(LATER)  # it ended and was started again before we looked
    assert times(daemon, EngineState(daemon), "start", AT + SECOND) == [AT + SECOND]
    assert times(daemon, EngineState(daemon), "start", 0) == [nanoseconds(LATER)]


def test_an_end_is_when_the_container_says_and_not_when_it_ended_again(daemon: Daemon) -> None:
    state = EngineState(daemon)
    for finished, expected in ((FIRST, AT), (LATER, AT + SECOND)):
        daemon.runs(FIRST)
        assert times(daemon, state, "start", AT) == [AT]
        daemon.ended(finished)
        assert times(daemon, state, "die", AT + SECOND) == [expected]
