"""What tests of real sockets share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.netlab import Net

from exporters.bpf.sockets import SocketPrograms


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    yield made
    made.close()


@pytest.fixture
def programs() -> Iterator[SocketPrograms]:
    made = SocketPrograms()
    yield made
    made.close()
