"""What the kernel answers now and then, and tests cannot make it answer, is injected; the rest is in tests/integration."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from support.needs import root
from support.netlab import Net

from exporters.interfaces import source
from exporters.interfaces.reading import Reading
from exporters.interfaces.source import InterfaceSource
from exporters.interfaces.tables import Devices, speeds
from skytrail.kernel.census import Census
from skytrail.kernel.columns import Answer
from skytrail.kernel.genetlink import GenericSocket
from skytrail.kernel.host import Roots
from skytrail.kernel.namespaces import Namespace
from skytrail.kernel.netlink import NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, NetlinkDecodeError, message
from skytrail.kernel.worker import NamespaceWorker

KIND = 16
DUMP_INTR = 0x10


class Kernel:
    """A netlink socket that answers the n-th request with the n-th list of datagrams."""

    def __init__(self, *answers: Sequence[bytes], sender: int = 0, flags: int = 0) -> None:
        self._answers, self._queue = list(answers), list[bytes]()
        self._sender, self._flags = sender, flags
        self.requests = 0

    def settimeout(self, _: float) -> None: ...

    def send(self, _: bytes) -> None:
        self.requests += 1
        self._queue += self._answers.pop(0)

    def recvmsg_into(self, buffers: list[bytearray]) -> tuple[int, list[Any], int, tuple[int, int]]:
        if not self._queue:
            raise TimeoutError
        datagram = self._queue.pop(0)
        buffers[0][: len(datagram)] = datagram
        return len(datagram), [], self._flags, (self._sender, 0)


def done(sequence: int, number: int = 0) -> bytes:
    return message(NLMSG_DONE, 0, sequence, struct.pack("=i", -number))


def payloads(answer: Answer) -> list[bytes]:
    return [answer.data[start:end] for start, end in zip(answer.starts, answer.ends, strict=True)]


def dump(kernel: Kernel) -> list[bytes]:
    opened: Any = kernel
    return payloads(source._Dumper(opened).dump(KIND, b""))


def test_an_answer_goes_over_several_datagrams() -> None:
    kernel = Kernel([message(KIND, 0, 1, b"1111") + message(KIND, 0, 1, b"22222222"), message(KIND, 0, 1, b"33"), done(1)])

    assert dump(kernel) == [b"1111", b"22222222", b"33"]


def test_a_dump_that_something_changed_under_is_made_again() -> None:
    kernel = Kernel([message(KIND, DUMP_INTR, 1, b"half") + done(1)], [message(KIND, 0, 2, b"full") + done(2)])

    assert (dump(kernel), kernel.requests) == ([b"full"], 2)


def test_where_something_always_changes_the_last_is_taken() -> None:
    kernel = Kernel(*([message(KIND, DUMP_INTR, number, b"%4d" % number) + done(number)] for number in range(1, 9)))

    assert (dump(kernel), kernel.requests) == ([b"   5"], 5)


def test_what_is_of_another_question_is_passed_over() -> None:
    assert dump(Kernel([message(KIND, 0, 77, b"old!") + message(KIND, 0, 1, b"mine"), done(77) + done(1)])) == [b"mine"]


@pytest.mark.parametrize("kind", [NLMSG_DONE, NLMSG_ERROR])
def test_the_kernels_refusal_is_its_errno(kind: int) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EBUSY)) as raised:
        dump(Kernel([message(kind, 0, 1, struct.pack("=i", -errno.EBUSY))]))
    assert raised.value.errno == errno.EBUSY


def test_who_is_not_the_kernel_is_not_heard() -> None:
    with pytest.raises(TimeoutError):
        dump(Kernel([message(KIND, 0, 1, b"fake") + done(1)], sender=4711))


def test_a_cut_datagram_is_no_answer() -> None:
    with pytest.raises(NetlinkDecodeError, match="datagram of more than"):
        dump(Kernel([done(1)], flags=socket.MSG_TRUNC))


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
