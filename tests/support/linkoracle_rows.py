"""What a row of linkoracle is, and the conversions of what ip prints."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

Data = dict[str, Any]

Row = tuple[str, str, Callable[[Any], Any] | str]
"""Our key, ip's key, conversion of ip's value; or the name of a table: indexes (of links), users, groups."""

Derived = tuple[str, frozenset[str], Callable[[Data], Any]]
"""Our key, ip's keys that say it, and what they say."""


def hexed(value: str | int) -> int:
    """A number that ip prints in hex."""
    return int(str(value), 16)


def hundredths(value: int) -> float:
    return value / 100


def bridge_id(value: str) -> str:
    """Ip leaves out leading zeros."""
    priority, _, mac = value.partition(".")
    return f"{priority}.{':'.join(part.zfill(2) for part in mac.split(':'))}"


def key(value: str) -> int:
    """A tunnel's key, which ip prints as an IPv4 address."""
    return int(ip_address(value))


def end(value: str) -> str | None:
    return None if value == "any" else value


def range_(value: dict[str, int]) -> list[int] | None:
    return [value["low"], value["high"]] if any(value.values()) else None


def capitalised(value: list[dict[str, int]]) -> list[dict[str, int]]:
    return [{name.capitalize(): number for name, number in one.items()} for one in value]


def router(value: int) -> str:
    return ("never", "auto", "permanent", "temporary")[value]


def named(ours: str, names: dict[str, str]) -> Derived:
    """A list of names, each of which ip prints as a truth under its own key."""
    return ours, frozenset(names), lambda data: sorted(name for theirs, name in names.items() if data.get(theirs))


def of_two(ours: str, *theirs: str) -> Derived:
    """What ip prints under one of several keys."""
    return (
        ours,
        frozenset(theirs),
        lambda data: next((data[name] for name in theirs if data.get(name) not in {None, "any"}), None),
    )
