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


def times(state: EngineState, action: str, at: int) -> list[int]:
    return [one.at for one in state.changes(Event("container", action, Actor("c"), at)) if isinstance(one, Change)]


def test_a_start_is_when_the_container_says_and_not_when_it_started_again(daemon: Daemon) -> None:
    state = EngineState(daemon)
    daemon.runs(FIRST)
    assert times(state, "start", AT + SECOND) == [AT]  # the event comes a while after the process
    daemon.runs(LATER)  # it ended and was started again before we looked
    assert times(state, "start", AT + SECOND) == [AT + SECOND]
    assert times(state, "start", 0) == [nanoseconds(LATER)]


def test_an_end_is_when_the_container_says_and_not_when_it_ended_again(daemon: Daemon) -> None:
    state = EngineState(daemon)
    for finished, expected in ((FIRST, AT), (LATER, AT + SECOND)):
        daemon.runs(FIRST)
        assert times(state, "start", AT) == [AT]
        daemon.ended(finished)
        assert times(state, "die", AT + SECOND) == [expected]
