from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from contract.steps import T, batch, element, node

from topology.store.embedded import reading
from topology.store.embedded.store import EmbeddedStore
from topology.store.interface import Difference


@pytest.mark.parametrize("seed", range(5))
def test_differences_are_the_same_by_what_changed_and_by_all_that_was_there(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    store = EmbeddedStore(tmp_path)
    times = range(0, 60, 4)
    for at in range(60):
        changes = []
        for _ in range(chance.randrange(4)):
            state = node(n=chance.randrange(3)) if chance.random() < 0.7 else None
            changes.append((element(chance.randrange(12)), max(0, at - chance.choice([0, 0, 0, 9])), state))
        store.apply(batch(*changes))
    store.retain(before=T + 10)

    def found(few: int) -> list[dict[str, Difference]]:
        monkeypatch.setattr(reading, "_FEW", few)
        return [{one.id: one for one in store.diff(T + one, T + other)} for one, other in itertools.product(times, times)]

    by_changes, by_all = found(1000), found(0)
    assert by_changes == by_all
    assert sum(map(len, by_all)) > 500
    store.close()
