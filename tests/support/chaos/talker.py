"""Conversations over UDP of which every packet is noted; runs by its path, without the rest: ``python -I talker.py``.

Its first line of input says what to do, as JSON: targets ``[[address, port], …]``, rate (packets a second and target), lasts
(seconds of a conversation) and port (the first of its own). When its input ends it prints what each conversation did.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import TextIO

_LATE = 1.5  # seconds: answers that are waited for still
_SIZE = 100


class Conversation:
    """One socket, connected."""

    def __init__(self, address: str, to: int, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind(("", port))
        self._socket.connect((address, to))
        self._socket.setblocking(False)
        self.begun = time.monotonic()
        self.sent: list[tuple[int, int]] = []
        self.received: list[int] = []

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self) -> None:
        before = time.time_ns()
        self._socket.send(bytes(_SIZE))
        self.sent.append((before, time.time_ns()))

    def receive(self) -> None:
        while True:
            try:
                self._socket.recv(2 * _SIZE)
            except OSError:
                return
            self.received.append(time.time_ns())

    def told(self) -> dict[str, object]:
        here, there = self._socket.getsockname(), self._socket.getpeername()
        ends = {"address": here[0], "port": here[1], "peer": there[0], "peer_port": there[1]}
        return {**ends, "sent": self.sent, "received": self.received}


def main() -> None:
    todo = json.loads(sys.stdin.readline())
    port, every = int(todo["port"]), 1 / float(todo["rate"])
    now: list[Conversation] = []
    before: list[Conversation] = []
    done: list[Conversation] = []
    ending = 0.0
    next_at = time.monotonic()
    while not ending or time.monotonic() < ending:
        wait = max(0.0, (ending or next_at) - time.monotonic())
        watched: list[Conversation | TextIO] = [*now, *before, *([] if ending else [sys.stdin])]
        ready, _, _ = select.select(watched, [], [], wait)
        for one in ready:
            if isinstance(one, Conversation):
                one.receive()
            else:  # its end
                ending = time.monotonic() + _LATE
        done += [one for one in before if time.monotonic() - one.begun > todo["lasts"] + _LATE]
        before = [one for one in before if one not in done]
        if ending or time.monotonic() < next_at:
            continue
        next_at += every
        before += [one for one in now if time.monotonic() - one.begun > todo["lasts"]]
        now = [one for one in now if one not in before]
        if not now:
            for address, to in todo["targets"]:
                now.append(Conversation(address, to, port))
                port += 1
        for one in now:
            one.send()
    print(json.dumps([one.told() for one in (*done, *before, *now)]))


if __name__ == "__main__":
    main()
