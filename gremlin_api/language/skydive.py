"""Text of Skydive's Gremlin → what it says, and back: the same steps and arguments as TinkerPop's, under Skydive's names.

Names of steps, predicates and words are read in any case, and kept as Skydive's documentation writes them.

Source: Skydive's graffiti/graph/traversal (traversal_parser.go, traversal_scanner.go), what its documentation says beyond it,
and its quirks mended: strings have escapes, ``Outside`` is there, wrong numbers of arguments are errors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from gremlin_api.language.errors import QueryError, nearest
from gremlin_api.language.parser import Limits
from gremlin_api.language.syntax import Argument, EnumValue, Predicate, Step
from gremlin_api.language.tokens import Kind, Token, tokens

# Kinds of arguments: K a key, V a value or a predicate, N an integer, S a text, T a time, D a duration, O an order,
# M Metadata(…). "KV*": pairs, any number; "KV+": one or more; "?": may be left out.
_PAIRS, _FILTER = ("KV+",), ("KV*",)

STEPS: dict[str, tuple[str, ...]] = {
    "Aggregates": ("N?",),
    "As": ("S",),
    "Ascendants": ("KV* N?",),
    "At": ("T D?",),
    "BPF": ("S",),
    "Both": _FILTER,
    "BothE": _FILTER,
    "BothV": _FILTER,
    "CaptureNode": ("",),
    "Context": ("T D?",),
    "Count": ("",),
    "Dedup": ("K*",),
    "Descendants": ("KV* N?",),
    "E": ("S?",),
    "Flows": _FILTER,
    "Group": ("K?",),
    "Has": ("K", "KV+"),
    "HasEither": _PAIRS,
    "HasKey": ("K",),
    "HasNot": ("K",),
    "Hops": ("",),
    "In": _FILTER,
    "InE": _FILTER,
    "InV": _FILTER,
    "Keys": ("",),
    "Limit": ("N",),
    "Metrics": ("S?",),
    "MoreThan": ("N?",),
    "Neighbors": ("KV* N?",),
    "NextHop": ("S",),
    "Node": ("",),
    "Nodes": ("",),
    "Out": _FILTER,
    "OutE": _FILTER,
    "OutV": _FILTER,
    "Range": ("N N",),
    "RawPackets": ("",),
    "Select": ("S+",),
    "ShortestPathTo": ("M M?",),
    "Sockets": ("",),
    "Sort": ("O K?", "K?"),
    "SubGraph": _FILTER,
    "Sum": ("K?",),
    "V": ("S?",),
    "ValueMap": ("K+",),
    "Values": ("K",),
    "Workflow": ("S V*",),
}

PREDICATES: dict[str, tuple[str, ...]] = {
    "Between": ("V V",),
    "GT": ("V",),
    "GTE": ("V",),
    "IPV4Range": ("S",),
    "Inside": ("V V",),
    "LT": ("V",),
    "LTE": ("V",),
    "Metadata": _PAIRS,
    "NE": ("V",),
    "NEE": ("V",),
    "Outside": ("V V",),
    "Regex": ("S",),
    "Within": ("V*",),
    "Without": ("V*",),
}

RESTART = "G"
"""The step that goes back to the graph; what was found before is kept by ``As``."""

_WORDS: dict[str, Argument] = {
    "TRUE": True,
    "FALSE": False,
    "ASC": EnumValue("Order", "ASC"),
    "DESC": EnumValue("Order", "DESC"),
    "NOW": EnumValue("Time", "NOW"),
    "FOREVER": EnumValue("Time", "FOREVER"),
}
_STEPS = {name.lower(): name for name in STEPS}
_PREDICATES = {name.lower(): name for name in PREDICATES}
_LIMITS = Limits()

Steps: TypeAlias = tuple[Step, ...]


def parse_skydive(text: str, limits: Limits = _LIMITS) -> Steps:
    """The steps after ``G``; none: the whole graph is asked for. Raises QueryError."""
    if len(text) > limits.characters:
        raise QueryError(text, 0, f"the query is {len(text)} characters long: {limits.characters} are allowed")
    return _Parser(text, limits).query()


def render_skydive(steps: Iterable[Step]) -> str:
    """The text of steps."""
    return ".".join([RESTART, *(RESTART if step.name == RESTART else _call(step.name, step.arguments) for step in steps)])


def _call(name: str, arguments: Iterable[Argument]) -> str:
    return f"{name}({', '.join(map(_rendered, arguments))})"


def _rendered(argument: Argument) -> str:
    if isinstance(argument, Predicate):
        return _call(argument.name, argument.arguments)
    if isinstance(argument, EnumValue):
        return argument.name
    if isinstance(argument, bool):
        return str(argument).upper()
    if isinstance(argument, str):
        return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(argument)


class _Parser:
    def __init__(self, text: str, limits: Limits) -> None:
        self._text, self._limits = text, limits
        self._tokens = list(tokens(text, plain=True))
        self._place = 0

    def query(self) -> Steps:
        first = self._take()
        if first.kind is not Kind.NAME or first.text.upper() != RESTART:
            raise self._wrong(f"a query begins with 'G', not with {first}", first)
        steps: list[Step] = []
        while self._next.kind is not Kind.END:
            self._expect(".")
            steps.append(self._step())
            if len(steps) > self._limits.steps:
                raise self._wrong(f"there are more than {self._limits.steps} steps")
        return tuple(steps)

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self) -> Token:
        token = self._next
        self._place += token.kind is not Kind.END
        return token

    def _takes(self, mark: str) -> bool:
        found = self._next.kind is Kind.MARK and self._next.text == mark
        self._place += found
        return found

    def _expect(self, mark: str) -> None:
        if not self._takes(mark):
            raise self._wrong(f"'{mark}' is expected here, not {self._next}")

    def _wrong(self, reason: str, token: Token | None = None) -> QueryError:
        return QueryError(self._text, (token or self._next).at, reason)

    def _step(self) -> Step:
        token = self._take()
        if token.kind is not Kind.NAME:
            raise self._wrong(f"a step is expected here, not {token}", token)
        if token.text.upper() == RESTART and not self._is_call():
            return Step(RESTART, at=token.at)
        name = _STEPS.get(token.text.lower())
        if name is None:
            raise self._wrong(f"'{token.text}' is no step{nearest(token.text, STEPS)}", token)
        return Step(name, self._arguments(name, STEPS[name], token), token.at)

    def _is_call(self) -> bool:
        return self._next.kind is Kind.MARK and self._next.text == "("

    def _arguments(self, name: str, signatures: tuple[str, ...], token: Token, depth: int = 0) -> tuple[Argument, ...]:
        if depth > self._limits.depth:
            raise self._wrong(f"this is nested more than {self._limits.depth} deep", token)
        self._expect("(")
        given: list[Argument] = []
        while not self._takes(")"):
            if given:
                self._expect(",")
            given.append(self._argument(depth))
            if len(given) > self._limits.arguments:
                raise self._wrong(f"there are more than {self._limits.arguments} arguments")
        if not any(_fits(signature, given) for signature in signatures):
            takes = " or ".join(f"({_in_words(signature)})" for signature in signatures)
            raise self._wrong(f"{name}() takes {takes}, not {len(given)} arguments as these", token)
        return tuple(given)

    def _argument(self, depth: int) -> Argument:
        token = self._take()
        if token.kind is Kind.STRING:
            return token.text
        if token.kind is Kind.INTEGER and token.text.lstrip("+-").isdecimal():
            return int(token.text)
        if token.kind is Kind.FLOAT and not token.text[-1].isalpha():
            return float(token.text)
        if token.kind is Kind.NAME and self._is_call():
            name = _PREDICATES.get(token.text.lower())
            if name is None:
                raise self._wrong(f"'{token.text}' is no predicate{nearest(token.text, PREDICATES)}", token)
            return Predicate(name, self._arguments(name, PREDICATES[name], token, depth + 1))
        if token.kind is Kind.NAME and token.text.upper() in _WORDS:
            return _WORDS[token.text.upper()]
        raise self._wrong(f"an argument is expected here, not {token}", token)


def _fits(signature: str, given: list[Argument]) -> bool:
    """Whether arguments are of these kinds."""
    place = 0
    kinds = signature.split()
    for number, kind in enumerate(kinds):
        one, times = kind.rstrip("*+?"), kind[-1:]
        left = len(given) - place
        if times in ("*", "+"):
            # all but what must follow: an integer that ends pairs
            after = 1 if number + 1 < len(kinds) and left % len(one) else 0
            count = left - after
            if count % len(one) or (times == "+" and not count):
                return False
        else:
            count = min(left, 1) if times == "?" else 1
            if count > left:
                return False
        if not all(_is(one[at % len(one)], given[place + at]) for at in range(count)):
            return False
        place += count
    return place == len(given)


def _is(kind: str, value: Argument) -> bool:
    if isinstance(value, EnumValue):
        return (kind, value.enum) in (("O", "Order"), ("T", "Time"), ("D", "Time"))
    if isinstance(value, Predicate):
        return kind == "M" if value.name == "Metadata" else kind == "V"
    return isinstance(value, _TYPES[kind]) and (kind == "V" or not isinstance(value, bool))


_TYPES: dict[str, tuple[type, ...]] = {
    "K": (str,), "S": (str,), "N": (int,), "T": (int, float, str), "D": (int, str), "V": (str, int, float, bool),
    "O": (), "M": (),
}  # fmt: skip
_NAMES = {
    "K": "key", "S": "text", "N": "integer", "T": "time", "D": "duration", "V": "value", "O": "ASC or DESC", "M": "Metadata(…)",
}  # fmt: skip


def _in_words(signature: str) -> str:
    return ", ".join(
        ", ".join(_NAMES[one] for one in kind.rstrip("*+?")) + {"*": " …", "+": " …", "?": " if any"}.get(kind[-1], "")
        for kind in signature.split()
    )
