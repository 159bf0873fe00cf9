"""What may stand in a query: steps and predicates by the grammars, keys and values as the graph and the agents know them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from gremlin_api.errors import TraversalError
from gremlin_api.language import grammar, skydive
from gremlin_api.language.skydive import render_skydive
from gremlin_api.language.syntax import EnumValue, Predicate, Step
from gremlin_api.skydive.answering import SkydiveAnswerer
from skytrail.errors import UsageError

Scalar: TypeAlias = "str | int | float | bool"

LOOKED_AT: Mapping[str, tuple[tuple[Step, ...], int]] = {
    "nodes": ((Step("V"),), 20_000),
    "edges": ((Step("E"),), 20_000),
    "flows": ((Step("At", (EnumValue("Time", "NOW"), 300)), Step("Flows")), 1_000),
}
"""Whose keys and values are told, and how many of them are looked at for one answer; flows of the last minutes."""

MOST = 200
"""Values that one answer tells."""

_LONGEST = 200  # characters of a key, of what values begin with, and of a value: longer ones nobody chooses from a list
_KEPT = 64  # answers
_KEPT_FOR = 30.0  # seconds
_MOST_KEPT = 5_000  # values of one


@dataclass(frozen=True, slots=True)
class _Found:
    """Values, each once and in order; whether there are no others."""

    items: list[Scalar]
    whole: bool


_NOTHING = _Found([], whole=False)


class Completer:
    """Tells what may stand in a query. An answer is kept for half a minute, so that typing asks nobody again.

    Args:
        answerer: of the questions that this takes; its allowance bounds each.
        clock: seconds.
    """

    def __init__(self, answerer: SkydiveAnswerer, clock: Callable[[], float]) -> None:
        self._answerer, self._clock = answerer, clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, ...], tuple[float, _Found]] = {}

    def words(self, cancelled: threading.Event) -> dict[str, Any]:
        """Steps and predicates of both dialects with what they take, and all keys. Raises SkytrailError."""
        return {
            "Skydive": {"Steps": _listed(skydive.STEPS), "Predicates": _listed(skydive.PREDICATES)},
            "TinkerPop": {
                "Steps": _listed({**grammar.SPAWN_STEPS, **grammar.STEPS}),
                "Predicates": {name: [arguments] for name, arguments in grammar.PREDICATES.items()},
            },
            "Keys": {of: self._keys(of, cancelled) for of in LOOKED_AT},
        }

    def values(self, key: str, of: str, prefix: str, cancelled: threading.Event) -> dict[str, Any]:
        """The values at a key that begin so, each once and in order; whether there are more.

        Raises:
            UsageError: it is not said whose, or what is asked about is too long.
            SkytrailError: it could not be asked.
        """
        if of not in LOOKED_AT:
            raise UsageError(f"of: '{of[:20]}' has no keys: use {', '.join(LOOKED_AT)}")
        if not key or max(len(key), len(prefix)) > _LONGEST:
            raise UsageError(f"key: name one, as Name; neither it nor prefix may be longer than {_LONGEST} characters")
        found = self._values(of, key, "", cancelled)
        if prefix and not found.whole:  # there may be others than those that were looked at
            found = self._values(of, key, prefix, cancelled)
        fitting = [one for one in found.items if str(one).startswith(prefix)]
        return {"Values": fitting[:MOST], "More": len(fitting) > MOST or not found.whole}

    def _keys(self, of: str, cancelled: threading.Event) -> list[Scalar]:
        source, many = LOOKED_AT[of]
        try:
            return self._asked((of,), (*source, Step("Limit", (many,)), Step("Keys")), cancelled).items
        except (UsageError, TraversalError):
            if of != "flows" or cancelled.is_set():
                raise
            return []  # a file's graph has no agents to ask

    def _values(self, of: str, key: str, prefix: str, cancelled: threading.Event) -> _Found:
        source, many = LOOKED_AT[of]
        narrowed = Step("Has", (key, Predicate("Regex", (f"{_quoted(prefix)}.*",)))) if prefix else Step("HasKey", (key,))
        return self._asked((of, key, prefix), (*source, narrowed, Step("Limit", (many,)), Step("Values", (key,))), cancelled)

    def _asked(self, kept_as: tuple[str, ...], steps: tuple[Step, ...], cancelled: threading.Event) -> _Found:
        now = self._clock()
        with self._lock:
            until, found = self._kept.get(kept_as, (0.0, _NOTHING))
        if now < until:
            return found
        found = _found(self._answerer.answer(render_skydive(steps), cancelled).values, LOOKED_AT[kept_as[0]][1])
        with self._lock:
            self._kept.pop(kept_as, None)
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[kept_as] = now + _KEPT_FOR, found
        return found


def _found(values: list[Any], looked_at: int) -> _Found:
    each = {text: one for one in _scalars(values) if len(text := str(one)) <= _LONGEST}
    texts = sorted(each)
    return _Found([each[text] for text in texts[:_MOST_KEPT]], len(values) < looked_at and len(texts) <= _MOST_KEPT)


def _listed(table: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(table[name]) for name in sorted(table)}


def _scalars(values: Iterable[Any]) -> Iterator[Scalar]:
    for value in values:
        if isinstance(value, list):
            yield from _scalars(value)
        elif isinstance(value, str | int | float):
            yield value


def _quoted(text: str) -> str:
    """A text as a pattern of RE2's that it alone fits."""
    return "".join(one if one.isalnum() else f"\\{one}" if one.isascii() and one.isprintable() else "." for one in text)
