"""A real agent and a real hub on two hosts (namespaces): mutual TLS between them, roles over HTTPS, and secrets nowhere."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.certificates import Pki
from support.netlab import End, Net, in_netns, until

from skytrail.http.credentials import hash_password, make_token
from skytrail.http.roles import ROUTES
from skytrail.settings.tree import Wire

pytestmark = pytest.mark.kernel

PASSWORD, HEADER, PLAIN, WORD, ARGUMENT = (f"secret-{name}-7d1f" for name in ("janus", "otlp", "plain", "user", "argument"))
MADE = {role: make_token(f"by-{role}", role) for role in ("read", "admin")}
LISTENER = "import socket, sys, time; s = socket.create_server(('0.0.0.0', 4567)); time.sleep(600)"


class Process:
    """``skytrail hub`` or ``agent`` on a host, set by a file and by its environment."""

    def __init__(self, folder: Path, host: End, command: str, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        folder.mkdir()
        self.folder, self.host = folder, host
        self.port = {"hub": 8082, "agent": 8081}[command]
        self.listen = {"hub": host.ip4, "agent": host.ip4}[command]
        (folder / "skytrail.yaml").write_text(yaml.safe_dump({"state_dir": str(folder / "state"), **settings}))
        (folder / "state").mkdir(mode=0o755)  # as a package makes it
        words = ["nsenter", f"--net=/run/netns/{host.netns}", sys.executable, "-m", "skytrail", command, "-v"]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*words, "--config", str(folder / "skytrail.yaml")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environ},
            )  # fmt: skip

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def ask(self, path: str, authorization: str, body: Any = None, method: str = "GET") -> tuple[int, str]:
        """Status and text of an answer, by TLS that is verified."""
        context = ssl.create_default_context(cafile=str(self.folder.parent / "pki" / "ca.crt"))

        def call() -> tuple[int, str]:
            data = None if body is None else json.dumps(body).encode()
            headers = {"Authorization": authorization, "Content-Type": "application/json"}
            request = urllib.request.Request(f"https://{self.listen}:{self.port}{path}", data, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        return in_netns(self.host.netns, call)

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            status, text = self.ask("/readyz", f"Bearer {MADE['read'].secret}")
        except OSError:
            return False
        assert status == 200, text
        return True

    def descendants(self) -> list[int]:
        """Its process and all below."""
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        return found

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                assert self.process.wait(40) == 0, self.log()
            finally:
                self.process.kill()


class Site:
    """Two hosts: one with a hub, one with an agent."""

    def __init__(self, folder: Path, net: Net) -> None:
        self.folder, self.pki = folder, Pki(folder / "pki")
        here, there = net.pair()
        at_hub, at_agent = self.pki.hub(here.ip4), self.pki.agent(socket.gethostname())
        web = self.pki.hub(there.ip4)
        (folder / "tokens").write_text("\n".join([*(one.line for one in MADE.values()), PLAIN]))
        (folder / "users").write_text(f"anna:admin:{hash_password(WORD)}")
        (folder / "password").write_text(PASSWORD)
        environ = {
            "SKYTRAIL_TOPOLOGY_JANUSGRAPH_PASSWORD_FILE": str(folder / "password"),
            "SKYTRAIL_OTLP_HEADERS": f"authorization=Bearer {HEADER}",
        }
        self.hub = Process(
            folder / "hub", here, "hub",
            {
                "hub": {"listen": f"{here.ip4}:8082", "wire": f"{here.ip4}:8083"},
                "http": self._http(at_hub), "wire": _wire(at_hub, tls_crl=self.pki.crl),
            },
            environ,
        )  # fmt: skip
        self.agent = Process(
            folder / "agent", there, "agent",
            {
                "host_id": "of-the-test",
                "agent": {"listen": f"{there.ip4}:8081", "hubs": [f"{here.ip4}:8083"]},
                "flow": {"interfaces": [there.interface]},
                "otlp": {"endpoint": f"http://{here.ip4}:9", "metrics_interval": 1},
                "http": self._http(web), "wire": _wire(at_agent),
            },
            environ,
        )  # fmt: skip
        self.net, self.there = net, there

    def _http(self, tls: Wire) -> dict[str, Any]:
        files = {"token_file": str(self.folder / "tokens"), "users_file": str(self.folder / "users")}
        return {"tls_cert": tls.tls_cert, "tls_key": tls.tls_key, **files}

    def processes(self) -> tuple[Process, Process]:
        return self.hub, self.agent

    def secrets(self) -> set[str]:
        """Each secret, and the lines of each private key."""
        keys = [path.read_text().splitlines() for path in self.pki.authority.folder.rglob("*.key")]
        lines = {line for key in keys for line in key[1:-1]}
        return {PASSWORD, HEADER, PLAIN, WORD, ARGUMENT, *(one.secret for one in MADE.values()), *lines}


def _wire(settings: Wire, **more: str) -> dict[str, Any]:
    return {"tls_cert": settings.tls_cert, "tls_key": settings.tls_key, "tls_ca": settings.tls_ca, **more}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    net = Net()
    made = Site(tmp_path_factory.mktemp("site"), net)
    try:
        for one in made.processes():
            until(one.ready, 60, 0.2)
        yield made
    finally:
        for one in made.processes():
            one.stop()
        net.close()


def as_(role: str) -> str:
    return f"Bearer {MADE[role].secret}"


def test_the_agents_host_is_in_the_hubs_graph_over_mutual_tls(site: Site) -> None:
    def seen() -> bool:
        _, text = site.hub.ask("/api/v1/graph", as_("read"))
        return site.there.interface in text

    until(seen, 30, 0.2)
    status = json.loads(site.hub.ask("/api/status", as_("read"))[1])
    assert status["Agents"][socket.gethostname()]["IsConnected"] is True
    for one in site.processes():
        _, text = one.ask("/metrics", as_("read"))
        assert {match[1] for match in re.finditer(r'certificate_expiry_timestamp_seconds{use="(\w+)"} 1', text)} == {
            "http",
            "wire",
        }


def test_a_host_without_a_certificate_hears_nothing_of_the_wire(site: Site) -> None:
    def hello() -> bytes:
        with socket.create_connection((site.hub.listen, 8083), 10) as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
            plain.settimeout(10)
            return plain.recv(1000)

    found = in_netns(site.there.netns, hello)
    assert found[:1] in {b"", b"\x15"}  # closed, or an alert of TLS
    for line in site.hub.log().splitlines()[:-1]:
        assert line.startswith(("{", "the graph is served")), "strangers make nobody write but us, who bound it"


def test_what_is_written_is_for_its_user_alone(site: Site) -> None:
    written = [path for one in site.processes() for path in (one.folder / "state").rglob("*")]
    assert {path.name for path in written} >= {"outbox", "graph"}
    assert [str(path) for path in written if path.stat().st_mode & 0o077] == []


def test_no_secret_is_told_by_anything(site: Site) -> None:
    listener = site.net.spawn(site.there.netns, sys.executable, "-c", LISTENER, f"--password={ARGUMENT}")
    until(lambda: "4567" in site.agent.ask("/api/v1/sockets", as_("read"))[1], 20, 0.2)
    told: dict[str, str] = {}
    for one in site.processes():
        for path, methods in ROUTES.items():
            if "GET" in methods and "<" not in path:
                told[f"{one.port}{path}"] = one.ask(path, as_("admin"))[1]
        for key in ("http.token_file", "topology.janusgraph.password", "otlp.headers", "otlp.endpoint"):
            told[f"{one.port} {key}"] = one.ask(f"/api/config/{key}", as_("admin"))[1]
        for wrong in (f"Bearer {PLAIN}x", "Basic !!", f"Digest {PLAIN}"):
            told[f"{one.port} {wrong[:6]}"] = one.ask("/api/status", wrong)[1]
        assert one.ask("/api/status", f"Bearer {PLAIN}")[0] == 200
        assert one.ask("/api/status", f"Basic {base64.b64encode(f'anna:{WORD}'.encode()).decode()}")[0] == 200
        told[f"{one.port} whole"] = one.ask("/api/topology", as_("admin"), {"GremlinQuery": "G"}, "POST")[1]
        until(lambda one=one: one.port != 8081 or "otlp" in one.log(), 20)  # type: ignore[misc]  # of the endpoint that is away
    for one in site.processes():
        for pid in one.descendants():
            told[f"cmdline of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        done = subprocess.run(
            [sys.executable, "-m", "skytrail", "config", "--config", str(one.folder / "skytrail.yaml")],
            capture_output=True, text=True, env={**os.environ, "SKYTRAIL_OTLP_HEADERS": f"a={HEADER}"},
        )  # fmt: skip
        assert "'***'" in done.stdout, done.stderr
        told[f"config of {one.port}"] = done.stdout
        for path in (one.folder / "state").rglob("*"):
            if path.is_file():
                told[str(path)] = path.read_bytes().decode("latin1")
    site.agent.process.send_signal(signal.SIGTERM)  # what it says at its end too
    site.agent.process.wait(40)
    for one in site.processes():
        told[f"log of {one.port}"] = one.log()
    listener.kill()

    secrets = site.secrets()
    assert len(secrets) > 10
    environment = Path(f"/proc/{site.hub.process.pid}/environ").read_text()
    assert HEADER in environment, "it was set, and only root reads it there"
    assert ARGUMENT not in told["8081/api/v1/sockets"]
    assert [(where, secret) for where, text in told.items() for secret in secrets if secret in text] == []
    assert told["8082 topology.janusgraph.password"].strip() == '"***"'
    assert all(told[where] for where in told if where.startswith("log of"))
