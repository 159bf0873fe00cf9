"""Which rules of TinkerPop's grammar queries go through, as its own parser says (of the real jars)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lab.gremlin import _Program

METHODS = ("traversalMethod_", "traversalSourceSpawnMethod_", "traversalSourceSelfMethod_", "traversalPredicate_")
"""How the rules begin that stand for one signature of a method each."""


class Rules(_Program):
    """TinkerPop's parser of Gremlin. A context manager."""

    def __init__(self) -> None:
        super().__init__("Rules.java")

    def all(self) -> tuple[str, ...]:
        """Every rule of the grammar."""
        return tuple(self._ask("")[1].split())

    def methods(self) -> tuple[str, ...]:
        """Those that stand for a method."""
        return tuple(rule for rule in self.all() if rule.startswith(METHODS))

    def met(self, query: str) -> list[str] | None:
        """The rules that a query goes through, each as often as it does; None: it is no query."""
        parsed, told = self._ask(query)
        return told.split() if parsed else None

    def counted(self, queries: Iterable[str]) -> Counter[str]:
        """In how many of the queries each rule is met."""
        return Counter(rule for query in queries for rule in set(self.met(query) or ()))
