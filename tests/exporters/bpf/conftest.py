"""The flows program by both loaders, and what tshark says of the packet tests' frames."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.capture import Captured
from support.cases import ALL, Case
from support.dissect import Dissected, dissect
from support.headers import headers_for_bcc
from support.lab import Lab
from support.needs import missing, root

from exporters.bpf.program import Loader

START_NS = 1_700_000_000_000_000_000


@pytest.fixture(scope="session")
def kernel_headers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Headers where bcc finds them."""
    try:
        os.environ.update(headers_for_bcc(tmp_path_factory.mktemp("headers")))
    except LookupError as error:
        missing(str(error))


@pytest.fixture(scope="module", params=["libbpf", "bcc"])
def loader(request: pytest.FixtureRequest) -> Loader:
    """Both loaders."""
    root()
    if request.param == "bcc":
        from exporters.bpf.bcc import BccLoader
        from skytrail.errors import NotSupportedError

        request.getfixturevalue("kernel_headers")
        try:
            return BccLoader()
        except NotSupportedError as error:
            missing(str(error))
    from exporters.bpf.libbpf import LibbpfLoader

    return LibbpfLoader()


@pytest.fixture(scope="module")
def lab(loader: Loader) -> Iterator[Lab]:
    """The replay program, loaded once for a module by each loader."""
    made = Lab(loader)
    yield made
    made.close()


@pytest.fixture(scope="module")
def libbpf_lab() -> Iterator[Lab]:
    """The replay program by the default loader alone: for tests of which one loader says enough."""
    from exporters.bpf.libbpf import LibbpfLoader

    root()
    made = Lab(LibbpfLoader())
    yield made
    made.close()


def captured(case: Case) -> list[Captured]:
    """A case's packets, a millisecond apart."""
    return [Captured(frame, START_NS + at * 1_000_000, case.link) for at, frame in enumerate(case.frames())]


@pytest.fixture(scope="session")
def packets() -> dict[str, list[Captured]]:
    """Packets of all cases, by name."""
    return {case.name: captured(case) for case in ALL}


@pytest.fixture(scope="session")
def dissections(packets: dict[str, list[Captured]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Dissected]]:
    """What tshark says of all cases, by name: one run of it."""
    found = iter(dissect([packet for part in packets.values() for packet in part], tmp_path_factory.mktemp("tshark")))
    return {name: [next(found) for _ in part] for name, part in packets.items()}
