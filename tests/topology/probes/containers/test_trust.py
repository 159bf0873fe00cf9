"""Whose a daemon and a process are: real processes of a real user."""

from __future__ import annotations

import os
import subprocess

import pytest
from support.needs import root
from support.netlab import until

from skytrail.runtimes.container import Container
from topology.probes.containers.trust import as_believed, is_of, user_of

UID = 61_234


@pytest.mark.parametrize(
    ("socket", "user"),
    [
        ("/run/docker.sock", None),
        ("/run/user/0/podman/podman.sock", None),
        ("/run/user/1000/docker.sock", 1000),
        ("/run/user/1000/podman/podman.sock", 1000),
        ("/run/user/nobody/docker.sock", None),
    ],
)
def test_a_socket_below_a_users_folder_is_theirs(socket: str, user: int | None) -> None:
    assert user_of(socket) == user


def test_what_a_users_daemon_labels_as_a_pod_is_none() -> None:
    told = Container(
        "a" * 64, "web", "web:1", "docker", pod_uid="u", pod_name="coredns", pod_namespace="kube-system", pod="own"
    )
    assert as_believed(told, None) == told
    believed = as_believed(told, UID)
    assert (believed.pod_uid, believed.pod_name, believed.pod_namespace, believed.pod) == ("", "", "", "own")


def test_a_process_is_a_users_by_its_uid_or_its_user_namespace() -> None:
    root()
    assert not is_of(UID, os.getpid())
    assert not is_of(UID, 2**22 + 1)
    for words in (["sleep", "60"], ["unshare", "--user", "--map-root-user", "sleep", "60"]):
        process = subprocess.Popen(["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *words])
        try:
            until(lambda pid=process.pid: is_of(UID, pid))  # type: ignore[misc]
            assert not is_of(UID + 1, process.pid)
        finally:
            process.kill()
            process.wait()
