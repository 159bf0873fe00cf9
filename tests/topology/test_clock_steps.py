"""A real probe of real changes while the clock steps: nothing is lost, and each moment of the past has one answer."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from contract.steps import T, interval, states
from support.graphhistory import flaws, moments
from support.graphoracle import Picture
from support.hublab import now_us
from support.netlab import Net
from support.probelab import ProbeLab

from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.reconcile import Reconciler
from topology.store.embedded.store import EmbeddedStore

pytestmark = pytest.mark.kernel

HOUR = 3_600_000_000
STORM = 150


class SteppingClock:
    """The real clock, and what it was set wrong by.

    Attributes:
        wrong: µs.
        erratic: makes each answer another step away.
    """

    def __init__(self) -> None:
        self.wrong = 0
        self.erratic: random.Random | None = None

    def __call__(self) -> int:
        if self.erratic is not None:
            self.wrong = self.erratic.choice((-HOUR, -1_000_000, -1, 0, 0, 1, 1_000_000, HOUR))
        return now_us() + self.wrong


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


StartLab = Callable[[], ProbeLab]


@pytest.fixture
def start_lab(net: Net, tmp_path: Path, clock: SteppingClock) -> Iterator[StartLab]:
    """Start the same again and again; each ends the one before."""
    made: list[ProbeLab] = []

    def start() -> ProbeLab:
        while made:
            made.pop().close()
        made.append(ProbeLab(net, tmp_path, clock))
        return made[-1]

    yield start
    while made:
        made.pop().close()


def latest(lab: ProbeLab) -> int:
    """When the graph became what it is, as the history counts time."""
    return moments(lab.store)[-1]


def assert_past(lab: ProbeLab, remembered: list[tuple[int, Picture]]) -> None:
    """The history's times only grow, and at each of the moments it has the picture that the oracle saw."""
    times = [when for when, _ in remembered]
    assert times == sorted(set(times))
    for when, picture in remembered:
        assert picture.differences(lab.seen(when).picture) == []
    assert lab.flaws() == []


def operations(net: Net, left: str, right: str) -> list[tuple[str, str]]:
    """Where, and words of ``ip``: each changes the picture; the last one leaves the device of the first gone."""
    a, b, c, x = (net.name(letter) for letter in "abcx")
    return [
        (left, f"link add {x} type bridge"),
        (left, f"link add {a} type veth peer name {b} netns {right}"),
        (left, f"link set {a} mtu 1400"),
        (left, f"addr add 10.7.0.1/24 dev {a}"),
        (left, f"link set {a} name {c}"),
        (left, f"link set {c} master {x}"),
        (left, f"link set {c} nomaster"),
        (left, f"link set {c} netns {right}"),
        (right, f"link del {c}"),
        (left, f"link del {x}"),
    ]


@pytest.mark.parametrize(
    "steps", [(0, -HOUR), (-HOUR, HOUR), (HOUR, 0, -HOUR), (0, -1, -1_000_000, -24 * HOUR)], ids=lambda steps: str(len(steps))
)
def test_clock_that_steps_between_changes_keeps_their_order(
    net: Net, start_lab: StartLab, clock: SteppingClock, steps: tuple[int, ...]
) -> None:
    left, right = (net.netns(suffix) for suffix in "pq")
    lab = start_lab()
    remembered: list[tuple[int, Picture]] = []
    for number, (where, words) in enumerate(operations(net, left, right)):
        clock.wrong = steps[number % len(steps)]
        net.ip(words, netns=where)
        picture = lab.settled()
        remembered.append((latest(lab), picture))

    assert_past(lab, remembered)


def test_clock_that_steps_while_nobody_looks_keeps_the_order_of_changes(
    net: Net, start_lab: StartLab, clock: SteppingClock
) -> None:
    """The last change before each restart may be an end: what is there now does not tell of its time."""
    left, right = (net.netns(suffix) for suffix in "pq")
    remembered: list[tuple[int, Picture]] = []
    for wrong in (HOUR, 0, -HOUR):
        clock.wrong = wrong
        lab = start_lab()
        for where, words in operations(net, left, right):
            net.ip(words, netns=where)
            picture = lab.settled()
            remembered.append((latest(lab), picture))

    assert_past(lab, remembered)


def test_clock_that_steps_all_the_time_within_a_storm_loses_nothing(
    net: Net, start_lab: StartLab, clock: SteppingClock
) -> None:
    left, right = (net.netns(suffix) for suffix in "pq")
    lab = start_lab()
    clock.erratic = random.Random(7)
    lines = [line for number in range(STORM) for line in storm_lines(net, number, right)]

    said = net.run("", "ip", "-n", left, "-batch", "-", stdin="\n".join(lines) + "\n")

    assert not said
    picture = lab.settled()
    remembered, ids = [(latest(lab), picture)], lab.seen().ids
    assert lab.flaws() == []
    clock.erratic, clock.wrong = None, -HOUR
    lab = start_lab()
    assert lab.seen().ids == ids
    net.ip(f"link del {net.name('v0')}", netns=left)
    picture = lab.settled()
    assert_past(lab, [*remembered, (latest(lab), picture)])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    with contextlib.closing(EmbeddedStore(tmp_path / "graph", clock=lambda: T)) as opened:
        yield opened


def test_what_a_source_with_a_slower_clock_adds_to_an_element_is_seen(store: EmbeddedStore) -> None:
    reconciler = Reconciler(store, "hub", lambda: T)
    reconciler.report(Report(Source("netlink", "host1"), T + HOUR, (node("a"),)))

    reconciler.report(Report(Source("docker", "host1"), T, (NodeFact("a", {"Container": "c"}, enriches=True),)))

    assert [one.state.metadata.get("Container") for one in store.current() if one.state] == ["c"]
    assert [one.updated_at - T for one in store.between(0, T + 2 * HOUR)] == [HOUR, HOUR + 1]


def test_edge_that_a_host_with_a_slower_clock_tells_of_is_there_as_soon_as_its_nodes_are(store: EmbeddedStore) -> None:
    here, there = Source("netlink", "host1"), Source("netlink", "host2")
    reconciler, edge = Reconciler(store, "hub", lambda: T), EdgeFact("a", "b", "layer2")
    reconciler.report(Report(here, T, (node("a"), edge)))
    reconciler.report(Report(there, T + HOUR, (node("b"),)))
    reconciler.report(Report(there, T + 2 * HOUR, gone=(node("b").id,)))
    reconciler.report(Report(here, T + 1, gone=(edge.id,)))
    reconciler.report(Report(there, T + 3 * HOUR, (node("b"),)))

    reconciler.report(Report(here, T + 2, (edge,)))

    assert states(store.current()).keys() == {node("a").id, node("b").id, edge.id}
    intervals = [interval(one) for one in store.between(0, T + 4 * HOUR, [edge.id])]
    assert intervals == [(HOUR, 2 * HOUR), (3 * HOUR, None)]
    assert flaws(store) == []


def node(tid: str) -> NodeFact:
    return NodeFact(tid, {"Name": tid, "Type": "veth"})


def storm_lines(net: Net, number: int, there: str) -> Iterator[str]:
    """A pair comes, changes its name and size, half of it moves away; four of five go."""
    first, second, renamed = (net.name(f"{letter}{number}") for letter in "vwr")
    yield f"link add {first} type veth peer name {second}"
    yield f"addr add 10.{number // 250}.{number % 250}.1/24 dev {second}"
    yield f"link set {second} mtu {1300 + number % 100}"
    yield f"link set {second} name {renamed}"
    yield f"link set {renamed} netns {there}"
    if number % 5:
        yield f"link del {first}"
