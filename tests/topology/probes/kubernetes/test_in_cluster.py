"""A hub in a pod: the service account's files, the manifest's permissions, a real API server; tokens that change and expire."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from lab.kube import Cluster
from support.cable import Cable
from support.hublab import Hub
from support.needs import root
from support.netlab import until

pytestmark = pytest.mark.lab

DEPLOY = Path(__file__).parents[4] / "deploy" / "kubernetes"
Json = dict[str, Any]
_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_LEEWAY = 60  # seconds for which an API server takes a token that is expired
_IN_POD = f'mount -t tmpfs none /var/run/ && mkdir -p {_FOLDER} && mount --bind "$0" {_FOLDER} && exec "$@"'
"""What a kubelet makes, in a mount namespace of the hub's own."""


class Account:
    """The files of a service account, replaced at once as a kubelet replaces them.

    Args:
        cluster: where.
        folder: for the files.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self.folder, self._number = cluster, folder, 0
        folder.mkdir()
        for name in ("token", "ca.crt"):
            (folder / name).symlink_to(f"..data/{name}")

    def write(self, token: str) -> None:
        self._number += 1
        version = self.folder / f"..{self._number}"
        version.mkdir()
        (version / "token").write_text(token)
        (version / "ca.crt").write_text((self._cluster.folder / "ca.crt").read_text())
        fresh = self.folder / "..fresh"
        fresh.symlink_to(version.name)
        fresh.replace(self.folder / "..data")

    def token(self, seconds: int | None = None) -> str:
        """A new one; with seconds one that is valid for as long, signed by the cluster's own key."""
        token = self._cluster.service_account_token("skytrail", "skytrail-hub")
        if seconds is None:
            return token
        head, body, _ = token.split(".")
        claims: Json = json.loads(base64.urlsafe_b64decode(f"{body}=="))
        now = int(time.time()) - _LEEWAY
        signed = f"{head}.{_text(json.dumps({**claims, 'iat': now, 'nbf': now, 'exp': now + seconds}).encode())}"
        key = self._cluster.folder / "accounts.key"
        command = ["openssl", "dgst", "-sha256", "-sign", str(key)]
        return f"{signed}.{_text(subprocess.run(command, input=signed.encode(), capture_output=True, check=True).stdout)}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Pod:
    """A hub in a pod, with no settings of its own.

    Args:
        cluster: in which it runs.
        folder: for the hub, and the account's files.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        root()
        self.account = Account(cluster, folder / "account")
        self.cable = Cable(cluster.port)
        told = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.cable.port)}
        inside = ["unshare", "--mount", "sh", "-c", _IN_POD, str(self.account.folder)]
        self.hub = Hub(folder / "hub", command="hub", enter=["env", *(f"{a}={b}" for a, b in told.items()), *inside])

    def ready(self) -> Json:
        with contextlib.suppress(OSError, HTTPException):
            found: Json = json.loads(self.hub.ask("/readyz")[1])
            return found
        return {"ready": False, "waiting": {}}

    def waits(self) -> str:
        """For the cluster, and why."""
        return str(self.ready()["waiting"].get("kubernetes/kubernetes", ""))

    def names(self) -> set[str]:
        """Of config maps."""
        return {one["Metadata"]["Name"] for one in self.hub.graph()["Nodes"] if one["Metadata"]["Type"] == "configmap"}

    def close(self) -> None:
        self.hub.close()
        self.cable.close()


@pytest.fixture
def account_cluster(kube_program: Path, tmp_path: Path) -> Iterator[Cluster]:
    """With the manifest, and nothing else."""
    made = Cluster(kube_program, tmp_path / "kube")
    try:
        made.start()
        made.apply(DEPLOY / "rbac.yaml")
        yield made
    finally:
        made.close()


@pytest.fixture
def pod(account_cluster: Cluster, tmp_path: Path) -> Iterator[Pod]:
    made = Pod(account_cluster, tmp_path)
    yield made
    made.close()


def test_a_hub_in_a_pod_follows_its_cluster_through_tokens_that_are_replaced_and_expire(
    account_cluster: Cluster, pod: Pod
) -> None:
    seconds = 20
    pod.account.write(pod.account.token(seconds))
    expired = time.monotonic() + seconds
    pod.hub.start()
    assert pod.ready() == {"ready": True, "waiting": {}, "parts": pod.ready()["parts"]}, "the manifest does not grant all"
    assert "kubernetes/kubernetes" in pod.ready()["parts"]
    _make(account_cluster, "first")
    until(lambda: "first" in pod.names(), 10)

    time.sleep(max(0.0, expired - time.monotonic()))
    until(lambda: _refused(pod), 30, 0.5)
    _make(account_cluster, "meanwhile")
    pod.account.write(pod.account.token())
    until(lambda: pod.ready()["ready"], 30)
    until(lambda: "meanwhile" in pod.names(), 10)

    counted = pod.hub.ask("/metrics")[1].decode()
    lists = [one for one in counted.splitlines() if one.startswith("skytrail_kubernetes_lists_total") and "configmap" in one]
    assert [one.split()[-1] for one in lists] == ["1.0"], "it was not asked for a list anew"


def _refused(pod: Pod) -> bool:
    """Whether it is told that the token is expired. Watches that are there last on; an API server believes a token for 10 s."""
    if "401 Unauthorized: our token or certificate is expired" in pod.waits():
        return True
    pod.cable.cut()
    return False


def _make(cluster: Cluster, name: str) -> None:
    cluster.create("/api/v1/namespaces/skytrail/configmaps", {"metadata": {"name": name}})


def test_a_cluster_that_nobody_named_and_that_does_not_answer_is_a_note(account_cluster: Cluster, pod: Pod) -> None:
    pod.account.write(pod.account.token())
    pod.cable.held = True
    pod.hub.start(ready=False)
    until(lambda: pod.ready()["ready"], 30)
    (note,) = pod.ready()["notes"].values()
    assert note.startswith(f"it is not followed: https://127.0.0.1:{pod.cable.port}: ")
    pod.cable.held = False
    _make(account_cluster, "late")
    until(lambda: pod.hub.status()["probes"]["kubernetes/kubernetes"]["active"], 30)
    assert "late" in pod.names()
    assert "notes" not in pod.ready()
    pod.cable.held = True
    pod.cable.cut()
    until(pod.waits, 30)  # it was there once: now the graph may not be as it is
