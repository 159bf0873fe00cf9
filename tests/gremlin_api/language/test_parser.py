from __future__ import annotations

import contextlib
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gremlinsamples import queries

from gremlin_api.language import grammar
from gremlin_api.language.errors import QueryError
from gremlin_api.language.parser import Limits, parse
from gremlin_api.language.render import render
from gremlin_api.language.syntax import (
    Argument,
    CardinalityValue,
    Date,
    EnumValue,
    ListValue,
    MapValue,
    Predicate,
    Query,
    Range,
    Step,
    Traversal,
    Variable,
    VertexReference,
)
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Short


def typed(value: Any) -> Any:
    """With the types of numbers: 1, 1.0 and true are equal in Python."""
    if isinstance(value, tuple):
        return tuple(map(typed, value))
    if hasattr(value, "__dataclass_fields__"):
        return type(value).__name__, *(typed(getattr(value, name)) for name in value.__dataclass_fields__ if name != "at")
    return type(value).__name__, str(value)


def test_a_query_is_its_steps() -> None:
    text = "g.withSack(1.5d, sum).V(1, 'a').has('name', P.gt(5).and(lt(6l))).where(__.not(out('b'))).by(id).toList()"
    [query] = parse(text)
    assert typed(query) == typed(
        Query(
            Traversal(
                (
                    Step("V", (1, "a")),
                    Step("has", ("name", Predicate("and", (Predicate("gt", (5,)), Predicate("lt", (Long(6),)))))),
                    Step("where", (Traversal((Step("not", (Traversal((Step("out", ("b",)),)),)),)),)),
                    Step("by", (EnumValue("T", "id"),)),
                ),
                (Step("withSack", (1.5, EnumValue("Operator", "sum"))),),
                Step("toList"),
            )
        )
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("g.V().outt()", "line 1, column 7: 'outt' is no step: did you mean out?"),
        ("g.V()\n .values('a'", "line 2, column 13: ',' or ')' is expected here, not the end"),
        ("g.V()\n .limit('a')", "line 2, column 3: limit() takes (Scope, Integer) or (Integer), not (string)"),
        ("g.x()", "line 1, column 3: 'x' begins no traversal"),
        ("h.V()", "line 1, column 1: a query begins with 'g', not with 'h'"),
        ("g.V().has('a)", "line 1, column 11: the string that begins here with ' does not end"),
        ("g.V().is(300b)", "line 1, column 10: 300b is no Byte: 8 bits do not hold it"),
        ("g.V().is(P.regex(1))", "line 1, column 10: 'P.regex' is no predicate: did you mean TextP.regex?"),
        ("g.V().with(WithOptions.token)", "line 1, column 24: 'token' is no constant of WithOptions: did you mean tokens?"),
        ("g.inject([a: x])", "line 1, column 14: a literal is expected here, not x"),
        ("g.V() § out()", "line 1, column 7: the character '§' stands where none may"),
    ],
)
def test_an_error_says_where_and_what_is_expected(text: str, reason: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize("text", ["g.V().where(" + "not(" * 10_000, "g.inject(" + "[" * 10_000, "g.V().is(" + "P.not(" * 9_000])
def test_depth_is_limited(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(QueryError, match="nested more than 100 deep"):
        parse(text)
    assert time.monotonic() - began < 5  # it does not try all ways


def test_length_steps_and_arguments_are_limited() -> None:
    with pytest.raises(QueryError, match="70000 characters long: 65536 are allowed"):
        parse("g" * 70_000)
    with pytest.raises(QueryError, match="more than 10 steps"):
        parse("g.V()" + ".out()" * 10, Limits(steps=10))
    with pytest.raises(QueryError, match="more than 3 arguments"):
        parse("g.inject(1, 2, 3, 4)", Limits(arguments=3))
    with pytest.raises(QueryError, match="more than 3 entries"):
        parse("g.inject([1: 1, 2: 2, 3: 3, 4: 4])", Limits(arguments=3))


@pytest.mark.parametrize(
    "number", ["9" * 5000, "0x" + "f" * 60_000, "1e9999999999", "1.0E-999999999999999999999m", "1e+1234567890f"]
)
def test_numbers_that_are_too_large_are_refused(number: str) -> None:
    with pytest.raises(QueryError, match="line 1, column 10: the number that begins here is too large"):
        parse(f"g.inject({number})")


@pytest.mark.parametrize("number", ["9" * 1000, "0x" + "f" * 798, "0x1e1234567890", "1e999999999", "-1.5E-999999999m"])
def test_large_numbers_are_read_and_rendered(number: str) -> None:
    read = parse(f"g.inject({number})")
    assert typed(tuple(parse(render(read)))) == typed(tuple(read))


# Rendering

NAMES = st.text(min_size=1, max_size=6)
VARIABLES = st.from_regex(r"[a-z]{2}[A-Z0-9]{1,3}", fullmatch=True).filter(lambda name: name not in grammar.KEYWORDS)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-128, 127).map(Byte),
    st.integers(-(2**15), 2**15 - 1).map(Short),
    st.integers(-(2**63), 2**63 - 1).map(Long),
    st.integers(-(2**80), 2**80).map(BigInteger),
    st.floats(allow_nan=False),
    st.floats(allow_nan=False, allow_infinity=False).map(Float),
    DECIMALS,
)
LITERAL_ENUMS = st.sampled_from(
    [
        EnumValue(enum, name)
        for enum in grammar.LITERAL_ENUMS
        for name in grammar.ENUMS[enum]
        if (enum, name) not in grammar.SAME_AS
    ]
)
SCALARS: st.SearchStrategy[Any] = st.one_of(
    NUMBERS, NAMES, st.booleans(), st.none(), LITERAL_ENUMS, st.builds(Date, st.none() | NAMES), st.builds(Range, NAMES, NAMES)
)
TEXTS = st.none() | NAMES


def lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.one_of(NAMES, NUMBERS.filter(lambda one: one not in (float("inf"), float("-inf"))), LITERAL_ENUMS.filter(is_key))
    return st.one_of(
        st.lists(inner, max_size=3).map(lambda items: ListValue(tuple(items))),
        st.lists(st.tuples(keys, inner), max_size=3).map(lambda entries: MapValue(tuple(entries))),
        st.builds(CardinalityValue, st.sampled_from(grammar.ENUMS["Cardinality"]), inner),
        st.builds(VertexReference, inner, NAMES),
    )


def is_key(value: EnumValue) -> bool:
    return value.enum in ("T", "Direction")


LITERALS = st.recursive(SCALARS, lists, max_leaves=6)


def joined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(lambda one: Predicate("not", (one,)), inner),
        st.builds(lambda one: Predicate("negate", (one,)), inner),
        st.builds(lambda name, one, other: Predicate(name, (one, other)), st.sampled_from(["and", "or"]), inner, inner),
    )


PREDICATES = st.recursive(
    st.one_of(
        st.builds(lambda name, one: Predicate(name, (one,)), st.sampled_from(["eq", "gt", "lte"]), LITERALS),
        st.builds(lambda items: Predicate("within", tuple(items)), st.lists(LITERALS, max_size=3)),
        st.builds(lambda name, one: Predicate(name, (one,)), st.sampled_from(["regex", "notContaining"]), NAMES),
    ),
    joined,
    max_leaves=4,
)


def steps(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
        return st.builds(lambda *given: Step(name, tuple(given)), *arguments)

    found = st.one_of(
        step("out"),
        step("values", TEXTS, TEXTS),
        step("has", NAMES, PREDICATES),
        step("has", NAMES, LITERALS),
        step("inject", LITERALS, LITERALS),
        step("limit", st.just(EnumValue("Scope", "local")), st.integers(0, 9).map(Long)),
        step("valueMap", st.booleans(), TEXTS),
        step("is", VARIABLES.map(Variable)),
        step("by", inner, st.just(EnumValue("Order", "shuffle"))),
        step("union", inner, inner),
        step("not", inner),
    )
    return st.lists(found, min_size=1, max_size=3).map(lambda several: Traversal(tuple(several)))


NESTED = st.recursive(st.just(Traversal((Step("identity"),))), steps, max_leaves=5)


@settings(max_examples=300, deadline=None)
@given(NESTED, st.sampled_from([None, Step("toList"), Step("next", (3,))]), st.integers(0, 2))
def test_what_is_rendered_is_read_as_the_same(nested: Traversal, terminal: Step | None, texts: int) -> None:
    source = (Step("withSideEffect", ("a", ListValue((1, Decimal("1.50"))), EnumValue("Operator", "addAll"))),)
    query = Query(Traversal((Step("V"), Step("where", (nested,)), *nested.steps), source, terminal), texts=texts)
    [read] = parse(render([query]))
    assert typed(read) == typed(query)


def test_what_is_read_is_rendered_as_the_same() -> None:
    for text in queries():
        read = parse(text)
        assert typed(tuple(parse(render(read)))) == typed(tuple(read)), text


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refused(text)


@given(
    st.lists(st.sampled_from(["g", ".", "V", "(", ")", "out", "[", "]", "'a'", ",", "1", ":", "not", "P.gt", "__", "new", "x"]))
)
def test_any_row_of_words_is_read_or_refused(words: list[str]) -> None:
    read_or_refused("g.V().has(" + " ".join(words))


def read_or_refused(text: str) -> None:
    """Nothing else than a QueryError is raised."""
    with contextlib.suppress(QueryError):
        assert parse(text)


def argument(text: str) -> Argument:
    [query] = parse(f"g.inject({text})")
    assert query.traversal
    return query.traversal.steps[0].arguments[0]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1", int), ("1b", Byte), ("1s", Short), ("1L", Long), ("1n", BigInteger), ("1.0", Decimal), ("1d", float), ("1f", Float)],
)
def test_numbers_have_the_types_of_their_suffixes(text: str, kind: type) -> None:
    assert type(argument(text)) is kind
    assert argument(text) == 1
