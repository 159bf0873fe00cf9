"""A link between two namespaces that delays, loses and reorders frames as a test says: two tap devices and a thread."""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import select
import struct
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from support.netlab import End, Net, in_netns

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
LONGEST = 65536

Fate = Callable[[int, bytes], float | None]
"""What becomes of a frame from an end (0, 1): seconds that it takes, or None: it is lost. Asked in their order."""


class _Waiting(NamedTuple):
    due: float
    number: int
    to: int
    frame: bytes


class Impaired:
    """Carries frames until it is closed; the devices go with it. They have no offloads: each segment is a frame.

    Args:
        net: the test's namespaces.
        ends: which get a device and an address each.
        fate: of each frame.
    """

    def __init__(self, net: Net, ends: tuple[End, End], fate: Fate) -> None:
        self._fate = fate
        self._taps = [in_netns(end.netns, lambda end=end: open_tap(end.interface)) for end in ends]  # type: ignore[misc]
        for end in ends:
            net.ip(f"address add {end.ip4}/24 dev {end.interface}", netns=end.netns)
            net.ip(f"link set {end.interface} up", netns=end.netns)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def close(self) -> None:
        """Carry no more."""
        os.write(self._stopped, b"x")
        self._thread.join()
        for fd in (*self._taps, self._stop, self._stopped):
            os.close(fd)

    def _carry(self) -> None:
        waiting: list[_Waiting] = []
        numbers = itertools.count()
        while True:
            patience = max(0.0, waiting[0].due - time.monotonic()) if waiting else None
            ready, _, _ = select.select([*self._taps, self._stop], [], [], patience)
            if self._stop in ready:
                return
            for side, tap in enumerate(self._taps):
                if tap in ready:
                    frame = os.read(tap, LONGEST)
                    takes = self._fate(side, frame)
                    if takes is not None:
                        heapq.heappush(waiting, _Waiting(time.monotonic() + takes, next(numbers), 1 - side, frame))
            while waiting and waiting[0].due <= time.monotonic():
                one = heapq.heappop(waiting)
                os.write(self._taps[one.to], one.frame)


def open_tap(name: str) -> int:
    """Make a tap device in the thread's namespace; gives what its frames are read from and written to."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return fd
