from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gremlin_api.language.errors import QueryError
from gremlin_api.language.parser import Limits
from gremlin_api.language.skydive import PREDICATES, STEPS, parse_skydive, render_skydive
from gremlin_api.language.syntax import EnumValue, Predicate, Step

QUERIES = [
    line
    for line in Path(__file__).with_name("skydive_queries.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.parametrize("text", QUERIES)
def test_what_is_read_is_rendered_as_the_same(text: str) -> None:
    steps = parse_skydive(text)
    assert len(steps) == len([one for one in steps if one.name in STEPS or one.name == "G"]) > 0
    assert parse_skydive(render_skydive(steps)) == steps


def test_all_steps_and_predicates_are_among_the_queries() -> None:
    steps = [step for text in QUERIES for step in parse_skydive(text)]
    assert {step.name for step in steps} - {"G"} == STEPS.keys()
    found = {one.name for step in steps for one in step.arguments if isinstance(one, Predicate)}
    assert found == PREDICATES.keys()


def test_a_query_is_its_steps() -> None:
    text = """g.at(NOW, '-1m').v().has("Name", Regex('mir.*'), 'MTU', ne(1500)).oute().as('x').G.V().sort(desc, "Name")"""
    assert parse_skydive(text) == (
        Step("At", (EnumValue("Time", "NOW"), "-1m")),
        Step("V"),
        Step("Has", ("Name", Predicate("Regex", ("mir.*",)), "MTU", Predicate("NE", (1500,)))),
        Step("OutE"),
        Step("As", ("x",)),
        Step("G"),
        Step("V"),
        Step("Sort", (EnumValue("Order", "DESC"), "Name")),
    )
    assert parse_skydive("G") == ()


def test_strings_are_plain_but_for_quotes() -> None:
    [_, step] = parse_skydive(r"""G.V().Has("Name", Regex("a\.b\d\"\\"))""")
    assert step.arguments == ("Name", Predicate("Regex", (r"a\.b\d" + '"\\',)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1, column 1: a query begins with 'G', not with the end"),
        ("G.V().Hass('a')", "line 1, column 7: 'Hass' is no step: did you mean Has?"),
        ("G.V().Has('a', Regx('b'))", "line 1, column 16: 'Regx' is no predicate: did you mean Regex?"),
        ("G.V().Has('Type', 'intf', 'bad')", "line 1, column 7: Has() takes (key) or (key, value …), not 3 arguments as these"),
        ("G.V().Limit('a')", "line 1, column 7: Limit() takes (integer), not 1 arguments as these"),
        ("G.V('id').Neighbors('a', 'b', 'c')",
         "line 1, column 11: Neighbors() takes (key, value …, integer if any), not 3 arguments as these"),
        ("G.V().Has('a' 'b')", "line 1, column 15: ',' is expected here, not a string"),
        ("G.V().Has('a", "line 1, column 11: the string that begins here with ' does not end"),
        ("G.V().Limit(1f)", "line 1, column 13: an argument is expected here, not '1f'"),
        (f"G.V().Limit({'9' * 5000})",
         "line 1, column 13: the number that begins here is too large: 1000 digits, 9 of an exponent"),
        ("G.V() G.V()", "line 1, column 7: '.' is expected here, not 'G'"),
        ("G.V().Has('a', Metadata('b', 1))", "line 1, column 7: Has() takes (key) or (key, value …), not 2 arguments as these"),
    ],
)  # fmt: skip
def test_an_error_says_where_and_what_is_expected(text: str, reason: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_skydive(text)
    assert str(caught.value) == reason


def test_sizes_are_limited() -> None:
    with pytest.raises(QueryError, match="more than 10 steps"):
        parse_skydive("G" + ".V()" * 11, Limits(steps=10))
    with pytest.raises(QueryError, match="nested more than 100 deep"):
        parse_skydive("G.V().Has('a', " + "Within(" * 9_000)
    with pytest.raises(QueryError, match="more than 3 arguments"):
        parse_skydive("G.V().Dedup('a', 'b', 'c', 'd')", Limits(arguments=3))
    with pytest.raises(QueryError, match="65536 are allowed"):
        parse_skydive("G" * 70_000)


@given(st.text() | st.lists(st.sampled_from(["G", ".", "V", "(", ")", "Has", "'a'", ",", "1", "NE", "ASC"])).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else than a QueryError is raised."""
    with contextlib.suppress(QueryError):
        steps = parse_skydive(text)
        assert parse_skydive(render_skydive(steps)) == steps
