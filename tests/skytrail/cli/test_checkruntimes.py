"""What ``skytrail check`` says of container runtimes, before real sockets."""

from __future__ import annotations

import socket
from pathlib import Path

from support.activator import program_of, systemds

from skytrail.cli.checkruntimes import runtime_findings
from skytrail.settings.tree import Containers


def said(path: Path) -> tuple[str, str]:
    found = [one for one in runtime_findings(Containers(docker=(str(path),))) if str(path) in one.found]
    assert len(found) == 1
    return found[0].state, found[0].found


def test_one_that_systemd_would_start_is_left_alone(tmp_path: Path) -> None:
    with systemds(tmp_path / "s", "sleep", "100") as process:
        what = f"docker does not run; systemd would start it for whoever connects to {tmp_path}/s"
        assert said(tmp_path / "s") == ("note", what)
        assert program_of(process) == "systemd-socket-activate"


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(tmp_path / "s"))
    status, what = said(tmp_path / "s")
    assert (status, "Connection refused" in what) == ("note", True)
