"""The remote procedures of ``wire.proto``: their names, and messages to bytes and back. No code is generated for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc
import grpc.aio

from skytrail.wire import wire_pb2 as wire

_SERVICE = "skytrail.wire.v1.Wire"
MAX_MESSAGE = 16 << 20  # bytes
OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
"""Of both ends: one that is gone without a word is noticed after 15 s."""
SERVER_OPTIONS = (
    *OPTIONS,
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 16),
    ("grpc.server_handshake_timeout_ms", 5_000),
)
"""Of a hub: an agent has four calls open on its connection, and who has not shown a certificate is not waited for long."""
PEER_OPTIONS = (
    *OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)
"""Of a hub that asks another: that one may be back at any time."""
TID, OUTBOX, VERSION = "skytrail-tid", "skytrail-outbox", "skytrail-version"
"""Metadata of :func:`reporting` and :func:`attending`: who reports, by which numbers, in which version of the protocol."""


def greeting(channel: grpc.Channel) -> Callable[..., wire.Welcome]:
    """The call that greets."""
    call: Callable[..., wire.Welcome] = channel.unary_unary(
        f"/{_SERVICE}/Greet", wire.Greeting.SerializeToString, wire.Welcome.FromString
    )
    return call


def reporting(
    channel: grpc.Channel, requests: Iterable[wire.Reports], metadata: Mapping[str, str]
) -> tuple[Iterator[wire.Taken], Callable[[], object]]:
    """Begin to report: the answers, and what ends the call."""
    call: Any = channel.stream_stream(f"/{_SERVICE}/Report", wire.Reports.SerializeToString, wire.Taken.FromString)
    stream = call(iter(requests), metadata=tuple(metadata.items()), wait_for_ready=False)
    return stream, stream.cancel


def attending(
    channel: grpc.Channel, answers: Iterable[wire.Answer], metadata: Mapping[str, str]
) -> tuple[Iterator[wire.Question], Callable[[], object]]:
    """Begin to attend: the questions, and what ends the call."""
    call: Any = channel.stream_stream(f"/{_SERVICE}/Attend", wire.Answer.SerializeToString, wire.Question.FromString)
    stream = call(iter(answers), metadata=tuple(metadata.items()), wait_for_ready=False)
    return stream, stream.cancel


def naming(
    channel: grpc.Channel, known: wire.Known, metadata: Mapping[str, str]
) -> tuple[Iterator[wire.Changes], Callable[[], object]]:
    """Begin to hear of the address book: its changes, and what ends the call."""
    call: Any = channel.unary_stream(f"/{_SERVICE}/Names", wire.Known.SerializeToString, wire.Changes.FromString)
    stream = call(known, metadata=tuple(metadata.items()), wait_for_ready=False)
    return stream, stream.cancel


def meeting(channel: grpc.aio.Channel) -> Callable[..., Any]:
    """The call by which hubs meet."""
    call: Callable[..., Any] = channel.unary_unary(f"/{_SERVICE}/Meet", wire.Meeting.SerializeToString, wire.Meeting.FromString)
    return call


def asking(channel: grpc.aio.Channel, inquiry: wire.Inquiry, timeout: float) -> Any:  # noqa: ANN401 - grpc has no types
    """Begin to ask another hub: the call, an iterator of replies."""
    call: Any = channel.unary_stream(f"/{_SERVICE}/Ask", wire.Inquiry.SerializeToString, wire.Reply.FromString)
    return call(inquiry, timeout=timeout)


def handlers(
    greet: Callable[..., Any],
    report: Callable[..., Any],
    attend: Callable[..., Any],
    meet: Callable[..., Any],
    ask: Callable[..., Any],
    names: Callable[..., Any],
) -> grpc.GenericRpcHandler:
    """A server's side: coroutines of (request, context), and (requests, context)."""
    return grpc.method_handlers_generic_handler(
        _SERVICE,
        {
            "Greet": grpc.unary_unary_rpc_method_handler(greet, wire.Greeting.FromString, wire.Welcome.SerializeToString),
            "Attend": grpc.stream_stream_rpc_method_handler(attend, wire.Answer.FromString, wire.Question.SerializeToString),
            "Names": grpc.unary_stream_rpc_method_handler(names, wire.Known.FromString, wire.Changes.SerializeToString),
            "Report": grpc.stream_stream_rpc_method_handler(report, wire.Reports.FromString, wire.Taken.SerializeToString),
            "Meet": grpc.unary_unary_rpc_method_handler(meet, wire.Meeting.FromString, wire.Meeting.SerializeToString),
            "Ask": grpc.unary_stream_rpc_method_handler(ask, wire.Inquiry.FromString, wire.Reply.SerializeToString),
        },
    )
