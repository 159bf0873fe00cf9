"""Text of TinkerPop's Gremlin → what it says. By recursive descent, within limits; text is never evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from gremlin_api.language import grammar
from gremlin_api.language.arguments import KINDS, Raw, Word, described, literal, match
from gremlin_api.language.errors import QueryError, nearest
from gremlin_api.language.syntax import (
    Argument,
    CardinalityValue,
    Date,
    EnumValue,
    ListValue,
    Literal,
    MapValue,
    Predicate,
    Query,
    Range,
    Step,
    Strategy,
    Traversal,
    Variable,
    VertexReference,
)
from gremlin_api.language.tokens import Kind, Token, tokens
from gremlin_api.numbers import BITS, BigInteger, Byte, Float, Int, Long, Number, Short, fits

_INTEGER_SUFFIXES: dict[str, type[int]] = {"b": Byte, "s": Short, "i": Int, "l": Long, "n": BigInteger}
_FLOAT_SUFFIXES: dict[str, type[float | Decimal]] = {"f": Float, "d": float, "m": Decimal}
_WORDS: dict[str, Literal] = {
    "true": True, "false": False, "null": None, "NaN": float("nan"), "Infinity": float("inf"), "+Infinity": float("inf"),
    "-Infinity": float("-inf"),
}  # fmt: skip
_CARDINALITIES = grammar.ENUMS["Cardinality"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a text may be.

    Attributes:
        characters: of the whole text.
        depth: of traversals, lists and predicates in each other.
        steps: of all traversals together.
        arguments: of one step, and items of one list.
    """

    characters: int = 1 << 16
    depth: int = 100
    steps: int = 2000
    arguments: int = 20_000


_LIMITS = Limits()


def parse(text: str, limits: Limits = _LIMITS) -> list[Query]:
    """The statements of a text. Raises QueryError."""
    if len(text) > limits.characters:
        raise QueryError(text, 0, f"the query is {len(text)} characters long: {limits.characters} are allowed")
    return _Parser(text, limits).queries()


class _Parser:
    def __init__(self, text: str, limits: Limits) -> None:
        self._text, self._limits = text, limits
        self._tokens = list(tokens(text))
        self._place = 0
        self._depth = self._steps = 0

    def queries(self) -> list[Query]:
        found = [self._query()]
        while not self._ended():
            self._takes(";")
            if not self._ended():
                found.append(self._query())
        return found

    def _ended(self) -> bool:
        return self._next.kind is Kind.END

    # Tokens

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _ahead(self, text: str, places: int = 1) -> bool:
        """Whether that mark follows so many places later."""
        place = self._place + places
        return place < len(self._tokens) and self._tokens[place].kind is Kind.MARK and self._tokens[place].text == text

    def _take(self) -> Token:
        token = self._next
        if token.kind is not Kind.END:
            self._place += 1
        return token

    def _is(self, text: str) -> bool:
        return self._next.text == text and self._next.kind in (Kind.MARK, Kind.NAME)

    def _takes(self, text: str) -> bool:
        if self._is(text):
            self._place += 1
            return True
        return False

    def _expect(self, text: str) -> Token:
        if not self._is(text):
            raise self._wrong(f"'{text}' is expected here, not {self._next}")
        return self._take()

    def _name(self, what: str) -> Token:
        if self._next.kind is not Kind.NAME:
            raise self._wrong(f"{what} is expected here, not {self._next}")
        return self._take()

    def _wrong(self, reason: str, at: int | None = None) -> QueryError:
        """What is wrong here, or at that place."""
        return QueryError(self._text, self._next.at if at is None else at, reason)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > self._limits.depth:
            raise self._wrong(f"this is nested more than {self._limits.depth} deep")

    # Statements and traversals

    def _query(self) -> Query:
        if self._next.kind is Kind.STRING and not self._next.text:
            self._take()
            return Query(texts=self._to_strings())
        if not self._is("g"):
            raise self._wrong(f"a query begins with 'g', not with {self._next}")
        self._take()
        traversal, source = self._from_source(terminated=True)
        return Query(traversal, source, self._to_strings())

    def _to_strings(self) -> int:
        times = 0
        while self._is(".") and self._tokens[self._place + 1].text == "toString":
            self._place += 2
            self._expect("(")
            self._expect(")")
            times += 1
        return times

    def _from_source(self, *, terminated: bool) -> tuple[Traversal | None, tuple[Step, ...] | None]:
        """What comes after ``g``: a traversal, or the source itself where nothing else is asked for."""
        source: list[Step] = []
        while self._is(".") and (step := self._one_of(grammar.SOURCE_STEPS)):
            source.append(step)
        if not self._is(".") or self._tokens[self._place + 1].text == "toString":
            return None, tuple(source)
        if self._tokens[self._place + 1].text == "tx":
            return Traversal(self._transaction(), tuple(source)), None
        first = self._one_of(grammar.SPAWN_STEPS)
        if first is None:
            self._take()
            raise self._unknown(self._name("a step"), {**grammar.SPAWN_STEPS, **grammar.SOURCE_STEPS}, "begins no traversal")
        steps, terminal = self._more([first], terminated=terminated)
        return Traversal(steps, tuple(source), terminal), None

    def _transaction(self) -> tuple[Step, ...]:
        steps = []
        for names in (("tx",), ("begin", "commit", "rollback")):
            self._expect(".")
            token = self._name("a step")
            if token.text not in names:
                raise self._unknown(token, names, "does not follow tx()")
            self._expect("(")
            self._expect(")")
            steps.append(Step(token.text, at=token.at))
        return tuple(steps)

    def _nested(self) -> Traversal:
        """A traversal that stands in brackets."""
        self._deeper()
        try:
            if self._takes("g"):
                traversal, _ = self._from_source(terminated=True)
                if traversal is None:
                    raise self._wrong("a step is expected after 'g'")
                return traversal
            if self._takes("__"):
                self._expect(".")
            first = self._step()
            return Traversal(self._more([first], terminated=False)[0])
        finally:
            self._depth -= 1

    def _more(self, steps: list[Step], *, terminated: bool) -> tuple[tuple[Step, ...], Step | None]:
        """The steps after the first ones, and what ends them."""
        while self._is(".") and self._tokens[self._place + 1].text != "toString":
            terminal = self._one_of(grammar.TERMINAL_STEPS) if terminated else None
            if terminal is not None:
                return tuple(steps), terminal
            self._take()
            steps.append(self._step())
        return tuple(steps), None

    def _one_of(self, known: Mapping[str, tuple[str, ...]]) -> Step | None:
        """The step after the dot, if it is one of these."""
        token = self._tokens[self._place + 1]
        if token.kind is not Kind.NAME or token.text not in known:
            return None
        self._place += 2
        return self._with_arguments(token, known[token.text])

    def _step(self) -> Step:
        token = self._name("a step")
        if token.text not in grammar.STEPS:
            raise self._unknown(token, grammar.STEPS, "is no step")
        return self._with_arguments(token, grammar.STEPS[token.text])

    def _unknown(self, token: Token, known: Iterable[str], what: str) -> QueryError:
        return self._wrong(f"'{token.text}' {what}{nearest(token.text, known)}", token.at)

    def _with_arguments(self, token: Token, signatures: tuple[str, ...]) -> Step:
        self._steps += 1
        if self._steps > self._limits.steps:
            raise self._wrong(f"there are more than {self._limits.steps} steps", token.at)
        given = self._arguments()
        for signature in signatures:
            found = match(signature, given)
            if found is not None:
                return Step(token.text, found, token.at)
        takes = " or ".join(f"({signature.replace(' ', ', ')})" for signature in signatures)
        raise self._wrong(f"{token.text}() takes {takes}, not ({described(given)})", token.at)

    # Arguments

    def _arguments(self) -> list[Raw]:
        self._expect("(")
        found: list[Raw] = []
        if self._takes(")"):
            return found
        while True:
            found.append(self._argument())
            self._bounded(found)
            if self._takes(")"):
                return found
            if not self._takes(","):
                raise self._wrong(f"',' or ')' is expected here, not {self._next}")

    def _bounded(self, found: list[Raw]) -> None:
        if len(found) > self._limits.arguments:
            raise self._wrong(f"there are more than {self._limits.arguments} arguments")

    def _argument(self) -> Raw:
        token = self._next
        if token.kind is Kind.STRING or token.kind is Kind.INTEGER:
            return self._scalar_or_range()
        if token.kind is Kind.FLOAT:
            return self._number(self._take())
        if token.kind is Kind.MARK and token.text == "[":
            return self._collection()
        if token.kind is Kind.NAME:
            return self._named(token)
        raise self._wrong(f"an argument is expected here, not {token}")

    def _scalar_or_range(self) -> Literal:
        first = self._scalar()
        if not (self._is(".") and self._ahead(".")):
            return first
        self._place += 2
        if self._next.kind not in (Kind.STRING, Kind.INTEGER) or (self._next.kind is Kind.STRING) != isinstance(first, str):
            raise self._wrong(f"the other end of the range is expected here, not {self._next}")
        return Range(first, self._scalar())

    def _scalar(self) -> Literal:
        token = self._take()
        return token.text if token.kind is Kind.STRING else self._number(token)

    def _number(self, token: Token) -> Number:
        digits = token.text.replace("_", "").lower()
        if token.kind is Kind.FLOAT:
            kind = _FLOAT_SUFFIXES.get(digits[-1], Decimal)
            return kind(digits.rstrip("fdm"))
        return self._integer(token, digits)

    def _integer(self, token: Token, digits: str) -> int:
        hexadecimal = digits.lstrip("+-").startswith("0x")
        kind = _INTEGER_SUFFIXES.get(digits[-1]) if not (hexadecimal and digits[-1] == "b") else None
        if kind is not None:
            digits = digits[:-1]
        octal = not hexadecimal and len(digits.lstrip("+-")) > 1 and digits.lstrip("+-")[0] == "0"
        value = int(digits, 16 if hexadecimal else 8 if octal else 10)
        if kind in BITS and not fits(value, BITS[kind]):
            raise self._wrong(f"{token.text} is no {kind.__name__}: {BITS[kind]} bits do not hold it", token.at)
        return value if kind is None or kind is Int else kind(value)

    def _collection(self) -> Literal:
        self._deeper()
        self._expect("[")
        try:
            if self._takes(":"):
                self._expect("]")
                return MapValue(())
            if self._takes("]"):
                return ListValue(())
            if self._is("(") or self._is_key():
                return MapValue(tuple(self._entries()))
            return self._list()
        finally:
            self._depth -= 1

    def _is_key(self) -> bool:
        """Whether a map's entry begins here: a key of one token, or of a list or map in brackets, and a colon after it."""
        if not self._is("["):
            return self._ahead(":")
        open_, place = 0, self._place
        while place < len(self._tokens) - 1:
            token = self._tokens[place]
            open_ += (token.kind is Kind.MARK) * ((token.text == "[") - (token.text == "]"))
            place += 1
            if not open_:
                return self._tokens[place].kind is Kind.MARK and self._tokens[place].text == ":"
        return False

    def _list(self) -> ListValue:
        items: list[Raw] = []
        while True:
            items.append(self._literal())
            self._bounded(items)
            if self._takes("]"):
                return ListValue(tuple(items))  # type: ignore[arg-type]  # literals all
            if not self._takes(","):
                raise self._wrong(f"',' or ']' is expected here, not {self._next}")

    def _entries(self) -> list[tuple[Literal, Literal]]:
        entries: list[tuple[Literal, Literal]] = []
        while True:
            key = self._key()
            self._expect(":")
            entries.append((key, self._literal()))
            if len(entries) > self._limits.arguments:
                raise self._wrong(f"there are more than {self._limits.arguments} entries")
            if self._takes("]"):
                return entries
            if not self._takes(","):
                raise self._wrong(f"',' or ']' is expected here, not {self._next}")

    def _key(self) -> Literal:
        bracketed = self._takes("(")
        token = self._next
        if token.kind is Kind.NAME:
            self._take()
            values = (KINDS[enum](Word(token.text)) for enum in ("T", "Direction"))
            key = next((value for value in values if isinstance(value, EnumValue)), None)
            if key is None and not bracketed and (token.text == "new" or token.text not in grammar.KEYWORDS):
                found_key: Literal = token.text
            elif key is None:
                raise self._wrong(f"{token} is no key of a map: put it in quotes", token.at)
            else:
                found_key = key
        elif self._is("["):
            found_key = self._collection()
        elif token.kind in (Kind.STRING, Kind.INTEGER, Kind.FLOAT):
            found_key = self._scalar()
        else:
            raise self._wrong(f"a key is expected here, not {token}")
        if bracketed:
            self._expect(")")
        return found_key

    def _literal(self) -> Literal:
        at, found = self._next.at, self._argument()
        value = literal(found)
        if isinstance(value, Variable) or not _is_literal(value):
            raise self._wrong(f"a literal is expected here, not {described([found])}", at)
        return value  # type: ignore[return-value]  # as was seen

    def _named(self, token: Token) -> Raw:
        name = token.text
        if name in _WORDS:
            self._take()
            return _WORDS[name]
        if name == "new":
            return self._new()
        if name in ("g", "__"):
            return self._nested()
        if name in grammar.CONSTANTS and self._ahead("."):
            return self._constant()
        if not self._ahead("("):
            self._take()
            return Strategy(name) if name in grammar.BARE_STRATEGIES else Word(name)
        return self._called(name)

    def _called(self, name: str) -> Raw:
        """A name with brackets after it."""
        before, _, bare = name.rpartition(".")
        if name == "datetime":
            return self._date()
        if bare in _CARDINALITIES and before in ("", "Cardinality"):
            self._take()
            self._expect("(")
            value = self._literal()
            self._expect(")")
            return CardinalityValue(bare, value)
        if name in grammar.STRATEGIES:
            return self._strategy()
        if bare == "not" and before in ("", "P"):
            return self._negation(fixed=bool(before))
        if bare in grammar.PREDICATES:
            of = "TextP" if bare in grammar.TEXT_PREDICATES else "P"
            if before not in ("", of):
                raise self._wrong(f"'{name}' is no predicate: did you mean {of}.{bare}?")
            return self._predicate(bare)
        return self._nested()

    def _negation(self, *, fixed: bool) -> Raw:
        """``not(…)`` of a predicate, or the step: that is said by what stands in it."""
        self._deeper()
        token = self._take()
        self._expect("(")
        inner = self._argument()
        self._expect(")")
        self._depth -= 1
        if isinstance(inner, Predicate):
            return self._joined(Predicate("not", (inner,)))
        if fixed or not isinstance(inner, Traversal) or inner.terminal:
            raise self._wrong(f"not() takes (Predicate) or (Traversal), not ({described([inner])})", token.at)
        return Traversal(self._more([Step("not", (inner,), token.at)], terminated=False)[0])

    def _predicate(self, name: str) -> Predicate:
        self._deeper()
        token = self._take()
        given = self._arguments()
        self._depth -= 1
        found = match(grammar.PREDICATES[name], given)
        if found is None:
            raise self._wrong(
                f"{name}() takes ({grammar.PREDICATES[name].replace(' ', ', ')}), not ({described(given)})", token.at
            )
        return self._joined(Predicate(name, found))

    def _joined(self, first: Predicate) -> Predicate:
        """With what is joined to it."""
        while self._is(".") and self._tokens[self._place + 1].text in ("and", "or", "negate"):
            self._deeper()
            self._take()
            token = self._take()
            given = self._arguments()
            others = match("" if token.text == "negate" else "Predicate", given)
            if others is None:
                raise self._wrong(f"{token.text}() of a predicate does not take ({described(given)})", token.at)
            first = Predicate(token.text, (first, *others))
        return first

    def _date(self) -> Date:
        token = self._take()
        given = self._arguments()
        found = match("", given)
        if found is None:
            found = match("String", given)
        if found is None:
            raise self._wrong(f"datetime() takes () or (String), not ({described(given)})", token.at)
        return Date(*found)  # type: ignore[arg-type]  # a string or a variable

    def _constant(self) -> EnumValue:
        of = self._take()
        self._expect(".")
        token = self._name("a constant")
        if token.text not in grammar.CONSTANTS[of.text]:
            raise self._unknown(token, grammar.CONSTANTS[of.text], f"is no constant of {of.text}")
        return EnumValue(of.text, token.text)

    def _new(self) -> Raw:
        self._take()
        token = self._next
        if token.text in grammar.STRATEGIES:
            return self._strategy()
        if token.text not in ("Vertex", "ReferenceVertex"):
            raise self._wrong(f"Vertex or a strategy is expected after 'new', not {token}")
        self._take()
        given = self._arguments()
        found = match("Literal String", given)
        if found is None:
            raise self._wrong(f"{token.text} takes (Literal, String), not ({described(given)})", token.at)
        return VertexReference(*found)  # type: ignore[arg-type]  # literals both

    def _strategy(self) -> Strategy:
        token = self._take()
        kinds = grammar.STRATEGIES[token.text]
        if token.text == "ReadOnlyStrategy":
            raise self._wrong("ReadOnlyStrategy stands without 'new' and brackets", token.at)
        self._expect("(")
        found: list[tuple[str, Argument]] = []
        while not self._takes(")"):
            if found:
                self._expect(",")
            name = self._name("an argument's name")
            if name.text not in kinds:
                raise self._unknown(name, kinds, f"is no argument of {token.text}")
            self._expect(":")
            at, given = self._next.at, self._argument()
            value = match(kinds[name.text], [given])
            if value is None:
                raise self._wrong(f"{name.text} is a {kinds[name.text]}, not {described([given])}", at)
            found.append((name.text, value[0]))
        if token.text == "SeedStrategy" and not found:
            raise self._wrong("SeedStrategy takes a seed: new SeedStrategy(seed: 1)", token.at)
        return Strategy(token.text, tuple(found))


def _is_literal(value: object) -> bool:
    return value is None or isinstance(value, _LITERALS)


_LITERALS = (
    str, int, float, Decimal, EnumValue, Date, ListValue, MapValue, Range, VertexReference, CardinalityValue, Traversal,
)  # fmt: skip
