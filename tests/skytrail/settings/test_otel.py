from __future__ import annotations

import pytest

from skytrail.errors import SettingsError
from skytrail.settings.load import load
from skytrail.settings.otel import otel_values
from skytrail.settings.tree import Otlp


def otlp(**environ: str) -> Otlp:
    return load(None, environ, {}).otlp


def test_exporter_variables_have_their_specified_meaning() -> None:
    found = otlp(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20x,tenant = a%2Cb ",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_EXPORTER_OTLP_TIMEOUT="2500",
        OTEL_EXPORTER_OTLP_CERTIFICATE="ca.pem",
        OTEL_EXPORTER_OTLP_CLIENT_KEY="key.pem",
        OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE="cert.pem",
        OTEL_EXPORTER_OTLP_INSECURE="TRUE",
        OTEL_METRIC_EXPORT_INTERVAL="15000",
    )
    assert (found.endpoint, found.protocol, found.compression) == ("http://c:4318", "http/protobuf", "gzip")
    assert found.headers == {"authorization": "Bearer x", "tenant": "a,b"}
    assert (found.timeout, found.metrics_interval, found.insecure) == (2.5, 15.0, True)
    assert (found.certificate, found.client_key, found.client_certificate) == ("ca.pem", "key.pem", "cert.pem")


def test_variable_of_a_signal_sets_that_signal_only() -> None:
    found = otlp(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://t:1", OTEL_EXPORTER_OTLP_METRICS_TIMEOUT="100")
    assert found.spans_to.endpoint == "http://t:1"
    assert found.metrics_to.timeout == 0.1
    assert found.endpoint is None
    assert found.metrics_to.endpoint is None


def test_service_name_goes_before_the_resource_attribute() -> None:
    found = otlp(OTEL_RESOURCE_ATTRIBUTES="service.name=low,rack=7%2C8", OTEL_SERVICE_NAME="high")
    assert found.service_name == "high"
    assert found.resource_attributes == {"rack": "7,8"}
    assert otlp(OTEL_RESOURCE_ATTRIBUTES="service.name=low").service_name == "low"


def test_sdk_disabled_switches_every_signal_off() -> None:
    found = otlp(OTEL_SDK_DISABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT="c:4317")
    assert not found.exports("traces")
    assert not found.exports("metrics")


def test_exporter_none_switches_its_signal_off() -> None:
    found = otlp(OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT="c:4317")
    assert not found.exports("traces")
    assert found.exports("metrics")


def test_empty_and_foreign_variables_are_left_alone() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": " ", "OTEL_TRACES_SAMPLER": "x", "OTEL_SDK_DISABLED": "", "PATH": "/"}
    assert list(otel_values(environ)) == []


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://c"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "rack"),
    ],
)
def test_error_names_the_standard_variable(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{variable}: .+") as error:
        otlp(**{variable: text})
    assert "\n" not in str(error.value)


def test_error_in_headers_does_not_show_them() -> None:
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_HEADERS") as error:
        otlp(OTEL_EXPORTER_OTLP_HEADERS="hunter2")
    assert "hunter2" not in str(error.value)
