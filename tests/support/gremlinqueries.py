"""Random traversals by seed on TinkerPop's toy graphs, most of them well-typed, whose answers no order of iteration decides.

Each knows what its traverser is at and takes a step that fits; about every seventh takes one that does not. What is cut off
(``limit``) is in an order before, what is folded too; no list that was grouped stays in the order in which it came.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

MISFITS = 0.15
"""The share of those with a step that does not fit."""
STEPS = 10
DEPTH = 4
RESULTS = 2000
"""About how many traversers there may be before they are counted or told apart."""


@dataclass(frozen=True, slots=True)
class Toy:
    """What a graph has: the first lines of queries on it, labels, and keys with values by what they are of."""

    starts: tuple[str, ...]
    size: int
    fan: int
    vertex_labels: tuple[str, ...]
    edge_labels: tuple[str, ...]
    strings: dict[str, tuple[str, ...]]
    numbers: dict[str, tuple[int, ...]]
    weights: dict[str, tuple[str, ...]]
    single: tuple[str, ...]


TOYS = {
    "modern": Toy(
        ("V()", "V()", "V(1)", "V(1, 4, 6)", "E()", "V().hasLabel('person')", "V().has('name', 'josh')"), 6, 2,
        ("person", "software"), ("knows", "created"),
        {"name": ("'marko'", "'lop'", "'josh'", "'peter'"), "lang": ("'java'", "'c'")}, {"age": (27, 29, 32, 35)},
        {"weight": ("0.4", "0.5d", "1.0", "1")}, ("name", "age", "lang"),
    ),
    "crew": Toy(
        ("V()", "V()", "V(1)", "V(7, 8, 10)", "E()", "V().hasLabel('person')", "V().has('name', 'daniel')"), 6, 3,
        ("person", "software"), ("develops", "uses", "traverses"),
        {"name": ("'marko'", "'gremlin'", "'daniel'"), "location": ("'seattle'", "'centreville'", "'brussels'")}, {},
        {"since": ("2009", "2011", "2010l"), "skill": ("3", "4", "5")}, ("name",),
    ),
    "sink": Toy(
        ("V()", "E()", "V(1000)", "V().hasLabel('message')"), 3, 3,
        ("loops", "message"), ("self", "link"), {"name": ("'a'", "'b'", "'loop'")}, {}, {}, ("name",),
    ),
    "grateful": Toy(
        ("V().has('name', 'HEY BO DIDDLEY')", "V().has('name', 'Garcia')", "V(1, 2, 3)", "V().has('performances', gt(500))",
         "V().hasLabel('artist').order().by(id).limit(6)", "E().order().by(id).limit(20)"), 8, 20,
        ("song", "artist"), ("followedBy", "sungBy", "writtenBy"),
        {"name": ("'Garcia'", "'TRUCKING'", "'HEY BO DIDDLEY'"), "songType": ("'cover'", "'original'")},
        {"performances": (5, 100, 394)}, {"weight": ("1", "5", "20")}, ("name", "songType", "performances"),
    ),
}  # fmt: skip

Step = tuple[str, str]
"""Its text, and what the traverser is at after it: V, E, VP (a vertex's property), S, N, D (a rounded number), L, M, P, B."""

FITS: dict[str, tuple[str, ...]] = {
    "V": ("adjacent", "edges", "value", "has", "where", "logic", "choose", "map", "count", "project", "token", "dedup",
          "union", "optional", "coalesce", "repeat", "group", "properties", "cut", "fold", "local", "until", "math", "sack",
          "aggregate", "format", "labelled", "told", "simple"),
    "E": ("ends", "value", "has", "where", "token", "map", "count", "project", "dedup", "cut", "group", "fold", "choose"),
    "VP": ("property", "count", "dedup", "key"),
    "S": ("text", "is", "count", "dedup", "cut", "fold", "tally", "choose", "constant", "inject", "extreme"),
    "N": ("sum", "is", "arithmetic", "count", "dedup", "fold", "tally", "choose", "constant", "as_text", "extreme"),
    "D": ("as_number", "count", "arithmetic"),
    "L": ("local_list", "unfold", "members", "combined", "count"),
    "M": ("select", "count", "local_map"),
    "P": ("count_local", "count", "by_path"),
    "B": ("count", "dedup"),
}  # fmt: skip
"""Which steps fit, by what the traverser is at."""

MISFIT = {
    "V": ("sum()", "toUpper()", "math('_ + 1')", "inV()", "key()", "value()", "unfold().mean()", "asDate()", "split(',')",
          "select(keys)", "max()", "otherV()", "sack()", "conjoin('x')", "dateAdd(day, 1)", "where(eq('nope'))"),
    "E": ("out()", "key()", "toLower()", "sum()", "math('_')", "value()", "both('knows')", "otherV()", "element()"),
    "S": ("sum()", "out()", "values('x')", "math('_ * 2')", "mean()", "valueMap()", "id()", "key()", "asDate()", "inE()"),
    "N": ("out()", "toUpper()", "label()", "length()", "split('a')", "values('name')", "select(values)", "inV()", "trim()"),
    "D": ("out()", "toUpper()", "label()", "substring(1)"),
    "L": ("out()", "toUpper()", "id()", "math('_')", "sum()", "dateAdd(day, 1)", "values('x')", "length()"),
    "M": ("out()", "id()", "label()", "toUpper()", "mean()", "math('_ + 1')", "values('x')"),
    "P": ("out()", "id()", "label()", "sum()", "toUpper()"),
    "VP": ("out()", "sum()", "inV()", "otherV()", "math('_')"),
    "B": ("out()", "sum()", "toUpper()", "id()"),
}  # fmt: skip


def generate(seed: int, count: int) -> list[tuple[str, str]]:
    """So many queries, each with its graph; the same for the same seed."""
    chance = random.Random(seed)
    graphs = ("modern", "modern", "crew", "sink", "grateful")
    found: dict[tuple[str, str], None] = {}
    while len(found) < count:
        graph = chance.choice(graphs)
        found.setdefault((graph, _Query(chance, TOYS[graph]).text()))
    return list(found)


class _Query:
    """One query as it is made."""

    def __init__(self, chance: random.Random, toy: Toy) -> None:
        self._chance, self._toy = chance, toy
        self._size = toy.size
        self._whole = True  # whether paths tell only what is determined

    def text(self) -> str:
        chance = self._chance
        start = chance.choice(self._toy.starts)
        kind = "E" if start.startswith("E") else "V"
        self._whole = "limit" not in start
        spoilt = chance.randrange(1, 5) if chance.random() < MISFITS else None
        steps = ["g", "withSack(1)", start] if chance.random() < 0.1 else ["g", start]
        for at in range(chance.randrange(1, STEPS - 2)):
            if at == spoilt:
                steps.append(chance.choice(MISFIT[kind]))
                break
            text, kind = self._top(kind, "withSack(1)" in steps)
            steps.append(text)
        else:
            if spoilt is not None:
                steps.append(chance.choice(MISFIT[kind]))
        return ".".join(steps)

    def _top(self, kind: str, sack: bool) -> Step:
        """A step of the query itself."""
        if self._size > RESULTS:
            self._size, self._whole = 10, False
            return ("dedup()", kind) if kind in "VESN" and self._chance.random() < 0.5 else ("count()", "N")
        if kind in "VE" and self._whole and self._chance.random() < 0.05:
            return "path()" + ("" if kind == "E" else ".by(id)" if self._chance.random() < 0.5 else ".by(label)"), "P"
        name = self._chance.choice(FITS[kind])
        if name == "sack" and not sack:
            name = "value"
        text, after = self._step(name, kind, 0)
        if name in ("dedup", "cut", "fold", "group", "tally", "repeat", "union", "labelled", "map", "local"):
            self._whole = False
        return text, after

    def _step(self, name: str, kind: str, depth: int) -> Step:
        made: Callable[[str, int], Step] = getattr(self, f"_{name}")
        return made(kind, depth)

    def _inner(self, kind: str, depth: int, wanted: tuple[str, ...] = ()) -> Step:
        """A traversal within a step: of at most three steps, and at the end at one of what is wanted."""
        steps, at = [], kind
        plain = ("adjacent", "edges", "value", "has", "token", "ends", "text", "is", "arithmetic", "where", "property", "dedup")
        deep = ("choose", "coalesce", "union", "logic", "optional", "repeat") if depth < DEPTH else ()
        for _ in range(self._chance.randrange(1, 4)):
            names = [name for name in FITS[at] if name in plain + deep]
            if not names:
                break
            text, at = self._step(self._chance.choice(names), at, depth + 1)
            steps.append(text)
        if not steps or (wanted and at not in wanted):
            steps, at = (["identity()"], kind) if not wanted or kind in wanted else ([*steps, "count()"], "N")
        return "__." + ".".join(steps), at

    def _reduced(self, kind: str, depth: int) -> Step:
        """A traversal within a step that has one answer, whatever the order."""
        chance = self._chance
        text, at = self._inner(kind, depth)
        ending, after = chance.choice([("count()", "N"), *_REDUCING.get(at, ())])
        return f"{text}.{ending}", after

    def _by(self, kind: str, depth: int) -> Step:
        """What ``by`` takes, in its brackets."""
        choices: list[Step] = [("id", "B"), ("label", "S")]
        if kind == "V":
            choices += [(f"'{key}'", "B") for key in self._toy.single] * 2
        if kind == "E":
            choices += [(f"'{key}'", "B") for key in self._toy.weights]
        if depth < DEPTH and self._chance.random() < 0.5:
            return self._reduced(kind, depth + 1)
        return self._chance.choice(choices)

    # steps, by what they are for

    def _grow(self, depth: int) -> None:
        if not depth:
            self._size *= self._toy.fan

    def _labels(self) -> str:
        chance = self._chance
        return "" if chance.random() < 0.5 else ", ".join(f"'{one}'" for one in chance.sample(self._toy.edge_labels, 1))

    def _adjacent(self, _kind: str, depth: int) -> Step:
        self._grow(depth)
        return f"{self._chance.choice(('out', 'in', 'both'))}({self._labels()})", "V"

    def _edges(self, _kind: str, depth: int) -> Step:
        self._grow(depth)
        return f"{self._chance.choice(('outE', 'inE', 'bothE'))}({self._labels()})", "E"

    def _ends(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice(("inV()", "outV()", "bothV()", "toV(IN)", "toV(OUT)")), "V"

    def _value(self, kind: str, _depth: int) -> Step:
        numbers = list(self._toy.weights if kind == "E" else self._toy.numbers)
        strings = [] if kind == "E" else list(self._toy.strings)
        key = self._chance.choice(numbers + strings or ["nope"])
        after = "S" if key in strings else "D" if key == "weight" else "N" if key in numbers else "B"
        return f"values('{key}')", after

    def _has(self, kind: str, _depth: int) -> Step:
        chance, toy = self._chance, self._toy
        if kind == "E":
            choices = [f"hasLabel('{label}')" for label in toy.edge_labels]
            choices += [f"has('{key}', {self._compared(values)})" for key, values in toy.weights.items()]
            return chance.choice(choices), "E"
        choices = [f"hasLabel('{chance.choice(toy.vertex_labels)}')", f"hasNot('{chance.choice(toy.single)}')"]
        choices += [f"has('{key}', {self._named(values)})" for key, values in toy.strings.items()] * 2
        choices += [f"has('{key}', {self._compared(tuple(map(str, values)))})" for key, values in toy.numbers.items()] * 2
        choices += [f"has('{key}')" for key in toy.single]
        return chance.choice(choices), "V"

    def _compared(self, values: tuple[str, ...]) -> str:
        chance = self._chance
        one, other = chance.choice(values), chance.choice(values)
        return chance.choice((
            one, f"gt({one})", f"lt({one})", f"gte({one})", f"lte({one})", f"neq({one})", f"between({one}, {other})",
            f"within({one}, {other})", f"without({one})", f"gt({one}).or(eq({other}))", f"not(lt({one}))",
            f"outside({one}, {other})", f"inside({one}, {other}).negate()", f"gte({one}).and(neq({other}))",
        ))  # fmt: skip

    def _named(self, values: tuple[str, ...]) -> str:
        one = self._chance.choice(values)
        part = "'" + self._chance.choice("aeormARE") + "'"
        return self._chance.choice((
            one, f"neq({one})", f"containing({part})", f"startingWith({part})", f"notContaining({part})", f"endingWith({part})",
            f"within({one}, {part})", f"gt({one})", f"regex({part})", f"not(eq({one}))", f"gt({part}).and(neq({one}))",
        ))  # fmt: skip

    def _where(self, kind: str, depth: int) -> Step:
        if depth >= DEPTH:
            return "identity()", kind
        inner, _ = self._inner(kind, depth + 1)
        name = self._chance.choice(("where", "filter", "not"))
        if self._chance.random() < 0.3:
            return f"{name}({inner}.count().is({self._compared(('0', '1', '2', '3'))}))", kind
        return f"{name}({inner})", kind

    def _logic(self, kind: str, depth: int) -> Step:
        parts = ", ".join(self._inner(kind, depth + 1)[0] for _ in range(self._chance.randrange(1, 4)))
        return f"{self._chance.choice(('and', 'or'))}({parts})", kind

    def _choose(self, kind: str, depth: int) -> Step:
        test, _ = self._inner(kind, depth + 1)
        one, _ = self._inner(kind, depth + 1, (kind,))
        other, _ = self._inner(kind, depth + 1, (kind,))
        return (f"choose({test}, {one}, {other})", kind) if one.count("count()") == 0 == other.count("count()") else (
            f"choose({test}, constant('x'), constant('y'))", "S")  # fmt: skip

    def _map(self, kind: str, depth: int) -> Step:
        text, after = self._reduced(kind, depth)
        return f"map({text})", after

    def _local(self, kind: str, depth: int) -> Step:
        text, after = self._reduced(kind, depth)
        return f"local({text})", after

    def _count(self, _kind: str, depth: int) -> Step:
        if not depth:
            self._size = 1
        return "count()", "N"

    def _project(self, kind: str, depth: int) -> Step:
        parts = [self._by(kind, depth + 1)[0] for _ in range(2)]
        return f"project('a', 'b').by({parts[0]}).by({parts[1]})", "M"

    def _token(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice((("label()", "S"), ("id()", "B")))

    def _key(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice((("key()", "S"), ("label()", "S")))

    def _dedup(self, kind: str, _depth: int) -> Step:
        return "dedup()", kind

    def _union(self, kind: str, depth: int) -> Step:
        inners = [self._inner(kind, depth + 1, ("V",))[0] for _ in range(2)]
        self._grow(depth)
        return f"union({', '.join(inners)})", "V" if not any(one.endswith("count()") for one in inners) else "B"

    def _optional(self, _kind: str, depth: int) -> Step:
        self._grow(depth)
        return f"optional({self._chance.choice(('out', 'in', 'both'))}({self._labels()}))", "V"

    def _coalesce(self, _kind: str, _depth: int) -> Step:
        keys = ", ".join(f"values('{key}')" for key in self._chance.sample(self._toy.single, 1))
        return f"coalesce({keys}, constant('none'))", "B"

    def _repeat(self, _kind: str, depth: int) -> Step:
        chance = self._chance
        self._grow(depth)
        self._grow(depth)
        simple = ".simplePath()" if self._whole and not depth and self._toy.fan < 10 else ""
        body = f"{chance.choice(('out', 'in', 'both'))}({self._labels()})"
        body += chance.choice(("", "", simple, f".{self._has('V', depth)[0]}"))
        times = chance.choice((1, 2))
        return chance.choice((
            f"repeat({body}).times({times})", f"repeat({body}).emit().times({times})", f"emit().repeat({body}).times({times})",
            f"times({times}).repeat({body})", f"repeat({body}).times({times}).emit({self._has('V', depth)[0]})",
        )), "V"  # fmt: skip

    def _until(self, _kind: str, depth: int) -> Step:
        self._grow(depth)
        self._grow(depth)
        test = self._has("V", depth)[0]
        return f"repeat({self._chance.choice(('out', 'in'))}()).until(__.or({test}, loops().is(2)))", "V"

    def _group(self, kind: str, depth: int) -> Step:
        by, _ = self._by(kind, depth + 1)
        if self._chance.random() < 0.4:
            return f"groupCount().by({by})", "M"
        return f"group().by({by}).by({self._reduced(kind, depth + 1)[0]})", "M"

    def _aggregate(self, _kind: str, _depth: int) -> Step:
        by = self._chance.choice(self._toy.single)
        return f"aggregate('x').by('{by}').cap('x').unfold().dedup()", "B"

    def _format(self, _kind: str, _depth: int) -> Step:
        return f"format('%{{{self._chance.choice(self._toy.single)}}}-%{{_}}').by(label)", "S"

    def _math(self, _kind: str, depth: int) -> Step:
        return f"math('_ * 2 + 1').by({self._inner('V', depth + 1)[0]}.count())", "N"

    def _labelled(self, kind: str, depth: int) -> Step:
        """The traverser's step before and this one, named, and compared or told together."""
        chance = self._chance
        hop, _ = self._adjacent(kind, depth)
        by, other = self._by("V", depth + 1)[0], self._by("V", depth + 1)[0]
        comparing = chance.choice(("eq", "neq"))
        return chance.choice((
            (f"as('a').{hop}.as('b').select('a', 'b').by({by}).by({other})", "M"),
            (f"as('a').{hop}.where({comparing}('a'))", "V"),
            (f"as('a').{hop}.as('b').where('a', {comparing}('b')).by({by})", "V"),
            (f"as('a').{hop}.as('b').dedup('a', 'b').select('b')", "V"),
            (f"as('a').{hop}.select('a')", "V"),
            (f"as('a').{hop}.where({self._inner('V', depth + 1)[0]}).select(last, 'a').by({by})", "B"),
            (f"match(__.as('a').{hop}.as('b')).select('a', 'b').by({by})", "M"),
        ))  # fmt: skip

    def _told(self, _kind: str, _depth: int) -> Step:
        key = self._chance.choice(self._toy.single)
        return self._chance.choice(
            ("valueMap()", f"valueMap('{key}')", "elementMap()", f"valueMap(true, '{key}').by(unfold())")
        ), "M"

    def _simple(self, _kind: str, depth: int) -> Step:
        hops = ".".join(self._adjacent("V", depth)[0] for _ in range(2))
        return f"{hops}.{self._chance.choice(('simplePath()', 'cyclicPath()'))}" if self._whole else hops, "V"

    def _sack(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice(("sack(sum).by(out().count()).sack()", "sack(mult).by(constant(2)).sack()")), "N"

    def _properties(self, _kind: str, _depth: int) -> Step:
        key = self._chance.choice((*self._toy.single, "location"))
        return f"properties({self._chance.choice(('', repr(key)))})", "VP"

    def _property(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice(
            (
                ("value()", "B"),
                ("element()", "V"),
                ("has('startTime', gt(2000))", "VP"),
                ("hasKey('name')", "VP"),
                ("id().count()", "N"),
            )
        )

    def _cut(self, kind: str, _depth: int) -> Step:
        chance = self._chance
        order = "order()" if kind == "S" else "order().by(id)" if chance.random() < 0.7 else "order().by(id, desc)"
        low = chance.randrange(0, 3)
        cut = chance.choice((f"limit({low + 1})", f"skip({low})", f"range({low}, {low + 3})", f"tail({low + 1})", "tail()"))
        return f"{order}.{cut}", kind

    def _fold(self, kind: str, depth: int) -> Step:
        if not depth:
            self._size = 1
        if kind in "SN":
            return self._chance.choice((("order().fold()", "L"), ("order().by(desc).fold()", "L")))
        return "order().by(id).fold()", "L"

    def _text(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice((
            ("toUpper()", "S"), ("toLower()", "S"), ("length()", "N"), ("substring(1)", "S"), ("substring(0, 2)", "S"),
            ("concat('x')", "S"), ("reverse()", "S"), ("trim()", "S"), ("replace('a', 'b')", "S"), ("split('a')", "L"),
            ("asString()", "S"), ("substring(-2)", "S"), ("concat(constant('-'), identity())", "S"), ("lTrim()", "S"),
        ))  # fmt: skip

    def _is(self, kind: str, _depth: int) -> Step:
        if kind == "S":
            return f"is({self._named(self._toy.strings['name'])})", "S"
        return f"is({self._compared(('0', '1', '3', '29l', '30.5'))})", kind

    def _tally(self, _kind: str, _depth: int) -> Step:
        return "groupCount()", "M"

    def _constant(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice(
            (("constant(1)", "N"), ("constant('c')", "S"), ("constant(null)", "B"), ("constant([1, 2])", "L"))
        )

    def _inject(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice(("inject('z')", "inject('y', 'y')")), "S"

    def _extreme(self, kind: str, depth: int) -> Step:
        if not depth:
            self._size = 1
        return self._chance.choice(("max()", "min()")), kind

    def _sum(self, _kind: str, depth: int) -> Step:
        if not depth:
            self._size = 1
        return self._chance.choice((("sum()", "N"), ("mean()", "D"), ("fold(0, sum)", "N")))

    def _arithmetic(self, _kind: str, _depth: int) -> Step:
        return f"math('{self._chance.choice(('_ + 1', '_ * 3', '_ / 4', '_ - 10', '_ % 5', '_ ^ 2'))}')", "D"

    def _as_number(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice(
            (("is(gt(0))", "D"), ("sum()", "D"), ("max()", "D"), ("mean()", "D"), ("order().fold()", "L"))
        )

    def _as_text(self, _kind: str, _depth: int) -> Step:
        return "asString()", "S"

    def _local_list(self, _kind: str, _depth: int) -> Step:
        cut = self._chance.choice(("limit(local, 2)", "tail(local, 1)", "range(local, 0, 2)", "skip(local, 1)"))
        return self._chance.choice(((cut, "B"), ("reverse()", "L"), ("dedup(local).order(local)", "L"), ("count(local)", "N")))

    def _unfold(self, _kind: str, _depth: int) -> Step:
        return "unfold()", "B"

    def _members(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice((("any(eq(29))", "L"), ("all(neq('x'))", "L"), ("any(neq(null))", "L"), ("index()", "L")))

    def _combined(self, _kind: str, _depth: int) -> Step:
        other = self._chance.choice(("['x', 1]", "[]", "['marko']", "[29, 32]"))
        name = self._chance.choice(("merge", "combine", "intersect", "difference", "disjunct"))
        return f"{name}({other}).count(local)", "N"

    def _select(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice((("select('a')", "B"), ("unfold().select(values)", "B"), ("unfold().select(keys)", "B")))

    def _local_map(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice((("count(local)", "N"), ("select(keys).count(local)", "N"), ("unfold().count()", "N")))

    def _count_local(self, _kind: str, _depth: int) -> Step:
        return "count(local)", "N"

    def _by_path(self, _kind: str, _depth: int) -> Step:
        return self._chance.choice(("unfold().count()", "count(local).max()")), "N"


_REDUCING: dict[str, tuple[Step, ...]] = {
    "S": (("order().fold()", "L"), ("max()", "S"), ("dedup().count()", "N")),
    "N": (("sum()", "N"), ("max()", "N"), ("min()", "N"), ("order().fold()", "L")),
    "V": (("dedup().count()", "N"), ("id().order().fold()", "L"), ("groupCount().by(label)", "M")),
    "E": (("id().order().fold()", "L"),),
}
"""What makes one answer of several, by what these are."""
