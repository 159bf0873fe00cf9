from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exporters.outputs.otlp.config import OtlpConfig, Signal, Wire
from exporters.outputs.otlp.transport import connect, tidy
from skytrail.errors import NotSupportedError, SettingsError


@pytest.mark.parametrize("wire", Wire)
def test_tls_files_that_cannot_be_used_are_refused_before_the_first_request(wire: Wire, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    endpoint = "https://127.0.0.1:1"
    for config, named in [
        (OtlpConfig(protocol=wire, endpoint=endpoint, certificate="/nonexistent/ca.pem"), "otlp.certificate"),
        (OtlpConfig(protocol=wire, endpoint=endpoint, certificate=str(empty)), "otlp.certificate"),
        (OtlpConfig(protocol=wire, endpoint=endpoint, client_key=str(empty)), "go together"),
        (
            OtlpConfig(protocol=wire, endpoint=endpoint, client_key=str(empty), client_certificate=str(empty)),
            "otlp.client_certificate",
        ),
    ]:
        with pytest.raises(SettingsError, match=named):
            connect(config.target(Signal.TRACES), "test")


@pytest.mark.parametrize(("wire", "package"), [(Wire.GRPC, "grpc"), (Wire.HTTP, "urllib3")])
def test_a_missing_library_is_named_with_its_extra(wire: Wire, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"exporters.outputs.otlp.transport_{wire.name.lower()}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotSupportedError, match=rf"{package}.*skytrail\[otlp\]"):
        connect(OtlpConfig(protocol=wire).target(Signal.TRACES), "test")


def test_importing_the_output_loads_no_heavy_library() -> None:
    code = (
        "import sys, exporters.outputs.otlp.exporter\n"
        "print([m for m in ('grpc', 'urllib3', 'google.protobuf', 'opentelemetry.proto') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_messages_are_short_printable_and_without_our_secrets() -> None:
    target = OtlpConfig(headers=(("authorization", "Bearer hunter2"), ("x-empty", ""))).target(Signal.TRACES)
    line = tidy("denied\r\nBearer hunter2 (hunter2)\x1b[31m " + "x" * 1000, target)
    assert "hunter2" not in line
    assert line.startswith("denied ***")
    assert line.isprintable()
    assert len(line) <= 200
