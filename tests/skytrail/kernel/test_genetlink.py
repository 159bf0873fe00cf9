from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrail.kernel import genetlink, netlink
from skytrail.kernel.genetlink import Answer, Family, GenericSocket, decode_answer, decode_family, walk
from skytrail.kernel.netlink import NetlinkDecodeError, attribute, integer_attribute, message

GETFAMILY = attribute(2, b"nlctrl\0")
DONE = struct.pack("=i", 0)


def test_the_controller_is_known_as_iproute2_shows_it() -> None:
    shown = subprocess.run(["genl", "ctrl", "get", "name", "nlctrl"], check=True, capture_output=True, text=True).stdout
    with GenericSocket() as generic:
        family = generic.family("nlctrl")
    assert f"ID: {family.number:#x}" in shown
    for name, number in family.groups.items():
        assert f"ID-{number:#x}  name: {name}" in shown
    assert "notify" in family.groups


def test_an_unknown_family_is_said_to_be_missing() -> None:
    with GenericSocket() as generic:
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                generic.family("no such family")
        assert generic.family("nlctrl").number == 16


def test_a_dump_gives_all_and_a_request_one() -> None:
    with GenericSocket() as generic:
        everybody = {decode_family(answer.body).number for answer in generic.ask(16, 3, b"", dump=True)}
        (one,) = generic.ask(16, 3, GETFAMILY)
    assert {16, decode_family(one.body).number} <= everybody


def test_a_command_that_a_family_lacks_is_not_supported() -> None:
    with GenericSocket() as generic, pytest.raises(OSError, match="not supported"):
        generic.ask(16, 250, b"", dump=True)


class Fake:
    """A socket whose kernel answers what the test says."""

    def __init__(self, *datagrams: bytes, sender: int = 0, flags: int = 0, endless: bool = False) -> None:
        self.datagrams = list(datagrams)
        self.sender, self.flags, self.endless = sender, flags, endless
        self.sent = 0

    def settimeout(self, _: float) -> None: ...

    def close(self) -> None: ...

    def send(self, _: bytes) -> None:
        self.sent += 1

    def recvmsg_into(self, buffers: list[bytearray]) -> tuple[int, list[Any], int, tuple[int, int]]:
        if not self.datagrams:
            raise TimeoutError("timed out")
        raw = self.datagrams[0] if self.endless else self.datagrams.pop(0)
        buffers[0][: len(raw)] = raw
        return len(raw), [], self.flags, (self.sender, 0)


def ask(monkeypatch: pytest.MonkeyPatch, fake: Fake) -> list[Answer]:
    monkeypatch.setattr(genetlink, "open_generic_socket", lambda: fake)
    with GenericSocket() as generic:
        return generic.ask(21, 11, b"", dump=True)


def test_the_rest_of_an_earlier_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(message(21, 2, 0, b"\1\1\0\0old!"), message(21, 2, 1, b"\2\1\0\0mine"), message(3, 2, 1, DONE))
    assert ask(monkeypatch, fake) == [Answer(2, b"mine")]


def test_what_others_than_the_kernel_send_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TimeoutError):
        ask(monkeypatch, Fake(message(3, 2, 1, DONE), sender=4711))


def test_a_dump_that_something_changed_under_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = [message(21, 0x12, 1, b"\2\1\0\0old!"), message(3, 2, 1, DONE)]
    fake = Fake(*spoilt, message(21, 2, 2, b"\2\1\0\0new!"), message(3, 2, 2, DONE))
    assert ask(monkeypatch, fake) == [Answer(2, b"new!")]
    assert fake.sent == 2


def test_a_datagram_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NetlinkDecodeError, match="65536"):
        ask(monkeypatch, Fake(message(3, 2, 1, DONE), flags=socket.MSG_TRUNC))


def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "_ANSWER_LIMIT", 1000)
    with pytest.raises(NetlinkDecodeError, match="1000 messages"):
        ask(monkeypatch, Fake(message(21, 2, 1, b"\2\1\0\0more"), endless=True))


def test_repeated_attributes_are_all_walked() -> None:
    raw = attribute(1, b"a") + attribute(1, b"bcd") + attribute(2 | 0x8000, b"")
    assert [(kind, raw[start:end]) for kind, (start, end) in walk(raw, 0, len(raw))] == [(1, b"a"), (1, b"bcd"), (2, b"")]


@pytest.mark.parametrize("size", [0, 3, 9, 65535])
def test_an_attribute_that_lies_about_its_length_is_refused(size: int) -> None:
    raw = struct.pack("=HH4s", size, 3, b"abcd")
    with pytest.raises(NetlinkDecodeError, match="byte 0"):
        list(walk(raw, 0, len(raw)))


def test_a_family_without_its_number_is_refused() -> None:
    for body in (b"", attribute(2, b"ethtool\0"), attribute(1, b"\1")):
        with pytest.raises(NetlinkDecodeError, match="no number"):
            decode_family(body)


def test_a_group_without_its_number_is_passed_over() -> None:
    whole = attribute(1, attribute(1, b"monitor\0") + integer_attribute(2, 6))
    body = attribute(1, b"\x15\0") + attribute(7, whole + attribute(2, attribute(1, b"half\0")))
    assert decode_family(body) == Family(21, {"monitor": 6})


@given(st.binary(max_size=200))
def test_random_bytes_are_decoded_or_refused(raw: bytes) -> None:
    for decode in (decode_family, lambda body: decode_answer(body, 0, len(body)), lambda body: list(walk(body, 0, len(body)))):
        with contextlib.suppress(NetlinkDecodeError):
            decode(raw)
