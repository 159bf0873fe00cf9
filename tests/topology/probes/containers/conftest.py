"""A hub and a dockerd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.containerlab import ContainerLab
from support.daemons import archive, containerd, docker, netns, podman
from support.netlab import Net

__all__ = ["archive", "containerd", "docker", "netns", "podman"]


@pytest.fixture
def lab(tmp_path: Path, net: Net, archive: Path) -> Iterator[ContainerLab]:
    """A hub and a dockerd that run."""
    made = ContainerLab(tmp_path, net, archive)
    try:
        made.start()
        yield made
    finally:
        made.close()
