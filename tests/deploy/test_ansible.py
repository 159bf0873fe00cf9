"""The Ansible role: without fault by ansible-lint; it installs hub and agent on one bare Debian, a second time nothing."""

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
for time in first second; do
    /opt/ansible/bin/ansible-playbook -i here.yml -e "skytrail_wheel=$(echo /root/*.whl)" site.yml
done
/opt/skytrail/bin/skytrail --version
stat -c '%A %U %G %n' /etc/skytrail/* /etc/skytrail/hub/* /etc/systemd/system/skytrail-*
cd /etc/skytrail
setpriv --reuid skytrail --regid skytrail --clear-groups cat hub.yaml hub/ca.crt hub/hub.crt hub/hub.key hub/tokens > /dev/null
for file in agent.key skytrail.yaml; do
    if setpriv --reuid skytrail --regid skytrail --clear-groups cat $file; then exit 1; fi
done
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
    ansible = root / "root/deploy/ansible"
    example = (ansible / "inventory.yml").read_text()
    (ansible / "here.yml").write_text(re.sub(r"(hub1|node1)\.example: \{\}", "localhost: {ansible_connection: local}", example))
    for words in (["pki", "init"], ["pki", "hub", "localhost", "--dir"], ["pki", "agent", "localhost", "--dir"]):
        subprocess.run([sys.executable, "-m", "skytrail", *words, str(ansible / "pki")], check=True)
    token = [sys.executable, "-m", "skytrail", "token", "prometheus", "--file", str(ansible / "pki/tokens")]
    subprocess.run(token, check=True, stdout=subprocess.DEVNULL)
    done = debian.run(root, SCRIPT, 1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    changes = [int(count) for count in re.findall(r"ok=\d+ +changed=(\d+) .*failed=0", done.stdout)]
    assert len(changes) == 2
    assert changes[0] > 0 == changes[1]
    for line in (
        "-rw------- root root /etc/skytrail/skytrail.yaml",
        "-rw-r----- root skytrail /etc/skytrail/hub.yaml",
        "-rw------- root root /etc/skytrail/agent.key",
        "-rw------- skytrail root /etc/skytrail/hub/hub.key",
    ):
        assert line in done.stdout
