"""The real etcd and Kubernetes API server for tests: started on free loopback ports, stopped by their processes.

The program comes from ``LAB_BIN``, a folder of zstd-compressed programs. Without it a test skips and says so; with
``CI=true`` it fails instead, for there it must run. Nothing of the product's is used: it is an oracle, too.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from support.needs import missing, tool
from support.ports import free_ports

READY_SECONDS = 90.0
Json = dict[str, Any]
_ETCD = "http://127.0.0.1:{port}"


def demand(folder: Path) -> Path:
    """The program, unpacked into ``folder``; without it the test is skipped or, in CI, fails."""
    packed = Path(os.environ.get("LAB_BIN", "/nonexistent")) / "kube-lab.zst"
    if not packed.is_file():
        missing("no Kubernetes: LAB_BIN names no folder with kube-lab.zst")
    tool("zstd", "zstd")
    tool("openssl", "openssl")
    program = folder / "kube-lab"
    subprocess.run(["zstd", "-dqf", str(packed), "-o", str(program)], check=True)
    program.chmod(0o755)
    return program


class ServerError(AssertionError):
    """The API server answered with an error."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body[:500]}")
        self.status = status


class Cluster:
    """etcd and an API server: killed and started again they keep their ports and their data.

    Args:
        program: kube-lab.
        folder: for data, certificates and logs.
        options: of the API server.
    """

    def __init__(self, program: Path, folder: Path, options: Iterable[str] = ()) -> None:
        self._program, self.folder, self._options = program, folder, list(options)
        folder.mkdir(parents=True, exist_ok=True)
        self._etcd_port, self._peer_port, self.port = free_ports(3)
        self.token = secrets.token_hex(16)
        self._certify()
        (folder / "tokens.csv").write_text(f'{self.token},lab-admin,lab-admin,"system:masters"\n')
        self._etcd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._controllers: list[subprocess.Popen[bytes]] = []
        self._connection: HTTPSConnection | None = None

    def _certify(self) -> None:
        def openssl(*words: str) -> None:
            subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=lab-ca", "-keyout", "ca.key", "-out", "ca.crt")
        openssl("req", *new, "-subj", "/CN=kube-apiserver", "-keyout", "server.key", "-out", "server.csr")
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
        openssl("genrsa", "-out", "accounts.key", "2048")
        openssl("rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")

    def start(self) -> Cluster:
        """Start both, and wait until the API server is ready."""
        self.start_etcd()
        self.start_server()
        return self

    def start_etcd(self) -> None:
        client, peer = _ETCD.format(port=self._etcd_port), f"http://127.0.0.1:{self._peer_port}"
        self._etcd = self._run(
            "etcd", "--name=lab", "--data-dir=etcd", f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=lab={peer}",
            "--unsafe-no-fsync", "--log-level=error",
        )  # fmt: skip
        self._until(lambda: self._health(f"{client}/health"), self._etcd)

    @staticmethod
    def _health(url: str) -> bool:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return b"true" in answer.read()

    def start_server(self) -> None:
        self._server = self._run(
            "apiserver", f"--etcd-servers={_ETCD.format(port=self._etcd_port)}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={self.port}", "--tls-cert-file=server.crt",
            "--tls-private-key-file=server.key", "--client-ca-file=ca.crt", "--token-auth-file=tokens.csv",
            "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/16",
            f"--service-account-issuer=https://127.0.0.1:{self.port}", "--service-account-key-file=accounts.pub",
            "--service-account-signing-key-file=accounts.key", "--endpoint-reconciler-type=none",
            "--disable-admission-plugins=ServiceAccount",  # without controllers nobody makes the default ones
            *self._options,
        )  # fmt: skip
        self._until(lambda: self.ask("GET", "/readyz") == {}, self._server)

    def start_controllers(self, *names: str) -> None:
        """Start the controller manager, with these of its controllers, and the scheduler."""
        config = str(self.kubeconfig(name="controllers"))
        common = ("--kubeconfig", config, "--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false")
        more = ("--use-service-account-credentials=false", f"--controllers={','.join(names)}")
        self._controllers = [self._run("controller-manager", *common, *more), self._run("scheduler", *common)]

    def _run(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            return subprocess.Popen([str(self._program), *words], cwd=self.folder, stdout=log, stderr=log)

    def _until(self, ready: Any, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                if ready():
                    return
            except (OSError, ServerError, urllib.error.URLError):
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                tails = [path.read_text()[-1500:] for path in self.folder.glob("*.log")]
                raise RuntimeError(f"Kubernetes did not start: {tails}")
            time.sleep(0.1)

    def kubeconfig(self, *, port: int = 0, token: str = "", name: str = "kubeconfig") -> Path:
        """A file that leads to it: through another port, as somebody else."""
        path = self.folder / name
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {
                        "server": f"https://127.0.0.1:{port or self.port}",
                        "certificate-authority": str(self.folder / "ca.crt"),
                    },
                }
            ],
            "users": [{"name": "lab", "user": {"token": token or self.token}}],
        }
        path.write_text(json.dumps(config))
        return path

    def ask(self, method: str, path: str, body: Json | None = None, content: str = "application/json") -> Json:
        """An answer's JSON, empty where it is none. Raises ServerError, OSError."""
        for left in (1, 0):
            if self._connection is None:
                context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
                self._connection = HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content}
            try:
                self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = self._connection.getresponse()
                said = answer.read()
                break
            except OSError:
                self._connection.close()
                self._connection = None
                if not left or method == "POST":
                    raise
        if answer.status >= 400:
            raise ServerError(answer.status, said.decode())
        return json.loads(said) if said.startswith(b"{") else {}

    def create(self, path: str, body: Json) -> Json:
        """Make an object, and give it as the server has it."""
        return self.ask("POST", path, body)

    def patch(self, path: str, body: Json) -> Json:
        """Change an object, or its ``/status``."""
        return self.ask("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path: str) -> None:
        """End an object at once."""
        self.ask("DELETE", f"{path}?gracePeriodSeconds=0")

    def list(self, path: str) -> list[Json]:
        """All objects."""
        found: list[Json] = self.ask("GET", path)["items"] or []
        return found

    def apply(self, manifest: Path) -> None:
        """Make what a file of YAML documents says."""
        import yaml

        for one in yaml.safe_load_all(manifest.read_text()):
            group = one["apiVersion"]
            base = f"/apis/{group}" if "/" in group else f"/api/{group}"
            namespace = one["metadata"].get("namespace")
            where = f"/namespaces/{namespace}" if namespace else ""
            self.create(f"{base}{where}/{one['kind'].lower()}s", one)

    def service_account_token(self, namespace: str, name: str) -> str:
        """A token of a service account."""
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        return str(self.create(path, request)["status"]["token"])

    def fill(self, objects: Mapping[str, Json]) -> None:
        """Put objects into etcd by their keys, before the API server is started: thousands at once."""
        items = list(objects.items())
        for start in range(0, len(items), 100):
            some = items[start : start + 100]
            puts = [{"requestPut": {"key": _text(key), "value": _text(json.dumps(value))}} for key, value in some]
            self._ask_etcd("/v3/kv/txn", {"success": puts})

    def compact(self) -> None:
        """Have etcd forget all that was."""
        revision = self._ask_etcd("/v3/kv/range", {"key": _text("/")})["header"]["revision"]
        self._ask_etcd("/v3/kv/compaction", {"revision": revision, "physical": True})

    def _ask_etcd(self, path: str, body: Json) -> Json:
        url = f"{_ETCD.format(port=self._etcd_port)}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: Json = json.load(answer)
            return found

    def kill_server(self) -> None:
        """As a crash does."""
        self._end(self._server, signal.SIGKILL)
        self._server = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """End all; the data goes."""
        for one in self._controllers:
            self._end(one, signal.SIGKILL)
        self._end(self._server, signal.SIGKILL)
        self._end(self._etcd, signal.SIGKILL)
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    @staticmethod
    def _end(process: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(30)


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
