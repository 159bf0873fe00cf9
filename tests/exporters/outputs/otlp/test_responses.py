from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from exporters.outputs.otlp.config import OtlpConfig, Signal
from exporters.outputs.otlp.responses import accepted, retry_delay, status_message
from exporters.outputs.otlp.transport import DELAY_MAX, Verdict


def field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def status(message: str, *details: Any) -> bytes:
    """A google.rpc.Status by hand: code = 8, message = 2, details = 3."""
    return b"\x08\x08" + field(2, message.encode()) + b"".join(field(3, d.SerializeToString()) for d in details)


def retry_info(seconds: int, nanos: int = 0) -> Any:
    delay = Duration(seconds=seconds, nanos=nanos).SerializeToString()
    return Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=field(1, delay))


@pytest.mark.parametrize(
    ("body", "delay"),
    [
        (status("busy", retry_info(2, 500_000_000)), 2.5),
        (status("busy", Any(type_url="type.googleapis.com/google.rpc.Help", value=b"\x0a"), retry_info(1)), 1.0),
        (status("busy", retry_info(0)), 0.0),
        (status("busy", retry_info(-5)), 0.0),
        (status("busy", retry_info(10**15)), DELAY_MAX),
        (status("busy"), None),
        (status("busy", Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\x0a\xff")), None),
        (b"\xff garbage", None),
        (b"", None),
    ],
)
def test_the_delay_of_retry_info(body: bytes, delay: float | None) -> None:
    assert retry_delay(body) == delay


def test_the_message_of_a_status() -> None:
    assert status_message(status("too busy", retry_info(1))) == "too busy"
    assert status_message(b"<html>no status</html>") == ""


@given(st.binary(max_size=200))
def test_no_answer_breaks_the_reader(body: bytes) -> None:
    for signal in Signal:
        outcome = accepted(OtlpConfig().target(signal), body)
        assert outcome.verdict is Verdict.DELIVERED
        assert outcome.rejected >= 0
    assert isinstance(status_message(body), str)
    delay = retry_delay(body)
    assert delay is None or 0 <= delay <= DELAY_MAX
