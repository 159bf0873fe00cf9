"""The service map: which program, container, pod or unit talks to which, of the sockets of all hosts.

Sockets come and go: they are asked of the agents every so often and are no elements. What stays is who owns them, and that one
connects to a port of another; a pair that is not seen any more stays for a while, so that the map does not flap.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog

from skytrail.asking.asker import Asker
from skytrail.asking.questions import SocketsQuestion
from skytrail.asking.terms import Compare, Every
from skytrail.errors import SkytrailError
from topology.facts import EdgeFact, Fact, NodeFact, Report, Source

_log = structlog.get_logger(__name__)

NAME = "service"
"""As the settings have it."""

_PERIOD = 30.0  # seconds between two questions
_LOOK = 1.0  # seconds
_KEPT = 10  # questions for which a pair stays that is not seen any more
_MOST = 5000  # pairs
_QUESTION = SocketsQuestion(
    term=Every((Compare("Protocol", "within", ("TCP",)), Compare("State", "within", ("ESTABLISHED", "LISTEN"))))
)
_OWNERS = (("Pod", "UID"), ("Container", "ID"), ("Unit", "Name"))
"""What owns a process, the widest first, and the key that tells it from others."""

End: TypeAlias = "tuple[str, str, int, str, int]"
"""Where a connection is unique (everywhere, or a namespace of a host), local address and port, remote address and port."""


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """Who has sockets.

    Attributes:
        host: TID of the host.
        kind: ``Pod``, ``Container``, ``Unit`` or ``Program``.
        key: that tells it from others of the kind on the host.
        name: for people.
    """

    host: str
    kind: str
    key: str
    name: str

    @property
    def tid(self) -> str:
        """Its topology ID."""
        return f"{self.host}/service/{self.kind.lower()}/{self.key}"


Pair: TypeAlias = "tuple[Service, Service, int]"
"""Client, server, the server's port."""


def service_of(host: str, told: Mapping[str, Any]) -> Service | None:
    """Whose a socket is; None: nobody's that is known."""
    for kind, key in _OWNERS:
        owner = told.get(kind)
        if isinstance(owner, Mapping) and owner.get(key):
            return Service(host, kind, str(owner[key]), str(owner.get("Name") or owner[key]))
    program = told.get("Process") or told.get("Name")
    return Service(host, "Program", str(program), str(program).rpartition("/")[2]) if program else None


def pairs(sockets: Iterable[tuple[str, Mapping[str, Any]]]) -> set[Pair]:
    """Who connects to whom: both ends of a connection are among the sockets, and one of them listens at its port.

    Args:
        sockets: with the TID of the host of each.
    """
    listening: set[tuple[str, str, int]] = set()
    ends: dict[End, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for host, told in sockets:
        if told.get("State") == "LISTEN":
            listening.add((host, str(told.get("Namespace")), int(told["LocalPort"])))
        elif told.get("State") == "ESTABLISHED":
            ends[_end(host, told)].append((host, told))
    found: set[Pair] = set()
    for (where, local, port, remote, far), here in ends.items():
        there = ends.get((where, remote, far, local, port), [])
        if len(here) != 1 or len(there) != 1:
            continue  # hosts with the same addresses, or a socket that several have: it is not known which
        (host, told), (other, answers) = here[0], there[0]
        client, server = service_of(other, answers), service_of(host, told)
        if client and server and (host, str(told.get("Namespace")), port) in listening:
            found.add((client, server, port))
    return found


def _end(host: str, told: Mapping[str, Any]) -> End:
    local, remote = str(told["LocalAddress"]), str(told["RemoteAddress"])
    where = f"{host}/{told.get('Namespace')}" if _is_loopback(local) else ""
    return where, local, int(told["LocalPort"]), remote, int(told["RemotePort"])


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # an agent may say anything
        return False


def facts(found: Iterable[Pair]) -> list[Fact]:
    """Services below their hosts, and an edge for each pair."""
    made: dict[str, Fact] = {}
    for client, server, port in sorted(found):
        for one in (client, server):
            node = NodeFact(one.tid, {"Type": NAME, "Name": one.name, "Service": {"Kind": one.kind, "Key": one.key}})
            edge = EdgeFact(one.host, one.tid, "ownership")
            made[node.id], made[edge.id] = node, edge
        said = {"Port": port, "Protocol": "TCP"}
        connection = EdgeFact(client.tid, server.tid, "connection", said, key=f"tcp/{port}")
        made[connection.id] = connection
    return list(made.values())


class ServiceMap:
    """Asks for sockets every so often, and reports who connects to whom.

    Args:
        asker: of the agents.
        report: takes what is found.
        host: Name of the host whose hub asks.
        clock: µs since the epoch.
        on: whether it is wanted; else only what it found while it was is taken back.
        on_duty: whether it is ours to run; else another hub does.

    Attributes:
        left_out: pairs that were too many, at the last question.
    """

    def __init__(
        self,
        asker: Asker,
        report: Callable[[Report], object],
        host: str,
        clock: Callable[[], int],
        *,
        on: bool = True,
        on_duty: Callable[[], bool] = lambda: True,
    ) -> None:
        self._asker, self._report, self._clock = asker, report, clock
        self._on, self._on_duty = on, on_duty
        self._source = Source(f"linker/{NAME}", host, service="hub")
        self._seen: dict[Pair, int] = {}  # when last: the number of the question
        self._number = 0
        self._said: list[Fact] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="services", daemon=True)
        self.left_out = 0

    @property
    def edges(self) -> int:
        """How many it says are there."""
        return sum(isinstance(fact, EdgeFact) for fact in self._said or ())

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; what was found stays."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(_PERIOD if self._on else _LOOK):
            try:
                if not self._on_duty():
                    self._said = None  # who is says what there is
                elif self._on:
                    self.step()
                else:
                    self._report(Report(self._source, self._clock(), whole=True))
                    return
            except SkytrailError as error:
                _log.warning("services_not_asked", reason=str(error))
            except Exception:  # noqa: BLE001 - whatever one agent answers, it is asked again
                _log.exception("services_failed")

    def step(self) -> None:
        """Ask once. Raises SkytrailError: it cannot be, or the answer is too large."""
        self._number += 1
        answers = self._asker.ask(_QUESTION)
        now = pairs((host, told) for host, part in answers.parts for told in part.found)
        away = {tid for tid, name in self._asker.hosts().items() if not answers.missing.keys().isdisjoint((name, tid))}
        now |= {pair for pair in self._seen if not away.isdisjoint((pair[0].host, pair[1].host))}  # not seen is not gone
        self._seen |= dict.fromkeys(now, self._number)
        kept = [pair for pair, number in self._seen.items() if self._number - number < _KEPT]
        latest = sorted(kept, key=lambda pair: (-self._seen[pair], pair))
        self.left_out = max(0, len(latest) - _MOST)
        self._seen = {pair: self._seen[pair] for pair in latest[:_MOST]}
        said = facts(self._seen)
        if said != self._said:
            self._report(Report(self._source, self._clock(), tuple(said), whole=True))
            self._said = said
