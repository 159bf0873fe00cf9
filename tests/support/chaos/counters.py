"""What interfaces have counted, again and again, by /proc/net/dev."""

from __future__ import annotations

import bisect
import threading
import time

from skytrail.lab.plan import Place
from skytrail.lab.state import Lab
from support.chaos.shell import Shell

_EVERY = 0.25  # seconds
_RX_PACKETS, _TX_PACKETS = 1, 9


class Counters:
    """Packets of some interfaces of a host, both ways, with the times between which they were read."""

    def __init__(self, lab: Lab, node: str, interfaces: tuple[str, ...]) -> None:
        self._shell, self.interfaces = Shell(lab, Place(node)), interfaces
        self._stopping = threading.Event()
        self._before: list[int] = []
        self._after: list[int] = []
        self._packets: dict[str, list[int]] = {name: [] for name in interfaces}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Read once more, and then no more; twice is the same as once."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._thread.join()
            self._shell.close()

    def _run(self) -> None:
        while True:
            last = self._stopping.is_set()
            before = time.time_ns()
            said = self._shell.do("cat /proc/net/dev")
            after = time.time_ns()
            rows = {name.strip(): rest.split() for name, _, rest in (line.partition(":") for line in said.splitlines())}
            for name in self.interfaces:
                self._packets[name].append(int(rows[name][_RX_PACKETS]) + int(rows[name][_TX_PACKETS]))
            self._before.append(before)
            self._after.append(after)
            if last:
                return
            self._stopping.wait(_EVERY)

    def at_most(self, interface: str, when: int) -> int:
        """Packets up to a time (ns since the epoch), and no fewer."""
        place = bisect.bisect_left(self._before, when)
        return self._packets[interface][min(place, len(self._before) - 1)]

    def at_least(self, interface: str, when: int) -> int:
        """Packets up to a time, and no more."""
        place = bisect.bisect_right(self._after, when) - 1
        return self._packets[interface][max(place, 0)]
