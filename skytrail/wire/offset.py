"""How far another's clock is ahead of ours, by round trips, as NTP has it (RFC 5905, 8). Pure.

Of all round trips the one that is known best counts: it may be wrong by half its duration, and by more with time, for clocks
drift. So one that waited in a queue, or a slow connection's, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

_DRIFT = 50e-6
"""Of two clocks against each other, at worst: crystals have half that each."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One round trip.

    Attributes:
        ahead: µs that the other clock is ahead.
        error: µs by which that may be wrong.
        at: when it ended, by our clock.
    """

    ahead: int
    error: float
    at: int

    def error_at(self, now: int) -> float:
        """By how much it may be wrong by then."""
        return self.error + _DRIFT * abs(now - self.at)


class Offset:
    """The best that is known."""

    def __init__(self) -> None:
        self._best: Sample | None = None

    def note(self, sent: int, received: int, answered: int, now: int) -> None:
        """Take a round trip: two times by our clock, and between them two by the other's; µs.

        One that cannot be is passed over. One that contradicts the best counts in its place: a clock was set meanwhile.
        """
        trip = (now - sent) - (answered - received)
        if trip < 0 or answered < received:
            return
        new = Sample(((received - sent) + (answered - now)) // 2, trip / 2, now)
        best = self._best
        if best is None or new.error <= (grown := best.error_at(now)) or abs(new.ahead - best.ahead) > new.error + grown:
            self._best = new

    @property
    def ahead(self) -> int:
        """µs that the other clock is ahead; 0 as long as they may be the same: clocks that are in step are left alone."""
        best = self._best
        return 0 if best is None or abs(best.ahead) <= best.error else best.ahead

    @property
    def error(self) -> float:
        """µs by which that may be wrong, when it was measured; infinite where nothing was."""
        return float("inf") if self._best is None else self._best.error
