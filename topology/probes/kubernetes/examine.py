"""Whether an API server answers, and lets us read what we are to read: for ``skytrail check``. I/O."""

from __future__ import annotations

from collections.abc import Collection

from topology.probes.kubernetes.connection import Connection, RefusedError, UnreachableError
from topology.probes.kubernetes.kinds import KINDS

_SECONDS = 10.0
_RBAC = "deploy/kubernetes/rbac.yaml grants it; or leave these out of kubernetes.kinds"


def examine(place: str, kinds: Collection[str]) -> tuple[str, str, str]:
    """State, what was found, remedy: as a finding has them.

    Args:
        place: as a :class:`Connection` takes it.
        kinds: that are to be read.
    """
    try:
        connection = Connection(place)
        refused = [kind.resource for name, kind in KINDS.items() if name in kinds and not _may(connection, kind.path)]
    except UnreachableError as error:
        return "note", str(error), "mend kubernetes.clusters, or set it to {}"
    if refused:
        return "note", f"{connection.server} does not let us list {', '.join(refused)}", _RBAC
    return "ok", f"{connection.server} is asked", ""


def _may(connection: Connection, path: str) -> bool:
    """Whether one object can be listed; a server that has none of the kind refuses nothing. Raises UnreachableError."""
    try:
        with connection.get(path, {"limit": "1"}, "application/json", _SECONDS) as answer:
            answer.read()
    except RefusedError as error:
        if error.status == 401:
            raise UnreachableError(f"{connection.server}: {error}") from error
        return error.status != 403
    return True
