"""Probes that other packages add, found by their entry points."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple

from topology.probes.interface import GROUP, Factory

RESERVED = frozenset({"containers", "ethtool", "host", "kubernetes", "netlink", "openflow", "ovsdb"})
"""Names of probes of ours, whether they run or not; a ``/`` is in those of linkers."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class Installed(NamedTuple):
    """A probe of another package.

    Attributes:
        name: of the probe.
        package: whose it is, with its version.
        factory: makes it; None: it cannot be made.
        failure: why not, on one line.
    """

    name: str
    package: str
    factory: Factory | None
    failure: str | None


def installed(
    wanted: Collection[str] | None = None,
    find: Callable[[], Iterable[EntryPoint]] = lambda: entry_points(group=GROUP),
) -> Iterator[Installed]:
    """Those that are installed, imported; of those that cannot be, why not.

    Args:
        wanted: their names, of which each that is not installed is told too; None: all that there are.
        find: gives the entry points.
    """
    seen: set[str] = set()
    for point in sorted(find(), key=lambda one: one.name):
        if wanted is None or point.name in wanted:
            yield _load(point, twice=point.name in seen)
            seen.add(point.name)
    for name in sorted(set(wanted or ()) - seen):
        yield Installed(name, "", None, f"no package adds a probe '{name}': install it, or change topology.other_probes")


def _load(point: EntryPoint, *, twice: bool) -> Installed:
    package = f"{point.dist.name} {point.dist.version}" if point.dist else ""
    if twice or point.name in RESERVED or not _NAME.fullmatch(point.name):
        reason = "its name is taken" if twice or point.name in RESERVED else "its name is none: letters, digits, - and _"
        return Installed(f"{point.name} ({package})", package, None, f"{package}: {reason}")  # not to be taken for its namesake
    try:
        factory = point.load()
    except BaseException as error:  # whatever another package does when it is imported
        if isinstance(error, KeyboardInterrupt):
            raise
        reason = " ".join(str(error).split())
        return Installed(point.name, package, None, f"{package} cannot be imported: {type(error).__name__}: {reason}")
    if not callable(factory):
        return Installed(point.name, package, None, f"{package}: {point.value} makes no probe: it cannot be called")
    return Installed(point.name, package, factory, None)
