"""The real Gremlin Server of TinkerPop 3.7.3 for tests, on toy graphs: fetched with Maven, started on a free loopback port.

The jars (29 MB) go where :mod:`lab.janusgraph` keeps its own, once. Without Java or Maven a test skips and says so; with
``CI=true`` it fails instead, for there it must run.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from lab.janusgraph import fetched
from support.ports import free_port

RECIPE = Path(__file__).with_name("gremlinserver")
GRAPHS = ("modern", "crew", "sink", "grateful")
"""The graphs of TinkerFactory that it serves; the traversal source of each is named ``g`` and the graph's name."""
TYPED = "application/vnd.gremlin-v3.0+json"
"""Not ``;types=true``: 3.7.3 refuses that with 400, for it looks the whole text up among its serializers'."""
UNTYPED = "application/vnd.gremlin-v3.0+json;types=false"
READY_SECONDS = 90.0
ANSWER_SECONDS = 30.0
_OPENED = (
    "java.io", "java.lang", "java.net", "java.nio", "java.time", "java.util", "java.util.concurrent.atomic", "sun.nio.ch",
)  # fmt: skip
"""Packages of Java that Gryo, in which the graph grateful is kept, looks into."""
_OPTIONS = (
    "-Xms64m", "-Xmx384m", "-Xss8m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-Dorg.slf4j.simpleLogger.showDateTime=true",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED),
)  # fmt: skip
"""With the usual stack a query of 2000 steps overflows it, and 3.7.3 then gives no answer at all, not even of the timeout."""


def demand() -> Path:
    """The folder of the jars; where they cannot be had the test is skipped or, in CI, fails."""
    try:
        return fetched(RECIPE / "pom.xml", "gremlinserver")
    except LookupError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


class Server:
    """One Gremlin Server: stopped and started again it keeps its port and its folder, and its graphs are new."""

    def __init__(self, libraries: Path, folder: Path) -> None:
        self._libraries = libraries
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(RECIPE / "graphs.groovy", folder)
        (folder / "server.yaml").write_text((RECIPE / "server.yaml").read_text().replace("port: 8182", f"port: {self._port}"))

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self._port}/gremlin"

    def start(self) -> None:
        """Start it and wait until it answers a query on each graph."""
        command = ["java", *_OPTIONS, "-cp", f"{self._libraries}/*"]
        command += ["org.apache.tinkerpop.gremlin.server.GremlinServer", "server.yaml"]
        log = self._folder / "server.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=out, stderr=out, start_new_session=True)
        try:
            self._await(self._process, log)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def submit(
        self, query: str, graph: str = "modern", *, accept: str = TYPED, bindings: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Ask a query of gremlin-lang over HTTP: the status, and the body, parsed where it is JSON, else its text or bytes.

        Errors are JSON whatever is accepted. One connection serves all calls, so ask from one thread at a time.
        """
        name = str(uuid.uuid4())
        asked: dict[str, Any] = {"gremlin": query, "language": "gremlin-lang", "aliases": {"g": f"g{graph}"}, "requestId": name}
        if bindings is not None:
            asked["bindings"] = dict(bindings)
        headers = {"Content-Type": "application/json", "Accept": accept}
        status, kind, body = self._post(json.dumps(asked).encode(), headers)
        if "json" not in kind:
            return status, body.decode() if kind.startswith("text/") else body
        found = json.loads(body)
        if found.get("requestId", name) != name:
            raise RuntimeError(f"the Gremlin Server answered another query than {query!r}: {found}")
        return status, found

    def _post(self, content: bytes, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        """One exchange: over the kept connection or, where the server has ended that meanwhile, over a new one."""
        while True:
            kept = self._connection
            connection = kept or http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_SECONDS)
            self._connection = None
            try:
                connection.request("POST", "/", content, dict(headers))
                answer = connection.getresponse()
                found = answer.status, answer.headers.get("Content-Type", ""), answer.read()
            except BaseException as error:
                connection.close()
                if kept and isinstance(error, ConnectionError):
                    continue
                raise
            # To some requests that it refuses 3.7.3 answers twice; the second answer would be taken for the next request's.
            if found[0] == 200:
                self._connection = connection
            else:
                connection.close()
            return found

    def _await(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while why := self._unready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the Gremlin Server did not start: {why}\n{log.read_text()[-2000:]}")
            time.sleep(0.1)

    def _end(self, how: signal.Signals) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _unready(self) -> str:
        """Why it does not answer on each graph; empty where it does."""
        try:
            answers = [self.submit("g.V().limit(1).count()", graph) for graph in GRAPHS]
        except (OSError, http.client.HTTPException) as error:
            return repr(error)
        return next((f"{status}: {body}" for status, body in answers if status != 200), "")
