"""The wire as version 1 spoke it: an agent and a hub that know its messages and procedures, and nothing later.

``wire.proto`` is the file as it was; its descriptors, below, are from the generator, in a pool of their own.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory

_SERVICE = "skytrail.wire.v1.Wire"
_DESCRIPTORS = (
    "Chhza3l0cmFpbC93aXJlL3dpcmUucHJvdG8SEHNreXRyYWlsLndpcmUudjEidQoIR3JlZXRpbmcSDgoGb2xkZXN0GAEgASgNEg4KBm5ld2VzdB"
    "gCIAEoDRIPCgdyZWxlYXNlGAMgASgJEgwKBGhvc3QYBCABKAkSCwoDdGlkGAUgASgJEg4KBm91dGJveBgGIAEoCRINCgVjbG9jaxgHIAEoAyJJ"
    "CgdXZWxjb21lEg8KB3ZlcnNpb24YASABKA0SDwoHcmVsZWFzZRgCIAEoCRINCgVjbG9jaxgDIAEoAxINCgV0YWtlbhgEIAEoBCJFCgdSZXBvcn"
    "RzEisKB3JlcG9ydHMYASADKAsyGi5za3l0cmFpbC53aXJlLnYxLk51bWJlcmVkEg0KBWNsb2NrGAIgASgDIioKCE51bWJlcmVkEg4KBm51bWJl"
    "chgBIAEoBBIOCgZyZXBvcnQYAiABKAwiJgoFVGFrZW4SDgoGbnVtYmVyGAEgASgEEg0KBWNsb2NrGAIgASgDIpoCCgZSZXBvcnQSKAoGc291cm"
    "NlGAEgASgLMhguc2t5dHJhaWwud2lyZS52MS5Tb3VyY2USEAoIb2JzZXJ2ZWQYAiABKAMSJQoFbm9kZXMYAyADKAsyFi5za3l0cmFpbC53aXJl"
    "LnYxLk5vZGUSJQoFZWRnZXMYBCADKAsyFi5za3l0cmFpbC53aXJlLnYxLkVkZ2USDAoEZ29uZRgFIAMoCRINCgV3aG9sZRgGIAEoCBI4Cgh2b2"
    "xhdGlsZRgHIAMoCzImLnNreXRyYWlsLndpcmUudjEuUmVwb3J0LlZvbGF0aWxlRW50cnkaLwoNVm9sYXRpbGVFbnRyeRILCgNrZXkYASABKAkS"
    "DQoFdmFsdWUYAiABKAw6AjgBIkMKBlNvdXJjZRINCgVwcm9iZRgBIAEoCRIMCgRob3N0GAIgASgJEg8KB3NlcnZpY2UYAyABKAkSCwoDdGlkGA"
    "QgASgJIkkKBE5vZGUSCwoDdGlkGAEgASgJEhAKCG1ldGFkYXRhGAIgASgMEhAKCHZvbGF0aWxlGAMgASgMEhAKCGVucmljaGVzGAQgASgIIlYK"
    "BEVkZ2USDgoGcGFyZW50GAEgASgJEg0KBWNoaWxkGAIgASgJEhAKCHJlbGF0aW9uGAMgASgJEhAKCG1ldGFkYXRhGAQgASgMEgsKA2tleRgFIA"
    "EoCTKIAQoEV2lyZRI+CgVHcmVldBIaLnNreXRyYWlsLndpcmUudjEuR3JlZXRpbmcaGS5za3l0cmFpbC53aXJlLnYxLldlbGNvbWUSQAoGUmVw"
    "b3J0Ehkuc2t5dHJhaWwud2lyZS52MS5SZXBvcnRzGhcuc2t5dHJhaWwud2lyZS52MS5UYWtlbigBMAFiBnByb3RvMw=="
)
_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(base64.b64decode(_DESCRIPTORS))


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"skytrail.wire.v1.{name}"))


Greeting, Welcome, Reports, Numbered, Taken = map(_message, ("Greeting", "Welcome", "Reports", "Numbered", "Taken"))


def _now() -> int:
    return time.time_ns() // 1000


class OldAgent:
    """Greets, and reports on one connection what it is given; keeps it until it is taken."""

    def __init__(self, port: int, tid: str, outbox: str) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._tid, self._outbox = tid, outbox
        self.welcome: Any = None
        self.taken = 0

    def greet(self) -> None:
        """Agree on a version."""
        greet = self._channel.unary_unary(f"/{_SERVICE}/Greet", Greeting.SerializeToString, Welcome.FromString)
        said = Greeting(oldest=1, newest=1, release="0.1", host="old", tid=self._tid, outbox=self._outbox, clock=_now())
        self.welcome = greet(said, timeout=5)
        self.taken = self.welcome.taken

    def report(self, reports: Mapping[int, bytes], *, hold: threading.Event | None = None) -> None:
        """Report what has numbers after the last that is taken, one by one, until all is; then wait for ``hold``."""

        def requests() -> Iterator[Any]:
            for number, data in sorted(reports.items()):
                if number > self.taken:
                    yield Reports(reports=[Numbered(number=number, report=data)], clock=_now())
            if hold is not None:
                hold.wait(60)

        call = self._channel.stream_stream(f"/{_SERVICE}/Report", Reports.SerializeToString, Taken.FromString)
        metadata = (("skytrail-tid", self._tid), ("skytrail-outbox", self._outbox), ("skytrail-version", "1"))
        for taken in call(requests(), metadata=metadata):
            self.taken = taken.number

    def close(self) -> None:
        """End the connection."""
        self._channel.close()


class OldHub:
    """Takes reports as bytes; has no other procedure."""

    def __init__(self) -> None:
        self.greetings: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.reports: dict[int, bytes] = {}
        self._server = grpc.server(ThreadPoolExecutor(8))
        handlers = {
            "Greet": grpc.unary_unary_rpc_method_handler(self._greet, Greeting.FromString, Welcome.SerializeToString),
            "Report": grpc.stream_stream_rpc_method_handler(self._report, Reports.FromString, Taken.SerializeToString),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _greet(self, greeting: Any, _: grpc.ServicerContext) -> Any:
        self.greetings.append(greeting)
        version = min(greeting.newest, 1)
        return Welcome(version=version, release="0.1", clock=_now(), taken=max(self.reports, default=0))

    def _report(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        self.metadata.append(dict(context.invocation_metadata()))
        for reports in requests:
            for one in reports.reports:
                self.reports.setdefault(one.number, one.report)
            yield Taken(number=max(self.reports, default=0), clock=_now())

    def stop(self) -> None:
        """End."""
        self._server.stop(0).wait()
