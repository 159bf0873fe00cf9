"""What the tests of the OTLP output share: the real collector, receivers that fail on order, certificates, spans."""

from __future__ import annotations

import importlib.util
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from exporters.outputs.otlp.columns import Column, SpanColumns, ValueKind

Poll = Callable[[Callable[[], Any]], Any]


def _lab() -> ModuleType:
    path = Path(__file__).parents[3] / "lab" / "otelcol.py"
    spec = importlib.util.spec_from_file_location("lab_otelcol", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    return _lab()


@pytest.fixture(scope="session")
def otelcol_program(lab: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program: Path = lab.demand(tmp_path_factory.mktemp("otelcol"))
    return program


@pytest.fixture
def make_collector(lab: ModuleType, otelcol_program: Path, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Make collectors that are not started yet; all are stopped at the end."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        folder = tmp_path / f"collector-{len(made)}"
        folder.mkdir()
        made.append(lab.Collector(otelcol_program, folder, **options))
        return made[-1]

    yield make
    for collector in made:
        collector.stop()


@pytest.fixture
def collector(make_collector: Callable[..., Any]) -> Any:
    made = make_collector()
    made.start()
    return made


@pytest.fixture
def eventually() -> Poll:
    """Poll until something is true and give it back; fails after a deadline that only a fault reaches."""

    def poll(probe: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 30
        while not (value := probe()):
            assert time.monotonic() < deadline, "did not come true within 30 s"
            time.sleep(0.01)
        return value

    return poll


@pytest.fixture
def make_spans() -> Callable[[int], SpanColumns]:
    """Make n spans with a few attributes and ids that no other call makes."""
    rng = np.random.default_rng()

    def make(n: int) -> SpanColumns:
        now = np.full(n, time.time_ns(), np.uint64)
        return SpanColumns(
            trace_id=rng.integers(0, 256, (n, 16), dtype=np.uint8),
            span_id=rng.integers(1, 256, (n, 8), dtype=np.uint8),
            name="flow",
            start=now,
            end=now + np.uint64(1000),
            attributes=[
                Column("source.address", ValueKind.STR, np.array([b"10.0.0.%d" % (i % 256) for i in range(n)], "S15")),
                Column("source.port", ValueKind.INT, np.arange(n)),
            ],
        )

    return make


@dataclass
class Answer:
    """How a faulty receiver answers one request; ``hang`` holds it until the receiver is closed."""

    body: bytes = b""
    status: int = 200  # HTTP
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    headers: tuple[tuple[str, str | bytes], ...] = ()  # HTTP headers or gRPC trailing metadata
    hang: bool = False


@dataclass
class Receiver:
    """Answers by ``plan``, one answer a request, then with success; keeps what it got."""

    plan: list[Answer] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    clients: list[object] = field(default_factory=list)
    endpoint: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def take(self, path: str, headers: dict[str, str], data: bytes) -> Answer:
        self.times.append(time.monotonic())
        self.paths.append(path)
        self.headers.append(headers)
        self.requests.append(data)
        answer = self.plan.pop(0) if self.plan else Answer()
        if answer.hang:
            self.released.wait(60)
        return answer

    def then(self, **answer: Any) -> None:
        """Plan the answer to the next request that has none yet."""
        self.plan.append(Answer(**answer))

    def span_ids(self) -> list[list[bytes]]:
        """The span ids of each request."""
        return [
            [span.span_id for rs in r.resource_spans for ss in rs.scope_spans for span in ss.spans]
            for r in map(ExportTraceServiceRequest.FromString, self.requests)
        ]


def _grpc_handler(receiver: Receiver, service: str) -> Any:
    def answer(data: bytes, context: Any) -> bytes:
        metadata = {name: str(value) for name, value in context.invocation_metadata()}
        planned = receiver.take(service, metadata, data)
        context.set_trailing_metadata(planned.headers)
        if planned.code is not grpc.StatusCode.OK:
            context.abort(planned.code, planned.details)
        return planned.body

    return grpc.method_handlers_generic_handler(service, {"Export": grpc.unary_unary_rpc_method_handler(answer)})


@pytest.fixture
def grpc_receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    with ThreadPoolExecutor(4) as pool:
        services = (f"opentelemetry.proto.collector.{name}Service" for name in ("trace.v1.Trace", "metrics.v1.Metrics"))
        handlers = [_grpc_handler(receiver, service) for service in services]
        server = grpc.server(pool, handlers, options=[("grpc.max_send_message_length", -1)])
        receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield receiver
        receiver.released.set()
        server.stop(None).wait()


@pytest.fixture
def http_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            receiver.clients.append(self.client_address)
            planned = receiver.take(self.path, {k.lower(): v for k, v in self.headers.items()}, data)
            self.send_response(planned.status)
            for name, value in planned.headers:
                self.send_header(name, str(value))
            self.send_header("Content-Length", str(len(planned.body)))
            self.end_headers()
            self.wfile.write(planned.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield receiver
    receiver.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Certificates:
    """Files: an authority, the certificates of a server and a client that it signed, and another authority."""

    ca: str
    server_cert: str
    server_key: str
    client_cert: str
    client_key: str
    other_ca: str


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for ca in ("ca", "other"):
        openssl("req", "-x509", *curve, "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-days", "2", "-subj", f"/CN={ca}")
    for name in ("server", "client"):
        (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1\n")
        openssl("req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signer = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signer)
    names = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key", "other.pem")
    return Certificates(*(str(folder / name) for name in names))
