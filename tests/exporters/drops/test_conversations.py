"""The table of conversations against a plain dictionary, and against flows' own keys."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.bpf import drops, layout
from exporters.drops.conversations import Conversations
from exporters.flows.ends import ENDS, ends_of_flows

SECOND = 1_000_000_000


def reading(
    numbers: list[int], packets: list[tuple[int, int]], *, netns: int = 1, reason: int = 2
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Conversations 10.0.0.0:N → 10.0.0.1:443."""
    keys, flows = np.zeros(len(numbers), drops.FLOW_KEY), np.zeros(len(numbers), drops.FLOW)
    keys["addr"][:, 0, :4], keys["addr"][:, 1, :4] = (10, 0, 0, 0), (10, 0, 0, 1)
    keys["port"][:, 0], keys["port"][:, 1] = numbers, 443
    keys["netns"], keys["reason"], keys["family"], keys["proto"] = netns, reason, 4, 6
    flows["packets"] = np.reshape(packets, (-1, 2))
    return keys, flows


def ends(numbers: list[int]) -> NDArray[Any]:
    keys, _ = reading(numbers, [(0, 0)] * len(numbers))
    found = np.zeros(len(numbers), ENDS)
    for name in ENDS.names or ():
        found[name] = keys[name]
    return found


def test_growth_adds_up_as_in_a_dictionary() -> None:
    random = np.random.default_rng(7)
    table, expected = Conversations(), Counter[tuple[int, int, int, int]]()
    for _ in range(50):
        numbers = random.choice(500, 100, replace=False).tolist()
        netns, reason = int(random.integers(1, 4)), int(random.integers(0, 3)) << int(random.integers(0, 20))
        packets = random.integers(0, 1 << 40, (100, 2))
        table.add(*reading(numbers, [tuple(pair) for pair in packets.tolist()], netns=netns, reason=reason), SECOND)
        for number, pair in zip(numbers, packets.tolist(), strict=True):
            for way in (0, 1):
                expected[number, netns, reason, way] += pair[way]

    asked = random.permutation(600).tolist()
    owners, rows = table.find(ends(asked))

    assert np.all(np.diff(owners) >= 0)
    found = Counter[tuple[int, int, int, int]]()
    for owner, row in zip(owners.tolist(), rows, strict=True):
        assert int(row["key"]["ends"]["port"][0]) == asked[owner]
        for way in (0, 1):
            found[asked[owner], int(row["key"]["netns"]), int(row["key"]["reason"]), way] += int(row["packets"][way])
    assert found == expected


def test_oldest_go_first_and_their_packets_are_counted() -> None:
    table = Conversations(most=3)
    table.add(*reading([1], [(10, 0)]), 1)
    table.add(*reading([2], [(20, 2)]), 2)
    table.add(*reading([3], [(30, 0)]), 3)
    table.add(*reading([1], [(1, 0)]), 4)
    table.add(*reading([4, 5], [(0, 1), (1, 0)]), 5)

    owners, rows = table.find(ends([1, 2, 3, 4, 5]))

    assert owners.tolist() == [0, 3, 4]
    assert rows["packets"].tolist() == [[11, 0], [0, 1], [1, 0]]
    assert table.evicted == 22 + 30


def test_what_has_not_changed_for_long_is_forgotten() -> None:
    table = Conversations(kept_ns=10 * SECOND)
    table.add(*reading([1, 2], [(1, 0), (1, 0)]), 0)
    table.add(*reading([2], [(1, 0)]), 5 * SECOND)

    table.expire(10 * SECOND)

    assert table.find(ends([1, 2]))[0].tolist() == [1]
    assert table.evicted == 0


@pytest.mark.parametrize("asked", [[], [9]])
def test_nothing_is_found_of_what_did_not_happen(asked: list[int]) -> None:
    table = Conversations()
    assert len(table.find(ends(asked))[0]) == 0
    table.add(*reading([1], [(1, 0)]), 0)

    assert len(table.find(ends(asked))[0]) == 0


def test_flow_of_the_same_endpoints_finds_it() -> None:
    table = Conversations()
    table.add(*reading([1], [(1, 2)]), 0)
    keys = np.zeros(3, layout.KEY6)
    keys["addr"][:, 0, :4], keys["addr"][:, 1, :4] = (10, 0, 0, 0), (10, 0, 0, 1)
    keys["port"][:, 0], keys["port"][:, 1] = 1, 443
    keys["tags"] = [6 << 8, 17 << 8, 100 << 16 | 6 << 8 | 0x40]  # TCP, UDP, TCP in a VLAN as a conversation's second record
    keys["point"], keys["parent"] = 5, 77

    owners, rows = table.find(ends_of_flows(keys, np.full(3, 4, np.uint8)))

    assert owners.tolist() == [0, 2]
    assert rows["packets"].tolist() == [[1, 2], [1, 2]]
