"""The composition of probes of other packages: made, started, asked, and whatever they do, only they fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog

if TYPE_CHECKING:
    from skytrail.settings.tree import Topology
    from topology.facts import Report, Source
    from topology.probes.installed import Installed
    from topology.probes.interface import Here, Probe

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_REMEMBERED = "probes.json"


def plugged_before(folder: Path) -> set[str]:
    """Names of the probes of other packages that there were at the last start, as it is kept in a folder."""
    from topology.probes.formerly import read_names  # noqa: PLC0415 - only where probes run
    from topology.probes.installed import RESERVED  # noqa: PLC0415

    return read_names(folder / _REMEMBERED) - RESERVED


class PluggedProbes:
    """The probes that other packages add.

    Args:
        settings: which of them are wanted, and what they are told.
        folder: where it is kept which there were.
    """

    def __init__(self, settings: Topology, folder: Path) -> None:
        self._folder = folder
        self._wanted, self._options = settings.other_probes, settings.probe_options
        self._running: dict[str, Probe] = {}
        self._failed: dict[str, str] = {}

    def start(
        self,
        source: Callable[[str], Source],
        tid: str,
        report: Callable[[Report], object],
        devices: Callable[[], Mapping[str, str]],
        clock: Callable[[], int],
    ) -> None:
        """Make and start those that can be; why others cannot, :meth:`waiting` says. What was told by others is taken back."""
        from topology.facts import Report  # noqa: PLC0415 - only where probes run
        from topology.probes.formerly import keep_names  # noqa: PLC0415
        from topology.probes.installed import installed  # noqa: PLC0415
        from topology.probes.interface import Here  # noqa: PLC0415

        there = list(installed(self._wanted))
        names = {one.name for one in there}
        for name in sorted(plugged_before(self._folder) - names):
            report(Report(source(name), clock(), whole=True))
        keep_names(self._folder / _REMEMBERED, names)
        for one in there:
            own = source(one.name)

            def under_its_name(said: Report, own: Source = own) -> None:
                report(replace(said, source=own))

            here = Here(own, tid, under_its_name, devices, clock, self._options_of(one.name))
            self._begin(one, here)

    def _options_of(self, name: str) -> Mapping[str, str]:
        first = f"{name}."
        return {key.removeprefix(first): value for key, value in self._options.items() if key.startswith(first)}

    def _begin(self, one: Installed, here: Here) -> None:
        failure = one.failure
        if one.factory is not None:
            try:
                probe = one.factory(here)
                probe.start()
            except Exception as error:  # noqa: BLE001 - whatever another package does, we go on
                failure = f"{one.package} cannot be started: {_line(error)}"
            else:
                self._running[one.name] = probe
        if failure is not None:
            _log.warning("probe_not_started", probe=one.name, reason=failure)
            self._failed[one.name] = failure

    def wake(self) -> None:
        """An interface came, went or changed."""
        for _ in self._each(lambda probe: probe.wake()):
            pass

    def tell_all(self) -> None:
        """Report all once more."""
        for _ in self._each(lambda probe: probe.tell_all()):
            pass

    def waiting(self) -> dict[str, str | None]:
        """As :meth:`skytrail.cli.probes.HostProbes.waiting`."""
        return {**self._failed, **dict(self._each(lambda probe: probe.failure))}

    def active(self) -> dict[str, bool]:
        """Which see their source, by name."""
        return {**dict.fromkeys(self._failed, False), **dict(self._each(lambda probe: bool(probe.active)))}

    def status(self) -> dict[str, object]:
        """How each is, by its name."""
        failed: dict[str, object] = {name: {"connected": False, "failure": why} for name, why in self._failed.items()}
        return {**failed, **dict(self._each(lambda probe: dict(probe.status())))}

    def stop(self) -> None:
        """Watch no more."""
        for _ in self._each(lambda probe: probe.stop()):
            pass

    def _each(self, ask: Callable[[Probe], T]) -> Iterator[tuple[str, T]]:
        """What each says; one that raises has failed from then on."""
        for name, probe in list(self._running.items()):
            try:
                yield name, ask(probe)
            except Exception as error:  # noqa: BLE001 - as above
                self._failed[name] = f"it fails: {_line(error)}"
                _log.exception("probe_fails", probe=name)
                del self._running[name]
                with contextlib.suppress(Exception):
                    probe.stop()


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
