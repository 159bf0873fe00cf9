"""Which clusters are there to be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from topology.probes.kubernetes import connection


def test_a_pod_without_a_service_account_is_in_no_cluster_that_could_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    monkeypatch.setattr(connection, "_TOKEN", token)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert not connection.is_there(connection.IN_CLUSTER)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    assert not connection.is_there(connection.IN_CLUSTER)
    token.write_text("secret")
    assert connection.is_there(connection.IN_CLUSTER)
