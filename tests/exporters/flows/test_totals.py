"""Counting of new and ended flows, against a plain count of the same records."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np

from exporters.flows.applications import Applications
from exporters.flows.points import Point, Points
from exporters.flows.table import ROW
from exporters.flows.totals import FINISHES, Totals

_NAMES = {6: "tcp", 17: "udp", 58: "icmpv6", 99: "other"}


def test_new_and_ended_flows_are_counted_by_point_transport_and_finish() -> None:
    random = np.random.default_rng(7)
    points = Points(most=65_536)
    numbers = [points.add(Point(f"eth{n}", "ns", f"tid{n}")) for n in range(300)]
    assert numbers[-1] == (300, True)
    rows = np.zeros(5_000, ROW)
    rows["point"] = random.integers(1, 301, len(rows))
    protos = random.choice(list(_NAMES), len(rows))
    rows["key"]["tags"] = protos.astype(np.uint64) << np.uint64(8)
    finish = random.integers(0, 3, len(rows)).astype(np.uint8)
    totals = Totals(points, Applications(), time.time_ns())

    of_row = rows["point"], protos.astype(np.uint8)
    totals.began(*of_row)
    totals.ended(*(column[:3_000] for column in of_row), finish[:3_000])
    totals.ended(*(column[3_000:] for column in of_row), finish[3_000:])

    devices = [f"eth{number - 1}" for number in rows["point"].tolist()]
    transports = [_NAMES[proto] for proto in protos.tolist()]
    new = Counter(zip(devices, transports, strict=True))
    ended = Counter(zip(devices, transports, [FINISHES[how] for how in finish.tolist()], strict=True))
    found = {family.metric.name: list(family.samples) for family in totals.families()}
    assert {(labels[0], labels[2]): value for labels, value in found["skytrail_flows_new_total"]} == new
    assert {(labels[0], *labels[2:]): value for labels, value in found["skytrail_flows_ended_total"]} == ended
