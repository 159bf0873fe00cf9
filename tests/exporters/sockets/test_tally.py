"""What becomes of sockets, counted: each event once, under where, whose and how."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.bpf import sockets
from exporters.bpf.sockets import EVENT, RECORD
from exporters.sockets import metrics
from exporters.sockets.tally import OVERFLOW, Tally, end_of, failure_of
from skytrail.metrics import Histogram, Metric

NETNS = {7: "blue", 8: ""}


def event(kind: int, netns: int = 7, comm: bytes = b"curl", **more: Any) -> NDArray[Any]:
    made = np.zeros(1, EVENT)
    made["kind"], made["ends"]["netns"], made["owner"]["comm"], made["ends"]["proto"] = kind, netns, comm, 6
    for key, value in more.items():
        if key == "state":
            made["ends"][key] = value
        elif key in ("rtt", "retransmits"):
            made["tcp"][key] = value
        else:
            made[key] = value
    return made


def counted(tally: Tally, metric: Metric) -> dict[tuple[str, ...], Any]:
    [family] = [one for one in tally.families(NETNS.__getitem__) if one.metric is metric]
    return dict(family.samples)


def test_each_event_is_counted_once_where_it_belongs() -> None:
    tally = Tally(10, 0)
    tally.add(
        np.concatenate(
            [
                *[event(sockets.CONNECTED, latency=60_000)] * 3,
                event(sockets.CONNECTED, netns=8, latency=2 * 10**9),
                event(sockets.ACCEPTED, comm=b"nginx"),
                event(sockets.FAILED, error=errno.ECONNREFUSED, latency=5),
                event(sockets.FAILED, error=errno.ETIMEDOUT),
                event(sockets.CLOSED, state=9, rtt=300),
                event(sockets.CLOSED, state=1, comm=b"nginx"),
                event(sockets.CREATED),
            ]
        )
    )
    tally.add(event(sockets.CONNECTED, latency=60_000))
    assert counted(tally, metrics.CONNECTS) == {("blue", "curl"): 4, ("", "curl"): 1}
    assert counted(tally, metrics.ACCEPTS) == {("blue", "nginx"): 1}
    assert counted(tally, metrics.FAILURES) == {("blue", "curl", "refused"): 1, ("blue", "curl", "timeout"): 1}
    assert counted(tally, metrics.ENDS) == {("blue", "curl", "closed"): 1, ("blue", "nginx", "aborted"): 1}
    latencies = counted(tally, metrics.CONNECT_SECONDS)
    blue, own = latencies["blue",], latencies["",]
    assert isinstance(blue, Histogram)
    assert [(bound, count) for bound, count in zip(metrics.CONNECT_SECONDS.buckets, blue.counts, strict=False) if count] == [
        (0.0001, 4)
    ]
    assert blue.sum == pytest.approx(240e-6)
    assert own.counts[metrics.CONNECT_SECONDS.buckets.index(2.5)] == 1
    assert counted(tally, metrics.RTT_SECONDS)["blue",].sum == pytest.approx(300e-6)


def test_an_observation_on_a_bound_is_in_its_bucket() -> None:
    tally = Tally(10, 0)
    tally.add(event(sockets.CONNECTED, latency=100_000))
    assert counted(tally, metrics.CONNECT_SECONDS)["blue",].counts[metrics.CONNECT_SECONDS.buckets.index(0.0001)] == 1


def test_names_beyond_those_that_are_told_apart_are_one() -> None:
    tally = Tally(2, 0)
    tally.add(np.concatenate([event(sockets.CONNECTED, comm=f"p{number}".encode()) for number in range(5)]))
    told = counted(tally, metrics.CONNECTS)
    assert len(told) == 3
    assert told["blue", "overflow"] == 3
    assert sum(told.values()) == 5


def test_a_namespace_that_is_gone_is_told_of_no_more() -> None:
    tally = Tally(10, 0)
    tally.add(np.concatenate([event(sockets.CONNECTED, latency=1), event(sockets.CONNECTED, netns=8, latency=1)]))
    tally.forget({8})
    assert counted(tally, metrics.CONNECTS) == {("", "curl"): 1}
    assert counted(tally, metrics.CONNECT_SECONDS).keys() == {("",)}


@pytest.mark.parametrize(
    ("error", "before", "how"),
    [
        (0, 9, "closed"), (0, 5, "closed"), (0, 11, "closed"), (0, 1, "aborted"), (0, 8, "aborted"),
        (errno.ECONNRESET, 1, "reset"), (errno.EPIPE, 8, "reset"), (errno.ETIMEDOUT, 1, "timeout"), (errno.ENOMEM, 1, "enomem"),
    ],
)  # fmt: skip
def test_how_a_connection_ended(error: int, before: int, how: str) -> None:
    assert end_of(error, before) == how


def test_why_a_connect_failed() -> None:
    errors = (0, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EPERM, errno.EADDRNOTAVAIL, 9999)
    assert [failure_of(error) for error in errors] == [
        "abandoned", "refused", "unreachable", "prohibited", "eaddrnotavail", "9999",
    ]  # fmt: skip


def test_what_is_sent_again_is_counted_once_whether_a_pass_tells_of_it_or_the_end() -> None:
    tally = Tally(10, 0)

    def of_a_pass(cookie: int, retransmits: int, comm: bytes = b"curl") -> NDArray[Any]:
        made = np.zeros(1, RECORD)
        made["cookie"], made["tcp"]["retransmits"], made["owner"]["comm"], made["ends"]["netns"] = cookie, retransmits, comm, 7
        return made

    tally.retransmitted(np.concatenate([of_a_pass(1, 3), of_a_pass(2, 1, b"nginx"), of_a_pass(3, 0)]), ended=False)
    tally.retransmitted(np.concatenate([of_a_pass(1, 5), of_a_pass(2, 1, b"nginx")]), ended=False)
    tally.retransmitted(np.zeros(0, RECORD), ended=False)  # its process has closed it: it goes on alone
    tally.add(np.concatenate([event(sockets.CLOSED, cookie=1, retransmits=9), event(sockets.CLOSED, cookie=4, retransmits=2)]))
    tally.add(event(sockets.FAILED, cookie=5, retransmits=6, comm=b"ssh"))
    assert counted(tally, metrics.RETRANSMITS) == {("blue", "curl"): 11, ("blue", "nginx"): 1, ("blue", "ssh"): 6}


def test_programs_that_do_nothing_any_more_make_room() -> None:
    now = [0.0]
    tally = Tally(2, 0, lambda: now[0])
    tally.add(np.concatenate([event(sockets.CONNECTED, comm=b"one"), event(sockets.CONNECTED, comm=b"two")]))
    now[0] = 200.0
    tally.add(np.concatenate([event(sockets.CONNECTED, comm=b"two"), event(sockets.CONNECTED, comm=b"three")]))
    assert counted(tally, metrics.CONNECTS) == {("blue", "one"): 1, ("blue", "two"): 2, ("blue", OVERFLOW): 1}
    now[0] = 400.0
    tally.add(event(sockets.CONNECTED, comm=b"three"))
    assert counted(tally, metrics.CONNECTS) == {("blue", "two"): 2, ("blue", "three"): 1, ("blue", OVERFLOW): 1}


def test_other_protocols_are_not_counted_as_tcp() -> None:
    sctp = event(sockets.CONNECTED)
    sctp["ends"]["proto"] = 132
    tally = Tally(10, 0)
    tally.add(np.concatenate([sctp, event(sockets.CONNECTED)]))
    assert counted(tally, metrics.CONNECTS) == {("blue", "curl"): 1}
