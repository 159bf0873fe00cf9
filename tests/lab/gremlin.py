"""TinkerPop 3.7.3 itself (of JanusGraph's jars), asked through a process: its parser of Gremlin, its engine on toy graphs."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import janusgraph

_OPENED = (
    "java.io",
    "java.lang",
    "java.net",
    "java.nio",
    "java.time",
    "java.util",
    "java.util.concurrent.atomic",
    "sun.nio.ch",
)
"""Packages of Java that Gryo, in which the largest of the graphs is kept, looks into."""

_PROGRAMS = Path(__file__).with_name("gremlin")


class _Program:
    """A Java program that answers a line by a line. A context manager."""

    def __init__(self, name: str) -> None:
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{janusgraph.demand()}/*"]
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        self._process = subprocess.Popen(
            [*command, *opened, str(_PROGRAMS / name)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()

    def _ask(self, line: str) -> tuple[bool, str]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(base64.b64encode(line.encode()).decode() + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        return answer[0] == "+", base64.b64decode(answer[1:]).decode()


class Parser(_Program):
    """Says whether TinkerPop reads a query, and as which bytecode."""

    def __init__(self) -> None:
        super().__init__("Parse.java")

    def read(self, query: str) -> tuple[bool, str]:
        """Whether it is a query; its bytecode, or why it is none."""
        return self._ask(query)


class Engine(_Program):
    """Answers queries on the graphs modern, crew, sink and grateful."""

    def __init__(self) -> None:
        super().__init__("Answer.java")

    def answer(self, query: str, graph: str = "modern") -> tuple[bool, str]:
        """Whether it could be answered; all answers in typed GraphSON 3, or why not."""
        return self._ask(f"{graph} {query}")


class Files(_Program):
    """Writes these graphs as files, and answers queries on files of GraphML."""

    def __init__(self) -> None:
        super().__init__("Files.java")

    def write(self, form: str, graph: str, file: Path) -> None:
        """A graph as a file: ``lines``, ``wrapped``, ``untyped`` or ``document`` of GraphSON 3, or ``graphml``."""
        done, why = self._ask(f"write {form} {graph} {file}")
        if not done:
            raise ValueError(why)

    def answer(self, query: str, file: Path) -> tuple[bool, str]:
        """Whether it could be answered on that GraphML; all answers in typed GraphSON 3, or why not."""
        return self._ask(f"ask {file} {query}")
