"""What the kernel answers now and then, and tests cannot make it answer, is injected; the rest is in tests/integration."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from support.needs import root
from support.netlab import Net

from exporters.interfaces import source
from exporters.interfaces.reading import Reading
from exporters.interfaces.source import InterfaceSource
from exporters.interfaces.tables import Devices, speeds
from skytrail.kernel.census import Census
from skytrail.kernel.genetlink import GenericSocket
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import NLM_F_DUMP, Answer
from skytrail.kernel.worker import NamespaceWorker


@pytest.fixture
def taps() -> Iterator[tuple[NamespaceWorker, Namespace]]:
    """A namespace with two interfaces whose speed is known."""
    root()
    net = Net()
    worker = NamespaceWorker()
    census = Census(worker, Roots(), every=True)
    try:
        netns = net.netns("a")
        for name, speed in (("tap1", "100"), ("tap2", "1000")):
            net.run(netns, "ip", "tuntap", "add", name, "mode", "tap")
            net.run(netns, "ethtool", "-s", name, "speed", speed, "duplex", "full", "autoneg", "off")
        census.refresh(processes=True)
        (namespace,) = [one for one in census.namespaces() if one.name == netns]
        yield worker, namespace
    finally:
        census.close()
        worker.close()
        net.close()


def known(reading: Reading) -> dict[str, int]:
    devices = Devices([""], [reading], 10)
    return {devices.labels[row][0]: speed for row, speed in speeds(devices, [reading]).megabits.items()}


@pytest.mark.kernel
def test_a_driver_that_fails_keeps_no_other_from_telling_its_speed(
    taps: tuple[NamespaceWorker, Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, namespace = taps
    reader = InterfaceSource(worker)
    assert known(reader.read(namespace)) == {"tap1": 100, "tap2": 1000}
    asked, family = source._Dumper._ask, reader._ethtool

    def ask(self: Any, kind: int, flags: int, body: bytes) -> Any:
        if kind == family and (flags == NLM_F_DUMP or body == source._ethtool_request(sleeping)):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return asked(self, kind, flags, body)

    sleeping = worker.run(namespace, socket.if_nametoindex, "tap1")
    monkeypatch.setattr(source._Dumper, "_ask", ask)

    assert known(reader.read(namespace)) == {"tap2": 1000}


@pytest.mark.kernel
def test_a_kernel_without_ethtools_netlink_tells_all_but_speeds(
    taps: tuple[NamespaceWorker, Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, namespace = taps

    def missing_family(*_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(GenericSocket, "family", missing_family)
    reading = InterfaceSource(worker).read(namespace)

    assert known(reading) == {}
    assert {label[0] for label in Devices([""], [reading], 10).labels} == {"lo", "tap1", "tap2"}
    assert all(reading.files.values())


@pytest.mark.kernel
def test_a_kernel_without_a_dump_tells_the_others(
    taps: tuple[NamespaceWorker, Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, namespace = taps
    reader = InterfaceSource(worker)
    monkeypatch.setattr(source, "_RTM_GETSTATS", 4095)  # no such message: EOPNOTSUPP, as before Linux 4.7

    reading = reader.read(namespace)

    assert reading.statistics == Answer()
    assert known(reading) == {"tap1": 100, "tap2": 1000}
