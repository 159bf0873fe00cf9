"""TinkerPop's own parser of Gremlin (gremlin-language 3.7.3, from JanusGraph's jars), asked by a process of its own."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import janusgraph

_SOURCE = Path(__file__).with_name("gremlin") / "Parse.java"


class Parser:
    """Says whether TinkerPop reads a query, and as which bytecode. A context manager."""

    def __init__(self) -> None:
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{janusgraph.demand()}/*", str(_SOURCE)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()

    def read(self, query: str) -> tuple[bool, str]:
        """Whether it is a query; its bytecode, or why it is none."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(base64.b64encode(query.encode()).decode() + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        return answer[0] == "+", base64.b64decode(answer[1:]).decode()
