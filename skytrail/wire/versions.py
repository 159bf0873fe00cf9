"""Versions of the wire's protocol. Pure."""

from __future__ import annotations

from skytrail.errors import RunError

OLDEST, NEWEST = 1, 2
"""Those that this release speaks; one speaks the version before its newest, too."""
ATTENDS = CLOCKS = PIECES = 2
"""From this version on agents attend to questions; tell how far clocks are apart, and large reports in pieces."""


class WireError(RunError):
    """The other end cannot be talked to; says why and what to do."""


def agreed(oldest: int, newest: int, other: str = "the agent", this: str = "the hub") -> int:
    """The newest version that both ends speak.

    Args:
        oldest: of the other end.
        newest: of the other end.
        other: what that is.
        this: what we are.

    Raises:
        WireError: there is none.
    """
    version = min(newest, NEWEST)
    if version < max(oldest, OLDEST):
        ours, theirs = (f"{first} to {last}" for first, last in ((OLDEST, NEWEST), (oldest, newest)))
        who = other if newest < OLDEST else this
        raise WireError(f"{other} speaks versions {theirs} of the wire, {this} {ours}: upgrade {who}")
    return version
