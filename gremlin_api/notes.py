"""What is to be said beside an answer that agents had a part in. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Gap: TypeAlias = "tuple[int, int]"


@dataclass(frozen=True, slots=True)
class Notes:
    """What is to be said.

    Attributes:
        missing: why a host's part is not there, or not whole, by its name.
        since: from when on a host remembers, where it was asked about a time before it; ms since the epoch, by its name.
        gaps: times in what was asked about in which a host's agent did not run; ms since the epoch, by its name.
    """

    missing: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, int] = field(default_factory=dict)
    gaps: Mapping[str, Sequence[Gap]] = field(default_factory=dict)


class Noted:
    """Gathers the notes of one request, that may be several traversals."""

    def __init__(self) -> None:
        self._sources: list[Callable[[], Notes]] = []

    def follow(self, source: Callable[[], Notes]) -> None:
        """Take what a source of notes has to say, when it is asked for."""
        self._sources.append(source)

    @property
    def notes(self) -> Notes:
        """What all have to say now."""
        every = [source() for source in self._sources]
        return Notes(
            {host: reason for one in every for host, reason in one.missing.items()},
            {host: since for one in every for host, since in one.since.items()},
            {host: gaps for one in every for host, gaps in one.gaps.items()},
        )
