"""The Ansible role: without fault by ansible-lint; it installs an agent and a hub on a bare Debian, a second time nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab import debian

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1500), pytest.mark.usefixtures("long")]

REPOSITORY = Path(__file__).parents[2]
PLAYS = REPOSITORY / "deploy" / "ansible"
SCRIPT = """
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends python3-venv python3-apt ca-certificates > /dev/null
python3 -m venv --system-site-packages /opt/ansible
/opt/ansible/bin/pip install --quiet 'ansible-core>=2.15,<2.20'
cd /root/deploy/ansible
for part in agent hub; do
    for time in first second; do
        echo "$part $time"
        /opt/ansible/bin/ansible-playbook -i localhost, -c local -e "skytrail_wheel=$(echo /root/*.whl)" \\
            -e '{"skytrail_settings": {"log": {"level": "debug"}}}' "$part.yml"
    done
done
/opt/skytrail/bin/skytrail --version
stat -c '%A %U %G %n' /etc/skytrail/* /etc/systemd/system/skytrail-*
"""


def test_lint_finds_no_fault(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(tmp_path / "venv/bin/pip"), "install", "--quiet", "ansible-core", "ansible-lint"]
    subprocess.run(pip, check=True)
    shutil.copytree(PLAYS, tmp_path / "ansible")
    path = f"{tmp_path / 'venv/bin'}:/usr/sbin:/usr/bin:/sbin:/bin"
    command = [str(tmp_path / "venv/bin/ansible-lint"), "--offline", "--profile", "production", "site.yml", "roles"]
    done = subprocess.run(
        command, cwd=tmp_path / "ansible", env={"PATH": path, "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_installs_and_then_changes_nothing(tmp_path: Path) -> None:
    root = debian.unpacked(tmp_path / "root")
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(root / "root"), str(REPOSITORY)]
    subprocess.run(wheel, check=True)
    shutil.copytree(REPOSITORY / "deploy", root / "root/deploy", symlinks=True)
    for part in ("agent", "hub"):
        play = f"- hosts: all\n  roles: [{{role: skytrail, vars: {{skytrail_part: {part}}}}}]\n"
        (root / f"root/deploy/ansible/{part}.yml").write_text(play)
    done = debian.run(root, SCRIPT, 1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    changes = [int(count) for count in re.findall(r"ok=\d+ +changed=(\d+) .*failed=0", done.stdout)]
    assert len(changes) == 4
    assert (changes[1], changes[3]) == (0, 0)
    assert min(changes[0], changes[2]) > 0
    assert "-rw------- root root /etc/skytrail/skytrail.yaml" in done.stdout
    assert "-rw-r----- root skytrail /etc/skytrail/hub.yaml" in done.stdout
