"""Work done once for the whole graph, by one of the hubs that write to it: rules, linkers, retention, probes of clusters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from topology.store.interface import StaleWriterError, Store, StoreError

_log = structlog.get_logger(__name__)

_WRITER = "duty"
_SECONDS = 15.0
_RENEWED = _SECONDS / 3


class Duty:
    """Whether it is ours to do: by a lease, which another hub takes over when we are gone. For any thread.

    Where a hub is not heard of for a while (it was stopped, and goes on) two may think so for a moment: what they write has
    leases of its own.

    Args:
        store: that has the lease; one that is not shared leaves all to us.
        holder: who we are.
        clock: monotonic seconds.
    """

    def __init__(self, store: Store, holder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._holder, self._clock = store, holder, clock
        self._lock = threading.Lock()
        self._ours = not store.shared
        self._asked_at = self._had_at = float("-inf")

    @property
    def ours(self) -> bool:
        """Whether it is, as of some seconds ago at most."""
        if not self._store.shared:
            return True
        with self._lock:
            now = self._clock()
            if now - self._asked_at >= _RENEWED:
                before, self._ours = self._ours, self._ask(now)
                self._asked_at = now
                if before != self._ours:
                    _log.info(
                        "duty_taken" if self._ours else "duty_left", work="rules, linkers, retention", holder=self._holder
                    )
            return self._ours

    def _ask(self, now: float) -> bool:
        try:
            self._store.lease(_WRITER, self._holder, _SECONDS)
        except StaleWriterError:
            return False
        except StoreError:  # nobody else can be asked either; the lease runs out
            return self._ours and now - self._had_at < _SECONDS
        self._had_at = now
        return True
