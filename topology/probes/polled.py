"""A probe that looks at its source every so often: all that its author writes is what gives the facts. Public."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from topology.facts import Fact
from topology.probes.interface import Here
from topology.probes.telling import Teller

_log = structlog.get_logger(__name__)

_HASTE = 1.0  # seconds between two looks, whoever wakes it
_SLOWEST = 60.0  # seconds between two looks at what fails
_ENDED = 5.0  # seconds that a look gets to end
_REMEDY = ": what is not root's needs agent.keep_capabilities: [dac_override]"  # an agent gives up that power of root's


class PolledProbe:
    """Looks every ``period`` seconds, on a thread of its own, and reports what is otherwise than before.

    Args:
        here: where it runs.
        read: gives all facts that there are; None: there is no such source on this host (yet). What it raises is said on one
            line in /readyz, and it is asked again; nothing is deleted meanwhile. It must not wait for long.
        period: seconds between two looks.

    Attributes:
        looks: that gave facts.
    """

    def __init__(self, here: Here, read: Callable[[], Iterable[Fact] | None], period: float = 10.0) -> None:
        self._name, self._clock, self._read, self._period = here.source.probe, here.clock, read, period
        self._teller = Teller(here.report, here.source, here.clock)
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"probe-{self._name}", daemon=True)
        self._failure: str | None = None
        self._failures = 0
        self.active = False
        self.looks = 0

    @property
    def failure(self) -> str | None:
        """As :attr:`topology.probes.interface.Probe.failure`."""
        return self._failure or self._teller.failure

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look that hangs is left to itself."""
        self._stopping.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(_ENDED)

    def tell_all(self) -> None:
        """Report all once more."""
        self._teller.tell_all()

    def wake(self) -> None:
        """Look soon."""
        self._woken.set()

    def status(self) -> dict[str, Any]:
        """How it is."""
        return {"connected": self.active, "elements": len(self._teller), "looks": self.looks}

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            self._look()
            # what fails is not hastened by anybody
            self._stopping.wait(_HASTE if not self._failures else min(2.0**self._failures, _SLOWEST))
            self._woken.wait(max(0.0, began + self._period - time.monotonic()))
            self._woken.clear()

    def _look(self) -> None:
        try:
            observed, found = self._clock(), self._read()
            facts = None if found is None else list(found)
        except Exception as error:  # noqa: BLE001 - whatever a source answers, it is asked again
            self._failures += 1
            reason = " ".join(str(error).split()) or type(error).__name__
            reason += _REMEDY if isinstance(error, PermissionError) else ""
            if reason != self._failure:
                _log.warning("probe_failed", probe=self._name, reason=reason)
            self.active, self._failure = False, reason
            return
        self._failures, self._failure, self.active = 0, None, facts is not None
        if facts is not None and not self._stopping.is_set():
            self.looks += 1
            self._teller.tell(facts, observed)
