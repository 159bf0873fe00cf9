"""What tests of real sockets share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exporters.bpf.sockets import SocketPrograms


@pytest.fixture
def programs() -> Iterator[SocketPrograms]:
    made = SocketPrograms()
    yield made
    made.close()
