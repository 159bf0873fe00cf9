"""Fixtures: real daemons of container runtimes, one of each for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.containers import Containerd, Dockerd, Podman, image

from support.netlab import Net


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image."""
    return image(tmp_path_factory.mktemp("image") / "box.tar")


@pytest.fixture(scope="module")
def netns() -> Iterator[str]:
    """A namespace for daemons, so that nothing of theirs is seen in the host's."""
    net = Net()
    yield net.netns("d")
    net.close()


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, netns: str, archive: Path) -> Iterator[Dockerd]:
    with Dockerd(tmp_path_factory.mktemp("docker"), netns) as daemon:
        daemon.load(archive)
        yield daemon


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory, netns: str, archive: Path) -> Iterator[Podman]:
    with Podman(tmp_path_factory.mktemp("podman"), netns) as daemon:
        daemon.load(archive)
        yield daemon


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory, netns: str, archive: Path) -> Iterator[Containerd]:
    with Containerd(tmp_path_factory.mktemp("containerd"), netns) as daemon:
        daemon.load(archive)
        yield daemon
