"""The standard OTEL_* variables as values of our keys.

Names, units and meaning are the OpenTelemetry specification's, "Environment variable specification" and "OTLP exporter
configuration". Variables that are empty count as unset; those that are not ours (samplers, propagators) are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

_EXPORTER = {  # what follows OTEL_EXPORTER_OTLP_, OTEL_EXPORTER_OTLP_TRACES_ and OTEL_EXPORTER_OTLP_METRICS_
    "ENDPOINT": "endpoint",
    "PROTOCOL": "protocol",
    "HEADERS": "headers",
    "COMPRESSION": "compression",
    "TIMEOUT": "timeout",
    "CERTIFICATE": "certificate",
    "CLIENT_KEY": "client_key",
    "CLIENT_CERTIFICATE": "client_certificate",
    "INSECURE": "insecure",
}
_PREFIXES = {
    "OTEL_EXPORTER_OTLP_": "otlp.",
    "OTEL_EXPORTER_OTLP_TRACES_": "otlp.spans_to.",
    "OTEL_EXPORTER_OTLP_METRICS_": "otlp.metrics_to.",
}


def otel_values(environ: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    """Yield (variable, dotted key, raw value) for each OTEL_* variable that sets one of our keys.

    Raises ValueError, whose first argument is the variable, for text that means nothing.
    """
    for prefix, section in _PREFIXES.items():
        for suffix, name in _EXPORTER.items():
            if text := environ.get(prefix + suffix, "").strip():
                yield prefix + suffix, section + name, _raw(prefix + suffix, name, text)
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield "OTEL_SDK_DISABLED", "otlp.disabled", True
    for variable, name in (("OTEL_TRACES_EXPORTER", "otlp.spans"), ("OTEL_METRICS_EXPORTER", "otlp.metrics")):
        if environ.get(variable, "").strip().lower() == "none":
            yield variable, name, False
    if text := environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip():
        yield "OTEL_METRIC_EXPORT_INTERVAL", "otlp.metrics_interval", _milliseconds("OTEL_METRIC_EXPORT_INTERVAL", text)
    yield from _resource(environ)


def _resource(environ: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    """OTEL_SERVICE_NAME goes before the service.name of OTEL_RESOURCE_ATTRIBUTES (resource specification)."""
    variable = "OTEL_RESOURCE_ATTRIBUTES"
    attributes = _pairs(variable, environ.get(variable, "").strip())
    named = attributes.pop("service.name", "")
    if named:
        yield variable, "otlp.service_name", named
    if attributes:
        yield variable, "otlp.resource_attributes", attributes
    if name := environ.get("OTEL_SERVICE_NAME", "").strip():
        yield "OTEL_SERVICE_NAME", "otlp.service_name", name


def _raw(variable: str, name: str, text: str) -> object:
    if name == "headers":
        return _pairs(variable, text)
    if name == "timeout":
        return _milliseconds(variable, text)
    if name == "insecure":
        return text.lower() == "true"  # the specification: anything but "true" is false
    return text


def _milliseconds(variable: str, text: str) -> float:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(variable, f"expected milliseconds, got {text!r}")
    return int(text) / 1000


def _pairs(variable: str, text: str) -> dict[str, str]:
    """W3C Baggage without properties: ``k=v,k=v``, percent-encoded. An error never repeats the text: maybe a secret."""
    pairs = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ValueError(variable, "expected name=value,name=value, percent-encoded")
        pairs[unquote(name.strip())] = unquote(value.strip())
    return pairs
