"""Queries for each signature of each step, and such that take other arguments than there are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from gremlin_api.language import grammar

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "Boolean": ("true", "false"),
    "Constant": ("1", "'a'", "[1, 2]"),
    "Date": ("datetime('2026-11-25T14:32:00Z')",),
    "DT": ("day", "DT.hour"),
    "FixedBoolean": ("true",),
    "FixedInteger": ("3",),
    "Float": ("0.5", "1.0d", "1.5f", "1m"),
    "Function": ("label", "T.id", "keys", "Column.values"),
    "Integer": ("1", "2l", "0x1F"),
    "Literal": ("1", "'a'", "null", "[1, 'b']", "[a: 1, (T.id): 2]", "true", "1.5", "single", "inV", "out()", "__.in('x')"),
    "Map": ("[a: 1]", "[:]", "['b': [1, 2], c: [d: null]]"),
    "Map?": ("[a: 1]", "null"),
    "Predicate": (
        "eq(1)", "P.neq('a')", "between(1, 2)", "within('a', 'b')", "P.without()", "within([1, 2])", "not(lt(3))",
        "gt(1).and(lt(5)).or(eq(9))", "TextP.startingWith('a')", "regex('^a')", "inside(1, 2).negate()",
    ),
    "Strategy": ("new SubgraphStrategy(vertices: hasLabel('a'), checkAdjacentVertices: false)", "ReadOnlyStrategy",
                 "new ProductiveByStrategy(productiveKeys: ['a'])", "new SeedStrategy(seed: 7)"),
    "String": ("'a'", '"b"', "''"),
    "String?": ("'a'", "null"),
    "Traversal": ("out()", "__.in('a').values('b')", "__.not(out())", "not(has('a'))", "has('a', within(1)).count()"),
    "Vertex": ("new Vertex(1, 'a')", "new ReferenceVertex('b', 'c')"),
    "WithKey": ("WithOptions.tokens", "'a'", "IO.reader"),
    "WithValue": ("WithOptions.all", "1", "IO.graphson"),
    **{
        enum: (values[0], f"{enum}.{values[-1]}")
        for enum, values in grammar.ENUMS.items()
        if enum not in ("DT", "Order")
    },
    "Order": ("asc", "Order.desc", "shuffle"),
}  # fmt: skip
"""Texts by kind."""

NEVER = ("'a'", "1", "out()", "eq(1)", "asc", "[1]", "true")
"""Arguments of many kinds, tried where they may not stand."""


def calls(known: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """A call of each step by each signature; each argument once."""
    for name, signatures in known.items():
        for signature in signatures:
            yield from (f"{name}({arguments})" for arguments in texts(signature))


def texts(signature: str) -> Iterator[str]:
    """What stands in the brackets: each text of each kind at least once."""
    kinds = signature.split()
    if not kinds:
        yield ""
        return
    fixed = [ARGUMENTS[kind] for kind in kinds if not kind.endswith("*")]
    repeated = ARGUMENTS[kinds[-1].removesuffix("*")] if kinds[-1].endswith("*") else ()
    longest = max(map(len, [*fixed, repeated]))
    for number in range(longest):
        row = [texts[number % len(texts)] for texts in fixed]
        yield ", ".join(row + list(itertools.islice(itertools.cycle(repeated), number)) if repeated else row)


def queries() -> Iterator[str]:
    """One for each call."""
    yield from (f"g.V().{call}" for call in calls(grammar.STEPS))
    yield from (f"g.{call}" for call in calls(grammar.SPAWN_STEPS))
    yield from (f"g.{call}.V()" for call in calls(grammar.SOURCE_STEPS))
    yield from (f"g.V().{call}" for call in calls(grammar.TERMINAL_STEPS))


def others() -> Iterator[str]:
    """Calls with arguments of which most are wrong: one and two of them for each step."""
    for name in grammar.STEPS:
        for count in (1, 2):
            yield from (f"g.V().{name}({', '.join(row)})" for row in itertools.product(NEVER, repeat=count))
