"""A database that answers whatever it likes: the probe says so in one line, tells nothing, and tries again."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.netlab import until

from topology.facts import Report, Source
from topology.probes.devices import Devices
from topology.probes.ovsdb.probe import OvsdbProbe

UUID = "00000000-0000-0000-0000-000000000001"


class Liar:
    """Refuses what the library asks first, and answers the request for rows as it is told; counts who came."""

    def __init__(self, path: Path, answer: Any) -> None:
        self._answer, self.came, self.asked = answer, 0, 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listening.accept()
                self.came += 1
                with stream, contextlib.suppress(OSError):
                    self._talk(stream)

    def _talk(self, stream: socket.socket) -> None:
        if isinstance(self._answer, bytes):
            stream.sendall(self._answer)
            self.asked += 1
            return
        decoder, text = json.JSONDecoder(), ""
        while piece := stream.recv(1 << 16).decode():
            text += piece
            while text:
                try:
                    asked, end = decoder.raw_decode(text)
                except ValueError:
                    break
                text = text[end:]
                rows = asked.get("method", "").startswith("monitor") and asked["params"][0] == "Open_vSwitch"
                told = {"result": self._answer, "error": None} if rows else {"result": None, "error": {"error": "no"}}
                stream.sendall(json.dumps({"id": asked.get("id"), **told}).encode())
                self.asked += rows

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


@contextlib.contextmanager
def probe_of(path: Path, reports: list[Report]) -> Iterator[OvsdbProbe]:
    probe = OvsdbProbe(reports.append, Source("ovsdb", "h"), "host/h", lambda: Devices(1, ()), f"unix:{path}")
    probe.start()
    try:
        yield probe
    finally:
        probe.stop()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff\xfe",
        b"}{",
        b"[" * 100_000,
        b'{"id": 7, "method": "steal", "params": []}',
        b'{"id": null, "method": "update", "params": [1, 2, 3]}',
        [],
        7,
        {"Bridge": 7},
        {"Bridge": {"no uuid": {"new": {"name": "b"}}}},
        {"Bridge": {UUID: 7}},
        {"Bridge": {UUID: {"new": {"name": 5}}}},
        {"Bridge": {UUID: {"new": {"name": "b", "ports": ["set", [["uuid", "no"]]]}}}},
        {"Bridge": {UUID: {"new": {"name": "b", "external_ids": ["map", [["a"]]]}}}},
        {"Bridge": {UUID: {"old": {"name": "b"}}}},
        {},
    ],
    ids=str,
)
def test_a_database_that_lies_is_asked_again_and_ends_nothing(answer: Any, tmp_path: Path) -> None:
    liar, reports = Liar(tmp_path / "s", answer), list[Report]()
    try:
        with probe_of(tmp_path / "s", reports) as probe:
            until(lambda: liar.asked)
            time.sleep(0.2)  # what it makes of the answer
            assert "\n" not in (probe.failure or "")
            assert probe.database._thread.is_alive()
            assert probe.failure
            assert not reports
    finally:
        liar.close()


def test_a_row_that_names_others_that_are_not_there_is_told_without_them(tmp_path: Path) -> None:
    gone = ["uuid", "00000000-0000-0000-0000-000000000002"]
    row = {"name": "b", "ports": ["set", [gone]], "mirrors": gone, "controller": gone}
    answer = {"Open_vSwitch": {UUID: {"new": {"bridges": ["uuid", UUID]}}}, "Bridge": {UUID: {"new": row}}}
    liar, reports = Liar(tmp_path / "s", answer), list[Report]()
    try:
        with probe_of(tmp_path / "s", reports) as probe:
            until(lambda: reports)
            assert probe.failure is None
        assert [fact.metadata.get("Name") for report in reports for fact in report.facts] == ["b", None]
    finally:
        liar.close()
