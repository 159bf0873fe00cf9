"""What every store does: the contract of topology.store.interface, point by point."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from contract.steps import T, apply, at, batch, edge, element, interval, node, states

from topology.elements import FOREVER, Kind
from topology.store.interface import Note, StaleWriterError, Store

A, B, C = element("a"), element("b"), element("c")


def test_an_empty_store_has_nothing(store: Store) -> None:
    assert (
        list(store.current()) == store.as_of(T) == list(store.between(0, T)) == list(store.diff(1, T)) == store.feed(0, 9) == []
    )
    health = store.health()
    assert (health.failure, health.elements, health.revisions) == (None, 0, 0)


def test_a_node_is_there_from_its_time_on(store: Store) -> None:
    apply(store, (A, 10, node(Name="eth0")))
    assert at(store, 9) == {}
    assert at(store, 10) == at(store, 10**9) == states(store.current()) == {A: node(Name="eth0")}
    [revision] = store.as_of(T + 10)
    assert (revision.number, revision.created_at, revision.updated_at) == (1, T + 10, T + 10)
    assert (revision.archived_at, revision.recorded_at, revision.deleted) == (FOREVER, T, False)


def test_a_change_ends_one_revision_and_begins_another(store: Store) -> None:
    apply(store, (A, 10, node(MTU=1500)))
    apply(store, (A, 20, node(MTU=9000)))
    assert (at(store, 19), at(store, 20)) == ({A: node(MTU=1500)}, {A: node(MTU=9000)})
    first, second = store.between(T, T + 100)
    assert [interval(first), interval(second)] == [(10, 20), (20, None)]
    assert [first.number, second.number] == [1, 2]
    assert {first.created_at, second.created_at} == {T + 10}


def test_a_deletion_closes_the_interval(store: Store) -> None:
    apply(store, (A, 10, node(Name="eth0")))
    apply(store, (A, 20, None))
    assert (at(store, 19), at(store, 20), list(store.current())) == ({A: node(Name="eth0")}, {}, [])
    [revision] = store.between(T, T + 100)
    assert (interval(revision), revision.deleted) == ((10, 20), True)


def test_an_element_that_comes_back_has_a_second_life(store: Store) -> None:
    apply(store, (A, 10, node(Name="eth0")))
    apply(store, (A, 20, None))
    apply(store, (A, 30, node(Name="eth0")))
    assert at(store, 25) == {}
    [revision] = store.as_of(T + 30)
    assert (revision.created_at, revision.number) == (T + 30, 3)
    assert [one.deleted for one in store.between(T, T + 100)] == [True, False]


def test_what_changes_nothing_makes_no_revision(store: Store) -> None:
    sequence = apply(store, (A, 10, node(MTU=1500, Name="eth0")))
    assert apply(store, (A, 20, node(Name="eth0", MTU=1500))) == sequence
    assert apply(store, (B, 20, None)) == sequence
    apply(store, (A, 30, None))
    sequence = apply(store, (A, 40, None))
    assert [entry.updated_at - T for entry in store.feed(0, 9)] == [10, 30]
    assert store.health().sequence == sequence


def test_edges_have_ends(store: Store) -> None:
    apply(store, (A, 1, node()), (B, 1, node()), (C, 1, edge(A, B, RelationType="layer2")))
    [found] = [one.state for one in store.current() if one.id == C]
    assert found is not None
    assert (found.kind, found.parent, found.child, found.metadata) == (Kind.EDGE, A, B, {"RelationType": "layer2"})


def test_several_changes_of_one_element_in_a_batch(store: Store) -> None:
    apply(store, (A, 10, node(n=1)), (A, 20, node(n=2)), (A, 30, None), (A, 40, node(n=4)), (A, 50, node(n=5)))
    assert [at(store, when) for when in (10, 20, 30, 40, 50)] == [
        {A: node(n=1)},
        {A: node(n=2)},
        {},
        {A: node(n=4)},
        {A: node(n=5)},
    ]
    assert [one.number for one in store.between(T, T + 100)] == [1, 2, 4, 5]


def test_of_two_changes_in_one_microsecond_the_later_recorded_holds(store: Store) -> None:
    apply(store, (A, 10, node(n=1)))
    apply(store, (A, 20, node(n=2)), (A, 20, node(n=3)))
    apply(store, (A, 20, node(n=4)))
    assert (at(store, 19), at(store, 20)) == ({A: node(n=1)}, {A: node(n=4)})
    assert [interval(one) for one in store.between(T, T + 100)] == [(10, 20), (20, 20), (20, 20), (20, None)]


def test_a_change_that_comes_late_holds_until_what_follows(store: Store) -> None:
    apply(store, (A, 10, node(n=1)))
    apply(store, (A, 30, node(n=3)))
    apply(store, (A, 20, node(n=2)))
    assert [at(store, when) for when in (19, 20, 29, 30)] == [{A: node(n=1)}, {A: node(n=2)}, {A: node(n=2)}, {A: node(n=3)}]
    assert [interval(one) for one in store.between(T, T + 100)] == [(10, 20), (20, 30), (30, None)]
    assert [one.updated_at - T for one in store.feed(0, 9)] == [10, 30, 20]
    assert states(store.current()) == {A: node(n=3)}


def test_a_late_beginning_makes_a_life_longer(store: Store) -> None:
    apply(store, (A, 30, node(n=3)))
    apply(store, (A, 40, node(n=4)))
    apply(store, (A, 10, node(n=1)))
    assert {one.created_at - T for one in store.between(T, T + 100)} == {10}


def test_a_late_deletion_makes_two_lives_of_one(store: Store) -> None:
    apply(store, (A, 10, node(n=1)))
    apply(store, (A, 30, node(n=3)))
    apply(store, (A, 20, None))
    assert [at(store, when) for when in (19, 20, 29, 30)] == [{A: node(n=1)}, {}, {}, {A: node(n=3)}]
    assert [(one.created_at - T, one.deleted) for one in store.between(T, T + 100)] == [(10, True), (30, False)]


def test_a_late_change_of_what_was_deleted_since(store: Store) -> None:
    apply(store, (A, 10, node(n=1)))
    apply(store, (A, 40, None))
    apply(store, (A, 20, node(n=2)))
    assert [at(store, when) for when in (19, 20, 39, 40)] == [{A: node(n=1)}, {A: node(n=2)}, {A: node(n=2)}, {}]
    assert [(interval(one), one.deleted) for one in store.between(T, T + 100)] == [((10, 20), False), ((20, 40), True)]


def test_a_batch_is_applied_once(store: Store) -> None:
    first = batch((A, 10, node(n=1)), number=1, writer="x")
    sequence = store.apply(first)
    assert store.apply(first) == sequence
    store.apply(batch((A, 20, node(n=2)), number=2, writer="x"))
    store.apply(first)
    assert store.apply(batch((A, 5, node(n=0)), number=1, writer="y")) > sequence  # another writer's
    assert store.last_number("x", 1) == 2
    assert (store.last_number("x", 2), store.last_number("z", 1)) == (0, 0)
    assert [one.updated_at - T for one in store.feed(0, 9)] == [10, 20, 5]


def test_a_batch_is_applied_whole_or_not_at_all(store: Store) -> None:
    apply(store, (A, 10, node(n=1)))
    before = store.health()
    with pytest.raises(Exception, match=r"."):
        store.apply(batch((A, 20, node(n=2)), (B, 20, node()), (C, -(2 * T), node())))
    assert states(store.current()) == at(store, 50) == {A: node(n=1)}
    assert (store.health().sequence, store.health().revisions) == (before.sequence, before.revisions)
    apply(store, (B, 30, node(Name="b")))
    assert states(store.current()) == {A: node(n=1), B: node(Name="b")}


def test_a_writer_has_one_holder_at_a_time(store: Store) -> None:
    epoch = store.lease("netlink@host1", "hub1", 60.0)
    assert store.lease("netlink@host1", "hub1", 60.0) == epoch
    with pytest.raises(StaleWriterError, match="hub1"):
        store.lease("netlink@host1", "hub2", 60.0)
    assert store.lease("netlink@host2", "hub2", 0.0) == 1
    later = store.lease("netlink@host2", "hub3", 60.0)
    assert later == 2
    with pytest.raises(StaleWriterError):
        store.apply(batch((A, 1, node()), writer="netlink@host2", epoch=1, number=1))
    store.apply(batch((A, 1, node()), writer="netlink@host2", epoch=later, number=1))
    assert store.last_number("netlink@host2", later) == 1


def test_the_next_process_of_a_holder_takes_over_at_once_and_shuts_out_the_one_before(store: Store) -> None:
    before = store.lease("netlink@host1", "hub1/a", 60.0)
    store.apply(batch((A, 1, node(n=1)), writer="netlink@host1", epoch=before, number=1))
    after = store.lease("netlink@host1", "hub1/b", 60.0)
    assert after == before + 1
    assert store.last_number("netlink@host1", after) == 0
    with pytest.raises(StaleWriterError, match="hub1/b"):
        store.lease("netlink@host1", "hub1b/a", 60.0)
    with pytest.raises(StaleWriterError):  # what was on its way
        store.apply(batch((A, 2, node(n=2)), writer="netlink@host1", epoch=before, number=2))
    store.apply(batch((A, 3, node(n=3)), writer="netlink@host1", epoch=after, number=1))
    assert [one.state.metadata["n"] for one in store.between(T, T + 9) if one.state] == [1, 3]


def test_where_processes_are_counted_a_later_one_takes_over_and_an_earlier_one_never_takes_back(store: Store) -> None:
    first = store.lease("netlink@host1", "outbox/#9/hub1", 60.0)
    second = store.lease("netlink@host1", "outbox/#10/hub2", 60.0)
    assert second == first + 1
    for holder in ("outbox/#9/hub1", "other/#11/hub1"):
        with pytest.raises(StaleWriterError, match="outbox/#10/hub2"):
            store.lease("netlink@host1", holder, 60.0)
    assert store.lease("netlink@host1", "outbox/#10/hub2", 60.0) == second
    assert store.lease("netlink@host1", "outbox/#11/hub1", 60.0) == second + 1


def test_ranges_have_every_revision_that_they_touch(store: Store) -> None:
    apply(store, (A, 10, node(n=1)), (A, 20, node(n=2)), (B, 15, node(n=1)), (B, 25, None), (C, 40, node()))

    def found(begin: int, end: int) -> list[tuple[str, int, int | None]]:
        return [(one.id, *interval(one)) for one in store.between(T + begin, T + end)]

    assert found(0, 9) == []
    assert found(0, 10) == [(A, 10, 20)]
    assert found(19, 19) == [(A, 10, 20), (B, 15, 25)]
    assert found(20, 20) == [(B, 15, 25), (A, 20, None)]
    assert found(25, 39) == [(A, 20, None)]
    assert found(0, 99) == [(A, 10, 20), (B, 15, 25), (A, 20, None), (C, 40, None)]
    assert [(one.id, *interval(one)) for one in store.between(T, T + 99, [B, C])] == [(B, 15, 25), (C, 40, None)]


def test_some_elements_at_a_time(store: Store) -> None:
    apply(store, (A, 10, node(n=1)), (B, 10, node(n=2)), (A, 20, None))
    assert states(store.as_of(T + 15, [A, C])) == {A: node(n=1)}
    assert states(store.as_of(T + 25, [A, B])) == {B: node(n=2)}


def test_what_is_different_between_two_times(store: Store) -> None:
    apply(store, (A, 10, node(n=1)), (B, 10, node(n=1)), (C, 10, node(n=1)))
    apply(store, (A, 20, node(n=2)), (B, 20, None), (element("d"), 20, node(n=4)))

    def found(first: int, second: int) -> dict[str, tuple[object, object]]:
        differences = list(store.diff(T + first, T + second))
        return {one.id: (one.before and one.before.state, one.after and one.after.state) for one in differences}

    assert found(15, 20) == {A: (node(n=1), node(n=2)), B: (node(n=1), None), element("d"): (None, node(n=4))}
    assert found(20, 15) == {A: (node(n=2), node(n=1)), B: (None, node(n=1)), element("d"): (node(n=4), None)}
    assert found(12, 15) == {}
    apply(store, (A, 30, node(n=1)))
    assert found(15, 30).keys() == {B, element("d")}  # it is as it was: changed twice, and not different


def test_the_feed_is_in_the_order_of_recording(store: Store) -> None:
    apply(store, (A, 10, node(n=1)), (B, 5, node(n=2)))
    apply(store, (A, 20, None))
    whole = store.feed(0, 100)
    assert [(one.id, one.state, one.updated_at - T) for one in whole] == [(A, node(n=1), 10), (B, node(n=2), 5), (A, None, 20)]
    assert [one.deleted for one in whole] == [True, False, True]
    sequences = [one.sequence for one in whole]
    assert sequences == sorted(set(sequences))
    assert [one.sequence for one in store.feed(sequences[0], 1)] == sequences[1:2]
    assert store.feed(sequences[-1], 100) == []
    assert store.health().sequence == sequences[-1]


def test_all_is_there_after_a_restart(open_store: Callable[[], Store]) -> None:
    store = open_store()
    epoch = store.lease("w", "hub", 60.0)
    apply(store, (A, 10, node(n=1)), (B, 10, edge(A, C, RelationType="layer2")))
    apply(store, (A, 20, node(n=2)), (B, 20, None))
    before = list(store.between(T, T + 99)), store.feed(0, 99), store.health()
    store = open_store()
    assert (list(store.between(T, T + 99)), store.feed(0, 99)) == before[:2]
    assert (store.health().elements, store.health().sequence) == (before[2].elements, before[2].sequence)
    assert states(store.current()) == {A: node(n=2)}
    assert store.lease("w", "hub", 60.0) == epoch
    apply(store, (A, 30, node(n=3)))
    assert [one.number for one in store.between(T, T + 99, [A])] == [1, 2, 3]


def test_what_is_kept_beside_the_graph_is_there_after_a_restart(open_store: Callable[[], Store]) -> None:
    store = open_store()
    bodies = {"a": b'{"n":1}', "b": '"\u00e9/"'.encode()}
    for id_, body in bodies.items():
        store.put_resource("rule", id_, body)
    store.put_resource("other", "a", b"1")
    store.put_resource("rule", "a", b"2")
    store.put_resource("rule", "c", b"3")
    store.put_resource("rule", "c", None)
    store.put_resource("rule", "none", None)
    assert store.resources("rule") == {**bodies, "a": b"2"}
    store = open_store()
    assert store.resources("rule") == {**bodies, "a": b"2"}
    assert (store.resources("other"), store.resources("none")) == ({"a": b"1"}, {})
    assert list(store.current()) == []


def test_a_note_is_there_when_its_batch_is_and_only_then(open_store: Callable[[], Store]) -> None:
    def noted() -> dict[str, bytes]:
        return store.resources("agent")

    def note(number: int, id_: str = "host/1") -> Note:
        return Note("agent", id_, b'{"number":%d}' % number)

    store = open_store()
    store.put_resource("agent", "host/1", note(0).body)
    first = batch((A, 10, node(n=1)), writer="x", epoch=2, number=1, note=note(1))
    store.apply(first)
    store.apply(batch((A, 20, node(n=2)), writer="x", epoch=2, number=2, note=note(2)))
    store.apply(batch((B, 20, node(n=2)), writer="x", epoch=2, number=3, note=note(7, "host/2")))
    store.apply(first)  # known: passed over with its note
    assert noted() == {"host/1": note(2).body, "host/2": note(7).body}
    with pytest.raises(StaleWriterError):
        store.apply(batch((A, 30, node(n=3)), writer="x", epoch=1, number=9, note=note(9)))
    with pytest.raises(Exception, match=r"."):
        store.apply(batch((A, 30, node(n=3)), (C, -(2 * T), node()), writer="x", epoch=2, number=4, note=note(4)))
    assert noted() == {"host/1": note(2).body, "host/2": note(7).body}
    sequence = store.health().sequence
    store.apply(batch(writer="x", epoch=2, number=4, note=note(5)))  # alone
    assert (noted()["host/1"], store.health().sequence) == (note(5).body, sequence)
    many = [(element(number), 40, node(n=number)) for number in range(3000)]  # more than one transaction takes
    store.apply(batch(*many, writer="x", epoch=2, number=5, note=note(6)))
    store = open_store()
    assert noted() == {"host/1": note(6).body, "host/2": note(7).body}


def test_retention_forgets_what_ended_before(store: Store) -> None:
    apply(store, (A, 10, node(n=1)), (A, 20, node(n=2)), (A, 30, node(n=3)), (B, 10, node(n=1)), (B, 20, None), (C, 5, node()))
    retained = store.retain(before=T + 20)
    assert retained.left == 3
    assert [(one.id, *interval(one)) for one in store.between(T, T + 99)] == [(C, 5, None), (A, 20, 30), (A, 30, None)]
    assert at(store, 25) == {A: node(n=2), C: node()}
    assert states(store.current()) == {A: node(n=3), C: node()}
    assert store.retain(before=T + 20).removed == 0
    apply(store, (A, 40, node(n=4)), (B, 40, node(n=9)))
    assert at(store, 40) == {A: node(n=4), B: node(n=9), C: node()}


def test_retention_by_size_forgets_the_oldest_first(store: Store) -> None:
    for step in range(200):
        apply(store, *((element(number), step, node(step=step, pad="x" * 2000)) for number in range(10)))
    full = store.health()
    store.retain(size=full.size // 2)
    assert store.health().revisions < full.revisions
    assert len(list(store.current())) == 10
    left = sorted({one.updated_at - T for one in store.between(T, T + 200)})
    assert left == list(range(left[0], 200))


@pytest.mark.parametrize(
    "metadata",
    [
        {"Name": "ä😀\u202e\x00 '\"\\", "ключ": ["значение"]},
        {"deep": {"a": [{"b": [1, 2.5, None, True, {"c": []}]}, {}]}},
        {"number": 2**53 + 1, "negative": -(2**63), "float": 1e308, "zero": 0},
        {"big": "x" * 1_000_000},
        {"list": list(range(10_000))},
    ],
    ids=["unicode", "nested", "numbers", "a megabyte", "a long list"],
)
def test_any_metadata_comes_back_as_it_was(store: Store, metadata: dict[str, object]) -> None:
    apply(store, (A, 10, node(**metadata)), (A, 20, node()))
    [revision] = store.as_of(T + 15)
    assert revision.state is not None
    assert revision.state.metadata == metadata


def test_ten_thousand_revisions_of_one_element(store: Store) -> None:
    most = 10_000
    for begin in range(0, most, 500):
        apply(store, *((A, number, node(n=number)) for number in range(begin, begin + 500)))
    apply(store, (A, most + 1, None))
    assert [at(store, when) for when in (0, 4321, most - 1, most + 1)] == [{A: node(n=n)} for n in (0, 4321, most - 1)] + [{}]
    assert sum(1 for _ in store.between(T + 100, T + 199, [A])) == 100
    assert store.health().revisions >= most


def test_writers_and_readers_at_once_see_whole_batches(store: Store) -> None:
    """Each batch sets all elements of its writer to one number: whoever reads sees one number of each writer."""
    failures: list[object] = []
    writers, batches, width = 3, 40, 5
    done = threading.Event()

    def write(writer: int) -> None:
        for number in range(1, batches + 1):
            changes = [(element((writer, one)), number, node(writer=writer, n=number)) for one in range(width)]
            store.apply(batch(*changes, writer=f"writer{writer}", number=number))

    def read() -> None:
        while not done.is_set():
            found: dict[int, set[int]] = {}
            for state in at(store, batches).values():
                assert state is not None
                found.setdefault(state.metadata["writer"], set()).add(state.metadata["n"])
            failures.extend(numbers for numbers in found.values() if len(numbers) != 1)

    reader = threading.Thread(target=read)
    reader.start()
    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    assert failures == []
    assert len(list(store.current())) == writers * width
    assert store.health().revisions == writers * width * batches
