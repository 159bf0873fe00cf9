"""What /proc/net says of protocols, sockets and CPUs, where netlink says nothing. Pure: bytes to values.

Sources: net/ipv4/proc.c, net/ipv6/proc.c, net/core/net-procfs.c; RFC 2863, 4293, 4022, 4113.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence

Field = tuple[str, str]
"""Protocol and name, as in ``TcpExt``, ``ListenDrops``."""


GAUGES = frozenset(
    {
        ("Ip", "Forwarding"),
        ("Ip", "DefaultTTL"),
        ("Tcp", "RtoAlgorithm"),
        ("Tcp", "RtoMin"),
        ("Tcp", "RtoMax"),
        ("Tcp", "MaxConn"),
        ("Tcp", "CurrEstab"),
        ("MPTcpExt", "MPCurrEstab"),
    }
)
"""Fields that are no counters: settings, and what there is now."""

_SIX = re.compile(rb"([A-Za-z]+6)([A-Za-z].*)")  # Ip6InOctets, UdpLite6InErrors
_SOFTNET_LEAST = 10  # columns; the next, since Linux 2.6.39, 3.11 and 5.10: flow_limit, backlog, CPU


class Netstat:
    """Picks the chosen fields of /proc/net/{snmp,netstat,snmp6}; the places of names in a file are kept.

    Args:
        patterns: globs over ``Protocol_Name`` (``TcpExt_Listen*``).
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._wanted = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)")
        self._known: dict[bytes, tuple[list[int], list[Field]]] = {}

    def read(self, files: Mapping[str, bytes]) -> tuple[list[Field], list[int]]:
        """Fields and their values, in the files' order."""
        fields: list[Field] = []
        values: list[int] = []
        for name in ("snmp", "netstat"):
            lines = files.get(name, b"").splitlines()
            for header, line in zip(lines[0::2], lines[1::2], strict=False):
                if header and header.partition(b":")[0] == line.partition(b":")[0]:
                    self._pick(header, header.split(), line.split(), fields, values)
        words = files.get("snmp6", b"").split()
        if words:
            names = words[0::2]
            self._pick(b" ".join(names), names, words[1::2], fields, values)
        return fields, values

    def _pick(self, key: bytes, names: list[bytes], words: list[bytes], fields: list[Field], values: list[int]) -> None:
        known = self._known.get(key)
        if known is None:
            if len(self._known) > 64:  # the names hold parts that change, as those of ICMP's types do
                self._known.clear()
            chosen = [(at, field) for at, field in enumerate(_fields(names)) if field and self._wanted.match("_".join(field))]
            known = self._known[key] = [at for at, _ in chosen], [field for _, field in chosen]
        if len(words) != len(names):
            return  # cut
        fields += known[1]
        values += [int(words[at]) for at in known[0]]


def _fields(names: list[bytes]) -> Iterator[Field | None]:
    """Names of one line (``Tcp: RtoMin …``), or of snmp6 (``Ip6InOctets`` …), with their protocol."""
    group = names[0].removesuffix(b":").decode(errors="replace") if names[0].endswith(b":") else ""
    for name in names:
        six = _SIX.fullmatch(name)
        if group:
            yield None if name is names[0] else (group, name.decode(errors="replace"))
        else:
            yield (six[1].decode(errors="replace"), six[2].decode(errors="replace")) if six else None


def sockstat(text: bytes) -> dict[Field, int]:
    """/proc/net/sockstat or sockstat6: (``TCP``, ``inuse``) → value."""
    found = {}
    for line in text.decode(errors="replace").splitlines():
        protocol, _, rest = line.partition(":")
        words = rest.split()
        for name, value in zip(words[0::2], words[1::2], strict=False):
            found[protocol, name] = int(value)
    return found


def softnet(text: bytes) -> dict[str, dict[str, int]]:
    """/proc/net/softnet_stat: name of a CPU → column → value. A kernel's older form has fewer columns."""
    found = {}
    for number, line in enumerate(text.splitlines()):
        words = [int(word, 16) for word in line.split()]
        if len(words) < _SOFTNET_LEAST:
            continue
        cpu = str(words[12]) if len(words) > 12 else str(number)
        columns = {"processed": 0, "dropped": 1, "squeezed": 2, "collisions": 8, "rps": 9, "flow_limit": 10, "backlog": 11}
        found[cpu] = {name: words[at] for name, at in columns.items() if at < len(words)}
    return found
