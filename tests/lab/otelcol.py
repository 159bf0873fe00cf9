"""The real OpenTelemetry collector for tests: found, started on free loopback ports, read back, stopped by its process.

The program comes from ``LAB_BIN``, a folder of zstd-compressed programs. Without it a test skips and says so; with
``CI=true`` it fails instead, for there it must run. (Test folders are no packages: load this file by its path.)
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.ports import free_ports

CONFIGS = Path(__file__).with_name("otelcol")
READY_SECONDS = 20.0


def demand(folder: Path) -> Path:
    """As :func:`unpack`; without a collector the test is skipped or, in CI, fails."""
    try:
        return unpack(folder)
    except LookupError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


def unpack(folder: Path) -> Path:
    """The collector's program, unpacked into ``folder``; raises LookupError with the reason where there is none."""
    packed = Path(os.environ.get("LAB_BIN", "/nonexistent")) / "otelcol.zst"
    if not packed.is_file():
        raise LookupError("no OpenTelemetry collector: LAB_BIN names no folder with otelcol.zst")
    if shutil.which("zstd") is None:
        raise LookupError("no OpenTelemetry collector: zstd is not installed")
    program = folder / "otelcol"
    subprocess.run(["zstd", "-dqf", str(packed), "-o", str(program)], check=True)
    program.chmod(0o755)
    return program


class Collector:
    """One collector: stopped and started again it keeps its ports, and what all its runs received is read together."""

    def __init__(
        self, program: Path, folder: Path, *, overlays: tuple[str, ...] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self._program = program
        self._folder = folder
        self._overlays = overlays
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._runs = 0
        self.grpc_port, self.http_port = free_ports(2)

    @property
    def grpc(self) -> str:
        return f"http://127.0.0.1:{self.grpc_port}"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self) -> None:
        """Start it and wait until both ports accept."""
        self._runs += 1
        out = self._folder / f"out-{self._runs}.jsonl"
        out.touch()
        env = {
            **os.environ,
            **self._env,
            "OTLP_GRPC_PORT": str(self.grpc_port),
            "OTLP_HTTP_PORT": str(self.http_port),
            "OTEL_OUT": str(out),
        }
        configs = [CONFIGS / f"{name}.yaml" for name in ("collector", *self._overlays)]
        with (self._folder / f"log-{self._runs}").open("wb") as log:
            command = [str(self._program), *(f"--config=file:{config}" for config in configs)]
            self._process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS
        for port in (self.grpc_port, self.http_port):
            while not _accepts(port):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the collector did not start: {Path(log.name).read_text()[-2000:]}")
                time.sleep(0.02)

    def stop(self) -> None:
        """End it in good order: what it acknowledged is then in its file."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def spans(self) -> list[dict[str, Any]]:
        """All spans received so far, each with its resource's attributes under ``resource``."""
        return [
            span | {"resource": attributes(resource["resource"])}
            for request in self._requests("resourceSpans")
            for resource in request
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    def metrics(self) -> dict[str, dict[str, Any]]:
        """The metrics received so far by name; the last message of each."""
        return {
            metric["name"]: metric
            for request in self._requests("resourceMetrics")
            for resource in request
            for scope in resource["scopeMetrics"]
            for metric in scope["metrics"]
        }

    def _requests(self, key: str) -> Iterator[list[dict[str, Any]]]:
        for run in range(1, self._runs + 1):
            text = (self._folder / f"out-{run}.jsonl").read_text()
            whole, _, _ = text.rpartition("\n")  # the last line may be half written
            for line in whole.splitlines():
                if key in (request := json.loads(line)):
                    yield request[key]


def attributes(holder: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a JSON message as plain values (integers come as strings in OTLP's JSON)."""
    return {pair["key"]: _plain(pair["value"]) for pair in holder.get("attributes", ())}


def _plain(value: Mapping[str, Any]) -> Any:
    match value:
        case {"intValue": number}:
            return int(number)
        case {"arrayValue": array}:
            return [_plain(item) for item in array.get("values", ())]
        case _:
            return next(iter(value.values()), "")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
