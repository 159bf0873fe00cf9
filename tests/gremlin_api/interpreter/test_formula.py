"""math()'s formulas, against TinkerPop's engine."""

import json

import pytest

from gremlin_api.errors import TraversalError
from gremlin_api.interpreter.formula import Formula
from tests.lab.gremlin import Engine

TEXTS = (
    "-_^2",
    "_^3^2",
    "2^-_",
    "1-2-_",
    "_%3",
    "log2(8)*_",
    "sin _",
    "+_",
    "abs(-_)/4",
    "cbrt(_)",
    "log(0)+_",
    "sqrt(-_)",
    "_/0",
    "_%0",
    "(_",
    "_)",
    "_+",
    "_ _",
    "cbrt(_*1000.1)",
    "cbrt(-_/3)",
    "expm1(_)",
    "log1p(_)",
    "pow(_,2)",
    "2(_)",
    "_#2",
    "1.2.3",
    "ceil(-0.5)",
    "signum(_)",
)


def told(text: str) -> object:
    """Ours: the number's text, or the reason and the kind."""
    try:
        return repr(Formula(text).evaluate({"_": 7.0}))
    except TraversalError as error:
        return error.kind


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize("text", TEXTS)
def test_a_formula_is_worth_what_tinkerpop_says(engine: Engine, text: str) -> None:
    good, answer = engine.answer(f"g.inject(7).math('{text}')")
    assert (told(text) in {repr(float(v)) for v in _doubles(json.loads(answer))}) if good else (str(told(text)) in answer), (
        answer
    )


def test_constants_of_ascii_letters_are_variables() -> None:
    assert Formula("pi*e + _ + pi").variables == ("pi", "e", "_")


def _doubles(answer: object) -> list[object]:
    if isinstance(answer, dict):
        number = answer["@value"] if answer.get("@type") == "g:Double" else None
        if number is None:
            return _doubles(list(answer.values()))
        return [number.replace("Infinity", "inf") if isinstance(number, str) else number]
    return [each for item in answer for each in _doubles(item)] if isinstance(answer, list) else []


def test_deep_nesting_is_answered() -> None:
    assert Formula("(" * 30_000 + "_" + ")" * 30_000).evaluate({"_": 7.0}) == 7.0
