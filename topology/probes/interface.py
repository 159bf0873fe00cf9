"""What a probe is to the process that runs it, and what it is told of the host: also for probes of other packages.

Public: another package's probe needs this module, :mod:`topology.facts`, and, where it looks every so often,
:mod:`topology.probes.polled`. What is here changes only with a word in the change log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from topology.facts import Report, Source

GROUP = "skytrail.probes"
"""The group of entry points by which other packages add probes: the probe's name = what makes it (:data:`Factory`)."""


@dataclass(frozen=True, slots=True)
class Here:
    """Where a probe runs.

    Attributes:
        source: under which it reports; its ``probe`` is the probe's name, its ``host`` the host's.
        tid: of the host: TIDs of what the probe sees begin with it, so that no other host's are the same.
        report: takes a report, at once and for good; raises where it cannot.
        devices: TIDs of the host's own interfaces by name: what edges to them need. Waits, right after the start, until they
            are known; raises RunError: they are not yet, so nothing whole can be told.
        clock: µs since the epoch.
        options: what ``topology.probe_options`` says for this probe, by key.
    """

    source: Source
    tid: str
    report: Callable[[Report], object]
    devices: Callable[[], Mapping[str, str]]
    clock: Callable[[], int]
    options: Mapping[str, str]


class Probe(Protocol):
    """Watches one source of truth. It deletes nothing because it fails, and waits for a source that is not there."""

    @property
    def failure(self) -> str | None:
        """Why the graph may not be as the source, on one line; None: it is, or there is no such source here."""
        ...

    @property
    def active(self) -> bool:
        """Whether it sees its source now."""
        ...

    def start(self) -> None:
        """Begin to watch, on threads of its own; it does not wait for the source."""
        ...

    def stop(self) -> None:
        """Watch no more; what was reported stays."""
        ...

    def tell_all(self) -> None:
        """Report all that is there once more, as a whole. For any thread."""
        ...

    def wake(self) -> None:
        """An interface of the host came, went or changed: edges to it may be news. For any thread, and often."""
        ...

    def status(self) -> Mapping[str, Any]:
        """How it is, for ``/api/status``: values of JSON."""
        ...


Factory: TypeAlias = "Callable[[Here], Probe]"
