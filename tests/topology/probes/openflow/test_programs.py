"""A program that is missing is named, with the package that has it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from skytrail.errors import RunError
from topology.probes.openflow.source import BridgeSource


def test_missing_programs_are_named_with_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    source = BridgeSource(f"unix:{tmp_path}/br0.mgmt", 10)
    with pytest.raises(
        RunError, match=r"^setpriv is not installed: install util-linux, or set topology\.ovsdb\.openflow to 0$"
    ):
        source.listen()
    with pytest.raises(RunError, match=r"^ovs-ofctl is not installed: install openvswitch-common"):
        source.read()
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin")
    assert setpriv
    (tmp_path / "setpriv").symlink_to(setpriv)
    listener = source.listen()  # it cannot begin, and says so by its end
    assert listener.communicate(timeout=10)[0] == b""
    assert listener.returncode
