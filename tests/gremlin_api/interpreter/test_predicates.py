from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from lab.gremlin import Engine

from gremlin_api.errors import UNSUPPORTED, WRONG_TYPE, TraversalError
from gremlin_api.interpreter.comparison import IncomparableError, equals
from gremlin_api.interpreter.predicates import compiled, holds
from gremlin_api.language import grammar
from gremlin_api.language.render import render_argument
from gremlin_api.language.syntax import EnumValue, ListValue, Predicate
from gremlin_api.numbers import BigInteger, Byte, Float, Long, Short
from gremlin_api.values import BulkSet, Edge, Map, OrderedSet, Vertex
from gremlin_api.wire.graphson import value_of

SEED = 373
SCALARS = [
    0, 1, -1, 2, 2147483647, Long(1), Long(2**53 + 1), 2**63 - 1, Byte(1), Short(2), BigInteger(1), BigInteger(2**70),
    0.0, -0.0, 1.0, 2.5, 2.0**53, math.nan, math.inf, -math.inf, Float(1.0), Float(0.1), 0.1, Float(-0.0), Decimal("1.0"),
    Decimal("0.1"), Decimal(2**70), "a", "ab", "", "b", True, False, None, EnumValue("T", "id"),
    EnumValue("Direction", "OUT"),
]  # fmt: skip
LISTS = [ListValue(()), ListValue((1, "a")), ListValue((1.0, "a")), ListValue((math.nan,)), ListValue((1, None))]
TEXTS = ["", "a", "ab", "ba", "abab", "b", "é", "\U0001f600", None]
PLAIN = [name for name, arguments in grammar.PREDICATES.items() if arguments == "Literal"]
RANGES = [name for name, arguments in grammar.PREDICATES.items() if arguments == "Literal Literal"]
MEMBERS = [name for name, arguments in grammar.PREDICATES.items() if arguments == "Constant*"]


def given(argument: Any) -> Any:
    return [given(one) for one in argument.items] if isinstance(argument, ListValue) else argument


def answer(predicate: Predicate, value: Any) -> bool:
    """As a filter takes it: no answer is no."""
    try:
        return compiled(predicate, given)(value)
    except IncomparableError:
        return False


def leaf(rng: random.Random) -> Predicate:
    everything = SCALARS + LISTS
    return rng.choice([
        lambda: Predicate(rng.choice(PLAIN), (rng.choice(everything),)),
        lambda: Predicate(rng.choice(RANGES), tuple(rng.choices(everything, k=2))),
        lambda: Predicate(rng.choice(MEMBERS), tuple(rng.choices(everything, k=rng.choice([0, 1, 1, 3, 8])))),
    ])()  # fmt: skip


def tree(rng: random.Random, depth: int) -> Predicate:
    """Predicates in predicates."""
    if depth == 0 or rng.random() < 0.2:
        return leaf(rng)
    name = rng.choice(["and", "or", "negate", "not"])
    return Predicate(name, tuple(tree(rng, depth - 1) for _ in range(2 if name in ("and", "or") else 1)))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as made:
        yield made


def expected(engine: Engine, predicate: Predicate, values: list[Any]) -> list[bool]:
    items = render_argument(ListValue(tuple(values)))
    step = f"choose(is({render_argument(predicate)}), constant(true), constant(false))"
    answered, text = engine.answer(f"g.inject({items}).unfold().map({step})")
    assert answered, (predicate, text)
    found: list[bool] = value_of(json.loads(text))
    return found


@pytest.mark.lab
def test_predicates_hold_where_tinkerpops_do(engine: Engine) -> None:
    rng = random.Random(SEED)
    values = SCALARS + LISTS
    held = 0
    for depth in [0] * 250 + [1] * 150 + [3] * 200:
        predicate = tree(rng, depth)
        wanted = expected(engine, predicate, values)
        assert [answer(predicate, given(value)) for value in values] == wanted, predicate
        held += sum(wanted)
    assert held > 1000


@pytest.mark.lab
@pytest.mark.parametrize("name", sorted(grammar.TEXT_PREDICATES))
def test_predicates_of_texts_hold_where_tinkerpops_do(engine: Engine, name: str) -> None:
    for argument in ("", "a", "ab", "b", "é", "\U0001f600"):
        for predicate in (Predicate(name, (argument,)), Predicate("negate", (Predicate(name, (argument,)),))):
            values = [one for one in TEXTS if one is not None or "egex" not in name]
            found = [answer(predicate, value) for value in values]
            assert found == expected(engine, predicate, values), predicate


@pytest.mark.lab
@pytest.mark.parametrize(("name", "value"), [("startingWith", 1), ("notContaining", True), ("regex", 1), ("notRegex", None)])
def test_predicates_of_texts_fail_at_what_is_none(engine: Engine, name: str, value: Any) -> None:
    predicate = Predicate(name, ("a",))
    answered, text = engine.answer(f"g.inject({render_argument(value)}, 'a').is({render_argument(predicate)})")
    with pytest.raises(TraversalError) as raised:
        answer(predicate, value)
    assert (answered, text.split(":")[0]) == (False, raised.value.kind)


def test_no_answer_is_told_to_who_asks() -> None:
    for predicate in (Predicate("lt", (1,)), Predicate("startingWith", ("a",)), Predicate("not", (Predicate("gt", (1,)),)),
                      Predicate("and", (Predicate("neq", (1,)), Predicate("lt", (1,))))):  # fmt: skip
        with pytest.raises(IncomparableError):
            compiled(predicate, given)(None)


def test_within_finds_what_is_equal_among_many() -> None:
    vertices = [Vertex(1, "a"), Vertex(Long(2), "a"), Vertex("a", "a"), Edge(1, "a", Vertex(1, "a"), Vertex(2, "a"))]
    pool = [*SCALARS, *map(given, LISTS), *vertices, Vertex(1.0, "a"), Vertex(2, "a"), Vertex(math.nan, "a"), Map([("a", 1)])]
    rng = random.Random(SEED)
    for _ in range(300):
        items = rng.choices(pool, k=rng.randrange(12))
        within, without = holds("within", items), holds("without", OrderedSet(items))
        for value in pool:
            assert within(value) is any(equals(value, item) for item in items), (value, items)
            assert without(value) is not within(value)
    with pytest.raises(TraversalError) as raised:
        holds("within", "a")
    assert raised.value.kind == WRONG_TYPE


def test_within_of_many_items_is_quick() -> None:
    items = [*range(100_000), *(f"text {at}" for at in range(100_000)), *(Vertex(Long(at), "a") for at in range(20_000))]
    test = compiled(Predicate("within", ("x",)), lambda _: items)
    asked = [99_999, 5.5, Long(7), Decimal("8.0"), "text 99999", "no", Vertex(Long(19_999), "a"), Vertex(Long(-1), "a"), None]
    assert [test(value) for value in asked] == [True, False, True, True, True, False, True, False, False]
    begun = time.perf_counter()
    for _ in range(2000):
        for value in asked:
            test(value)
    assert time.perf_counter() - begun < 2  # one by one, it would be minutes


def test_what_is_taken_apart() -> None:
    bulks = BulkSet(Map([("a", 10**12)]))
    for name, argument, value, held in [
        ("within", OrderedSet([1]), 1, True), ("without", OrderedSet([1]), 1, True), ("without", [1], 1, False),
        ("without", OrderedSet([1]), OrderedSet([1]), False), ("within", bulks, "a", True), ("within", None, None, True),
    ]:  # fmt: skip
        assert compiled(Predicate(name, ("x",)), lambda _, one=argument: one)(value) is held, (name, argument)
    assert compiled(Predicate("within", ("x", "y")), lambda _: [1])([1])


EXPRESSIONS = [
    "a", "^a", "a$", "^a$", "a|b", "a{2}{3}", "|{2}b", "(a|b)+c", "a*", "a+?b", "a{2}", "a{2,}b", "a{1,3}$", ".", "^.$",
    "a.b", "(?s)a.b",
    "(?s:a.)b", "(?i)aB", "(?i:a)B", "a(?i)b|C", "(?i)[a-c]X", "(?i)[^a-c]", "(?i)é", "(?i)k", "(?-i)a", "\\d+", "\\D",
    "\\w\\W", "\\s", "\\S", "\\h", "\\H", "\\v", "\\V", "\\R", "[\\s]", "[^\\s]", "[\\S]", "[^\\d\\s]", "[a-]", "[-a]",
    "[]a]", "[^]a]", "[a^]", "[.$]", "[&]", "\\.", "\\\\", "\\-", "\\[a\\]", "\\Qa.b\\E", "\\Qa.", "\\Q.\\E+", "\\x41",
    "\\x{1F600}", "\\u00e9", "\\0101", "\\t", "\\cA", "\\p{L}", "\\pL", "\\P{L}", "\\p{Lu}", "\\p{IsL}", "\\p{Upper}",
    "\\p{Alpha}+", "\\P{Alpha}", "[\\p{L}\\d]", "[^\\p{L}]", "\\p{Punct}", "\\p{Space}", "(?<name>a)b", "(?:a)b", "\\Aa",
    "a\\z", "a\\Z", "\\Ga", "\\bab\\b", "\\Bb", "", "()", "(|a)b", "a||b", "(a*)*$", "(^a|b$)", "(a$)|(b)c", "((a$)|b)",
    "a}", "]", "\\e",
    "[\\n\\r]", "[\\x{80}-\\x{10ffff}]", "[\\u0041-C]", "a#b", " ", "(?i)\\x61", "[\\D5]",
]  # fmt: skip
LOOKED_AT = [
    "", "a", "A", "b", "ab", "aB", "AB", "xab", "ab x", "aab", "aaab", "a\n", "a\r\n", "a\r", "a\nb", "a\u2028b",
    "\u0085", "\n", "\r\n", "a.b", "a-b", "\\", "[a]", "a^b", "é", "É", "\U0001f600", "K", "\u212a", "ſ", "5", "a5", " ",
    "\x0b", "\u00a0", "\t", "\x01", "_", "-", "&", "$", "]", "a}", "!", "cc", "abc", "C", "a#b", "\x1b", "bc", "aX", "cX",
    "CX",
]  # fmt: skip


@pytest.mark.lab
def test_regular_expressions_are_javas(engine: Engine) -> None:
    for expression in EXPRESSIONS:
        predicate = Predicate("regex", (expression,))
        test = compiled(predicate, given)
        found = {text: test(text) for text in LOOKED_AT}
        assert found == dict(zip(LOOKED_AT, expected(engine, predicate, LOOKED_AT), strict=True)), expression


@pytest.mark.lab
@pytest.mark.parametrize(
    "expression",
    ["a(", "a)", "[a", "*a", "a**", "(?i)*", "a{", "a{x}", "\\", "\\y", "[b-a]", "(?y)a", "(?<1>a)", "[]", "\\x{110000}"],
)
def test_what_java_refuses_is_refused(engine: Engine, expression: str) -> None:
    answered, text = engine.answer(f"g.inject('a').is({render_argument(Predicate('regex', (expression,)))})")
    assert not answered
    assert "java.util.regex.PatternSyntaxException" in text
    with pytest.raises(TraversalError, match="regular expression") as raised:
        compiled(Predicate("notRegex", (expression,)), given)
    assert raised.value.kind == "java.util.regex.PatternSyntaxException"


@pytest.mark.parametrize(
    ("expression", "named"),
    [("a(?=b)", "look-ahead"), ("a(?!b)", "look-ahead"), ("(?<=a)b", "look-behind"), ("(?<!a)b", "look-behind"),
     ("(?>a)b", "atomic group"), ("(a)\\1", "back reference"), ("(?<n>a)\\k<n>", "back reference"), ("a++", "possessive"),
     ("[a[bc]]", "class in a class"), ("[a-z&&[^b]]", "class in a class"), ("(?m)^a", "flag 'm'"), ("(?x)a b", "flag 'x'"),
     ("a$\\n", "'\\$' before the end"), ("(a$)\\n", "'\\$' before the end"),
     ("\\p{IsAlphabetic}", "property 'IsAlphabetic'"), ("\\X", "\\\\X"),
     ("(?i)\\p{Lu}", "without regard to case"), ("\\Qab\\E+", "repetition of a quotation"), ("a{2000}", "RE2 does not take"),
     ("(" * 5000 + ")" * 5000, "groups in each other"), ("\\ud83d", "half of a character"), ("[\\Qa\\E]", "quotation")],
)  # fmt: skip
def test_what_re2_lacks_is_named(expression: str, named: str) -> None:
    with pytest.raises(TraversalError, match=named) as raised:
        compiled(Predicate("regex", (expression,)), given)
    assert raised.value.kind == UNSUPPORTED


def test_no_regular_expression_takes_long() -> None:
    begun = time.perf_counter()
    for expression in ("(a+)+$", "(a|a)*b", "(.*)*x", "(a?){30}a{30}b"):
        assert not compiled(Predicate("regex", (expression,)), given)("a" * 100_000 + "!")
    assert time.perf_counter() - begun < 5
