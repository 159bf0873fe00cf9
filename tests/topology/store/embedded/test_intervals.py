"""The index of intervals finds exactly the intervals that hold a point."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from topology.store.embedded.intervals import LATEST, fork, path

times = st.one_of(st.integers(1, 64), st.integers(1, LATEST), st.integers(1_700_000_000_000_000, 1_700_000_000_000_100))


def found(begins: int, ends: int, point: int) -> bool:
    """As the queries do it."""
    node, (left, right) = fork(begins, ends), path(point)
    return (node in left and ends > point) or (node in right and begins <= point) or node == point


def test_all_small_intervals_and_points() -> None:
    for begins in range(1, 33):
        for ends in range(begins + 1, 34):
            for point in range(1, 34):
                assert found(begins, ends, point) == (begins <= point < ends)


@given(times, times, times)
def test_any_interval_and_point(one: int, other: int, point: int) -> None:
    begins, ends = min(one, other), max(one, other) + 1
    for moment in (point, begins, ends - 1, ends, max(begins - 1, 1)):
        if moment <= LATEST:
            assert found(begins, ends, moment) == (begins <= moment < ends)


@given(times)
def test_few_nodes_are_looked_at(point: int) -> None:
    left, right = path(point)
    assert len(left) + len(right) <= 53
    assert len({*left, *right, point}) == len(left) + len(right) + 1
