"""One real API server for these tests; each test has a probe and a graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.kube import Cluster, demand
from support.kubelab import KubeLab


@pytest.fixture(scope="session")
def kube_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demand(tmp_path_factory.mktemp("kube-lab"))


@pytest.fixture(scope="session")
def cluster(kube_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(kube_program, tmp_path_factory.mktemp("kube"))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., KubeLab]]:
    """Makes a probe with a graph."""
    made: list[KubeLab] = []

    def make(place: Path, **more: Any) -> KubeLab:
        made.append(KubeLab(tmp_path / f"graph{len(made)}", place, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()
