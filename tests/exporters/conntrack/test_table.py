"""The table of translations against a plain dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from exporters.conntrack.entries import ENTRY, KINDS, conversations
from exporters.conntrack.table import FROM, TO, Translations, rows_of
from exporters.flows.ends import ENDS

SECOND = 1_000_000_000
TCP = 6
MOST = 1000


def entry(client: int, outside: int, *, netns: int = 1, gone: bool = False, kinds: int = 0x30) -> NDArray[Any]:
    """10.0.0.1:client → 10.0.0.9:80 that goes on as 192.0.2.1:outside → 10.9.9.9:8080."""
    made = np.zeros(1, ENTRY)
    for side, name, octets, port in (
        (0, "original", (10, 0, 0, 1), client), (1, "original", (10, 0, 0, 9), 80),
        (0, "translated", (192, 0, 2, 1), outside), (1, "translated", (10, 9, 9, 9), 8080),
    ):  # fmt: skip
        made[name]["addr"][0, side, :4] = octets
        made[name]["port"][0, side] = port
    made["netns"], made["family"], made["proto"], made["kinds"], made["gone"] = netns, 4, TCP, kinds, gone
    return made


def ends(client: int, name: str = "original") -> NDArray[Any]:
    made = entry(client, client)
    return conversations(made[name], made["family"], made["proto"])[0]


def joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts, dtype=ENTRY)


def joined_ends(*parts: NDArray[Any]) -> NDArray[Any]:
    whole = np.zeros(len(parts), ENDS)
    for place, one in enumerate(parts):
        whole[place] = one[0]
    return whole


OPERATION = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 2), st.booleans())


@settings(max_examples=200, deadline=None)
@given(said=st.lists(st.lists(OPERATION, max_size=6), max_size=12))
def test_the_newest_word_counts_as_in_a_dictionary(said: list[list[tuple[int, int, int, bool]]]) -> None:
    table = Translations(MOST)
    to: dict[tuple[int, int, int], tuple[int, int, bool]] = {}  # (client, netns, outside) → (when, netns, gone)
    now = 0
    for batch in said:
        now += SECOND
        parts = [entry(client, outside, netns=netns, gone=gone) for client, outside, netns, gone in batch]
        table.add(joined([np.zeros(0, ENTRY), *parts]), now)
        for client, outside, netns, gone in batch:
            to[client, netns, outside] = (now, netns, gone)
    for client in range(1, 7):
        owners, rows = table.find(ends(client))
        known = {(outside, *said) for (of, _, outside), said in to.items() if of == client}
        living = {one for one in known if not one[3]} or known  # one that lives goes before one that is gone
        newest = {one for one in living if one[1] == max(when for _, when, _, _ in living)}
        if len({(outside, netns) for outside, _, netns, gone in living if not gone}) < 2:
            assert len(owners) == bool(known)
        for row in rows:  # where several live, perhaps none
            assert row["role"] == TO
            side = 0 if row["reversed"] == 0 else 1
            assert (int(row["other"]["port"][side]), int(row["netns"])) in {(one[0], one[2]) for one in newest}
    living_now = {key for key, (_, _, gone) in to.items() if not gone}
    assert len(table.living()) == len(living_now)


def test_both_sides_are_found_and_say_which_they_are() -> None:
    table = Translations(MOST)
    table.add(joined([entry(number, 1000 + number) for number in range(1, 200)]), 1)
    owners, rows = table.find(joined_ends(ends(7), ends(5000), ends(1009, "translated")))
    assert owners.tolist() == [0, 2]
    assert rows["role"].tolist() == [TO, FROM]
    assert int(rows["other"]["port"][0].max()) == 8080
    assert sorted(rows["other"]["port"][1].tolist()) == [9, 80]
    assert {KINDS[int(kinds)] for kinds in rows["kinds"]} == {"snat+dnat"}


def test_a_connection_through_two_translators_is_linked_both_ways() -> None:
    """What one makes of it the other one takes: the conversation between has two neighbours."""
    first = entry(7, 1007)
    second = entry(7, 1007)
    second["original"], second["netns"] = first["translated"], 2
    second["translated"]["addr"][0, 1, :4] = 172, 16, 0, 1
    table = Translations(MOST)
    table.add(joined([first, second]), 1)
    owners, rows = table.find(ends(1007, "translated"))
    assert owners.tolist() == [0, 0]
    assert rows["role"].tolist() == [TO, FROM]
    assert rows["netns"].tolist() == [2, 1]


def test_what_is_gone_is_told_of_for_a_while() -> None:
    table = Translations(MOST, kept_ns=10 * SECOND)
    table.add(entry(1, 2), SECOND)
    table.add(entry(1, 2, gone=True), 2 * SECOND)
    table.expire(12 * SECOND - 1)
    assert len(table.find(ends(1))[0]) == 1
    table.expire(12 * SECOND)
    assert len(table) == 0


def test_what_began_after_a_translation_was_gone_is_not_translated() -> None:
    """Its addresses and ports are the same, the rule is another."""
    table = Translations(MOST)
    table.add(joined([entry(1, 2), entry(2, 3)]), 1)
    table.add(entry(1, 2, gone=True), 5)
    for first, found in ((3, [0, 1]), (5, [0, 1]), (6, [1])):
        owners, _ = table.find(joined_ends(ends(1), ends(2)), (first, SECOND))
        assert owners.tolist() == found


def test_a_conversation_that_becomes_another_one_the_next_time_is_told_of_each() -> None:
    """One of several servers is chosen anew, and a span of the one before may be made when the next has begun already."""
    table = Translations(MOST)
    table.add(entry(1, 11), 1 * SECOND)
    table.add(entry(1, 11, gone=True), 4 * SECOND)
    table.add(entry(1, 12), 9 * SECOND)
    both = joined_ends(ends(1), ends(1))
    _, rows = table.find(both, np.array([[0.9, 2], [8.9, 9.5]]) * SECOND)
    assert [set(ports) - {8080} for ports in rows["other"]["port"].tolist()] == [{11}, {12}]
    # conntrack forgets the one before when the next begins, and tells of both together
    table.add(joined([entry(1, 12, gone=True), entry(1, 13)]), 15 * SECOND)
    _, rows = table.find(both, np.array([[8.9, 10], [14.9, 15]]) * SECOND)
    assert [set(ports) - {8080} for ports in rows["other"]["port"].tolist()] == [{12}, {13}]
    assert len(table.living()) == 1
    # and the first one again
    table.add(joined([entry(1, 13, gone=True), entry(1, 12)]), 20 * SECOND)
    _, rows = table.find(both, np.array([[14.9, 15], [19.9, 20]]) * SECOND)
    assert [set(ports) - {8080} for ports in rows["other"]["port"].tolist()] == [{13}, {12}]


def test_of_the_same_addresses_in_two_namespaces_ours_are_meant() -> None:
    table = Translations(MOST)
    table.add(entry(1, 1001, netns=1), 1)
    table.add(entry(1, 1002, netns=2), 2)
    seen_in = np.array([1, 2, 3], np.uint64)
    _, rows = table.find(joined_ends(ends(1), ends(1), ends(1)), netns=seen_in)
    assert rows["netns"].tolist() == [1, 2]  # of what was seen elsewhere nobody knows
    table.add(entry(1, 1002, netns=2, gone=True), 3)
    _, rows = table.find(joined_ends(ends(1)), netns=seen_in[2:])
    assert rows["netns"].tolist() == [1]  # the one that lives


def test_all_that_a_namespace_has_replaces_what_was_known_of_it() -> None:
    table = Translations(MOST)
    table.add(joined([entry(1, 11), entry(2, 12), entry(3, 13, netns=2)]), 1)
    table.replace(1, rows_of(joined([entry(2, 12), entry(4, 14)]), 2), 2)
    living = table.living()
    clients = {int(min(row["ends"]["port"], key=lambda port: port == 80)) for row in living}
    assert clients == {2, 3, 4}
    table.forget(2, 3)
    assert len(table.living()) == 2


def test_what_was_heard_while_all_was_read_is_newer() -> None:
    """An answer takes its time: connections that began or ended meanwhile are not in it, or as they were."""
    table = Translations(MOST)
    table.add(joined([entry(1, 11), entry(2, 12)]), 1)
    table.add(joined([entry(1, 11, gone=True), entry(2, 12, gone=True), entry(2, 22), entry(3, 13)]), 3)
    table.replace(1, rows_of(joined([entry(1, 11), entry(2, 12), entry(4, 14)]), 2), 2)
    living = table.living()
    assert {int(min(row["ends"]["port"], key=lambda port: port == 80)) for row in living} == {2, 3, 4}
    _, (row,) = table.find(ends(2))
    assert 22 in row["other"]["port"]


def test_without_room_what_is_gone_for_longest_goes_first() -> None:
    table = Translations(most=6)
    table.add(entry(1, 11, gone=True), 1)
    table.add(entry(2, 12, gone=True), 2)
    table.add(entry(3, 13), 1)
    table.add(entry(4, 14), 3)
    assert len(table) == 6
    assert table.evicted == 2
    assert [len(table.find(ends(client))[0]) for client in (1, 2, 3, 4)] == [0, 1, 1, 1]
    table.add(joined([entry(5, 15), entry(6, 16)]), 4)
    assert [len(table.find(ends(client))[0]) for client in (2, 3, 4, 5, 6)] == [0, 0, 1, 1, 1]


def test_one_that_is_not_changed_is_no_translation() -> None:
    same = entry(1, 1)
    same["translated"] = same["original"]
    table = Translations(MOST)
    table.add(same, 1)
    assert len(table) == 0


@pytest.mark.parametrize("many", [0, 1])
def test_nothing_is_found_of_nothing(many: int) -> None:
    table = Translations(MOST)
    table.add(np.zeros(0, ENTRY), 1)
    owners, rows = table.find(ends(1)[:many])
    assert len(owners) == len(rows) == 0
