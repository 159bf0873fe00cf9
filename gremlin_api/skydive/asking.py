"""The agents as one query asks them: what they answered by host, and what is to be said of who did not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

from gremlin_api.errors import TraversalError
from gremlin_api.notes import Gap, Notes
from skytrail.asking.asker import Asker
from skytrail.asking.questions import FlowsQuestion, InterfacesQuestion, SocketsQuestion

Timed: TypeAlias = "FlowsQuestion | SocketsQuestion | InterfacesQuestion"

_MOST_QUESTIONS = 100  # of one query

_EVERYBODY = "all hosts"
_UNKNOWN = "no agent of it has come to this hub"


class Asking:
    """Asks agents for one query. Not for several threads.

    Args:
        asker: of the agents.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._missing: dict[str, str] = {}
        self._since: dict[str, int] = {}
        self._gaps: dict[str, set[Gap]] = {}
        self._left = _MOST_QUESTIONS

    @property
    def notes(self) -> Notes:
        """What is to be said of all that was asked so far."""
        gaps = {host: sorted(found) for host, found in sorted(self._gaps.items())}
        return Notes(dict(sorted(self._missing.items())), dict(sorted(self._since.items())), gaps)

    def ask(
        self, question: Timed, hosts: Collection[str] | None = None, begin: int | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ask hosts, by their TIDs, or all.

        Args:
            question: to each.
            hosts: their TIDs; None: all.
            begin: of the time that is of interest, ms since the epoch; None: where the question's begins.

        Yields:
            What was found, host by host in the order of their names, with the host's TID.

        Raises:
            RunError: it is more than one question may bring.
            TraversalError: the query has asked too often.
        """
        self._left -= 1
        if self._left < 0:
            raise TraversalError(f"the query asks the agents more than {_MOST_QUESTIONS} times: ask for less")
        known = self._asker.hosts()
        if not known:
            self._missing[_EVERYBODY] = "no agent has come to this hub"
            return
        answers = self._asker.ask(question, hosts)
        found: dict[str, list[dict[str, Any]]] = {}
        if begin is None and question.when is not None:
            begin = question.when.begin
        for tid, part in answers.parts:
            found.setdefault(tid, []).extend(part.found)
            if begin is not None and part.since is not None and part.since > begin:
                self._since[known.get(tid, tid)] = part.since
            for gap in part.gaps:
                if begin is None or gap.end > begin:
                    self._gaps.setdefault(known.get(tid, tid), set()).add((gap.begin, gap.end))
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
