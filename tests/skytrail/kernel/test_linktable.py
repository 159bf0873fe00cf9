from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from skytrail.kernel.linkmessages import Departure, Link
from skytrail.kernel.linktable import (
    Event,
    LinkChanged,
    LinkGone,
    LinkKey,
    LinkMoved,
    LinkTable,
    NamespaceGone,
    PendingMoves,
)

VETH = Link(1, 5, "v0", "veth")


def test_a_link_that_did_not_change_makes_no_event() -> None:
    table = LinkTable()
    assert table.update(VETH) == [LinkChanged(VETH)]
    assert table.update(VETH) == []
    renamed = replace(VETH, name="v1")
    assert table.update(renamed) == [LinkChanged(renamed)]


def test_what_a_dump_does_not_show_is_gone_but_not_what_came_during_it() -> None:
    table = LinkTable()
    table.update(VETH)
    table.update(replace(VETH, ifindex=6))
    table.update(replace(VETH, cookie=2))
    table.begin(1)
    table.update(replace(VETH, ifindex=7))
    table.update(VETH)
    assert table.finish(1) == [LinkGone(1, 6)]
    assert {(link.cookie, link.ifindex) for link in table.links()} == {(1, 5), (1, 7), (2, 5)}


def test_a_dump_shows_another_link_where_one_went_unheard() -> None:
    table, mac, other = LinkTable(), bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2])
    table.update(old := replace(VETH, mac=mac))
    changed = replace(old, mac=other, name="v1")
    assert table.update(changed) == [LinkChanged(changed)]  # the kernel told of that: it is the same
    table.begin(1)
    assert table.update(old) == [LinkGone(1, 5), LinkChanged(old)]
    table.begin(1)
    assert table.update(renamed := replace(old, name="v2")) == [LinkChanged(renamed)]
    assert table.finish(1) == []


def test_a_dump_that_was_given_up_deletes_nothing() -> None:
    table = LinkTable()
    table.update(VETH)
    table.begin(1)
    table.begin(1)
    table.update(VETH)
    assert table.finish(1) == []
    assert table.finish(1) == []


def test_a_dead_namespace_takes_its_links_along_first() -> None:
    table = LinkTable()
    table.update(VETH)
    assert table.drop(1) == [LinkGone(1, 5), NamespaceGone(1)]
    assert table.links() == []


def test_a_link_that_arrives_unchanged_is_still_told() -> None:
    table = LinkTable()
    table.update(VETH)
    link = table.depart((1, 5))
    assert link is not None
    assert table.arrive(link, (2, 9)) == [LinkMoved((1, 5), (2, 9))]
    there = replace(VETH, cookie=2, ifindex=9)
    assert table.update(there) == [LinkChanged(there)]
    assert table.update(there) == []


def test_a_link_that_did_not_stay_where_it_went_is_gone_after_the_dump() -> None:
    table = LinkTable()
    table.arrive(VETH, (2, 9))
    table.begin(2)
    assert table.finish(2) == [LinkGone(2, 9)]


def test_a_move_to_an_unknown_place_is_completed_when_the_place_is_found() -> None:
    table, moves = LinkTable(), PendingMoves()
    assert moves.add(VETH, Departure(5, 3, 9), 3, now=0.0) == [LinkMoved((1, 5), None)]
    assert moves.resolve(table, lambda _cookie, _nsid: None) == []
    assert moves.resolve(table, lambda cookie, nsid: {(1, 3): 2}[cookie, nsid]) == [LinkMoved((1, 5), (2, 9))]
    assert moves.next_deadline is None


def test_a_move_that_leads_nowhere_is_given_up_in_time() -> None:
    moves = PendingMoves(patience=5.0)
    moves.add(VETH, Departure(5, 3, 9), 3, now=1.0)
    assert moves.expire(5.9) == []
    assert moves.next_deadline == 6.0
    assert moves.expire(6.0) == [LinkGone(1, 5)]


def test_the_moves_that_wait_are_bounded() -> None:
    moves = PendingMoves(limit=2)
    links = [replace(VETH, ifindex=number) for number in range(3)]
    events = [event for link in links for event in moves.add(link, Departure(link.ifindex, 3, 9), 3, now=0.0)]
    assert events == [LinkMoved((1, 0), None), LinkMoved((1, 1), None), LinkMoved((1, 2), None), LinkGone(1, 0)]


Step = Callable[[LinkTable], list[Event]]
namespaces = st.integers(1, 3)
ifindexes = st.integers(1, 3)
keys = st.tuples(namespaces, ifindexes)
macs = st.sampled_from([b"", bytes(6), b"\x02----a", b"\x02----b", b"\x02----c"])


def update(key: LinkKey, name: str, mac: bytes) -> Step:
    return lambda table: table.update(Link(*key, name, "veth", mac=mac))


def remove(key: LinkKey) -> Step:
    return lambda table: table.remove(key)


def drop(cookie: int) -> Step:
    return lambda table: table.drop(cookie)


def move(old: LinkKey, new: LinkKey) -> Step:
    def step(table: LinkTable) -> list[Event]:
        link = table.depart(old)
        return table.arrive(link, new) if link is not None else []

    return step


def dump(cookie: int, shown: dict[int, bytes]) -> Step:
    def step(table: LinkTable) -> list[Event]:
        table.begin(cookie)
        links = [Link(cookie, ifindex, "d", "veth", mac=mac) for ifindex, mac in shown.items()]
        events = [event for link in links for event in table.update(link)]
        return events + table.finish(cookie)

    return step


steps = st.one_of(
    st.builds(update, keys, st.sampled_from("ab"), macs),
    st.builds(remove, keys),
    st.builds(move, keys, keys),
    st.builds(dump, namespaces, st.dictionaries(ifindexes, macs)),
    st.builds(drop, namespaces),
)


@given(st.lists(st.lists(steps)))
def test_who_follows_the_events_knows_what_the_table_knows(taken: list[list[Step]]) -> None:
    table = LinkTable()
    view: dict[LinkKey, str] = {}
    for batch in taken:
        for event in table.tell([event for step in batch for event in step(table)]):
            follow(view, event)
        assert view == {(link.cookie, link.ifindex): link.name for link in table.links()}


def test_what_is_missing_at_one_place_and_new_at_another_has_moved() -> None:
    table = LinkTable()
    other = replace(VETH, ifindex=6, mac=b"\x02----b")
    link = replace(VETH, mac=b"\x02----a")
    for found in (link, other, replace(VETH, ifindex=7), replace(VETH, ifindex=8)):  # those two have the same MAC: none
        table.tell(table.update(found))
    events: list[Event] = []
    table.begin(1)
    events += table.update(replace(link, name="v1"))  # heard just before what was lost
    table.begin(1)
    events += table.finish(1)
    table.begin(2)
    there, again = replace(link, cookie=2, ifindex=9), replace(VETH, cookie=2, ifindex=7)
    events += [*table.update(there), *table.update(again), *table.finish(2)]
    assert table.tell(events) == [
        LinkMoved((1, 5), (2, 9)),
        LinkGone(1, 6),
        LinkGone(1, 7),
        LinkGone(1, 8),
        LinkChanged(there),
        LinkChanged(again),
    ]


def follow(view: dict[LinkKey, str], event: Event) -> None:
    match event:
        case LinkChanged(link):
            view[link.cookie, link.ifindex] = link.name
        case LinkGone(cookie, ifindex):
            del view[cookie, ifindex]
        case LinkMoved(old, new):
            assert new is not None
            view[new] = view.pop(old)
        case NamespaceGone(cookie):
            assert not [key for key in view if key[0] == cookie]
