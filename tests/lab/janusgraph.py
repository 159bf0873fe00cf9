"""The real JanusGraph for tests: fetched with Maven, started on a free loopback port, stopped by its process.

The jars (71 MB) go to ``$XDG_CACHE_HOME/skytrail-lab``, once. Without Java or Maven a test skips and says so; with
``CI=true`` it fails instead, for there it must run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.ports import free_port

RECIPE = Path(__file__).with_name("janusgraph")
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "janusgraph" / "conf"
READY_SECONDS = 90.0
_OPTIONS = ("-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.showDateTime=true")


def demand(backend: str = "") -> Path:
    """As :func:`jars`; where they cannot be had the test is skipped or, in CI, fails."""
    try:
        return jars(backend)
    except LookupError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def jars(backend: str = "") -> Path:
    """The folder of the jars, with those for CQL where the backend is ``cql``; raises as :func:`fetched`."""
    return fetched(RECIPE / "pom-cql.xml", "janusgraph-cql") if backend == "cql" else fetched(RECIPE / "pom.xml", "janusgraph")


def fetched(recipe: Path, name: str) -> Path:
    """The folder of a recipe's jars, fetched if they are not there; raises LookupError with the reason if they cannot be."""
    if missing := [tool for tool in ("java", "mvn") if shutil.which(tool) is None]:
        raise LookupError(f"no {name}: {' and '.join(missing)} not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skytrail-lab"
    cache.mkdir(parents=True, exist_ok=True)
    folder, done = cache / name, cache / f"{name}.pom"
    content = recipe.read_bytes()
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_file() or done.read_bytes() != content:
            shutil.rmtree(folder, ignore_errors=True)
            command = ["mvn", "-q", "-B", "-f", str(recipe), "dependency:copy-dependencies"]
            command += ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                raise LookupError(f"no {name}: Maven could not fetch it: {(run.stdout + run.stderr)[-600:]}")
            done.write_bytes(content)
    return folder


class Server:
    """One JanusGraph Server: stopped and started again it keeps its port and its folder.

    Args:
        libraries: folder of the jars.
        folder: for its configuration, data and log.
        backend: what it stands on.
        options: of Java.
        settings: of the graph, in the place of the backend's.
        more: YAML that is added to the server's settings.
    """

    def __init__(
        self,
        libraries: Path,
        folder: Path,
        backend: str = "inmemory",
        *,
        options: tuple[str, ...] = (),
        settings: Mapping[str, str] | None = None,
        more: str = "",
    ) -> None:
        self._libraries = libraries
        self._folder = folder
        self._options = options
        self._guarded = bool(more)  # it answers no plain HTTP then
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        conf = folder / "conf"
        conf.mkdir(parents=True)
        (folder / "data").mkdir()
        shutil.copy(CONFIGURATION / "graph.groovy", conf)
        told = (CONFIGURATION / f"{backend}.properties").read_text()
        for key, value in (settings or {}).items():
            told = re.sub(rf"^{re.escape(key)}=.*$", f"{key}={value}", told, flags=re.MULTILINE)
        (conf / "graph.properties").write_text(told)
        text = (CONFIGURATION / "server.yaml").read_text().replace("port: 8182", f"port: {self.port}")
        (conf / "server.yaml").write_text(text + more)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/gremlin"

    def start(self) -> None:
        """Start it and wait until it answers a query."""
        command = ["java", *_OPTIONS, *(self._options or ("-XX:TieredStopAtLevel=1",)), "-cp", f"{self._libraries}/*"]
        command += ["org.janusgraph.graphdb.server.JanusGraphServer", "conf/server.yaml"]
        log = self._folder / "server.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"JanusGraph did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        if self._guarded:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False
        query = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/",
            data=json.dumps({"gremlin": "g.V().limit(1).count()"}).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(query, timeout=30) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
