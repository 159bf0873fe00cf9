"""What the collector makes of namespaces that fail, go, or are too many; real ones are read in tests/integration."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporters.interfaces import metrics
from exporters.interfaces.collector import InterfacesCollector
from exporters.interfaces.reading import Reading
from exporters.interfaces.textfiles import Netstat
from skytrail.errors import RunError
from skytrail.http.prometheus import Exposition
from skytrail.kernel.namespaces import Namespace, NamespaceGoneError
from skytrail.kernel.netlink import Answer, NetlinkDecodeError, attribute, integer_attribute
from skytrail.metrics import Family, Kind, Metric

NONE_UNREAD = {(reason,): 0 for reason in ("gone", "refused", "malformed", "late")}
SNMP = b"Tcp: ActiveOpens\nTcp: 5\n"


def link(ifindex: int, name: str, kind: str = "", **more: bytes) -> bytes:
    """The payload of RTM_NEWLINK."""
    info = attribute(18, attribute(1, kind.encode() + b"\0")) if kind else b""
    header = struct.pack("=BxHiII", 0, 1, ifindex, 1, 0)
    return header + attribute(3, name.encode() + b"\0") + integer_attribute(4, 1500) + info + b"".join(more.values())


def counted(ifindex: int, counters: Iterable[int]) -> bytes:
    """The payload of RTM_NEWSTATS."""
    values = list(counters)
    return struct.pack("=BxxxII", 0, ifindex, 1) + attribute(1, struct.pack(f"={len(values)}Q", *values))


def answer(*payloads: bytes) -> Answer:
    ends = [sum(map(len, payloads[: number + 1])) for number in range(len(payloads))]
    return Answer(b"".join(payloads), [0, *ends[:-1]][: len(ends)], ends)


def namespace(cookie: int, name: str | None = None, *, own: bool = False) -> Namespace:
    return Namespace(cookie, cookie + 1000, 4, name, own=own)


def values(families: Iterable[Family], metric: Metric) -> dict[tuple[str, ...], Any]:
    (found,) = [family for family in families if family.metric is metric]
    assert len(dict(found.samples)) == len(found.samples)
    return dict(found.samples)


class World:
    """Namespaces, and what reading each of them gives or raises."""

    def __init__(self, told: Mapping[Namespace, Reading | Exception]) -> None:
        self.told = dict(told)

    def read(self, wanted: Namespace) -> Reading:
        found = self.told[wanted]
        if isinstance(found, Exception):
            raise found
        return found

    def collector(self, **more: Any) -> InterfacesCollector:
        return InterfacesCollector(
            self.read, lambda: list(self.told), lambda: b"", **{"netstat": Netstat(["*"]), "most": 5000, **more}
        )


def one(name: str = "eth0", kind: str = "veth") -> Reading:
    return Reading(answer(link(2, name, kind)), answer(counted(2, range(100, 125))), files={"snmp": SNMP})


def test_each_namespace_has_the_label_that_flows_have() -> None:
    world = World({namespace(1, own=True): one(), namespace(2, "blue"): one(), namespace(3): one()})

    families = world.collector().families()

    assert set(values(families, metrics.MTU)) == {
        ("eth0", "", "veth"),
        ("eth0", "blue", "veth"),
        ("eth0", "inode:1003", "veth"),
    }
    assert set(values(families, metrics.NETSTAT)) == {(netns, "Tcp", "ActiveOpens") for netns in ("", "blue", "inode:1003")}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (PermissionError(errno.EPERM, os.strerror(errno.EPERM)), "refused"),
        (TimeoutError("timed out"), "refused"),
        (RunError("the namespace worker gave no result within 30 s: see the log"), "refused"),
        (NetlinkDecodeError("netlink header cut at byte 3 of 9"), "malformed"),
    ],
)
def test_a_namespace_that_cannot_be_read_is_counted_and_logged_once(failure: Exception, reason: str) -> None:
    bad, good = namespace(2, "bad"), namespace(3, "good")
    world = World({bad: failure, good: one()})
    collector = world.collector()

    with capture_logs() as logs:
        for _ in range(3):
            families = collector.families()

    assert set(values(families, metrics.MTU)) == {("eth0", "good", "veth")}
    assert values(families, metrics.UNREAD) == {**NONE_UNREAD, (reason,): 3}
    assert [(entry["namespace"], entry["error"]) for entry in logs] == [("bad", str(failure))]

    world.told[bad] = one()
    with capture_logs() as logs:
        assert len(values(collector.families(), metrics.MTU)) == 2
        world.told[bad] = failure
        collector.families()
    assert len(logs) == 1  # again, since it could be read meanwhile


def test_one_that_is_slow_holds_up_nobody_for_longer_than_its_turn() -> None:
    told = {namespace(number, f"n{number}"): one() for number in range(1, 5)}
    now = [0.0]

    def read(wanted: Namespace) -> Reading:
        now[0] += 100.0 if wanted.name == "n2" else 0.1
        return told[wanted]

    collector = InterfacesCollector(
        read, lambda: list(told), lambda: b"", netstat=Netstat(["*"]), most=9, patience=5.0, clock=lambda: now[0]
    )

    with capture_logs() as logs:
        families = collector.families()

    assert {labels[1] for labels in values(families, metrics.MTU)} == {"n1", "n2"}
    assert values(families, metrics.UNREAD) == {**NONE_UNREAD, ("late",): 2}
    assert {entry["error"] for entry in logs} == {"the others took more than 5 s"}


def test_one_that_is_gone_meanwhile_is_counted_and_no_word_lost() -> None:
    gone = namespace(2, "gone")
    collector = World({gone: NamespaceGoneError(gone)}).collector()

    with capture_logs() as logs:
        families = collector.families()

    assert (values(families, metrics.UNREAD)[("gone",)], logs) == (1, [])


@pytest.mark.parametrize("part", ["links", "statistics", "qdiscs", "neighbours", "speeds"])
def test_a_malformed_answer_spoils_no_other_namespace(part: str) -> None:
    changes: dict[str, Any] = {part: answer(link(2, "eth0")[:3])}
    broken = replace(one(), **changes)
    collector = World({namespace(2, "bad"): broken, namespace(3, "good"): one()}).collector()

    with capture_logs() as logs:
        collector.families()
        families = collector.families()

    assert set(values(families, metrics.MTU)) == {("eth0", "good", "veth")}
    assert set(values(families, metrics.NETSTAT)) == {("good", "Tcp", "ActiveOpens")}
    assert values(families, metrics.UNREAD)[("malformed",)] == 2
    assert [entry["namespace"] for entry in logs] == ["bad"]


def test_what_is_gone_is_told_of_no_more() -> None:
    first, second = namespace(2, "first"), namespace(3, "second")
    world = World({first: Reading(answer(link(2, "a"), link(3, "b"))), second: one()})
    collector = world.collector()
    assert len(values(collector.families(), metrics.MTU)) == 3

    world.told = {first: Reading(answer(link(3, "c")))}

    families = collector.families()
    names = {labels[0] for family in families if "device" in family.metric.labels for labels, _ in family.samples}
    assert names == {"c"}
    assert values(families, metrics.NETSTAT) == {}


def test_of_two_namespaces_with_one_name_the_later_is_told() -> None:
    told = {namespace(2, "blue"): one("old"), namespace(3, "blue"): one("new")}

    families = World(told).collector().families()

    assert set(values(families, metrics.MTU)) == {("new", "blue", "veth")}


def test_interfaces_beyond_the_most_are_counted() -> None:
    told = {namespace(number, f"n{number}"): one() for number in range(1, 6)}

    families = World(told).collector(most=3).families()

    assert len(values(families, metrics.MTU)) == len(values(families, metrics.MULTICAST)) == 3
    assert values(families, metrics.LEFT_OUT) == {(): 2}


def test_counters_are_where_the_kernel_has_them() -> None:
    """struct rtnl_link_stats64 (linux/if_link.h): the n-th counter is 100 + n here."""
    families = World({namespace(1, own=True): one(kind="")}).collector().families()
    where = ("eth0", "", "device")

    assert values(families, metrics.PACKETS) == {(*where, "receive"): 100, (*where, "transmit"): 101}
    assert values(families, metrics.BYTES) == {(*where, "receive"): 102, (*where, "transmit"): 103}
    assert values(families, metrics.ERRORS) == {(*where, "receive"): 104, (*where, "transmit"): 105}
    assert values(families, metrics.DROPS) == {(*where, "receive"): 106, (*where, "transmit"): 107}
    assert values(families, metrics.MULTICAST) == {where: 108}
    assert values(families, metrics.COMPRESSED) == {(*where, "receive"): 121, (*where, "transmit"): 122}
    assert {labels[3:]: value for labels, value in values(families, metrics.REASONS).items()} == {
        ("transmit", "collision"): 109,
        ("receive", "length"): 110,
        ("receive", "overrun"): 111,
        ("receive", "crc"): 112,
        ("receive", "frame"): 113,
        ("receive", "fifo"): 114,
        ("receive", "missed"): 115,
        ("transmit", "aborted"): 116,
        ("transmit", "carrier"): 117,
        ("transmit", "fifo"): 118,
        ("transmit", "heartbeat"): 119,
        ("transmit", "window"): 120,
        ("receive", "no_handler"): 123,
        ("receive", "other_host"): 124,
    }


def test_a_virtual_interface_tells_only_of_what_happened_a_device_of_all() -> None:
    counters = [0] * 10 + [3] + [0] * 14
    told = Reading(answer(link(2, "v", "veth"), link(3, "eth0")), answer(counted(2, counters), counted(3, counters)))

    found = values(World({namespace(1, own=True): told}).collector().families(), metrics.REASONS)

    assert {labels: value for labels, value in found.items() if labels[0] == "v"} == {("v", "", "veth", "receive", "length"): 3}
    assert len([labels for labels in found if labels[0] == "eth0"]) == 14


def test_an_older_kernel_counts_less() -> None:
    """Before Linux 4.6 there were 23 counters."""
    told = Reading(answer(link(2, "eth0")), answer(counted(2, range(100, 123))))

    families = World({namespace(1, own=True): told}).collector().families()

    assert values(families, metrics.PACKETS)["eth0", "", "device", "receive"] == 100
    assert values(families, metrics.REASONS)["eth0", "", "device", "receive", "no_handler"] == 0


def test_a_name_that_is_no_text_can_be_told_by_every_output() -> None:
    header, name = link(2, "")[:16], attribute(3, b"eth\xff\0")
    world = World({namespace(1, own=True): Reading(answer(header + name))})

    body, _ = Exposition([world.collector().families]).render("text/plain")

    assert 'skytrail_interface_up{device="eth\\\\xff",kind="device",netns=""} 0.0' in body.decode()


def test_what_the_dump_of_links_does_not_know_is_left_out() -> None:
    """An interface that came between the two dumps."""
    told = Reading(answer(link(2, "a")), answer(counted(2, range(25)), counted(9, range(25))))

    families = World({namespace(1, own=True): told}).collector().families()

    assert set(values(families, metrics.MULTICAST)) == {("a", "", "device")}


@pytest.mark.parametrize("metric", metrics.DECLARED, ids=lambda metric: metric.name)
def test_each_metric_is_given_with_the_labels_that_it_declares(metric: Metric) -> None:
    families = list(World({namespace(1, own=True): one()}).collector().families())

    (family,) = [family for family in families if family.metric is metric]
    assert all(len(labels) == len(metric.labels) for labels, _ in family.samples)
    assert len({found.metric.name for found in families}) == len(families)
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
