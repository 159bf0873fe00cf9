"""What the agent itself sends to collectors is no flow, however short the connections are, and when nobody answers."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.agentlab import StartAgent
from support.netlab import until


class Rude(BaseHTTPRequestHandler):
    """A collector that ends the connection after each answer."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.server.requests += 1  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(("protocol", "there"), [("http/protobuf", True), ("http/protobuf", False), ("grpc", False)])
def test_own_exports_are_no_flows(start_agent: StartAgent, protocol: str, there: bool) -> None:
    """Metrics' export makes some every second."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Rude) as server:
        server.requests = 0  # type: ignore[attr-defined]
        port = server.server_address[1]
        serving = threading.Thread(target=server.serve_forever)
        if there:
            serving.start()
        else:
            server.socket.close()
        try:
            agent = start_agent(
                *("--otlp-endpoint", f"http://127.0.0.1:{port}"),
                interfaces=("lo",),
                otlp__protocol=protocol,
                otlp__metrics_interval="1s",
                flow__linger="1s",
            )

            def tried() -> bool:
                metrics = agent.metrics()
                passed = metrics.value("skytrail_capture_packets_total", device="lo")
                retries = metrics.value("skytrail_export_retries_total")
                return passed > 50 and (server.requests > 5 if there else retries > 3)  # type: ignore[attr-defined]

            until(tried, 40.0)
            assert agent.flows(f"port {port}") == []
            assert agent.flows(f"port {agent.port}") != []
        finally:
            if there:
                server.shutdown()
                serving.join()
