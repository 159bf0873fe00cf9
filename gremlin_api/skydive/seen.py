"""What agents tell of, as a query holds it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skytrail.asking.terms import value_at


@dataclass(frozen=True, slots=True)
class Seen:
    """A flow, and where it was seen.

    Attributes:
        flow: its JSON.
        host: the TID of the host whose agent told it.
    """

    flow: dict[str, Any]
    host: str

    def at(self, key: str) -> Any:  # noqa: ANN401 - a value of JSON
        """What the flow has at a key; None: nothing."""
        return value_at(self.flow, key)
