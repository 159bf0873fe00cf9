"""docs/gremlin-steps.md: the steps of both dialects, from the tables that parse and run them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gremlin_api.interpreter.build import BUILD, refusal
from gremlin_api.interpreter.instructions import LOOP, MODULATORS
from gremlin_api.interpreter.steps import (
    barriers,
    branches,
    filters,
    graph,
    maps,
    match,
    profile,
    scalars,
    services,
    sideeffects,
)
from gremlin_api.language import grammar, skydive
from gremlin_api.skydive.kinds import Kind
from gremlin_api.skydive.translate import STEPS
from skytrail.cli.pages.markdown import code, codes, page, table

_FAMILIES = (graph, filters, maps, scalars, branches, barriers, sideeffects, match, profile, services)

_INTRODUCTION = """\
Which dialect is spoken where, and examples: [gremlin.md](gremlin.md) and [skydive.md](skydive.md). What a step of
TinkerPop's does, [its reference](https://tinkerpop.apache.org/docs/3.7.3/reference/#graph-traversal-steps) says."""

_TINKERPOP = """\
`?`: `null` may stand there; `*`: any number of these, none too. Forms of one step are separated by a comma; `()` is the
one without arguments."""

_WORDS = """\
What may stand where the tables above name such a kind, with the kind before it (`Order.desc`) or without; and what
`withStrategies` takes, `new SubgraphStrategy(vertices: …)`."""

_SKYDIVE = """\
Names are read in any case. K: a key, V: a value or a predicate, N: an integer, S: a text, T: a time, D: a duration,
O: `ASC` or `DESC`, M: `Metadata(…)`; `KV*`: pairs, any number; `KV+`: one or more; `?`: may be left out."""


def render() -> str:
    """The page."""
    return page(
        "Gremlin: all steps",
        "the tables of the interpreter",
        _INTRODUCTION,
        "## TinkerPop's",
        _TINKERPOP,
        *_families(),
        "### What belongs to the step before it",
        _forms(sorted(_modulators())),
        "### At the source, and at the end",
        table(("before the first step", "forms"), _rows(grammar.SOURCE_STEPS, grammar.SOURCE_STEPS)),
        table(("at the end", "forms"), _rows(grammar.TERMINAL_STEPS, grammar.TERMINAL_STEPS)),
        "### Predicates",
        table(("predicate", "forms"), _rows(grammar.PREDICATES, {name: (one,) for name, one in grammar.PREDICATES.items()})),
        "### Words",
        _WORDS,
        table(("kind", "words"), ((code(name), codes(words)) for name, words in grammar.ENUMS.items())),
        table(("strategy", "options"), ((code(name), codes(options)) for name, options in grammar.STRATEGIES.items())),
        "### Refused",
        table(("step", "why"), ((code(name), refusal(name)) for name in sorted(_refused()))),
        "## Skydive's",
        _SKYDIVE,
        table(("step", "arguments", "follows → gives"), _skydive()),
        "### Predicates of Skydive's",
        table(("predicate", "arguments"), _rows(skydive.PREDICATES, skydive.PREDICATES)),
    )


def _all_forms() -> Mapping[str, tuple[str, ...]]:
    return {**grammar.SPAWN_STEPS, **grammar.STEPS}


def _families() -> Iterator[str]:
    for family in _FAMILIES:
        about = (family.__doc__ or "").splitlines()[0].partition(". Source")[0].rstrip(".")
        known = sorted(name for name in family.STEPS if name in _all_forms())
        yield f"### {about.partition(':')[0].replace('``', '`')}"
        yield _forms(known)


def _forms(names: Iterable[str]) -> str:
    return table(("step", "forms"), _rows(names, _all_forms()))


def _rows(names: Iterable[str], forms: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    return ((code(name), codes(f"({', '.join(form.split())})" for form in forms[name])) for name in names)


def _refused() -> set[str]:
    return _all_forms().keys() - BUILD.keys() - _modulators()


def _modulators() -> set[str]:
    return {"as", *LOOP, *MODULATORS} - BUILD.keys()


def _skydive() -> Iterator[tuple[str, str, str]]:
    for name, ways in STEPS.items():
        forms = skydive.STEPS.get(name, ("",))
        yield code(name), codes(f"({', '.join(form.split())})" for form in forms), "; ".join(_ways(ways.items()))


def _ways(ways: Iterable[tuple[Kind, tuple[Kind | None, object]]]) -> Iterator[str]:
    """What a step follows and gives, those that give the same together."""
    given: dict[Kind, list[str]] = {}
    same: list[str] = []
    for kind, (result, _) in ways:
        (same if result in (None, kind) else given.setdefault(result, [])).append(kind.value)
    yield from (f"{', '.join(sorted(kinds))} → {result.value}" for result, kinds in given.items())
    if same:
        yield f"{', '.join(sorted(same))} → the same"
