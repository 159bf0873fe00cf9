"""Rules of people: nodes that are made, keys that are added, nodes that are linked, as long as the rule is there.

A rule's queries are asked again whenever the graph changed; what they find becomes facts of a source of its own, so that what
a rule did is undone when it goes. Source: Skydive's topology/enhancers and api/types (NodeRule, EdgeRule).
"""

from __future__ import annotations

import itertools
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import structlog

from skytrail.errors import SkytrailError, UsageError
from topology.facts import EdgeFact, Fact, NodeFact, Report, Source
from topology.snapshot.elements import DEEPEST, fits
from topology.store.interface import Store, StoreError

_log = structlog.get_logger(__name__)

Find: TypeAlias = Callable[[str], "Sequence[str]"]
"""A query of nodes → their TIDs. Raises SkytrailError."""

_PROBE = "rules"
_LOOK = 0.2  # seconds between two looks at what changed
_AGAIN = 10.0  # seconds after which all is asked again in any case: others may write to the same graph, and keep rules there
_MOST_LINKS = 10_000  # of one rule
_MOST_ROUNDS = 100  # while others change the graph, too
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IDENTITY = ("Name", "Type", "TID")


class NodeRule(msgspec.Struct, forbid_unknown_fields=True):
    """Makes a node, or adds to those that a query finds.

    Attributes:
        Metadata: of the node, or what is added; it takes no key's place that a probe says.
        Action: which of the two.
        Query: of Skydive's dialect; finds the nodes to be added to.
    """

    Metadata: dict[str, Any]
    Action: Literal["create", "update"]
    Query: str = ""
    Name: str = ""
    Description: str = ""
    UUID: str = ""


class EdgeRule(msgspec.Struct, forbid_unknown_fields=True):
    """Links each node that a query finds to each that another one finds.

    Attributes:
        Src: the query of the parents.
        Dst: the query of the children.
        Metadata: of the edges; with their RelationType.
    """

    Src: str
    Dst: str
    Metadata: dict[str, Any]
    Name: str = ""
    Description: str = ""
    UUID: str = ""


Rule: TypeAlias = "NodeRule | EdgeRule"

KINDS: dict[str, type[NodeRule | EdgeRule]] = {"noderule": NodeRule, "edgerule": EdgeRule}
"""By the name that they have in the store and in the API."""


class DuplicateRuleError(UsageError):
    """The same rule is there."""


class _Kept(msgspec.Struct):
    rule: msgspec.Raw
    until: int | None = None


class Rules:
    """The rules of a store, applied.

    Args:
        store: that keeps them.
        report: takes what they make of the graph; returns how many changes that was.
        find: asks the graph as it is now.
        host: Name of the host whose hub applies them.
        changes: how often the graph changed so far.
        clock: µs since the epoch.
        on_duty: whether they are ours to apply; else another hub does.

    Attributes:
        failures: why a rule's query has no answer, by the rule's UUID.
    """

    def __init__(
        self,
        store: Store,
        report: Callable[[Report], int],
        find: Find,
        host: str,
        changes: Callable[[], int],
        clock: Callable[[], int],
        on_duty: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store, self._report, self._find, self._changes, self._clock = store, report, find, changes, clock
        self._on_duty = on_duty
        self._source = Source(_PROBE, host, service="hub")
        self._lock = threading.RLock()
        self._rules: dict[str, dict[str, tuple[Rule, int | None]]] | None = None  # None: the store has not answered yet
        self._said: tuple[Fact, ...] | None = None
        self._made: dict[str, tuple[Fact, ...]] = {}  # by rule
        self._unstable: set[str] = set()  # rules that undo themselves: left out until the rules change
        self._told = ""  # the last reason why nothing was applied
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="rules", daemon=True)
        self.failures: dict[str, str] = {}

    def start(self) -> None:
        """Begin to apply what the store keeps, as soon as it answers."""
        self._thread.start()

    def _kept(self) -> dict[str, dict[str, tuple[Rule, int | None]]]:
        """The rules and when they end, by kind and UUID; read when first asked for. Raises StoreError."""
        if self._rules is None:
            self._rules = {kind: dict(self._read(kind)) for kind in KINDS}
        return self._rules

    def _read(self, kind: str) -> Iterator[tuple[str, tuple[Rule, int | None]]]:
        for id_, body in self._store.resources(kind).items():
            kept = msgspec.json.decode(body, type=_Kept)
            yield id_, (msgspec.json.decode(kept.rule, type=KINDS[kind]), kept.until)

    def stop(self) -> None:
        """Apply them no more; what they made stays until the next start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def all(self, kind: str) -> dict[str, Rule]:
        """The rules of a kind, by their UUIDs. Raises StoreError."""
        with self._lock:
            return {id_: rule for id_, (rule, _) in self._kept()[kind].items()}

    def add(self, kind: str, rule: Rule, seconds: float | None = None) -> Rule:
        """Keep a rule and apply it at once; returns it with its UUID.

        Args:
            kind: of the rule.
            rule: with no UUID, or one of its own.
            seconds: after which it goes; None: it stays.

        Raises:
            UsageError: it says what cannot be.
            DuplicateRuleError: the same is there.
            StoreError: it cannot be kept.
        """
        self._check(rule)
        with self._lock:
            for there in self.all(kind).values():
                if rule.UUID == there.UUID or msgspec.structs.replace(there, UUID="") == msgspec.structs.replace(rule, UUID=""):
                    raise DuplicateRuleError("duplicated resource: the same rule, or one of that UUID, is there")
            made = msgspec.structs.replace(rule, UUID=rule.UUID or str(uuid.uuid4()))
            until = None if seconds is None else self._clock() + int(seconds * 1e6)
            body = msgspec.json.encode(_Kept(msgspec.Raw(msgspec.json.encode(made)), until))
            self._store.put_resource(kind, made.UUID, body)
            self._kept()[kind][made.UUID] = made, until
            self._unstable.clear()
            self._settle()
        return made

    def remove(self, kind: str, id_: str) -> bool:
        """Keep a rule no more, and undo what it did; whether it was there. Raises StoreError."""
        with self._lock:
            if id_ not in self._kept()[kind]:
                return False
            self._store.put_resource(kind, id_, None)
            del self._kept()[kind][id_]
            self._unstable.clear()
            self._settle()
        return True

    def _check(self, rule: Rule) -> None:
        if rule.UUID and _UUID.fullmatch(rule.UUID) is None:
            raise UsageError("UUID: leave it away, or give one as 2d6a4f5c-0f2e-4c55-9d2b-8a4e5f1b7c10")
        if not all(fits(value, DEEPEST) for value in rule.Metadata.values()):
            raise UsageError(f"Metadata: a value is nested more than {DEEPEST} deep")
        if isinstance(rule, NodeRule):
            self._check_node(rule)
            return
        if not _is_text(rule.Metadata.get("RelationType")):
            raise UsageError("Metadata: an edge needs a RelationType that is text")
        for name, query in (("Src", rule.Src), ("Dst", rule.Dst)):
            self._try(name, query)

    def _check_node(self, rule: NodeRule) -> None:
        if rule.Action == "create":
            missing = [key for key in ("Name", "Type") if not _is_text(rule.Metadata.get(key))]
            if missing:
                raise UsageError(f"Metadata: a node needs a {missing[0]} that is text")
            return
        taken = [key for key in _IDENTITY if key in rule.Metadata]
        if taken:
            raise UsageError(f"Metadata: {taken[0]} of a node is its probe's to say")
        self._try("Query", rule.Query)

    def _try(self, name: str, query: str) -> None:
        try:
            self._find(query)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from error

    def _follow(self) -> None:
        seen, asked = -1, 0.0
        while not self._stopping.wait(_LOOK):
            try:
                if not self._on_duty():
                    seen, self._said = -1, None  # another hub says it now
                    continue
                with self._lock:
                    gone, now = self._expire(), time.monotonic()
                    if now - asked >= _AGAIN:
                        self._rules, asked = None, now
                    elif self._changes() == seen and not gone:
                        continue
                    seen = self._settle()
            except StoreError as error:
                self._put_off(error)
            except Exception as error:  # noqa: BLE001 - whatever one rule does, the others go on
                _log.error("rules_failed", error=str(error), exc_info=True)

    def _expire(self) -> bool:
        """Whether some went."""
        now, rules = self._clock(), self._rules or {}
        due = [
            (kind, id_)
            for kind, some in rules.items()
            for id_, (_, until) in some.items()
            if until is not None and until <= now
        ]
        for kind, id_ in due:
            self.remove(kind, id_)
        return bool(due)

    def _settle(self) -> int:
        """Apply the rules until what they make of the graph changes nothing more; returns how often it had changed by then.

        A graph that cannot be asked changes nothing. A rule that makes again what it made before others of its rounds, while
        nobody else changed the graph, undoes itself, alone or with others, and is left out.
        """
        rounds: dict[str, list[tuple[Fact, ...]]] = {}
        before = self._changes()
        if not self._on_duty():
            return before
        for _ in range(_MOST_ROUNDS):
            try:
                changes = self._apply(rounds)
                self._told = ""
            except SkytrailError as error:
                self._put_off(error)
                break
            if not changes or self._stopping.is_set():
                break
            if self._changes() != before + changes:
                rounds.clear()
            before = self._changes()
        return before

    def _apply(self, rounds: dict[str, list[tuple[Fact, ...]]]) -> int:
        """Report what the rules make of the graph as it is now; how many changes that was. Raises SkytrailError."""
        kept = {id_: rule for rules in self._kept().values() for id_, (rule, _) in rules.items()}
        for gone in (self._made.keys() | self.failures.keys()) - kept.keys():
            self._made.pop(gone, None)
            self.failures.pop(gone, None)
        made: list[Fact] = []
        for id_, rule in kept.items():
            facts, past = self._facts(rule), rounds.setdefault(id_, [])
            if facts in past[:-1] and facts != past[-1]:
                self._unstable.add(id_)
                self._fail(rule, "its queries ask for what it makes, or another rule does of it: it would undo itself")
                facts = ()
            past.append(facts)
            made += facts
        said = tuple(_merged(made))
        if said == self._said:
            return 0
        changes = self._report(Report(self._source, self._clock(), said, whole=True))
        self._said = said
        return changes

    def _put_off(self, error: SkytrailError) -> None:
        if str(error) != self._told:
            _log.warning("rules not applied", error=str(error))
        self._told = str(error)

    def _facts(self, rule: Rule) -> tuple[Fact, ...]:
        """What a rule makes; what it made the last time, where its queries cannot be asked now."""
        if rule.UUID in self._unstable:
            return ()
        try:
            self._made[rule.UUID] = tuple(self._make(rule))
            self.failures.pop(rule.UUID, None)
        except UsageError as error:
            self._made.pop(rule.UUID, None)
            self._fail(rule, str(error))
        except SkytrailError as error:
            if rule.UUID not in self._made:
                raise
            self._fail(rule, str(error))
        return self._made.get(rule.UUID, ())

    def _make(self, rule: Rule) -> Iterator[Fact]:
        if isinstance(rule, EdgeRule):
            metadata = {key: value for key, value in rule.Metadata.items() if key != "RelationType"}
            parents, children = dict.fromkeys(self._find(rule.Src)), dict.fromkeys(self._find(rule.Dst))
            many = len(parents) * len(children) - len(parents.keys() & children.keys())
            if many > _MOST_LINKS:
                raise UsageError(f"it would link {many} pairs of nodes: {_MOST_LINKS} are allowed")
            for parent, child in itertools.product(parents, children):
                if parent != child:
                    yield EdgeFact(parent, child, rule.Metadata["RelationType"], metadata, key=rule.UUID)
        elif rule.Action == "create":
            yield NodeFact(f"rule/{rule.UUID}", rule.Metadata)
        else:
            for tid in dict.fromkeys(self._find(rule.Query)):
                yield NodeFact(tid, rule.Metadata, enriches=True)

    def _fail(self, rule: Rule, reason: str) -> None:
        if self.failures.get(rule.UUID) != reason:
            _log.warning("rule not applied", rule=rule.Name or rule.UUID, error=reason)
            self.failures[rule.UUID] = reason


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _merged(facts: Iterable[Fact]) -> Iterator[Fact]:
    """One fact for each element: of two rules that say the same key of a node, the later one counts."""
    nodes: dict[str, NodeFact] = {}
    for fact in facts:
        if isinstance(fact, EdgeFact):
            yield fact
            continue
        other = nodes.get(fact.tid)
        nodes[fact.tid] = fact if other is None else _both(other, fact)
    yield from nodes.values()


def _both(one: NodeFact, other: NodeFact) -> NodeFact:
    return NodeFact(one.tid, {**one.metadata, **other.metadata}, enriches=one.enriches and other.enriches)
