"""The contract suite on the real server."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from contract import test_history as history
from contract.test_store import *  # noqa: F403
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from topology.store.interface import Store

pytestmark = pytest.mark.lab

BACKEND = os.environ.get("JANUSGRAPH_BACKEND", "inmemory")


@pytest.fixture(params=[True, False], ids=["transactions", "no transactions"])
def open_store(open_store: Callable[..., Store], request: pytest.FixtureRequest) -> Callable[[], Store]:
    """As it stands on BerkeleyJE, and as on Cassandra; on a real Cassandra only the latter is right."""
    if request.param and BACKEND == "cql":
        pytest.skip("Cassandra commits no transaction whole")
    return lambda: open_store(transactional=request.param)


_whole: Any = history.test_every_answer_is_the_models


@given(operations=history.histories, restarts=st.sets(st.integers(0, 11), max_size=2))
@settings(
    max_examples=25,  # test_reading.py has thousands of the same, without a server
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_answer_is_the_models(open_store: Callable[[], Store], operations: Any, restarts: set[int]) -> None:
    _whole.hypothesis.inner_test(open_store, history=operations, restarts=restarts)
