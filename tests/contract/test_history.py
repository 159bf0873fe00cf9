"""A random history, late and simultaneous changes among it, gives at every time the graph of a naive model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contract.model import FOREVER, Model
from contract.steps import T, batch, element, node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topology.store.interface import Store

LAST = 30
_numbers = iter(range(1, 10**9))
changes = st.tuples(st.sampled_from("abcd"), st.integers(1, LAST), st.sampled_from([None, 1, 2, 3]))
histories = st.lists(st.lists(changes, min_size=1, max_size=6), min_size=1, max_size=12)
_space = iter(range(10**9))


def value(state: Any) -> int:
    return int(state.metadata["n"])


@given(history=histories, restarts=st.sets(st.integers(0, 11), max_size=2))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_answer_is_the_models(open_store: Callable[[], Store], history: Any, restarts: set[int]) -> None:
    """One store for all examples: each has a stretch of time and elements of its own."""
    number = next(_space)
    base, model, store = T + number * 1000, Model(), open_store()
    names = {element((number, name)): name for name in "abcd"}
    ids = {name: id_ for id_, name in names.items()}
    begin = store.health().sequence
    for step, operations in enumerate(history):
        store.apply(
            batch(
                *(
                    (ids[name], base - T + at, None if state is None else node(n=state, name=name))
                    for name, at, state in operations
                ),
                number=next(_numbers),
            )
        )
        model.apply(operations)
        if step in restarts:
            store = open_store()
    for when in range(LAST + 2):
        found = {names[one.id]: value(one.state) for one in store.as_of(base + when) if one.id in names}
        assert found == model.as_of(when)
        assert found == {names[one.id]: value(one.state) for one in store.as_of(base + when, list(names))}
    current = {names[one.id]: value(one.state) for one in store.current() if one.id in names}
    assert current == model.as_of(FOREVER)
    for first, second in ((0, LAST), (5, 10), (12, 12), (29, 31)):
        revisions = [one for one in store.between(base + first, base + second) if one.id in names]
        ours = {
            (names[one.id], one.updated_at - base, one.archived_at if one.archived_at == FOREVER else one.archived_at - base,
             repr(value(one.state)))
            for one in revisions
        }  # fmt: skip
        assert ours == model.between(first, second)
        assert revisions == sorted(revisions, key=lambda one: one.updated_at)
        assert all(one.created_at - base == model.created(names[one.id], one.updated_at - base) for one in revisions
                   if one.updated_at < one.archived_at)  # fmt: skip
        before, after = model.as_of(first), model.as_of(second)
        different = {names[one.id]: (one.before and value(one.before.state), one.after and value(one.after.state))
                     for one in store.diff(base + first, base + second) if one.id in names}  # fmt: skip
        assert different == {
            name: (before.get(name), after.get(name))
            for name in before.keys() | after.keys()
            if before.get(name) != after.get(name)
        }
    feed = [one for one in store.feed(begin, 10_000) if one.id in names]
    assert [one.sequence for one in feed] == sorted(one.sequence for one in feed)
    assert len(feed) == model.order
