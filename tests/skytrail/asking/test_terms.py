"""Conditions: one meaning for hub and agent, and the same after the wire's JSON."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from skytrail.asking.questions import FlowsQuestion, Part, Range, decode_part, decode_question, encode_part, encode_question
from skytrail.asking.terms import Compare, Either, Every, Not, Term, compiled
from skytrail.errors import UsageError

FLOW: dict[str, Any] = {
    "Application": "HTTP",
    "Network": {"A": "10.0.0.1", "B": "2001:db8::1", "ID": 0},
    "Transport": {"A": 40000, "B": 80},
    "Metric": {},
    "List": ["a", "b"],
    "Flag": True,
}


@pytest.mark.parametrize(
    ("key", "operator", "values", "met"),
    [
        ("Application", "within", ("HTTP",), True),
        ("Application", "within", ("DNS", "HTTP"), True),
        ("Application", "within", (), False),
        ("Transport.B", "within", ("80",), False),
        ("Transport.B", "within", (80.0,), True),
        ("Flag", "within", (1,), False),
        ("Flag", "within", (True,), True),
        ("List", "within", ("b",), True),
        ("Nothing", "without", ("b",), False),
        ("Nothing", "unlike", ("b",), True),
        ("List", "without", ("c",), True),
        ("List", "without", ("a",), False),
        ("Transport.B", "lt", (81,), True),
        ("Transport.B", "lt", (80,), False),
        ("Transport.B", "lte", (80,), True),
        ("Transport.B", "gt", ("79",), False),
        ("Flag", "gte", (1,), False),
        ("Application", "gte", ("HTTP",), True),
        ("Application", "regex", ("H.*",), True),
        ("Application", "regex", ("TT",), False),
        ("Transport.B", "regex", ("80",), False),
        ("Network.A", "range", ("10.0.0.0/8",), True),
        ("Network.B", "range", ("10.0.0.0/8",), False),
        ("Network.B", "range", ("2001:db8::/32",), True),
        ("Transport.B", "range", ("10.0.0.0/8",), False),
        ("Network.ID", "there", (), True),
        ("Metric", "there", (), False),
        ("Metric", "missing", (), True),
        ("Application.A", "missing", (), True),
    ],
)  # fmt: skip
def test_a_relation(key: str, operator: str, values: tuple[Any, ...], met: bool) -> None:
    term = Compare(key, operator, values)
    assert compiled(term)(FLOW) is met
    assert compiled(Not(term))(FLOW) is not met
    question = decode_question(encode_question(FlowsQuestion(term=term)))
    assert isinstance(question, FlowsQuestion)
    assert question.term is not None
    assert compiled(question.term)(FLOW) is met


def test_terms_are_joined() -> None:
    yes, no = Compare("Flag", "there"), Compare("Flag", "missing")
    for term, met in (
        (Every(()), True),
        (Either(()), False),
        (Every((yes, no)), False),
        (Either((no, yes)), True),
        (Not(Every((yes, Not(no)))), False),
    ):
        assert compiled(term)(FLOW) is met


@pytest.mark.parametrize(
    ("term", "told"),
    [
        (Compare("A", "like", ("b",)), "A: 'like' is no relation: use one of within"),
        (Compare("A", "lt", ()), "A: 'lt' takes 1 values, not 0"),
        (Compare("A", "lt", (True,)), "not true or false"),
        (Compare("A", "regex", ("(",)), "is no regular expression"),
        (Compare("A", "range", ("10.0.0.0/33",)), "as '10.0.0.0/8', not '10.0.0.0/33'"),
    ],
)
def test_what_cannot_be_asked_is_said(term: Term, told: str) -> None:
    with pytest.raises(UsageError, match=r".*") as caught:
        compiled(term)
    assert told in str(caught.value)


def test_nesting_ends() -> None:
    term: Term = Compare("A", "there")
    for _ in range(40):
        term = Not(term)
    with pytest.raises(UsageError, match="nested more than 32 deep"):
        compiled(term)


def test_questions_and_parts_survive_the_wire() -> None:
    question = FlowsQuestion(
        Range(1, 2), ("a",), Every((Compare("A", "lt", (1,)), Either(()))), "Last", True, 3, ("UUID",), True
    )
    assert decode_question(encode_question(question)) == question
    with pytest.raises(msgspec.ValidationError):
        decode_question(b'{"type": "weather"}')
    part = Part([FLOW], 7)
    assert decode_part(encode_part(part)) == part
