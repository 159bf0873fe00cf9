"""When something happened that is heard of only later, after a watch was cut. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

_SECOND = 1_000_000
_BRIEF = 500_000  # µs: a gap that is shorter needs no other times; objects tell whole seconds

_LONGEST = 40  # digits of a version


class Stamps:
    """The time of an event: now, while a watch lasts. What happened in a gap before it, happened within that.

    A watch tells first of the gap, and then of now, without a word between the two. Resource versions tell them apart: within a
    kind they are numbers that grow, and before a watch goes on the server is asked for the newest.

    Objects say, to the second, when they were made and were to end: that is believed within the gap alone, so that a server
    whose clock is wrong does no harm. What does not say when it happened, happened after what was told before.

    Args:
        clock: µs since the epoch.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._heard: int | None = None  # when something came last; None: never
        self._since: int | None = None  # the gap's begin; None: there is none
        self._until = 0  # its end
        self._newest = 0  # version of what happened last in it
        self._last = 0

    @property
    def gap(self) -> bool:
        """Whether nothing was heard for a while, and what happened then is not told yet."""
        return self._since is not None

    @property
    def brief(self) -> bool:
        """Whether there is no gap, or none that matters."""
        return self._since is None or self._clock() - self._since < _BRIEF

    def told(self, at: int | None = None) -> None:
        """All is told up to a moment; None: up to now."""
        self._since, self._heard = None, self._clock() if at is None else at

    def reached(self, version: str) -> None:
        """A watch told all up to a version."""
        if _number(version) >= self._newest:
            self._since = None
        self._heard = self._clock()

    def cut(self) -> None:
        """Nothing is heard from now on, and since the last event perhaps."""
        self._since = self._heard if self._since is None else max(self._since, self._last)

    def resume(self, newest: str) -> None:
        """A watch goes on.

        Args:
            newest: the version there is now, as far as it matters: what comes up to that is of the gap.
        """
        now = self._clock()
        self._until, self._newest = now, 0
        if self.brief or not (number := _number(newest)):
            self._since = None
        else:
            self._newest = number

    def of(self, said: str | None, version: str) -> int:
        """When an event of a watch happened: they are told in their order.

        Args:
            said: by the object, as RFC 3339 has it; None: it does not say.
            version: of the object after it.
        """
        if self._since is not None and not 0 < _number(version) <= self._newest:
            self._since = None
        if self._since is None:
            self._last = self._clock()
        else:
            self._last = max(self._last, self._since, min(_stamp(said, self._until) or 0, self._until))
        return self._last

    def within(self, said: str | None) -> int:
        """When an object of a list was made, within the gap. In no order."""
        now = self._clock()
        return max(self._since or now, min(_stamp(said, now) or now, now))


def _number(version: str) -> int:
    """0: it is none."""
    return int(version) if version.isascii() and version.isdecimal() and len(version) < _LONGEST else 0


def _stamp(said: str | None, now: int) -> int | None:
    """The middle of the second that is said, or of what of it has passed."""
    if said is None:
        return None
    try:
        second = int(datetime.fromisoformat(said).timestamp() * _SECOND)
    except (ValueError, OverflowError):
        return None
    return (second + max(second, min(second + _SECOND, now))) // 2
