"""One random history in both stores and in the naive model: at every time all three say the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.model import FOREVER, Model
from contract.steps import T, batch, edge, element, node
from contract.test_history import LAST, histories
from hypothesis import HealthCheck, Phase, given, settings

from topology.elements import Revision, encode_state
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Store
from topology.store.janusgraph.store import JanusGraphStore

pytestmark = pytest.mark.lab

RANGES = ((0, LAST), (5, 10), (12, 12), (29, LAST + 1))
_numbers = iter(range(1, 10**9))
_stretches = iter(range(10**6))


@pytest.fixture
def stores(store: JanusGraphStore, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    with contextlib.closing(EmbeddedStore(tmp_path / "graph")) as embedded:
        yield embedded, store


def told(revisions: Iterable[Revision], base: int) -> set[tuple[Any, ...]]:
    """All that a revision says, from a stretch's beginning on; the order is no matter.

    But for when a deletion's element came to be: a change that comes late may alter that, and only one store follows it there.
    """
    return {
        (
            *(one.id, one.number, one.state and one.created_at - base, one.updated_at - base, one.archived_at),
            *(one.recorded_at, one.sequence, one.deleted, one.state and encode_state(one.state)),
        )
        for one in revisions
    }


@given(history=histories)
@settings(
    max_examples=20,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_both_stores_and_the_model_agree_at_every_time(stores: tuple[Store, Store], history: Any) -> None:
    """One pair of stores for all examples: each has a stretch of time and elements of its own; one of four is an edge."""
    number = next(_stretches)
    base, model = T + number * 1000, Model()
    ids = {name: element((number, name)) for name in "abcd"}
    names = {id_: name for name, id_ in ids.items()}
    begin = stores[0].health().sequence
    assert stores[1].health().sequence == begin

    def state(name: str, value: int) -> Any:
        return edge(ids["a"], ids["b"], RelationType="layer2", n=value) if name == "d" else node(Name=name, n=value)

    for operations in history:
        changes = ((ids[name], base - T + at, None if value is None else state(name, value)) for name, at, value in operations)
        one = batch(*changes, number=next(_numbers))
        assert stores[0].apply(one) == stores[1].apply(one)
        model.apply(operations)

    for when in range(LAST + 2):
        found = [[one for one in store.as_of(base + when) if one.id in names] for store in stores]
        assert told(found[0], base) == told(found[1], base)
        assert {names[one.id]: one.state.metadata["n"] for one in found[0] if one.state} == model.as_of(when)
    for first, last in RANGES:
        ours = [[one for one in store.between(base + first, base + last) if one.id in names] for store in stores]
        assert told(ours[0], base) == told(ours[1], base)
        assert {
            (names[one.id], one.updated_at - base, one.archived_at if one.archived_at == FOREVER else one.archived_at - base,
             repr(one.state and one.state.metadata["n"]))
            for one in ours[0]
        } == model.between(first, last)  # fmt: skip
    for first, last in (*RANGES, (10, 5)):
        differences = [
            {one.id: (told([one.before] if one.before else [], base), told([one.after] if one.after else [], base))
             for one in store.diff(base + first, base + last) if one.id in names}
            for store in stores
        ]  # fmt: skip
        assert differences[0] == differences[1]
        before, after = model.as_of(first), model.as_of(last)
        assert {names[id_] for id_ in differences[0]} == {
            name for name in names.values() if before.get(name) != after.get(name)
        }
    feeds = [store.feed(begin, 10_000) for store in stores]
    assert [told([one], base) for one in feeds[0]] == [told([one], base) for one in feeds[1]]
    assert len(feeds[0]) == model.order
