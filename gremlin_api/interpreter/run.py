"""One traversal under way: its graph, its side effects, and how much it may take."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from gremlin_api.errors import ILLEGAL_ARGUMENT, TraversalError
from gremlin_api.execution import Gate
from gremlin_api.graphs.view import GraphView
from gremlin_api.values import Value

T = TypeVar("T")
Reducer = Callable[[Value, Value], Value]

_STRIDE = 256  # steps between two looks at the clock
_COURTESY = 0.0005  # seconds that who looks at a whole graph then leaves the interpreter to those who need it for less


class TimedOutError(TraversalError):
    """It took longer than it may."""


class CancelledError(TraversalError):
    """Nobody waits for the answer any more."""


class TooMuchError(TraversalError):
    """It would hold, or answer, more than it may."""


class Service(Protocol):
    """What ``call()`` can ask, beside the graph."""

    @property
    def about(self) -> str:
        """What it tells, in a line."""
        ...

    @property
    def takes(self) -> Sequence[str]:
        """Names of its parameters."""
        ...

    def call(self, run: Run, parameters: Mapping[str, Value], vertices: Sequence[Value] | None) -> Iterable[tuple[int, Value]]:
        """What it tells, and of which of the vertices; None: of everything. Raises SkytrailError."""
        ...


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much one traversal may take.

    Attributes:
        seconds: from its beginning to its last answer.
        held: traversers and things that it may hold at once, where it must know them all before it goes on.
        results: that it may give.
    """

    seconds: float = 30.0
    held: int = 2_000_000
    results: int = 1_000_000


class SideEffects:
    """What steps keep by a key: how it begins, what it is, and how more is added."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._initial: dict[str, Callable[[], Value]] = {}
        self._reducers: dict[str, Reducer] = {}
        self._shared: dict[str, object] = {}
        self._finals: dict[str, Callable[[Value], Value]] = {}

    def register(self, key: str, initial: Callable[[], Value], reducer: Reducer | None) -> None:
        """Make the key known; what was said of it before holds."""
        self._initial.setdefault(key, initial)
        if reducer is not None:
            self._reducers.setdefault(key, reducer)

    def shared(self, key: str, new: Callable[[], T]) -> T:
        """What steps of one key have together until it is asked for."""
        return self._shared.setdefault(key, new())  # type: ignore[return-value]  # by its key

    def declare(self, key: str, value: Value, reducer: Reducer | None) -> None:
        """Say what it begins with and how more is added, in the place of what was said before."""
        self._initial[key] = lambda: value
        if reducer is not None:
            self._reducers[key] = reducer

    def finish(self, key: str, final: Callable[[Value], Value]) -> None:
        """What is to be made of it where it is asked for."""
        self._finals.setdefault(key, final)

    def __contains__(self, key: object) -> bool:
        return key in self._initial

    def __getitem__(self, key: str) -> Value:
        if key not in self._values:
            if key not in self._initial:
                raise TraversalError(f"there is no side effect '{key}'", ILLEGAL_ARGUMENT)
            self._values[key] = self._initial[key]()
        return self._values[key]

    def final(self, key: str) -> Value:
        """What it is, as the step that keeps it tells it; it stays so."""
        value = self[key]
        if key in self._finals:
            value = self._values[key] = self._finals[key](value)
        return value

    def add(self, key: str, value: Value) -> None:
        """Take more in."""
        reducer = self._reducers.get(key)
        self._values[key] = value if reducer is None else reducer(self[key], value)

    def reducer(self, key: str) -> Reducer | None:
        """How more is added; None: it takes the place of what was there."""
        return self._reducers.get(key)


@dataclass(slots=True)
class Run:
    """What all steps of a traversal share.

    Attributes:
        graph: as of the moment asked about.
        bindings: values of the request's variables.
        allowance: how much it may take.
        cancelled: set by whoever waits, when nobody does any more.
        side_effects: by their keys.
        random: for steps that choose.
        sack: gives what each traverser carries at the beginning; None: nothing.
        merge: makes one sack of two.
        bulk: whether traversers that are the same become one.
        pushes: whether the graph's indexes are asked; the answers are the same without.
        gate: lets so many runs look at a whole graph at a time; None: any number.
        services: that can be called, by name.
    """

    graph: GraphView
    bindings: Mapping[str, Value] = field(default_factory=dict)
    allowance: Allowance = field(default_factory=Allowance)
    cancelled: threading.Event = field(default_factory=threading.Event)
    side_effects: SideEffects = field(default_factory=SideEffects)
    random: random.Random = field(default_factory=random.Random)
    sack: Value = None
    merge: Reducer | None = None
    bulk: bool = True
    pushes: bool = True
    gate: Gate | None = None
    services: Mapping[str, Service] = field(default_factory=dict)
    now: Callable[[], float] = time.monotonic
    _left: int = _STRIDE
    _until: float = field(init=False)
    _held: int = 0
    _scanning: bool = False

    def __post_init__(self) -> None:
        self._until = self.now() + self.allowance.seconds

    def tick(self) -> None:
        """Say that work goes on: called for each traverser where one can become many. Raises what ends the traversal."""
        self._left -= 1
        if self._left < 0:
            self.check()

    def check(self) -> None:
        """Raises what ends the traversal, if it must."""
        self._left = _STRIDE
        if self.cancelled.is_set():
            raise CancelledError("nobody waits for the answer any more")
        if self.now() > self._until:
            raise TimedOutError(
                f"the traversal took longer than {self.allowance.seconds:g} s: ask for less",
                "java.util.concurrent.TimeoutException",
            )
        if self._scanning:
            time.sleep(_COURTESY)

    def scan(self) -> None:
        """Become one of those that look at a whole graph, until the run is closed. Raises BusyError where too many wait to."""
        if self.gate is not None and not self._scanning:
            self.gate.enter(self.check)
            self._scanning = True

    def close(self) -> None:
        """Say that the traversal has ended, however it did."""
        if self.gate is not None and self._scanning:
            self._scanning = False
            self.gate.leave()

    def hold(self, many: int = 1) -> None:
        """Say that so many things more are held. Raises what ends the traversal."""
        self._held += many
        if self._held > self.allowance.held:
            raise TooMuchError(f"the traversal holds more than {self.allowance.held} things at once: ask for less")
        self.tick()
