"""Who can be asked, and who asks: over the wire, or in the same process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from skytrail.asking.questions import Part, Question

Answer = Callable[[Question], Iterator[Part]]
"""An agent's side. Raises SkytrailError: why it cannot be answered."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What agents answered.

    Attributes:
        parts: with the TID of the host that answered, in the order in which they came.
        missing: why a host's answer is not there, or not whole, by its name (its TID, where several have that name).
    """

    parts: Iterable[tuple[str, Part]] = ()
    missing: Mapping[str, str] = field(default_factory=dict)


class Asker(Protocol):
    """Asks agents. For any thread."""

    def hosts(self) -> Mapping[str, str]:
        """Names of the hosts that can be asked, or could be before their agent went away, by TID."""
        ...

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:
        """Ask agents, all at once.

        Args:
            question: the same to each.
            hosts: TIDs; None: all.

        Returns:
            When all have answered, or have had the time to; who did not is told by the reason.

        Raises:
            RunError: there is no room for the answers, though the largest of them are left out.
        """
        ...


class Nobody:
    """An asker who knows nobody."""

    def hosts(self) -> Mapping[str, str]:
        """Nobody."""
        return {}

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:  # noqa: ARG002
        """Nothing."""
        return Answers()
