"""Conditions by columns against conditions on what is rendered: random records, every key, every relation, random terms."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from support.flowrows import points, random_rows

from exporters.flows import columns as of_flows
from exporters.flows.applications import Applications
from exporters.flows.columns import FlowColumns, leaf_of
from exporters.flows.conditions import ORDERED, Bounds, bounds, ordered
from exporters.flows.records import Renderer
from skytrail.asking.terms import OPERATORS, Compare, Either, Every, Not, Scalar, Term, compiled, value_at

_ROWS = random_rows(250, 7)
_FLOWS = Renderer(points(), Applications()).render(_ROWS)
_STRANGE: list[Scalar] = ["", "x", "10.0.0.03", "0" * 32, 5, 1.5, -1, 2**70, -(2**70), 9007199254740993, float("inf"), True]
_KEYS = sorted(of_flows._COLUMNS)
_UNKNOWN = ["CommunityID", "TCPMetric.ABFlags", "TCPMetric.SynAckRTT", "Process.A.Name", "Transport", "Nothing"]


def columns() -> FlowColumns:
    return FlowColumns(leaf_of(_ROWS), len(_ROWS), points().all, Applications())


def values_at(key: str) -> list[Any]:
    return [value_at(flow, key) for flow in _FLOWS]


def some_term(key: str, operator: str, value: Scalar) -> Compare | None:
    """A condition, where there is such a one."""
    if operator in ("there", "missing"):
        return Compare(key, operator)
    if operator == "regex":
        return Compare(key, operator, (f".*{value[:3]}.*",)) if isinstance(value, str) else None
    if operator == "range":
        return Compare(key, operator, ("10.0.0.2/31",)) if isinstance(value, str) else None
    if operator in ("within", "without", "unlike"):
        return Compare(key, operator, (value, "10.0.0.3", 443))
    return None if isinstance(value, bool) else Compare(key, operator, (value,))


def assert_bounded(term: Term, found: Bounds, *, exact: bool) -> None:
    met = np.array([compiled(term)(flow) for flow in _FLOWS])
    assert not (met & ~found.maybe).any(), f"left out: {term}"
    assert not (found.surely & ~met).any(), f"wrongly sure: {term}"
    if exact:
        assert (found.surely == found.maybe).all(), f"not exact: {term}"


@pytest.mark.parametrize("key", _KEYS)
def test_every_relation_at_every_key_is_exact(key: str) -> None:
    there = sorted({value for value in values_at(key) if value is not None}, key=str)
    assert there, "nothing is compared"
    for value in [*random.Random(1).sample(there, min(3, len(there))), *_STRANGE]:
        for operator in OPERATORS:
            if term := some_term(key, operator, value):
                assert_bounded(term, bounds(term, columns().column, len(_ROWS)), exact=True)


def test_all_that_is_shown_of_a_number_or_a_name_has_a_column_or_is_named_here() -> None:
    def keys(flow: dict[str, Any], before: str = "") -> set[str]:
        found = set()
        for name, value in flow.items():
            found |= keys(value, f"{before}{name}.") if isinstance(value, dict) else {before + name}
        return found

    shown = {key for flow in _FLOWS for key in keys(flow)} - {"LastUpdateMetric"}
    without = {"CommunityID", "FirstMonotonic", "Fragment", "Seen.AB", "Seen.BA"}
    assert {key for key in shown - set(_KEYS) if not key.startswith("TCPMetric.")} == without


@pytest.mark.parametrize("seed", range(10))
def test_terms_of_terms_are_bounded(seed: int) -> None:
    draw = random.Random(seed)

    def drawn(depth: int) -> Term:
        kind = draw.choice(["compare", "compare", "every", "either", "not"] if depth else ["compare"])
        if kind == "not":
            return Not(drawn(depth - 1))
        if kind != "compare":
            parts = tuple(drawn(depth - 1) for _ in range(draw.randrange(4)))
            return Every(parts) if kind == "every" else Either(parts)
        key = draw.choice([*_KEYS, *_UNKNOWN])
        value = draw.choice([*(value for value in values_at(key)[:50] if isinstance(value, (str, int, float))), *_STRANGE])
        return some_term(key, draw.choice(sorted(OPERATORS)), value) or drawn(depth)

    for _ in range(20):
        term = drawn(4)
        assert_bounded(term, bounds(term, columns().column, len(_ROWS)), exact=False)


def test_what_only_tcp_has_is_not_looked_for_elsewhere() -> None:
    found = bounds(Compare("TCPMetric.ABRetransmits", "gt", (0,)), columns().column, len(_ROWS))
    assert {flow["Transport"]["Protocol"] for flow, maybe in zip(_FLOWS, found.maybe, strict=True) if maybe} == {"TCP"}


@pytest.mark.parametrize("key", [key for key in _KEYS if isinstance(columns().column(key), ORDERED)])
@pytest.mark.parametrize("descending", [False, True])
def test_order_by_a_column_is_that_of_the_values(key: str, descending: bool) -> None:
    column = columns().column(key)
    assert column
    values = values_at(key)
    there = [at for at, value in enumerate(values) if value is not None]
    expected = sorted(there, key=lambda at: values[at], reverse=descending)  # equals stay as they are
    absent = [at for at, value in enumerate(values) if value is None]
    assert ordered(np.arange(len(_ROWS)), column, descending=descending).tolist() == expected + absent
