"""Whose a span's ends are: of the source where it is here, else of the destination; both, where both are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from exporters.flows.whose import whose_columns
from exporters.outputs.otlp.columns import Column
from exporters.sockets.known import Known
from exporters.sockets.processes import Process

KNOWN = {
    11: Known(Process(7, "curl", "/usr/bin/curl", "/user")),
    12: Known(Process(8, "nginx", "/usr/sbin/nginx", "/pod")),
    13: Known(Process(0, "")),  # a socket that nobody is known of
}
CGROUPS: dict[str, Any] = {
    "/pod": {
        "Container": {"ID": "ab", "Name": "web", "Image": "nginx:1"},
        "Pod": {"UID": "u", "Name": "web-0", "Namespace": "shop"},
    }
}


def described(cgroup: str) -> Mapping[str, Mapping[str, str]]:
    found: Mapping[str, Mapping[str, str]] = CGROUPS.get(cgroup, {})
    return found


def attributes(columns: list[Column], row: int) -> dict[str, Any]:
    told = {one.key: one.values[row] for one in columns if one.present is None or one.present[row]}
    return {key: value.decode() if isinstance(value, bytes) else int(value) for key, value in told.items()}


def test_each_span_tells_of_the_ends_that_are_here() -> None:
    cookies = np.array([[11, 12], [12, 11], [0, 12], [11, 0], [0, 0], [13, 99]], "u8")
    source = np.array([0, 1, 0, 0, 0, 0])
    columns = whose_columns(cookies, source, KNOWN, described)
    curl = {"process.pid": 7, "process.executable.name": "curl", "process.executable.path": "/usr/bin/curl"}
    nginx = {
        "process.pid": 8, "process.executable.name": "nginx", "process.executable.path": "/usr/sbin/nginx",
        "container.id": "ab", "container.name": "web", "container.image.name": "nginx:1",
        "k8s.pod.uid": "u", "k8s.pod.name": "web-0", "k8s.namespace.name": "shop",
    }  # fmt: skip
    both = {**curl, "skytrail.process.end": "source", **{f"skytrail.destination.{key}": value for key, value in nginx.items()}}
    assert attributes(columns, 0) == both
    assert attributes(columns, 1) == both
    assert attributes(columns, 2) == {**nginx, "skytrail.process.end": "destination"}
    assert attributes(columns, 3) == {**curl, "skytrail.process.end": "source"}
    assert attributes(columns, 4) == attributes(columns, 5) == {}


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert whose_columns(np.array([[11, 12]], "u8"), np.array([0]), {}, described) == []
