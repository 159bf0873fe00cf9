"""Counts by owner: none goes to another's, none is lost, whenever it is known whose a flow is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from exporters.flows.owners import Owners
from exporters.flows.points import Point, Points
from exporters.flows.table import ROW, Growth, Rows
from exporters.sockets.known import Whose
from exporters.sockets.processes import NOBODY, Process

SLOTS, COOKIES, MOST = 6, 5, 3
_TCP, _UDP = 6, 17


class Flows:
    """Owners, fed with flows of the test's own, in slots that are used again; cookie n is of the n-th process."""

    def __init__(self, most: int = MOST) -> None:
        self.now = 100.0
        self.processes: dict[int, Process] = {}
        self.groups: dict[str, Mapping[str, Mapping[str, str]]] = {}
        self.receivers: dict[int, tuple[int, int]] = {}  # by id of the flow
        points = Points(zero=Point("eth7", "blue", "tid"))
        points.add(Point("eth8", "red", "tid8"))
        self.owners = Owners(points, self._whose, self._sockets, self._described, most, lambda: self.now)
        self.rows = np.zeros(SLOTS, ROW)

    def _whose(self, cookies: NDArray[Any]) -> Whose:
        return [NOBODY, *self.processes.values()], np.array(
            [[0, *self.processes].index(cookie) if cookie in self.processes else 0 for cookie in cookies.tolist()], np.intp
        )

    def _described(self, cgroup: str) -> Mapping[str, Mapping[str, str]]:
        return self.groups.get(cgroup, {})

    def _sockets(self, rows: Rows) -> NDArray[np.uint64]:
        told = rows["flow"]["socket"].copy()
        for row, number in enumerate(rows["id"].tolist()):
            told[row] = np.where(told[row] == 0, self.receivers.get(number, (0, 0)), told[row])
        return told

    def _records(self, slots: NDArray[np.intp]) -> Rows:
        return self.rows[slots]

    def grow(self, *grown: tuple[int, tuple[int, int], tuple[int, int]], proto: int = _TCP, point: int = 0) -> None:
        """Flows, by slot, grow by packets of 100 bytes; with the cookies of both ends."""
        slots = np.array([slot for slot, _, _ in grown], np.intp)
        packets = np.array([more for _, more, _ in grown], np.uint64).reshape(-1, 2)
        for slot, _, cookies in grown:
            self.rows["flow"]["socket"][slot] = cookies
        self.rows["key"]["point"][slots], self.rows["key"]["tags"][slots] = point, proto << 8
        size = packets * np.uint64(100)
        self.rows["flow"]["dir"]["packets"][slots] += packets
        self.rows["flow"]["dir"]["bytes"][slots] += size
        flows, protos = self.rows["flow"][slots], np.full(len(slots), proto, np.uint8)
        self.owners.grew(Growth(slots, flows, protos, packets, size, lambda some: self.rows[slots[some]], self._records))

    def end(self, *slots: int) -> None:
        self.owners.ended(np.array(slots, np.intp), self._records)
        self.rows[list(slots)] = np.zeros(1, ROW)

    def told(self, name: str = "skytrail_owner_flow_packets_total") -> dict[tuple[str, ...], float]:
        [family] = [family for family in self.owners.families(0) if family.metric.name == name]
        values: dict[tuple[str, ...], float] = dict(family.samples)  # type: ignore[arg-type] - no histogram
        assert len(values) == len(family.samples)
        return values


CURL, NGINX = Process(7, "curl"), Process(8, "nginx", cgroup="/pod")
AT, TCP = ("eth7", "blue"), ("tcp",)


def test_a_packet_is_its_senders_and_its_receivers() -> None:
    flows = Flows()
    flows.processes = {1: CURL, 2: NGINX}
    flows.groups["/pod"] = {"Pod": {"UID": "u-1", "Name": "web-0", "Namespace": "shop"}, "Container": {"ID": "ab", "Name": "c"}}
    flows.grow((0, (3, 5), (1, 2)), (1, (7, 0), (2, 0)))
    flows.grow((0, (1, 0), (1, 2)))
    curl, web = ("process", "curl"), ("pod", "shop/web-0")
    assert flows.told() == {
        (*AT, "transmit", *TCP, *curl): 4,
        (*AT, "receive", *TCP, *curl): 5,
        (*AT, "transmit", *TCP, *web): 5 + 7,
        (*AT, "receive", *TCP, *web): 4,
    }
    assert flows.told("skytrail_owner_flow_bytes_total") == {key: 100 * value for key, value in flows.told().items()}
    assert flows.told("skytrail_owner_flows_total") == {(*AT, *TCP, *curl): 1, (*AT, *TCP, *web): 2}


def test_what_a_flow_carried_before_its_owner_was_known_is_counted_then() -> None:
    flows = Flows()
    flows.grow((0, (3, 0), (1, 0)))
    flows.grow((0, (4, 0), (1, 0)))
    assert flows.told() == {}
    flows.processes = {1: CURL}
    flows.now += 6  # asked again though nothing comes of it
    flows.grow()
    assert flows.told() == {(*AT, "transmit", *TCP, "process", "curl"): 7}
    flows.grow((0, (1, 2), (1, 0)))
    flows.end(0)
    assert flows.told() == {
        (*AT, "transmit", *TCP, "process", "curl"): 8,
        (*AT, "receive", *TCP, "process", "curl"): 2,
    }


def test_a_flow_that_ends_is_counted_before_it_is_forgotten_and_its_slot_is_another_s_then() -> None:
    flows = Flows()
    flows.grow((0, (3, 0), (1, 0)))
    flows.processes = {1: CURL}
    flows.end(0)
    flows.grow((0, (9, 0), (0, 0)))  # of nobody's
    assert flows.told() == {(*AT, "transmit", *TCP, "process", "curl"): 3}


def test_the_name_of_a_new_container_is_waited_for() -> None:
    flows = Flows()
    flows.processes = {1: Process(5, "java", cgroup="/c"), 2: Process(6, "java", cgroup="/d")}
    for group in ("c", "d"):
        flows.groups[f"/{group}"] = {"Container": {"ID": group * 64}}
    flows.grow((0, (3, 0), (1, 0)), (1, (5, 0), (2, 0)))
    assert flows.told() == {}
    flows.groups["/c"] = {"Container": {"ID": "c" * 64, "Name": "shop"}}
    flows.now += 6
    flows.grow()
    assert flows.told() == {(*AT, "transmit", *TCP, "container", "shop"): 3}
    flows.now += 6  # nobody tells it
    flows.grow()
    assert flows.told()[*AT, "transmit", *TCP, "container", "d" * 12] == 5


def test_a_flow_that_ends_while_its_container_has_no_name_yet_is_its_id_s() -> None:
    flows = Flows()
    flows.processes, flows.groups = {1: Process(5, "java", cgroup="/c")}, {"/c": {"Pod": {"UID": "u-1"}}}
    flows.grow((0, (3, 0), (1, 0)))
    flows.end(0)
    assert flows.told() == {(*AT, "transmit", *TCP, "pod", "u-1"): 3}


def test_an_end_that_only_receives_is_asked_for_where_it_is_datagrams() -> None:
    flows = Flows()
    flows.processes = {1: CURL, 2: Process(3, "rsyslogd", cgroup="/u")}
    flows.groups["/u"] = {"Unit": {"Name": "rsyslog.service"}}
    flows.rows["id"][:2] = 16, 17
    flows.receivers = {16: (0, 2), 17: (0, 2)}
    flows.grow((0, (3, 0), (1, 0)), proto=_UDP)
    flows.grow((1, (5, 0), (1, 0)), proto=_TCP)
    assert flows.told() == {
        (*AT, "transmit", "udp", "process", "curl"): 3,
        (*AT, "receive", "udp", "unit", "rsyslog.service"): 3,
        (*AT, "transmit", "tcp", "process", "curl"): 5,
    }


def test_a_flow_between_two_ends_of_one_owner_is_one_flow() -> None:
    flows = Flows()
    flows.processes = {1: CURL, 2: Process(9, "curl")}
    flows.grow((0, (3, 5), (1, 2)), (1, (1, 0), (1, 0)))
    flows.grow((1, (0, 1), (1, 2)))
    assert flows.told("skytrail_owner_flows_total") == {(*AT, *TCP, "process", "curl"): 2}
    assert sum(flows.told().values()) == 2 * (3 + 5 + 1 + 1)


def test_series_of_capture_points_and_owners_that_are_gone_disappear() -> None:
    flows = Flows()
    flows.processes = {1: CURL, 2: Process(9, "wget")}
    flows.grow((0, (3, 0), (1, 0)))
    flows.grow((1, (4, 0), (1, 0)), point=1)
    flows.end(1)
    flows.owners.forget({1})
    assert flows.told() == {(*AT, "transmit", *TCP, "process", "curl"): 3}
    for hour in (1, 2, 3):  # of curl a flow lives, however quiet it is; wget comes again and again
        flows.now += 3500
        flows.grow((2, (1, 0), (2, 0)))
        flows.end(2)
        assert flows.told() == {
            (*AT, "transmit", *TCP, "process", "curl"): 3,
            (*AT, "transmit", *TCP, "process", "wget"): hour,
        }
    flows.end(0)
    flows.now += 200
    flows.grow()
    assert flows.told() == {(*AT, "transmit", *TCP, "process", "wget"): 3}
    flows.now += 3601
    flows.grow()
    assert flows.told() == {}


def test_a_crowd_makes_those_leave_earlier_that_are_gone() -> None:
    flows = Flows()
    for cookie in range(1, 6):
        flows.processes[cookie] = Process(cookie, f"p{cookie}")
    flows.grow(*((slot, (1, 0), (slot + 1, 0)) for slot in range(4)))
    assert flows.told()[*AT, "transmit", *TCP, "", "overflow"] == 1
    assert flows.owners.capped == 1
    flows.end(0, 1, 2, 3)
    flows.now += 400
    flows.grow()
    flows.grow((0, (2, 0), (5, 0)))
    assert flows.told() == {(*AT, "transmit", *TCP, "", "overflow"): 1, (*AT, "transmit", *TCP, "process", "p5"): 2}


class OwnedMachine(RuleBasedStateMachine):
    """Flows come, grow and go; what is known of sockets comes at any time; at the end all is known."""

    def __init__(self) -> None:
        super().__init__()
        self.flows = Flows(most=COOKIES)
        self.cookies: dict[int, tuple[int, int]] = {}
        self.sent = {cookie: [0, 0] for cookie in range(1, COOKIES + 1)}  # sent and received packets, of flows that live
        self.parts: dict[int, list[tuple[int, int]]] = {}

    @rule(
        slot=st.integers(0, SLOTS - 1),
        cookies=st.tuples(st.integers(0, COOKIES), st.integers(0, COOKIES)),
        more=st.tuples(st.integers(0, 9), st.integers(0, 9)),
        wait=st.sampled_from([0.0, 1.0, 6.0, 70.0]),
    )
    def grow(self, slot: int, cookies: tuple[int, int], more: tuple[int, int], wait: float) -> None:
        self.flows.now += wait
        cookies = self.cookies.setdefault(slot, cookies)
        self.parts.setdefault(slot, []).append(more)
        self.flows.grow((slot, more, cookies))

    @rule(cookie=st.integers(1, COOKIES))
    def learn(self, cookie: int) -> None:
        self.flows.processes[cookie] = Process(cookie, f"p{cookie}")

    @rule(slot=st.integers(0, SLOTS - 1))
    def end(self, slot: int) -> None:
        if slot not in self.cookies:
            return
        self.flows.end(slot)
        cookies, parts = self.cookies.pop(slot), self.parts.pop(slot)
        for end in (0, 1):
            if cookies[end] in self.flows.processes:
                self.sent[cookies[end]][0] += sum(part[end] for part in parts)
                self.sent[cookies[end]][1] += sum(part[1 - end] for part in parts)

    @invariant()
    def nobody_has_what_is_another_s(self) -> None:
        """At most what flows that live carried is not counted yet."""
        told = self.flows.told()
        for cookie, counts in self.sent.items():
            for direction, name in enumerate(("transmit", "receive")):
                living = sum(
                    sum(part[end if direction == 0 else 1 - end] for part in self.parts[slot])
                    for slot, cookies in self.cookies.items()
                    for end in (0, 1)
                    if cookies[end] == cookie
                )
                got = told.get((*AT, name, *TCP, "process", f"p{cookie}"), 0)
                assert counts[direction] <= got <= counts[direction] + living

    def teardown(self) -> None:
        for cookie in self.sent:
            self.learn(cookie)
        for slot in range(SLOTS):
            self.end(slot)
        self.nobody_has_what_is_another_s()


TestOwned = OwnedMachine.TestCase
TestOwned.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
