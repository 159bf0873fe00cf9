"""Which agents report to other hubs of the same graph: each hub keeps a list of its own in the store, for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import msgspec
import structlog

from topology.store.interface import Store, StoreError

_log = structlog.get_logger(__name__)

_KIND = "hub"
_RENEWED = 10.0  # seconds
_HOLDS = 30_000_000  # µs; a hub that is gone without a word is forgotten then


class _List(msgspec.Struct):
    """What a hub keeps: the name of its host, its agents' hosts by TID, and until when that holds, by its own clock, in µs."""

    hub: str
    agents: dict[str, str]
    until: int


class Elsewhere:
    """Keeps our list, and knows the others', on a thread of its own; where nobody else writes to the store there are none.

    Args:
        store: where the lists are kept.
        hub: Name of our host.
        session: of this process.
        here: gives the agents that report here: their hosts by TID.
        clock: µs since the epoch.
    """

    def __init__(
        self, store: Store, hub: str, session: str, here: Callable[[], dict[str, str]], clock: Callable[[], int]
    ) -> None:
        self._store, self._hub, self._session, self._here, self._clock = store, hub, session, here, clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="elsewhere", daemon=True)
        self._others: dict[str, tuple[str, str]] = {}
        self._heard: dict[str, tuple[int, int]] = {}  # session → until when its list holds, and when we saw that first

    def start(self) -> None:
        """Begin."""
        if self._store.shared:
            self._thread.start()

    def stop(self) -> None:
        """Take our list away."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
            try:
                self._store.put_resource(_KIND, self._session, None)
            except StoreError as error:
                _log.info("list_left_behind", error=str(error), effect="others forget it after 30 s")

    def agents(self) -> Mapping[str, tuple[str, str]]:
        """Names of their host and of the hub's, by TID, as of some seconds ago."""
        return self._others

    def _run(self) -> None:
        while True:
            try:
                self.renew()
            except (StoreError, msgspec.MsgspecError) as error:
                _log.debug("lists_not_read", error=str(error))
            if self._stopping.wait(_RENEWED):
                return

    def renew(self) -> None:
        """Write our list, read the others', and clear away those that are renewed no more. Raises StoreError.

        Clocks of hubs may differ by anything: times of others are compared with each other alone.
        """
        now = self._clock()
        ours = _List(self._hub, self._here(), now + _HOLDS)
        self._store.put_resource(_KIND, self._session, msgspec.json.encode(ours))
        others: dict[str, tuple[str, str]] = {}
        heard: dict[str, tuple[int, int]] = {}
        for session, body in self._store.resources(_KIND).items():
            if session == self._session:
                continue
            found = msgspec.json.decode(body, type=_List)
            until, since = self._heard.get(session, (0, now))
            heard[session] = found.until, since if found.until == until else now
            if now - heard[session][1] > _HOLDS:
                self._store.put_resource(_KIND, session, None)
            else:
                others |= {tid: (host, found.hub) for tid, host in found.agents.items()}
        self._others, self._heard = others, heard
