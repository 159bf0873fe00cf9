"""Who may ask a running agent: loopback without more; beyond it, or where it is set, TLS and a token or a user's password."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.agentlab import Agent
from support.needs import root, tool
from support.netlab import until
from support.ports import free_port

TOKEN = "a-token-nobody-else-knows"
BEYOND = "0.0.0.0"


@dataclass(frozen=True)
class Files:
    """A certificate with its key, and a file of tokens."""

    cert: Path
    key: Path
    tokens: Path

    def settings(self) -> dict[str, str]:
        return {"http.tls_cert": str(self.cert), "http.tls_key": str(self.key), "http.token_file": str(self.tokens)}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    root()
    made = Files(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "tokens")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = [tool("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*command, "-keyout", made.key, "-out", made.cert, *subject], check=True, capture_output=True)
    made.key.chmod(0o600)
    made.tokens.write_text(f"{TOKEN}\n")
    made.tokens.chmod(0o600)
    return made


def ask(agent: Agent, files: Files, path: str, authorization: str = "", host: str = "") -> int:
    """The status of an answer over TLS, the certificate checked."""
    headers = {name: value for name, value in (("Authorization", authorization), ("Host", host)) if value}
    request = urllib.request.Request(f"https://localhost:{agent.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10, context=ssl.create_default_context(cafile=files.cert)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def start(agent: Agent, files: Files) -> None:
    agent.start(ready=False)

    def answers() -> bool:
        assert agent.process.poll() is None, agent.log()
        try:
            return ask(agent, files, "/readyz", f"Bearer {TOKEN}") in (200, 503)
        except OSError:
            return False

    until(answers, 30.0)


def test_token_over_tls_opens_and_nothing_else_does(files: Files, tmp_path: Path) -> None:
    agent = Agent(tmp_path / "agent", ["--interfaces", "lo"], files.settings())
    try:
        start(agent, files)
        for path in ("/metrics", "/api/v1/flows", "/api/status"):
            assert ask(agent, files, path, f"Bearer {TOKEN}") == 200
            assert ask(agent, files, path) == 401
            assert ask(agent, files, path, f"Bearer {TOKEN}x") == 401
            assert ask(agent, files, path, "Basic " + base64.b64encode(f"admin:{TOKEN}".encode()).decode()) == 401
        assert ask(agent, files, "/metrics", f"Bearer {TOKEN}", host="evil.example") in (400, 403, 421)
        with pytest.raises(OSError, match=r"closed|reset"):
            urllib.request.urlopen(f"http://127.0.0.1:{agent.port}/metrics", timeout=5)
        words = [word for key, value in files.settings().items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "skytrail", "flows", "--json", "--set", f"agent.listen=127.0.0.1:{agent.port}"]
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stderr) == (0, "")
        assert all("TrackingID" in json.loads(line) for line in done.stdout.splitlines())
        assert TOKEN not in agent.log()
        assert TOKEN.encode() not in Path(f"/proc/{agent.process.pid}/cmdline").read_bytes()
        agent.stop()
    finally:
        agent.close()


def test_agent_does_not_listen_beyond_loopback_without_tls_and_authentication(files: Files, tmp_path: Path) -> None:
    settings = files.settings()
    for kept in ((), ("http.tls_cert", "http.tls_key"), ("http.token_file",)):
        words = [word for key in kept for word in ("--set", f"{key}={settings[key]}")]
        listen = f"agent.listen={BEYOND}:{free_port()}"
        command = [sys.executable, "-m", "skytrail", "agent", "--set", f"state_dir={tmp_path}", "--set", listen, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode != 0
        [line] = done.stderr.splitlines()
        assert "will not listen" in line
        assert ("TLS" in line) == ("http.tls_cert" not in kept)
        assert ("authentication" in line) == ("http.token_file" not in kept)


def test_agent_listens_beyond_loopback_with_both(files: Files, tmp_path: Path) -> None:
    agent = Agent(tmp_path / "agent", ["--interfaces", "lo"], files.settings())
    agent._settings["agent.listen"] = f"{BEYOND}:{agent.port}"
    try:
        start(agent, files)
        assert ask(agent, files, "/metrics", f"Bearer {TOKEN}") == 200
        agent.stop()
    finally:
        agent.close()
