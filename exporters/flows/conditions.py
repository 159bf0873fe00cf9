"""Conditions on many flows at once, by arrays, before any of them is rendered. Pure.

A condition's one meaning is that of :mod:`skytrail.asking.terms`. Here it is bounded: which rows meet it surely, and which may;
only those are rendered, and asked once more.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skytrail.asking.terms import OPERATORS, Compare, Either, Every, Not, Scalar, Term

Mask: TypeAlias = "NDArray[np.bool_]"
_EQUAL = ("within", "without", "unlike")
_FEW = 8  # values that are compared one by one


@dataclass(frozen=True, slots=True)
class Bounds:
    """Rows that meet a condition surely, and those that may: at least the former. bool[n] each."""

    surely: Mask
    maybe: Mask


class Column(Protocol):
    """What is at one key of each row."""

    def bounds(self, operator: str, values: Sequence[Scalar]) -> Bounds:
        """Which rows stand in this relation (of ``OPERATORS``) to the values."""
        ...

    def order(self) -> tuple[NDArray[Any], Mask]:
        """What rows are ordered by, and which have something there."""
        ...


def exactly(mask: Mask) -> Bounds:
    """These rows, and no others."""
    return Bounds(mask, mask)


def unknown(count: int) -> Bounds:
    """Any of so many rows."""
    return Bounds(np.zeros(count, np.bool_), np.ones(count, np.bool_))


def bounds(term: Term | None, column: Callable[[str], Column | None], count: int) -> Bounds:
    """The bounds of a valid term.

    Args:
        term: None: no condition.
        column: of a key; None: it is not known without rendering.
        count: rows.
    """
    match term:
        case None:
            return exactly(np.ones(count, np.bool_))
        case Compare():
            found = column(term.key)
            return found.bounds(term.operator, term.values) if found else unknown(count)
        case Every():
            return _joined(np.logical_and, True, [bounds(one, column, count) for one in term.terms], count)
        case Either():
            return _joined(np.logical_or, False, [bounds(one, column, count) for one in term.terms], count)
        case Not():
            inner = bounds(term.term, column, count)
            return Bounds(~inner.maybe, ~inner.surely)


def _joined(join: Any, of_none: bool, parts: list[Bounds], count: int) -> Bounds:  # noqa: ANN401 - a ufunc
    surely = maybe = np.full(count, of_none)
    for part in parts:
        surely, maybe = join(surely, part.surely), join(maybe, part.maybe)
    return Bounds(surely, maybe)


class Numbers:
    """Whole numbers.

    Args:
        values: of each row.
        present: which rows have one; None: all.
    """

    def __init__(self, values: NDArray[Any], present: Mask | None = None) -> None:
        self._values = values
        self._present = np.ones(len(values), np.bool_) if present is None else present

    def bounds(self, operator: str, values: Sequence[Scalar]) -> Bounds:
        """As :class:`Column` says."""
        if operator in _EQUAL:
            same = self._present & self._among([one for value in values for one in _whole(value)])
            return exactly({"within": same, "without": self._present & ~same, "unlike": ~same}[operator])
        if operator in _COMPARED:
            return exactly(self._compared(operator, values[0]))
        return exactly(_of_presence(operator, self._present))

    def order(self) -> tuple[NDArray[Any], Mask]:
        """As :class:`Column` says."""
        return self._values, self._present

    def _among(self, wanted: list[int]) -> Mask:
        limits = np.iinfo(self._values.dtype)
        possible = [one for one in wanted if limits.min <= one <= limits.max]
        if len(possible) > _FEW:
            return np.isin(self._values, np.array(possible, self._values.dtype))
        found = np.zeros(len(self._values), np.bool_)
        for one in possible:
            found |= self._values == one
        return found

    def _compared(self, operator: str, limit: Scalar) -> Mask:
        if isinstance(limit, str):
            return np.zeros(len(self._values), np.bool_)
        if math.isinf(limit):
            holds = (limit > 0) == (operator in ("lt", "lte"))
            return self._present & holds
        compare, whole = _COMPARED[operator]
        return np.asarray(self._present & compare(self._values, whole(limit)))


# A whole number is less than 1.5 where it is less than 2: so no number is rounded as a float.
_COMPARED: dict[str, tuple[Any, Callable[[float], int]]] = {
    "lt": (np.less, math.ceil),
    "lte": (np.less_equal, math.floor),
    "gt": (np.greater, math.floor),
    "gte": (np.greater_equal, math.ceil),
}


def _whole(value: Scalar) -> Iterator[int]:
    """The whole number that a value is, if it is one."""
    if isinstance(value, (str, bool)):
        return
    if isinstance(value, int) or value.is_integer():
        yield int(value)


def _of_presence(operator: str, present: Mask) -> Mask:
    """Relations of what is no text, that do not look at it: a number is in no range of addresses."""
    return {"there": present, "missing": ~present}.get(operator, np.zeros(len(present), np.bool_))


class Names:
    """Texts of which there are few.

    Args:
        codes: which of them each row has; below 0: none.
        texts: they.
    """

    def __init__(self, codes: NDArray[Any], texts: Sequence[str]) -> None:
        self._codes, self._texts = codes, texts

    def bounds(self, operator: str, values: Sequence[Scalar]) -> Bounds:
        """As :class:`Column` says."""
        meets = OPERATORS[operator][1](values)
        answers = np.array([*(meets((text,)) for text in self._texts), meets(())], np.bool_)
        return exactly(answers[np.where(self._codes < 0, len(self._texts), self._codes)])

    def order(self) -> tuple[NDArray[Any], Mask]:
        """As :class:`Column` says."""
        places = {text: place for place, text in enumerate(sorted(set(self._texts)))}
        rank = np.array([*(places[text] for text in self._texts), 0], np.int64)
        return rank[self._codes], np.asarray(self._codes >= 0)


class Octets:
    """Texts of which each row may have its own, as the bytes that they stand for.

    Args:
        words: what each row has, as numbers.
        pack: a text as such numbers; None: no row can have that text.
        text: a row's own text, by its place.
        present: which rows have one; None: all.
    """

    def __init__(
        self,
        words: Sequence[NDArray[Any]],
        pack: Callable[[str], tuple[int, ...] | None],
        text: Callable[[int], str],
        present: Mask | None = None,
    ) -> None:
        self._words, self._pack, self._text = words, pack, text
        self._present = np.ones(len(words[0]), np.bool_) if present is None else present

    def bounds(self, operator: str, values: Sequence[Scalar]) -> Bounds:
        """As :class:`Column` says."""
        if operator in _EQUAL:
            same = self._present & self._among(values)
            return exactly({"within": same, "without": self._present & ~same, "unlike": ~same}[operator])
        if operator in ("there", "missing"):
            return exactly(_of_presence(operator, self._present))
        return exactly(self._one_by_one(operator, values))

    def order(self) -> tuple[NDArray[Any], Mask]:
        """As :class:`Column` says."""
        texts = np.array([self._text(at) if here else "" for at, here in enumerate(self._present.tolist())], object)
        return texts, self._present

    def _among(self, values: Sequence[Scalar]) -> Mask:
        found = np.zeros(len(self._present), np.bool_)
        packed = {self._pack(value) for value in values if isinstance(value, str)}
        for one in packed:
            if one is not None:
                found |= self._equal(one)
        return found

    def _equal(self, one: tuple[int, ...]) -> Mask:
        first, *others = zip(self._words, one, strict=True)
        found: Mask = np.asarray(first[0] == first[1])
        if found.any():
            for words, word in others:
                found &= words == word
        return found

    def _one_by_one(self, operator: str, values: Sequence[Scalar]) -> Mask:
        meets = OPERATORS[operator][1](values)
        found = np.zeros(len(self._present), np.bool_)
        for at in np.flatnonzero(self._present).tolist():
            found[at] = meets((self._text(at),))
        return found


class Addresses(Octets):
    """IP addresses.

    Args:
        family: of each row: 4, or another.
        high: their first 8 bytes, as a number.
        low: the others.
        pack: as :class:`Octets` takes it: family, high and low.
        text: as :class:`Octets` takes it.
        present: which rows have one.
    """

    def __init__(
        self,
        family: NDArray[Any],
        high: NDArray[Any],
        low: NDArray[Any],
        pack: Callable[[str], tuple[int, ...] | None],
        text: Callable[[int], str],
        present: Mask,
    ) -> None:
        super().__init__((high, low, np.where(family == 4, 4, 6)), pack, text, present)

    def bounds(self, operator: str, values: Sequence[Scalar]) -> Bounds:
        """As :class:`Column` says."""
        return exactly(self._in(str(values[0]))) if operator == "range" else super().bounds(operator, values)

    def _in(self, text: str) -> Mask:
        network = ipaddress.ip_network(text, strict=False)
        shift = 96 if network.version == 4 else 0
        net, mask = int(network.network_address) << shift, int(network.netmask) << shift
        high, low, family = self._words
        found = self._present & (family == network.version)
        for words, bits in ((high, 64), (low, 0)):
            part = mask >> bits & 0xFFFFFFFFFFFFFFFF
            if part:
                found &= (words.astype(np.uint64) & np.uint64(part)) == np.uint64(net >> bits & 0xFFFFFFFFFFFFFFFF)
        return np.asarray(found)


class Somewhere:
    """What only some rows can have, and nobody knows without rendering them.

    Args:
        possible: which.
    """

    def __init__(self, possible: Mask) -> None:
        self._possible = possible

    def bounds(self, operator: str, values: Sequence[Scalar]) -> Bounds:
        """As :class:`Column` says."""
        nothing = OPERATORS[operator][1](values)(())
        return Bounds(~self._possible & nothing, self._possible | nothing)

    def order(self) -> tuple[NDArray[Any], Mask]:
        """Not to be asked."""
        raise NotImplementedError


class Marks:
    """Texts of which only a part of the bytes is known: what differs there differs.

    Args:
        marks: of each row.
        mark: of a text; None: no row can have that text.
    """

    def __init__(self, marks: NDArray[Any], mark: Callable[[str], int | None]) -> None:
        self._marks, self._mark = marks, mark

    def bounds(self, operator: str, values: Sequence[Scalar]) -> Bounds:
        """As :class:`Column` says."""
        count = len(self._marks)
        if operator != "within":
            return unknown(count)
        found = np.zeros(count, np.bool_)
        for mark in {self._mark(value) for value in values if isinstance(value, str)}:
            if mark is not None:
                found |= self._marks == mark
        return Bounds(np.zeros(count, np.bool_), found)

    def order(self) -> tuple[NDArray[Any], Mask]:
        """Not to be asked."""
        raise NotImplementedError


ORDERED: tuple[type, ...] = (Numbers, Names, Octets)
"""Columns that tell an order."""


def ordered(places: NDArray[np.intp], column: Column, *, descending: bool) -> NDArray[np.intp]:
    """Rows in the order of a column, equals as they are; those that have nothing there last."""
    values, present = column.order()
    there = places[present[places]]
    if descending:  # backwards twice, so that equals stay
        there = there[::-1]
    ranked = there[np.argsort(values[there], kind="stable")]
    return np.concatenate([ranked[::-1] if descending else ranked, places[~present[places]]])
