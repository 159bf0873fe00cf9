from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from topology.elements import Part, State, encode_state, node_id
from topology.store.embedded.packing import pack, unpack, unpack_state
from topology.store.embedded.store import FILE, EmbeddedStore
from topology.store.interface import Batch, Change, StoreError

ROUTES = [{"Prefix": f"10.{n // 256}.{n % 256}.0/24", "NextHops": [{"IP": "192.0.2.1", "Priority": n}]} for n in range(1000)]


def state(**metadata: object) -> State:
    return State("h", "agent.h", {"netlink": Part.of({"Type": "veth", "Name": "é", **metadata})}, "tid")


@pytest.mark.parametrize("metadata", [{}, {"RoutingTables": ROUTES}, {"Text": "x" * 8192}, {"Text": "\x78"}])
def test_a_state_comes_back_as_it_was(metadata: dict[str, object]) -> None:
    data = encode_state(state(**metadata))
    assert unpack(pack(data)) == data
    assert unpack_state(pack(data)) == state(**metadata)


def test_a_long_list_takes_a_small_part_of_its_length_in_the_file(tmp_path: Path) -> None:
    id_ = node_id("tid")
    first, second, third = state(RoutingTables=ROUTES), state(RoutingTables=ROUTES, State="UP"), state(RoutingTables=ROUTES[1:])
    store = EmbeddedStore(tmp_path)
    for number, change in enumerate((Change(id_, 10, first), Change(id_, 30, third), Change(id_, 20, second)), 1):
        store.apply(Batch("w", 1, number, 40, (change,)))
    store.apply(Batch("w", 1, 4, 40, (Change(id_, 25, second),)))  # late, and what it was already
    store.close()

    with sqlite3.connect(tmp_path / FILE) as database:
        sizes = [size for (size,) in database.execute("SELECT length(data) FROM state")]
    assert len(sizes) == 3
    assert max(sizes) < len(encode_state(first)) / 4

    again = EmbeddedStore(tmp_path)
    assert [one.state for at in (10, 20, 25, 30) for one in again.as_of(at)] == [first, second, second, third]
    assert [one.state for one in again.current()] == [third]
    again.close()


def test_a_damaged_state_is_told_of_with_what_to_do(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.apply(Batch("w", 1, 1, 40, (Change(node_id("tid"), 10, state()),)))
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE state SET data = ?", (pack(encode_state(state(Text="x" * 9000)))[:-9],))
    with pytest.raises(StoreError, match="a state is damaged: bring a backup back with 'skytrail restore FILE'"):
        store.as_of(20)
    store.close()
    with pytest.raises(StoreError, match="damaged"):
        EmbeddedStore(tmp_path)
