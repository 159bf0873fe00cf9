"""Slots against a dictionary: every id keeps its place until it is removed, no two share one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from exporters.flows.slots import Slots

_STEPS = st.lists(st.tuples(st.sets(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 40)), max_size=12)


@given(_STEPS)
def test_each_id_keeps_a_place_of_its_own_until_it_is_removed(steps: list[tuple[set[int], int]]) -> None:
    slots, known = Slots(), dict[int, int]()
    for wanted, leaving in steps:
        new = [number for number in wanted if number not in known]
        given_places = slots.add(np.array(new, np.uint64))
        known.update(zip(new, given_places.tolist(), strict=True))
        gone = sorted(known)[:leaving]
        slots.remove(np.array(gone, np.uint64))
        for number in gone:
            del known[number]

        assert len(set(known.values())) == len(known) == len(slots)
        assert all(0 <= place < slots.capacity for place in known.values())
        assert dict(zip(slots.ids.tolist(), slots.used.tolist(), strict=True)) == known
        assert slots.ids.tolist() == sorted(known)
        asked = np.array([*known, *gone, *wanted], np.uint64)
        assert slots.find(asked).tolist() == [known.get(number, -1) for number in asked.tolist()]


def test_freed_places_are_used_again() -> None:
    slots = Slots()
    slots.add(np.arange(100, dtype=np.uint64))
    for first in range(100, 2000, 100):
        slots.remove(slots.ids.copy())
        slots.add(np.arange(first, first + 100, dtype=np.uint64))
    assert slots.capacity == 100
