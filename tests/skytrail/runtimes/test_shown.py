"""What is shown of a control group: what its path tells, and what a runtime adds."""

from __future__ import annotations

from typing import Any

import pytest

from skytrail.runtimes.container import Container
from skytrail.runtimes.shown import described

ID = "a1" * 32
UID = "12345678-1234-1234-1234-123456789abc"
DOCKER, POD = f"/system.slice/docker-{ID}.scope", f"/kubepods/burstable/pod{UID}/{ID}"
KNOWN = Container(ID, "web", "nginx:1.27", "docker")
IN_POD = Container(ID, "web", "nginx:1.27", "containerd", pod_uid=UID, pod_name="web-0", pod_namespace="shop")


@pytest.mark.parametrize(
    ("path", "container", "told"),
    [
        (DOCKER, KNOWN, {"Container": {"ID": ID, "Name": "web", "Image": "nginx:1.27", "Runtime": "docker"}}),
        (DOCKER, None, {"Container": {"ID": ID, "Runtime": "docker"}}),
        (POD, None, {"Container": {"ID": ID}, "Pod": {"UID": UID}}),
        (POD, IN_POD, {"Container": {"ID": ID, "Name": "web", "Image": "nginx:1.27", "Runtime": "containerd"},
                       "Pod": {"UID": UID, "Name": "web-0", "Namespace": "shop"}}),
        ("/system.slice/sshd.service", None, {"Unit": {"Name": "sshd.service"}}),
        ("/", None, {}), ("", None, {}),
    ],
)  # fmt: skip
def test_what_is_known_is_shown(path: str, container: Container | None, told: Any) -> None:
    found = described(path, lambda _: container)
    found.get("Container", {}) and found.pop("Unit", None)  # a scope that is the container's
    assert found == told


def test_no_runtime_is_asked_of_what_is_no_container() -> None:
    asked: list[Any] = []
    described("/system.slice/sshd.service", asked.append)
    assert asked == []
