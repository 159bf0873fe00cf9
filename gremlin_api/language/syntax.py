"""What a query says, as values that can be compared: a traversal is a list of steps, a step a name and arguments.

Numbers, strings, booleans and null are Python's (:mod:`gremlin_api.numbers`); the other arguments are classes here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from gremlin_api.numbers import Number


@dataclass(frozen=True, slots=True)
class EnumValue:
    """A value of one of TinkerPop's enums, as ``T.id``."""

    enum: str
    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A name that the request's bindings give a value."""

    name: str


@dataclass(frozen=True, slots=True)
class Date:
    """``datetime('…')``; without a text, the time of the query."""

    text: Literal | None = None


@dataclass(frozen=True, slots=True)
class ListValue:
    """``[…]``."""

    items: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class MapValue:
    """``[key: value, …]``, in their order."""

    entries: tuple[tuple[Literal, Literal], ...]


@dataclass(frozen=True, slots=True)
class Range:
    """``first..last``, of integers or strings."""

    first: Literal
    last: Literal


@dataclass(frozen=True, slots=True)
class VertexReference:
    """``new Vertex(id, label)``."""

    id: Literal
    label: Literal


@dataclass(frozen=True, slots=True)
class CardinalityValue:
    """``Cardinality.single(value)``."""

    cardinality: str
    value: Literal


@dataclass(frozen=True, slots=True)
class Predicate:
    """``P.gt(5)``; ``and``, ``or`` and ``negate`` have predicates as arguments, as ``not`` has."""

    name: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Strategy:
    """``new SubgraphStrategy(vertices: hasLabel('x'))``."""

    name: str
    arguments: tuple[tuple[str, Argument], ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A step.

    Attributes:
        name: as TinkerPop writes it.
        arguments: in their order.
        at: where it stands in the text.
    """

    name: str
    arguments: tuple[Argument, ...] = ()
    at: int = field(default=-1, compare=False)


@dataclass(frozen=True, slots=True)
class Traversal:
    """Steps in a row.

    Attributes:
        steps: at least one.
        source: what is said of the source (``withSack`` …); None: it begins at what there is (``__``), not at ``g``.
        terminal: ``toList``, ``next`` …, of a whole query and of a traversal that stands for its result.
    """

    steps: tuple[Step, ...]
    source: tuple[Step, ...] | None = None
    terminal: Step | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One statement.

    Attributes:
        traversal: what it asks; None: nothing (an empty text), or the source itself.
        source: what is said of the source where it is all that is asked for; None: it is not.
        texts: how often its answer is made a text (``.toString()``).
    """

    traversal: Traversal | None = None
    source: tuple[Step, ...] | None = None
    texts: int = 0


Literal: TypeAlias = (
    "Number | str | bool | EnumValue | Variable | Date | ListValue | MapValue | Range | VertexReference | CardinalityValue"
    " | Traversal | None"
)
Argument: TypeAlias = "Literal | Predicate | Strategy"
