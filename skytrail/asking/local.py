"""Asking where agent and hub are one process: the same bounds, and no wire."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError

from skytrail.asking.answering import Bounds, parts_of
from skytrail.asking.asker import Answer, Answers
from skytrail.asking.collecting import Collected, Room
from skytrail.asking.questions import Question
from skytrail.errors import RunError

_AT_ONCE = 4


class LocalAsker:
    """Asks the agent of this process.

    Args:
        host: its name.
        tid: its TID.
        answer: gives an answer's parts.
        timeout: seconds that it has.
        most: bytes of one answer.
    """

    def __init__(self, host: str, tid: str, answer: Answer, timeout: float, most: int) -> None:
        self._host, self._tid, self._answer, self._timeout = host, tid, answer, timeout
        self._room = Room(most)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="answer")

    def hosts(self) -> Mapping[str, str]:
        """This one."""
        return {self._tid: self._host}

    def ask(self, question: Question, hosts: Collection[str] | None = None) -> Answers:
        """As :meth:`skytrail.asking.asker.Asker.ask`."""
        wanted = {self._tid} if hosts is None else set(hosts)
        missing = dict.fromkeys(wanted - {self._tid}, "no agent of this host is known")
        collected, bounds = Collected(self._room), Bounds(self._timeout, self._room.most)
        if self._tid not in wanted:
            return Answers(collected, missing)
        work = self._pool.submit(self._collect, question, bounds, collected)
        try:
            failure = work.result(self._timeout)
        except LateError:
            failure = f"did not answer within {self._timeout:g} s"
            work.cancel()
        finally:
            bounds.unwanted.set()
        if failure:
            missing[self._host] = failure
        return Answers(collected, missing)

    def _collect(self, question: Question, bounds: Bounds, collected: Collected) -> str:
        """Why the answer is not whole; empty: it is. Raises RunError: there is no room."""
        parts = parts_of(self._answer, question, bounds)
        while True:
            try:
                found = next(parts, None)
            except RunError as error:
                return str(error)
            if found is None:
                return ""
            collected.add(self._tid, found[1])

    def stop(self) -> None:
        """Ask no more."""
        self._pool.shutdown(cancel_futures=True)
