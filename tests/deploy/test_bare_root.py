"""From a bare Debian root to the first flows, by the README's steps alone."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lab import debian
from support.ports import free_ports

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).parents[2]
MOST = 180.0  # seconds, of issue 9


def steps() -> str:
    """The README's block of shell commands that installs a wheel."""
    blocks = re.findall(r"```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    (found,) = [block for block in blocks if "python3-venv libbpf1" in block]
    return str(found)


def wheel(folder: Path) -> Path:
    """As ``make wheel`` makes it."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(REPOSITORY)]
    subprocess.run(command, check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.mark.usefixtures("long")
def test_to_first_flows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = debian.unpacked(tmp_path / "root")
    made = wheel(tmp_path)
    (root / "root" / made.name).write_bytes(made.read_bytes())
    agent, hub, wire = (f"127.0.0.1:{port}" for port in free_ports(3))
    *install, start = steps().strip().splitlines()
    assert start.endswith("skytrail up")
    settings = f"SKYTRAIL_AGENT_LISTEN={agent} SKYTRAIL_HUB_LISTEN={hub} SKYTRAIL_HUB_WIRE={wire} SKYTRAIL_FLOW_INTERFACES=lo"
    script = "\n".join([
        *install,
        f"export {settings}",
        f"{start} > /tmp/log 2>&1 &",
        "until /opt/skytrail/bin/skytrail flows --json 2> /dev/null | grep -m1 TrackingID; do sleep 0.2; done",
        "cat /tmp/log >&2; kill $!; wait $!",
    ])  # fmt: skip
    began = time.monotonic()
    done = debian.run(root, script)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert '"Application"' in done.stdout
    with capsys.disabled():
        print(f"\nfrom a bare root to first flows: {took:.0f} s")
    assert took <= MOST
