"""Where the bridges of a database are asked for their OpenFlow rules. Pure.

On this host each has a socket beside the database's. Elsewhere it is asked where it listens for controllers (``ptcp:``,
``pssl:``).

Source: ovs-vswitchd.conf.db(5), "Controller Table".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from topology.probes.ovsdb.source import LOCAL
from topology.probes.ovsdb.translate import Tables

_PORT = "6653"
_PASSIVE = {"ptcp": "tcp", "pssl": "ssl"}
_EVERYWHERE = frozenset({"", "0.0.0.0", "[::]", "::"})  # noqa: S104 - where a switch listens, not we


def bridges(tables: Tables, remote: str) -> Mapping[str, tuple[str, str]]:
    """UUIDs of bridges, and where each is asked, by name; those that can be asked nowhere are left out.

    Args:
        tables: of the database.
        remote: where that is.
    """
    found: dict[str, tuple[str, str]] = {}
    for uuid, row in tables["Bridge"].items():
        if remote.startswith(LOCAL):
            found[row["name"]] = uuid, f"{LOCAL}{Path(remote.removeprefix(LOCAL)).parent / row['name']}.mgmt"
            continue
        rows = (tables["Controller"].get(one) for one in row["controller"])
        target = next(_listening((one["target"] for one in rows if one), remote), None)
        if target is not None:
            found[row["name"]] = uuid, target
    return found


def _listening(targets: Iterable[str], remote: str) -> Iterator[str]:
    """Where a bridge is asked that listens for controllers: at its database's host, if it does not say where."""
    there = remote.partition(":")[2].rpartition(":")[0]
    for target in sorted(targets):
        kind, _, rest = target.partition(":")
        if kind in _PASSIVE:
            port, _, host = rest.partition(":")
            yield f"{_PASSIVE[kind]}:{there if host in _EVERYWHERE else host}:{port or _PORT}"
