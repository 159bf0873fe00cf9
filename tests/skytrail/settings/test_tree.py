from __future__ import annotations

import msgspec
import pytest

from skytrail.settings.tree import Otlp, OtlpSignal, Settings


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(AttributeError):
        settings.flow.drain = 2.0  # type: ignore[misc]


def test_defaults_are_those_of_the_design() -> None:
    settings = Settings()
    assert (settings.agent.listen, settings.hub.listen, settings.hub.grpc) == (
        "127.0.0.1:8081",
        "127.0.0.1:8082",
        "127.0.0.1:8083",
    )
    assert (settings.flow.drain, settings.flow.update) == (1, 60)
    assert settings.flow.tunnel_ports.vxlan == (4789, 8472)
    assert settings.otlp.trace_epoch is None


def test_no_endpoint_means_no_export() -> None:
    assert Otlp().target("traces") is None


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("http://c:4318/", "http://c:4318/v1/traces"),
        ("https://c/otlp", "https://c/otlp/v1/traces"),
    ],
)
def test_http_endpoint_gets_the_signals_path(endpoint: str, url: str) -> None:
    target = Otlp(endpoint=endpoint, protocol="http/protobuf").target("traces")
    assert target is not None
    assert target.endpoint == url


def test_signals_own_http_endpoint_is_used_as_it_is() -> None:
    otlp = Otlp(protocol="http/protobuf", spans_to=OtlpSignal(endpoint="http://t:1/in"))
    target = otlp.target("traces")
    assert target is not None
    assert target.endpoint == "http://t:1/in"
    assert otlp.target("metrics") is None


@pytest.mark.parametrize(
    ("endpoint", "insecure", "target"),
    [
        ("http://c:4317", False, ("c:4317", True)),
        ("https://c:4317", True, ("c:4317", False)),
        ("c:4317", False, ("c:4317", False)),
        ("c:4317", True, ("c:4317", True)),
    ],
)
def test_scheme_of_a_grpc_endpoint_goes_before_insecure(endpoint: str, insecure: bool, target: tuple[str, bool]) -> None:
    found = Otlp(endpoint=endpoint, insecure=insecure).target("metrics")
    assert found is not None
    assert (found.endpoint, found.insecure) == target


def test_signal_overrides_only_what_it_names() -> None:
    otlp = Otlp(endpoint="c:1", headers={"a": "1"}, timeout=3.0, metrics_to=OtlpSignal(headers={"b": "2"}, compression="gzip"))
    metrics, traces = otlp.target("metrics"), otlp.target("traces")
    assert metrics is not None
    assert traces is not None
    assert (metrics.headers, metrics.compression, metrics.timeout) == ({"b": "2"}, "gzip", 3.0)
    assert (traces.headers, traces.compression) == ({"a": "1"}, "none")


@pytest.mark.parametrize("off", [{"disabled": True}, {"spans": False}])
def test_traces_can_be_switched_off_beside_an_endpoint(off: dict[str, bool]) -> None:
    assert msgspec.structs.replace(Otlp(endpoint="c:1"), **off).target("traces") is None
