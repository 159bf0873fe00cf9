"""Whose a flow's ends are, as attributes of its span: of OpenTelemetry's conventions for processes, containers and pods.

A span has one ``process.*``: that of the source where it is on this host, else that of the destination;
``skytrail.process.end`` says which. Where both are here the destination's stand under ``skytrail.destination.``. How their
sockets fared stands under ``skytrail.tcp.``, the destination's under ``skytrail.tcp.reverse.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.outputs.otlp.columns import Column, ValueKind
from exporters.sockets.known import Known
from exporters.sockets.processes import NOBODY, Process
from exporters.sockets.shown import Described

_CONTAINER = {"container.id": "ID", "container.name": "Name", "container.image.name": "Image", "container.runtime": "Runtime"}
_POD = {"k8s.pod.uid": "UID", "k8s.pod.name": "Name", "k8s.namespace.name": "Namespace"}
_TEXTS = ("process.executable.name", "process.executable.path", *_CONTAINER, *_POD)
_ENDS = ("source", "destination")
_UNKNOWN = Known(NOBODY)


def whose_columns(
    cookies: NDArray[Any], source: NDArray[np.intp], known: Mapping[int, Known], described: Described
) -> list[Column]:
    """Columns of spans.

    Args:
        cookies: of the sockets at both ends, a row for each span; 0: it is not here.
        source: which of the two is the source's.
        known: what is known of sockets, by cookie.
        described: what a control group is.
    """
    if not known:
        return []
    every = np.arange(len(cookies))
    sides = [_Side(cookies[every, side], known, described) for side in (source, 1 - source)]
    here = [side.pids > 0 for side in sides]
    first = np.where(here[0], 0, 1)
    columns = [
        Column("process.pid", ValueKind.INT, np.choose(first, [side.pids for side in sides]), here[0] | here[1]),
        Column("skytrail.process.end", ValueKind.STR, np.array([end.encode() for end in _ENDS])[first], here[0] | here[1]),
        Column("skytrail.destination.process.pid", ValueKind.INT, sides[1].pids, here[0] & here[1]),
    ]
    for name in _TEXTS:
        texts = [side.texts(name) for side in sides]
        one = np.where(here[0], *texts)
        columns.append(Column(name, ValueKind.STR, one, np.asarray(one != b"")))
        other = np.where(here[0] & here[1], texts[1], b"")
        columns.append(Column(f"skytrail.destination.{name}", ValueKind.STR, other, np.asarray(other != b"")))
    for way, side in (("", sides[0]), ("reverse.", sides[1])):
        ends = side.ends()
        columns += [
            Column(f"skytrail.tcp.{way}end", ValueKind.STR, ends, np.asarray(ends != b"")),
            Column(f"skytrail.tcp.{way}connect_latency", ValueKind.INT, side.latencies, side.latencies > 0),
            Column(f"skytrail.tcp.{way}retransmits", ValueKind.INT, side.retransmits, side.retransmits > 0),
        ]
    return [column for column in columns if column.present is None or column.present.any()]


class _Side:
    """One end of each span: each process is looked at once."""

    def __init__(self, cookies: NDArray[Any], known: Mapping[int, Known], described: Described) -> None:
        unique, self._which = np.unique(cookies, return_inverse=True)
        self._known = [known.get(cookie, _UNKNOWN) for cookie in unique.tolist()]
        self._processes = [one.process for one in self._known]
        self.latencies = np.array([one.latency or 0 for one in self._known], np.int64)[self._which]
        self.retransmits = np.array([one.retransmits or 0 for one in self._known], np.int64)[self._which]
        self.pids: NDArray[np.int64] = np.array([one.pid for one in self._processes], np.int64)[self._which]

        @cache
        def told(cgroup: str) -> Mapping[str, Mapping[str, str]]:
            return described(cgroup) if cgroup else {}

        self._told = told

    def ends(self) -> NDArray[np.bytes_]:
        found = np.array([(one.end or "").encode() for one in self._known] or [b""], np.bytes_)
        return found[self._which]

    def texts(self, name: str) -> NDArray[np.bytes_]:
        found = np.array([self._text(one, name).encode() for one in self._processes] or [b""], np.bytes_)
        return found[self._which]

    def _text(self, process: Process, name: str) -> str:
        if name == "process.executable.name":
            return process.name
        if name == "process.executable.path":
            return process.executable
        part, key = ("Container", _CONTAINER[name]) if name in _CONTAINER else ("Pod", _POD[name])
        return self._told(process.cgroup).get(part, {}).get(key, "")
