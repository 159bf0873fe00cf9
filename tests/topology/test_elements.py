"""Metadata of a node of which several probes, and what is shown beside, tell."""

from __future__ import annotations

import pytest

from topology.elements import Metadata, with_volatile


@pytest.mark.parametrize(
    ("kept", "shown", "expected"),
    [
        ({"Name": "p"}, {"Metric": {"RxBytes": 1}}, {"Name": "p", "Metric": {"RxBytes": 1}}),
        ({"Ovs": {"Tag": 1}}, {"Ovs.Metric": {"RxBytes": 1}}, {"Ovs": {"Tag": 1, "Metric": {"RxBytes": 1}}}),
        ({}, {"Ovs.Metric": 1, "Ovs.LastUpdateMetric": 2}, {"Ovs": {"Metric": 1, "LastUpdateMetric": 2}}),
        ({"Ovs": "of a rule"}, {"Ovs.Metric": 1}, {"Ovs": {"Metric": 1}}),
        ({"Ovs": {"Tag": 1}}, {}, {"Ovs": {"Tag": 1}}),
    ],
)
def test_what_is_shown_beside_stands_where_its_key_says(kept: Metadata, shown: Metadata, expected: Metadata) -> None:
    before = {key: dict(value) if isinstance(value, dict) else value for key, value in kept.items()}
    assert with_volatile(kept, shown) == expected
    assert kept == before
