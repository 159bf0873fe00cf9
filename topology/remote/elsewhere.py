"""The other hubs of the same graph, and which agents report to them: each keeps a list of its own in the store, for a while."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping

import msgspec
import structlog

from skytrail.wire.peers import Other
from topology.store.interface import Store, StoreError

_log = structlog.get_logger(__name__)

_KIND = "hub"
_LOOK = 2.0  # seconds between two looks at the lists
_RENEWED = 10_000_000  # µs after which ours is written though nothing changed
_HOLDS = 30_000_000  # µs; a hub that is gone without a word is forgotten then


class _List(msgspec.Struct):
    """What a hub keeps: the name of its host, its agents' hosts by TID, and until when that holds, by its own clock, in µs.

    Of later releases also where other hubs reach it, and its network namespace.
    """

    hub: str
    agents: dict[str, str]
    until: int
    address: str = ""
    loopback: str = ""


class Elsewhere:
    """Keeps our list, and knows the others', on a thread of its own; where nobody else writes to the store there are none.

    Args:
        store: where the lists are kept.
        ours: what is told of us, but for the agents.
        session: of this process.
        here: gives the agents that report here: their hosts by TID.
        clock: µs since the epoch.
        tell: is told the other hubs, by session, each time the lists were read.
    """

    def __init__(
        self,
        store: Store,
        ours: Other,
        session: str,
        here: Callable[[], dict[str, str]],
        clock: Callable[[], int],
        tell: Callable[[Mapping[str, Other]], None],
    ) -> None:
        self._store, self._ours, self._session, self._here, self._clock = store, ours, session, here, clock
        self._tell = tell
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="elsewhere", daemon=True)
        self._written: _List | None = None
        self._heard: dict[str, tuple[int, int]] = {}  # session → mark of its list, and when we saw that first

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

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except StoreError as error:
                _log.debug("lists_not_read", error=str(error))
            if self._stopping.wait(_LOOK):
                return

    def look(self) -> None:
        """Write our list where that is due, and read the others'. Raises StoreError."""
        now = self._clock()
        self._write(now)
        others: dict[str, Other] = {}
        heard: dict[str, tuple[int, int]] = {}
        for session, body in self._store.resources(_KIND).items():
            if session == self._session:
                continue
            found = self._decode(session, body)
            mark = found.until if found else zlib.crc32(body)
            if not self._holds(session, mark, now, heard):
                self._store.put_resource(_KIND, session, None)
            elif found:
                others[session] = Other(found.hub, found.address, found.loopback, found.agents)
        self._heard = heard
        self._tell(others)

    def _write(self, now: int) -> None:
        here, before = self._here(), self._written
        if before is not None and before.agents == here and 0 <= now + _HOLDS - before.until < _RENEWED:
            return
        ours = _List(self._ours.name, here, now + _HOLDS, self._ours.address, self._ours.loopback)
        self._store.put_resource(_KIND, self._session, msgspec.json.encode(ours))
        self._written = ours

    def _decode(self, session: str, body: bytes) -> _List | None:
        """A list; None for one that cannot be read, which says nothing of the others."""
        try:
            return msgspec.json.decode(body, type=_List)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            if session not in self._heard:
                _log.warning("list_of_hub_not_read", session=session, reason=str(error))
            return None

    def _holds(self, session: str, mark: int, now: int, heard: dict[str, tuple[int, int]]) -> bool:
        """Whether a list is renewed. Hubs' clocks may differ by anything: times of others are compared with each other.

        Args:
            session: whose list.
            mark: its ``until``, or what else is otherwise once it is renewed.
            now: µs since the epoch.
            heard: what is noted of it.
        """
        before, since = self._heard.get(session, (0, now))
        heard[session] = mark, since if mark == before else now
        return now - heard[session][1] <= _HOLDS
