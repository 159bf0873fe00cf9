"""Which pods a service or a policy selects by their labels, kept up to date by what changed alone. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from topology.probes.kubernetes.objects import LabelSelector

Pair: TypeAlias = "tuple[str, str]"
"""UIDs of who selects, and of the pod."""

_OPERATORS: Mapping[str, Callable[[str | None, Collection[str]], bool]] = {
    "In": lambda value, values: value is not None and value in values,
    "NotIn": lambda value, values: value is None or value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
}
"""What a label must be; None: the pod has none of that key. Words as k8s.io/apimachinery has them."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Labels that must be there, and conditions on others.

    Attributes:
        labels: keys with their values.
        conditions: key, operator, values. An operator that is not known selects nothing.
    """

    labels: tuple[tuple[str, str], ...] = ()
    conditions: tuple[tuple[str, str, frozenset[str]], ...] = ()

    @classmethod
    def of(cls, given: LabelSelector) -> Selector:
        """As the API has it; an empty one selects all."""
        conditions = ((one.key, one.operator, frozenset(one.values or ())) for one in given.match_expressions or ())
        return cls(tuple(sorted((given.match_labels or {}).items())), tuple(conditions))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are selected."""
        return all(labels.get(key) == value for key, value in self.labels) and all(
            operator in _OPERATORS and _OPERATORS[operator](labels.get(key), values)
            for key, operator, values in self.conditions
        )


class Members:
    """Who selects whom, within each namespace.

    Candidates are found by one label that must be there: neither a pod nor a selector is held against all others.
    """

    def __init__(self) -> None:
        self._selectors: dict[str, tuple[str, Selector]] = {}  # who → namespace, selector
        self._pods: dict[str, tuple[str, Mapping[str, str]]] = {}  # pod → namespace, labels
        self._wanting: dict[tuple[str, ...], set[str]] = defaultdict(set)  # (namespace[, key, value]) → who wants it
        self._having: dict[tuple[str, ...], set[str]] = defaultdict(set)  # (namespace[, key, value]) → pods
        self._of: dict[str, set[str]] = {}  # who → pods, pod → who

    def pods(self, who: str) -> Collection[str]:
        """Those that are selected."""
        return self._of.get(who, ())

    def put_pod(self, pod: str, namespace: str, labels: Mapping[str, str] | None) -> set[Pair]:
        """A pod has these labels, or (None) is not there; gives the pairs that came or went."""
        before = self._pods.pop(pod, None)
        if before is not None:
            self._forget(self._having, _places(*before), pod)
        now: set[str] = set()
        if labels is not None:
            self._pods[pod] = namespace, labels
            for place in _places(namespace, labels):
                self._having[place].add(pod)
                now |= {who for who in self._wanting.get(place, ()) if self._selectors[who][1].matches(labels)}
        return {(who, pod) for who in self._become(pod, now)}

    def put_selector(self, who: str, namespace: str, selector: Selector | None) -> set[Pair]:
        """Someone selects, or (None) does not; gives the pairs that came or went."""
        before = self._selectors.pop(who, None)
        if before is not None:
            self._forget(self._wanting, [_first(*before)], who)
        now: set[str] = set()
        if selector is not None:
            self._selectors[who] = namespace, selector
            place = _first(namespace, selector)
            self._wanting[place].add(who)
            now = {pod for pod in self._having.get(place, ()) if selector.matches(self._pods[pod][1])}
        return {(who, pod) for pod in self._become(who, now)}

    def _become(self, one: str, now: set[str]) -> set[str]:
        """Note with whom one goes together; gives those with whom that is otherwise than before."""
        before = self._of.pop(one, set())
        if now:
            self._of[one] = now
        for other in before - now:
            self._of[other].discard(one)
            if not self._of[other]:
                del self._of[other]
        for other in now - before:
            self._of.setdefault(other, set()).add(one)
        return before ^ now

    @staticmethod
    def _forget(index: dict[tuple[str, ...], set[str]], places: Collection[tuple[str, ...]], one: str) -> None:
        for place in places:
            index[place].discard(one)
            if not index[place]:
                del index[place]


def _places(namespace: str, labels: Mapping[str, str]) -> list[tuple[str, ...]]:
    return [(namespace,), *((namespace, key, value) for key, value in labels.items())]


def _first(namespace: str, selector: Selector) -> tuple[str, ...]:
    """Where its candidates are: those with its first label, or all of the namespace."""
    return (namespace, *selector.labels[0]) if selector.labels else (namespace,)
