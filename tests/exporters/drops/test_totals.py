"""Totals under names that come, change and go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.bpf import drops
from exporters.drops import metrics, totals
from exporters.drops.places import Places
from exporters.drops.reasons import Reasons
from exporters.drops.totals import PATIENCE, Totals

REASONS = Reasons({12: "NETFILTER_DROP", 3: "NO_SOCKET"}, {1: "MAC80211_UNUSABLE"}, {1: "NO_SOCKET"})
KNOWN = Places({7: "blue"}, {(7, 2): "eth0", (7, 3): "eth1"})

Row = tuple[int, int, int, int, int]
"""netns, ifindex, kind, reason, count."""


@pytest.fixture
def made() -> Totals:
    return Totals(REASONS, 5)


def add(made: Totals, *rows: Row, now: float = 0.0) -> None:
    places: NDArray[Any] = np.zeros(len(rows), drops.PLACE)
    for at, name in enumerate(("netns", "ifindex", "kind", "reason")):
        places[name] = [row[at] for row in rows]
    made.add(places, np.array([row[4] for row in rows], np.uint64), now)


def samples(made: Totals, name: str = metrics.PACKETS_DROPPED.name) -> dict[tuple[str, ...], float]:
    (family,) = (family for family in made.families() if family.metric.name == name)
    assert family.start == 5
    return dict(family.samples)  # type: ignore[arg-type]


def test_names_are_those_of_now(made: Totals) -> None:
    add(made, (7, 2, drops.PACKET, 12, 4), (7, 2, drops.PACKET, 3, 1))
    made.name(KNOWN, 0.0)
    add(made, (7, 2, drops.PACKET, 12, 1))
    assert samples(made) == {("eth0", "blue", "NETFILTER_DROP"): 5, ("eth0", "blue", "NO_SOCKET"): 1}

    made.name(Places({7: "blue"}, {(7, 2): "lan"}), 1.0)

    assert samples(made) == {("lan", "blue", "NETFILTER_DROP"): 5, ("lan", "blue", "NO_SOCKET"): 1}


def test_series_of_what_is_gone_disappear(made: Totals) -> None:
    add(made, (7, 2, drops.PACKET, 12, 4), (7, 3, drops.PACKET, 12, 1), (7, 0, drops.PACKET, 12, 9))
    made.name(KNOWN, 0.0)

    made.name(Places({7: "blue"}, {(7, 3): "eth1"}), 1.0)
    assert samples(made) == {("eth1", "blue", "NETFILTER_DROP"): 1, ("", "blue", "NETFILTER_DROP"): 9}

    made.name(Places({}, {}), 2.0)
    assert samples(made) == {}


def test_place_that_never_had_a_name_counts_for_its_namespace_or_for_none(made: Totals) -> None:
    add(made, (7, 99, drops.PACKET, 12, 4), (8, 2, drops.PACKET, 12, 2), (0, 0, drops.PACKET, 12, 1))
    made.name(KNOWN, PATIENCE)
    assert samples(made) == {("", "unknown", "NETFILTER_DROP"): 1}

    made.name(KNOWN, PATIENCE + 0.1)

    assert samples(made) == {("", "unknown", "NETFILTER_DROP"): 3, ("", "blue", "NETFILTER_DROP"): 4}


def test_tcp_has_families_of_its_own(made: Totals) -> None:
    add(
        made,
        *((7, 0, kind, 0, count) for kind, count in ((drops.RETRANSMIT, 5), (drops.SYN_AGAIN, 2), (drops.SYN_ACK_AGAIN, 1))),
        *((7, 0, drops.RESET_SENT, reason, 1) for reason in (0, 1)),
        (7, 0, drops.RESET_RECEIVED, 0, 3),
    )
    made.name(KNOWN, 0.0)

    assert samples(made) == {}
    assert samples(made, "skytrail_tcp_retransmits_total") == {("blue",): 8}
    assert samples(made, "skytrail_tcp_syn_timeouts_total") == {("blue", "client"): 2, ("blue", "server"): 1}
    assert samples(made, "skytrail_tcp_resets_total") == {
        ("blue", "transmit", ""): 1,
        ("blue", "transmit", "NO_SOCKET"): 1,
        ("blue", "receive", ""): 3,
    }


def test_reasons_without_a_name_have_their_number(made: Totals) -> None:
    add(made, *((7, 2, drops.PACKET, reason, 1) for reason in (999, 1 << 16 | 5, 9 << 16 | 1)))
    made.name(KNOWN, 0.0)

    assert {labels[2] for labels in samples(made)} == {"REASON_999", "MAC80211_UNUSABLE_5", "SUBSYSTEM_9_1"}


def test_series_beyond_the_bound_are_one(made: Totals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MAX_SERIES", 3)
    add(made, *((7, 2, drops.PACKET, reason, 1) for reason in range(10, 20)))
    made.name(KNOWN, 0.0)

    found = samples(made)

    assert len([labels for labels in found if labels[0] == "eth0"]) == 3
    assert sum(found.values()) == 10
    assert {labels[:2] for labels in found} == {("eth0", "blue"), ("overflow", "overflow")}
