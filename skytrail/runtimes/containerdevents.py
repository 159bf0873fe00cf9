"""containerd's own events, on the socket of its CRI: that something happened, and when a task ended. Docker tells of its own.

The CRI's events came with containerd 1.7 and are off in many hosts; these have always been there. Another runtime has none.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import grpc
from google.protobuf.message import DecodeError

from skytrail.runtimes.containerdnamespaces import OF_DOCKER, identity_in
from skytrail.runtimes.crimessages import CLASSES, EVENTS

_FILTERS = [f'namespace!={OF_DOCKER},topic=="/tasks/{what}"' for what in ("start", "exit", "paused", "resumed")]
_EXIT = "/tasks/exit"
_RETRY = 5.0  # seconds
_MAX_ENDED = 4096


class ContainerdEvents:
    """Listens on a thread of its own.

    Args:
        channel: to the runtime. Whoever closes it ends the listening.
        happened: called when something did.
    """

    def __init__(self, channel: grpc.Channel, happened: Callable[[], None]) -> None:
        self._happened = happened
        self._call = channel.unary_stream(
            EVENTS,
            request_serializer=CLASSES["SubscribeRequest"].SerializeToString,
            response_deserializer=CLASSES["Envelope"].FromString,
        )
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runtime-events", daemon=True)

    def start(self) -> None:
        """Begin; once."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Wait for the end, after the channel was closed."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def ended(self, container_id: str) -> int:
        """When a container's first process ended, ns since the epoch; 0: nobody told."""
        return self._ended.get(container_id, 0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for envelope in self._call(CLASSES["SubscribeRequest"](filters=_FILTERS)):
                    if envelope.topic == _EXIT:
                        self._note_end(envelope.namespace, envelope.event.value)
                    self._happened()
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return
            except ValueError:  # the channel is closed
                return
            self._happened()  # it may have ended: who lists looks whether somebody is there, before we ask again
            self._stopping.wait(_RETRY)

    def _note_end(self, namespace: str, event: bytes) -> None:
        try:
            told = CLASSES["TaskExit"].FromString(event)
        except DecodeError:
            return
        if told.id in ("", told.container_id):  # not of a process that was started in it later
            self._ended[identity_in(namespace, told.container_id)] = told.exited_at.seconds * 10**9 + told.exited_at.nanos
            if len(self._ended) > _MAX_ENDED:
                self._ended.popitem(last=False)
