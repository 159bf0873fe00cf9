"""A bare Debian for tests: the root that debootstrap makes, kept packed in ``$XDG_CACHE_HOME/skytrail-lab``, once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from pathlib import Path

from support import needs

SUITE = "bookworm"
CA = "/opt/registry-ca.crt"
"""Where the roots of tests have the authority by which this machine reaches package registries, if it has one of its own."""


def bare_root() -> Path:
    """The archive: made where it is not there; takes two minutes then."""
    needs.root()
    program = needs.tool("debootstrap", "debootstrap")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skytrail-lab"
    cache.mkdir(parents=True, exist_ok=True)
    packed = cache / f"debian-{SUITE}.tar"
    with (cache / f"{packed.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not packed.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                subprocess.run([program, "--variant=minbase", SUITE, f"{folder}/root"], check=True, stdout=subprocess.DEVNULL)
                subprocess.run(["tar", "-C", f"{folder}/root", "-cf", f"{folder}/made.tar", "."], check=True)
                Path(folder, "made.tar").rename(packed)
    return packed


def unpacked(folder: Path) -> Path:
    """A root of its own, that can reach what this machine reaches."""
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(folder), "-xf", str(bare_root())], check=True)
    (folder / "etc/resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
    if given := os.environ.get("PIP_CERT"):
        (folder / CA[1:]).write_bytes(Path(given).read_bytes())
    return folder


def environment() -> dict[str, str]:
    """Variables of programs in such a root."""
    registries = {"PIP_CERT": CA} if os.environ.get("PIP_CERT") else {}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **registries}


def run(root: Path, script: str, timeout: float = 900.0) -> subprocess.CompletedProcess[str]:
    """Run a script in a root as on a machine of its own: processes and mounts apart, this kernel, this network."""
    mounts = (
        'mount -t proc proc "$0/proc"; mount --rbind /sys "$0/sys"; mount --rbind /dev "$0/dev"; exec chroot "$0" sh -ec "$1"'
    )
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", mounts, str(root), script]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout)
