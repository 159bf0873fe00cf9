"""Whose a socket was, as JSON: a word that many records share."""

from __future__ import annotations

import msgspec

from exporters.sockets.processes import Process
from exporters.sockets.shown import Described


class Whose(msgspec.Struct, frozen=True, array_like=True):
    """A process, and what its control group was."""

    pid: int
    name: str
    executable: str
    cgroup: str
    more: dict[str, dict[str, str]]

    def process(self) -> Process:
        """The process."""
        return Process(self.pid, self.name, self.executable, self.cgroup)


encode = msgspec.json.Encoder(order="sorted").encode
decode_whose = msgspec.json.Decoder(Whose).decode


def whose_word(process: Process, described: Described) -> bytes:
    """What is kept of a process."""
    more = described(process.cgroup) if process.cgroup else {}
    told = {key: dict(of_one) for key, of_one in more.items()}
    return encode(Whose(process.pid, process.name, process.executable, process.cgroup, told))
