"""Texts, dates and lists against TinkerPop's engine: many values in one question, and what fails each in its own."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from lab.gremlin import Engine
from support.toygraphs import ask, modern, ring

from gremlin_api.errors import TraversalError
from gremlin_api.interpreter.run import Run
from gremlin_api.language.errors import QueryError
from gremlin_api.values import hashable
from gremlin_api.wire.graphson import typed, value_of

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def _ours(query: str) -> list[Any]:
    return list(ask(query, Run(ring(1))))


def _texts(seed: int, count: int) -> list[str]:
    """Texts of few letters, blanks of several kinds and characters beyond 16 bits, as literals."""
    chance = random.Random(seed)
    letters = ["a", "b", "B", "é", "ß", "ñ", " ", "\t", "\u00a0", "\u2003", "\u3000", "-", "--", "𝄞", "İ", "Σ", "0", "|"]
    found = ["".join(chance.choice(letters) for _ in range(chance.randrange(9))) for _ in range(count)]
    return [_literal(text) for text in ["", "a", *found]]


def _literal(text: str) -> str:
    units = text.encode("utf-16-be")
    return "'" + "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)) + "'"


@pytest.mark.parametrize(
    "step",
    ["length()", "toUpper()", "toLower()", "trim()", "lTrim()", "rTrim()", "reverse()", "split('-')", "split('--')",
     "split(null)",
     "split('')", "split(' ')", "substring(2)", "substring(0, 3)", "substring(1, -1)", "substring(3, 1)", "substring(5, 50)",
     "replace('a', 'bb')", "replace('', 'x')", "replace(null, 'x')", "replace('a', null)", "concat('x', null, 'y')", "concat()",
     "asString()", "length(local)", "toUpper(local)", "split(local, 'a')", "fold().trim(local)",
     "fold().reverse()", "fold().conjoin('-')",
     "fold().asString(local)", "fold().length(local)", "fold().replace(local, 'a', 'z')", "fold().substring(local, 1)"],
)  # fmt: skip
def test_steps_of_texts(engine: Engine, step: str) -> None:
    texts = [text for text in _texts(7, 60) if text != "''" or "-1" not in step]  # of which no part can be taken from its end
    query = f"g.inject({', '.join(texts)}).{step}"
    answered, text = engine.answer(query)
    assert answered, text
    theirs = value_of(json.loads(text))
    ours = json.loads(json.dumps([typed(one) for one in _ours(query)], ensure_ascii=False).encode("utf-8", "replace"))
    assert sorted(map(repr, map(hashable, map(value_of, ours)))) == sorted(map(repr, map(hashable, theirs)))


@pytest.mark.parametrize(
    "values",
    [
     "1, 2l, 3b, 4s, 5n, 1.5, 1.5d, 1.5f, 0.1f, 3.4e38f, 1e-40f, -0.0d, 0.0d, NaN, Infinity, -Infinity",
     "1e7d, 9999999.9d, 0.001d, 0.00099d, 1.0e21d, 123456789012345680.0d, 4.9e-324d, 1.7976931348623157e308d, 100.0d, 12345.6d",
     "1.0, 1.10, 1e10m, 1e-10m, 123456789012345678901234567890.5, true, false, null, 'x'",
     "[1, 'a', null, [2.5d]], [], [a: 1, 'b': [c: null]], [:], T.id, Direction.OUT",
     "datetime('2023-08-02T00:00:00Z'), datetime('1969-12-31T23:59:59Z'), datetime('2024-02-29')"],
)  # fmt: skip
def test_texts_of_values(engine: Engine, values: str) -> None:
    query = f"g.inject({values}).asString()"
    answered, text = engine.answer(query)
    assert answered, text
    assert _ours(query) == value_of(json.loads(text))


@pytest.mark.parametrize(
    "query",
    ["g.V().asString()", "g.E().asString()", "g.V().properties().asString()", "g.E().properties().asString()",
     "g.V(1).out().path().asString()", "g.V(1).outE().inV().path().by('name').by('weight').asString()"],
)  # fmt: skip
def test_texts_of_elements(engine: Engine, query: str) -> None:
    answered, text = engine.answer(query)
    assert answered, text
    assert sorted(ask(query, Run(modern(engine)))) == sorted(value_of(json.loads(text)))


_DATES = ["2023-08-02T00:00:00Z", "2023-08-02T01:02:03.456+01:30", "2023-08-02t01:02:03z", "2023-08-02T01:02",
 "2023-08-02", "2023-08",
          "2023-8", "2023-02-30", "2024-02-29T23:59:59.999999999Z", "1969-12-31T23:59:59.5-0800", "0001-01-01",
          "9999-12-31T00:00:00Z"]  # fmt: skip


@pytest.mark.parametrize("step", ["", ".dateAdd(DT.second, 90)", ".dateAdd(DT.day, -31)", ".dateAdd(minute, 5)",
 ".dateAdd(DT.hour, 25)",
                                  ".dateDiff(datetime('2020-01-01T00:00:00.5Z'))", ".dateDiff(constant(null))"])  # fmt: skip
def test_steps_of_dates(engine: Engine, step: str) -> None:
    dates = [date for date in _DATES if date[:4] not in ("0001", "9999")]
    query = f"g.inject({', '.join(map(repr, dates))}, 0, 1691000000123l, -1).asDate(){step}"
    answered, text = engine.answer(query)
    assert answered, text
    assert _ours(query) == value_of(json.loads(text))


@pytest.mark.parametrize(
    "step",
    ["combine([2, 9])", "merge([2, 9])", "difference([2, 9])", "disjunct([2, 9])", "intersect([2, 9])", "product([2, 9])",
     "combine(constant([1]))", "index()", "index().with('~tinkerpop.index.indexer', 1)", "conjoin('+')",
     "count(local)", "sum(local)",
     "max(local)", "min(local)",
     "mean(local)", "range(local, 1, 3)", "limit(local, 1)", "skip(local, 1)", "tail(local, 2)",
     "tail(local)", "dedup(local)", "order(local)", "order(local).by(desc)", "unfold()", "any(gt(2))", "all(gt(0))"],
)  # fmt: skip
def test_steps_of_lists(engine: Engine, step: str) -> None:
    query = f"g.inject([1, 2, 2, 3], [3], [2, 1, 5l, 1]).{step}"
    answered, text = engine.answer(query)
    assert answered, text
    theirs = value_of(json.loads(text))
    assert sorted(map(repr, map(hashable, _ours(query)))) == sorted(map(repr, map(hashable, theirs)))


@pytest.mark.parametrize(
    "query",
    ["g.inject(1).length()", "g.inject([1]).trim()", "g.inject([1]).trim(local)", "g.inject(1).concat('x')",
     "g.inject('').substring(-1)",
     "g.inject('x').asDate()", "g.inject(1.5d).asDate()", "g.inject(null).asDate()", "g.inject(true).asDate()",
     "g.inject(1).combine([2])",
     "g.inject([1]).combine(2)", "g.inject([1]).combine(null)", "g.inject(null).merge([1])",
     "g.inject([a: 1]).merge([1])",
     "g.inject([1]).merge([a: 1])", "g.inject('x').conjoin('-')", "g.inject(1).dateAdd(DT.day, 1)",
     "g.inject([]).limit(local, 1)"],
)  # fmt: skip
def test_what_fails_there_fails_here(engine: Engine, query: str) -> None:
    answered, text = engine.answer(query)
    try:
        found: Any = _ours(query)
    except (TraversalError, QueryError) as error:
        found = error
    if answered:
        assert found == value_of(json.loads(text))
    else:
        assert isinstance(found, TraversalError), text
        assert found.kind in text
