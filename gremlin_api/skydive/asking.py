"""The agents as one query asks them: what they answered by host, and what is to be said of who did not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from skytrail.asking.asker import Asker
from skytrail.asking.questions import FlowsQuestion, InterfacesQuestion, SocketsQuestion

Timed: TypeAlias = "FlowsQuestion | SocketsQuestion | InterfacesQuestion"

_EVERYBODY = "all hosts"
_UNKNOWN = "no agent of it has come to this hub"


@dataclass(frozen=True, slots=True)
class Notes:
    """What is to be said beside an answer that agents had a part in.

    Attributes:
        missing: why a host's part is not there, or not whole, by its name.
        since: from when on a host remembers, where it was asked about a time before it; ms since the epoch, by its name.
    """

    missing: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, int] = field(default_factory=dict)


class Asking:
    """Asks agents for one query. Not for several threads.

    Args:
        asker: of the agents.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._missing: dict[str, str] = {}
        self._since: dict[str, int] = {}

    @property
    def notes(self) -> Notes:
        """What is to be said of all that was asked so far."""
        return Notes(dict(sorted(self._missing.items())), dict(sorted(self._since.items())))

    def ask(self, question: Timed, hosts: Collection[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ask hosts, by their TIDs, or all.

        Yields:
            What was found, host by host in the order of their names, with the host's TID.

        Raises:
            RunError: it is more than one question may bring.
        """
        known = self._asker.hosts()
        if not known:
            self._missing[_EVERYBODY] = "no agent has come to this hub"
            return
        answers = self._asker.ask(question, hosts)
        found: dict[str, list[dict[str, Any]]] = {}
        begin = question.when.begin if question.when else None
        for tid, part in answers.parts:
            found.setdefault(tid, []).extend(part.found)
            if begin is not None and part.since is not None and part.since > begin:
                self._since[known.get(tid, tid)] = part.since
        self._missing.update(answers.missing)
        for tid in sorted(found, key=lambda tid: (known.get(tid, tid), tid)):
            for one in found[tid]:
                yield tid, one

    def names(self) -> Mapping[str, str]:
        """Names of hosts, by TID."""
        return self._asker.hosts()

    def known(self, hosts: Mapping[str, str]) -> list[str]:
        """Those of some hosts, by TID, whose agent is known; of the others it is said that they are missing.

        Args:
            hosts: their names, by TID.
        """
        known = self._asker.hosts()
        for tid in hosts.keys() - known.keys():
            self._missing[hosts[tid]] = _UNKNOWN
        return [tid for tid in hosts if tid in known]

    def named(self, names: Collection[str]) -> list[str]:
        """The TIDs of hosts of these names; of a host whose agent is not known it is said that it is missing."""
        tids = [tid for tid, name in self._asker.hosts().items() if name in names]
        for name in set(names) - set(self._asker.hosts().values()):
            self._missing[name] = _UNKNOWN
        return tids
