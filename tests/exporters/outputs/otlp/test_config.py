from __future__ import annotations

import pytest

from exporters.outputs.otlp.config import Compression, OtlpConfig, Overrides, Signal, Wire
from skytrail.errors import SettingsError


@pytest.mark.parametrize(
    ("endpoint", "insecure", "address", "tls"),
    [
        ("", False, "localhost:4317", False),
        ("http://collector:4317", False, "collector:4317", False),
        ("http://collector", False, "collector:4317", False),
        ("https://collector:443/", True, "collector:443", True),
        ("https://[::1]:4317", False, "[::1]:4317", True),
        ("collector:4317", False, "collector:4317", True),
        ("collector:4317", True, "collector:4317", False),
        ("unix:/run/otel.sock", False, "unix:/run/otel.sock", False),
    ],
)
def test_grpc_endpoints(endpoint: str, insecure: bool, address: str, tls: bool) -> None:
    target = OtlpConfig(endpoint=endpoint, insecure=insecure).target(Signal.TRACES)
    assert (target.address, target.tls) == (address, tls)


@pytest.mark.parametrize(
    ("endpoint", "own", "address", "tls"),
    [
        ("", None, "http://localhost:4318/v1/metrics", False),
        ("https://collector:4318", None, "https://collector:4318/v1/metrics", True),
        ("http://collector:4318/otel/", None, "http://collector:4318/otel/v1/metrics", False),
        ("http://collector:4318", "https://other/push?x=1", "https://other/push?x=1", True),
    ],
)
def test_http_endpoints(endpoint: str, own: str | None, address: str, tls: bool) -> None:
    config = OtlpConfig(endpoint=endpoint, protocol=Wire.HTTP, metrics=Overrides(endpoint=own))
    target = config.target(Signal.METRICS)
    assert (target.address, target.tls) == (address, tls)


def test_a_signals_own_settings_go_before_the_common_ones_and_leave_the_other_signal_alone() -> None:
    config = OtlpConfig(
        endpoint="http://a:4317",
        headers=(("Tenant", "1"),),
        certificate="ca.pem",
        metrics=Overrides(
            endpoint="http://b:4318/m", protocol=Wire.HTTP, timeout=3.0, headers=(), compression=Compression.GZIP
        ),
    )
    traces, metrics = config.target(Signal.TRACES), config.target(Signal.METRICS)
    assert (traces.address, traces.protocol, traces.timeout, traces.headers) == (
        "a:4317",
        Wire.GRPC,
        10.0,
        (("tenant", "1"),),
    )
    assert (metrics.address, metrics.protocol, metrics.timeout, metrics.headers) == ("http://b:4318/m", Wire.HTTP, 3, ())
    assert (traces.compression, metrics.compression) == (Compression.NONE, Compression.GZIP)
    assert traces.certificate == metrics.certificate == "ca.pem"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (OtlpConfig(endpoint="http://localhost:4318/v1/traces"), "gRPC has no path"),
        (OtlpConfig(endpoint="http://localhost:99999"), "not a URL"),
        (OtlpConfig(endpoint="http://:4317"), "not a URL"),
        (OtlpConfig(endpoint="collector:4318", protocol=Wire.HTTP), "not a URL"),
        (OtlpConfig(endpoint="ftp://collector", protocol=Wire.HTTP), "not a URL"),
        (OtlpConfig(endpoint="http://me:hunter2@collector:4317"), "otlp.headers"),
        (OtlpConfig(headers=(("bad name", "hunter2"),)), "bad name"),
        (OtlpConfig(headers=(("authorization", "hunter2\r\nx: y"),)), "authorization"),
        (OtlpConfig(headers=(("key-bin", "hunter2"),)), "key-bin"),
        (OtlpConfig(timeout=0), "otlp.timeout"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_showing_secrets(config: OtlpConfig, named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        config.target(Signal.TRACES)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_headers_never_show_in_a_repr() -> None:
    config = OtlpConfig(headers=(("authorization", "hunter2"),), traces=Overrides(headers=(("x", "hunter2"),)))
    assert "hunter2" not in repr(config) + repr(config.target(Signal.METRICS))
