"""When something happened that is heard of only later, after a watch was cut. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

_SECOND = 1_000_000
_CATCHING_UP = 2 * _SECOND  # after a watch began: until then at most it tells what was before
_BRIEF = 500_000  # µs: a gap that is shorter needs no other times; objects tell whole seconds
_PAUSE = 300_000  # µs without an event: all that was before is told


class Stamps:
    """The time of an event: now, while a watch lasts. What is told just after a gap happened within it.

    Objects say, to the second, when they were made and were to end: that is believed within the gap alone, so that a server
    whose clock is wrong does no harm. What does not say when it happened, happened after what was told before.

    Args:
        clock: µs since the epoch.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._heard: int | None = None  # when something came last; None: never
        self._since: int | None = None  # the gap's begin; None: there is none
        self._until = 0  # it is told by then at the latest
        self._last = 0

    @property
    def gap(self) -> bool:
        """Whether nothing was heard for a while, and what happened then is not told yet."""
        return self._since is not None

    def heard(self, at: int | None = None) -> None:
        """All is told up to a moment; None: up to now."""
        self._heard = self._clock() if at is None else at

    def cut(self) -> None:
        """Nothing is heard from now on, and since the last event perhaps."""
        if self._since is None:
            self._since = self._heard

    def connected(self) -> None:
        """The watch is there: what is told first is of the gap."""
        now = self._clock()
        if self._since is not None and now - self._since < _BRIEF:
            self._since = None
        if self._since is not None:
            self._until, self._heard = now + _CATCHING_UP, now

    def of(self, said: str | None) -> int:
        """When an event of a watch happened: they are told in their order.

        Args:
            said: by the object, as RFC 3339 has it; None: it does not say.
        """
        now = self._clock()
        if self._since is not None and (now > self._until or now > (self._heard or 0) + _PAUSE):
            self._since = None
        if self._since is None:
            self._last = now
        else:
            self._last = max(self._last, self._since, min(_stamp(said, now) or 0, now))
        return self._last

    def within(self, said: str | None) -> int:
        """When an object of a list was made, within the gap. In no order."""
        now = self._clock()
        return max(self._since or now, min(_stamp(said, now) or now, now))


def _stamp(said: str | None, now: int) -> int | None:
    """The middle of the second that is said, or of what of it has passed."""
    if said is None:
        return None
    try:
        second = int(datetime.fromisoformat(said).timestamp() * _SECOND)
    except (ValueError, OverflowError):
        return None
    return (second + max(second, min(second + _SECOND, now))) // 2
