from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from skytrail.errors import SettingsError
from skytrail.settings.load import load
from skytrail.settings.tree import Settings

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        path = tmp_path / "skytrail.yaml"
        path.write_text(text)
        return path

    return write_file


def refusal(path: Path | None = None, environ: dict[str, str] | None = None, flags: dict[str, object] | None = None) -> str:
    with pytest.raises(SettingsError) as error:
        load(path, environ or {}, flags or {})
    message = str(error.value)
    assert "\n" not in message
    return message


def test_nothing_given_means_the_defaults(tmp_path: Path) -> None:
    assert load(None, {}, {}, default_file=tmp_path / "absent.yaml") == Settings()


def test_sources_rise_from_file_over_otel_and_skytrail_variables_to_flags(write: Write) -> None:
    path = write("otlp: {endpoint: 'file:1', timeout: 1, batch_max: 1, protocol: grpc}")
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "otel:2",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2000",
        "SKYTRAIL_OTLP_TIMEOUT": "3s",
        "SKYTRAIL_OTLP_BATCH_MAX": "3",
    }
    otlp = load(path, environ, {"otlp.batch_max": "4"}).otlp
    assert (otlp.endpoint, otlp.timeout, otlp.batch_max) == ("otel:2", 3.0, 4)


def test_file_is_the_given_one_else_the_variables_else_the_default(write: Write, tmp_path: Path) -> None:
    given = write("host_id: given")
    named = tmp_path / "named.yaml"
    named.write_text("host_id: named")
    default = tmp_path / "default.yaml"
    default.write_text("host_id: default")
    environ = {"SKYTRAIL_CONFIG": str(named)}
    assert load(given, environ, {}, default_file=default).host_id == "given"
    assert load(None, environ, {}, default_file=default).host_id == "named"
    assert load(None, {}, {}, default_file=default).host_id == "default"


def test_every_kind_of_value_is_read_from_a_file(write: Write) -> None:
    settings = load(
        write(
            """
            flow:
              interfaces: ['eth*', '!veth*']
              drain: 250ms
              idle: {tcp: 7m, udp: 12}
              application_ports: {tcp: {8080: WEB}}
              own_traffic: yes
            subnets: {10.1.0.0/16: office}
            otlp: {queue_max: 1MiB, headers: {authorization: Bearer x}, trace_epoch: 1h}
            agent:
            """
        ),
        {},
        {},
    )
    flow = settings.flow
    assert (flow.interfaces, flow.drain, flow.idle.tcp, flow.idle.udp) == (("eth*", "!veth*"), 0.25, 420.0, 12.0)
    assert (flow.application_ports.tcp, flow.own_traffic) == ({8080: "WEB"}, True)
    assert settings.subnets == {"10.1.0.0/16": "office"}
    assert (settings.otlp.queue_max, settings.otlp.headers, settings.otlp.trace_epoch) == (
        1 << 20,
        {"authorization": "Bearer x"},
        3600.0,
    )


def test_every_kind_of_value_is_read_from_variables() -> None:
    settings = load(
        None,
        {
            "SKYTRAIL_FLOW_INTERFACES": "eth*,!veth*",
            "SKYTRAIL_FLOW_IDLE_TCP": "7m",
            "SKYTRAIL_FLOW_TUNNEL_PORTS_VXLAN": "1,2",
            "SKYTRAIL_SUBNETS": "10.1.0.0/16=office,fd00::/8=lab",
            "SKYTRAIL_HTTP_INSECURE": "true",
            "SKYTRAIL_OTLP_TRACE_EPOCH": "none",
            "SKYTRAIL_OTLP_QUEUE_MAX": "1MiB",
            "SKYTRAIL_FLOW_SAMPLING": "10",
        },
        {},
    )
    assert settings.flow.interfaces == ("eth*", "!veth*")
    assert (settings.flow.idle.tcp, settings.flow.tunnel_ports.vxlan, settings.flow.sampling) == (420.0, (1, 2), 10)
    assert settings.subnets == {"10.1.0.0/16": "office", "fd00::/8": "lab"}
    assert (settings.http.insecure, settings.otlp.trace_epoch, settings.otlp.queue_max) == (True, None, 1 << 20)


def test_repeated_flag_adds_to_a_list() -> None:
    assert load(None, {}, {"flow.interfaces": ("eth0", "a,b", "['~x{1,2}']")}).flow.interfaces == (
        "eth0",
        "a",
        "b",
        "~x{1,2}",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flow: {drian: 1}", "flow.drian: unknown key; did you mean flow.drain?"),
        ("drain: 1", "drain: unknown key; did you mean flow.drain?"),
        ("hots_id: 1", "hots_id: unknown key; did you mean host_id?"),
        ("flow: {idel: {tcp: 1}}", "flow.idel: unknown key; did you mean flow.idle?"),
        ("zzzzzz: 1", "zzzzzz: unknown key; skytrail config --reference lists all"),
        ("flow: {attach: tcc}", "flow.attach: expected one of auto, socket, tc, tcx, got 'tcc'"),
        ("flow: {drain: 1y}", "flow.drain: expected a duration such as 30s, 5m, 1h30m or 100ms, got '1y'"),
        ("flow: {drain: 10ms}", "flow.drain: expected a number of seconds >= 0.05"),
        ("flow: {drain: .nan}", "flow.drain: expected a number of seconds >= 0.05"),
        ("flow: {sampling: true}", "flow.sampling: expected a whole number, got true or false"),
        ("flow: {tunnel_ports: {vxlan: [1, 70000]}}", "flow.tunnel_ports.vxlan: expected a whole number <= 65535 at [1]"),
        ("flow: 3", "flow: expected a mapping of keys, got int"),
        ("- a", "expected a mapping of keys, got list"),
        ("subnets: {10.0.0.1/8: x}", "subnets: expected networks such as 10.1.0.0/16: 10.0.0.1/8 has host bits set"),
        ("agent: {listen: '::1:8081'}", "agent.listen: expected an IPv6 address in brackets"),
        ("flow: {interfaces: []}", "flow.interfaces: expected at least one pattern"),
    ],
)
def test_error_names_file_key_and_cause(write: Write, text: str, message: str) -> None:
    path = write(text)
    assert refusal(path).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flow:\n  interfaces: !lo\n", ":2: not valid YAML: "),
        ("flow:\n  interfaces: [*]\n", ":2: not valid YAML: "),
        ("flow:\n  drain: 1\n  drain: 2\n", ":3: not valid YAML: key 'drain' twice"),
        ("a: [}", ":1: not valid YAML: "),
        ("? [a]\n: b", ":1: not valid YAML: "),
        ("a: 2001-99-99", ": not valid YAML: "),
        ("a: \x00", ": not valid YAML: "),
    ],
)
def test_text_that_is_no_yaml_is_refused_with_its_line(write: Write, text: str, message: str) -> None:
    path = write(text)
    assert refusal(path).startswith(f"{path}{message}")


def test_yaml_cannot_construct_python_objects(write: Write) -> None:
    assert "not valid YAML" in refusal(write("host_id: !!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_named_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be read" in refusal(tmp_path / name)


def test_unknown_variable_is_refused_with_the_nearest() -> None:
    assert refusal(environ={"SKYTRAIL_FLOW_INTERFACE": "x"}) == (
        "SKYTRAIL_FLOW_INTERFACE: unknown variable; did you mean SKYTRAIL_FLOW_INTERFACES?"
    )


def test_wrong_value_of_a_variable_is_refused_by_both_names() -> None:
    message = refusal(environ={"SKYTRAIL_HTTP_INSECURE": "maybe"})
    assert message == "SKYTRAIL_HTTP_INSECURE: http.insecure: expected true or false, got 'maybe'"


@pytest.mark.parametrize(
    "variable",
    [
        "SKYTRAIL_SERVICE_HOST",
        "SKYTRAIL_SERVICE_PORT_HTTP",
        "SKYTRAIL_PORT",
        "SKYTRAIL_HUB_PORT_8082_TCP_ADDR",
        "SKYTRAIL_HUB_PORT_8082_TCP",
    ],
)
def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_error(variable: str) -> None:
    assert load(None, {variable: "tcp://10.0.0.1:8082"}, {}) == Settings()


def test_unknown_flag_is_refused_and_a_section_explained() -> None:
    assert refusal(flags={"flow.drian": "1"}) == "command line: flow.drian: unknown key; did you mean flow.drain?"
    assert refusal(flags={"flow": "1"}).startswith("command line: flow: unknown key; it is a section")


@pytest.mark.parametrize(
    ("key", "value"),
    [("otlp.headers", "hunter2"), ("otlp.spans_to.headers", "hunter2"), ("otlp.headers", {"a": ["hunter2"]})],
)
def test_secret_value_is_not_shown_in_an_error(key: str, value: object) -> None:
    message = refusal(flags={key: value})
    assert key in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        ({"http.tls_cert": "c.pem"}, "http.tls_key"),
        ({"http.tls_key": "k.pem"}, "http.tls_cert"),
        ({"http.cors_origins": "*", "http.users_file": "u"}, "http.cors_origins"),
        ({"otlp.endpoint": "c:4318", "otlp.protocol": "http/protobuf"}, "otlp.endpoint"),
        ({"otlp.metrics_to.endpoint": "c:1", "otlp.metrics_to.protocol": "http/protobuf"}, "otlp.metrics_to.endpoint"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(flags: dict[str, object], key: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{key}: "):
        load(None, {}, flags)


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("word of the file\n")
    name = "SKYTRAIL_TOPOLOGY_JANUSGRAPH_PASSWORD"
    assert load(None, {f"{name}_FILE": str(secret)}, {}).topology.janusgraph.password == "word of the file"
    secret.write_text("authorization=Bearer x\n")
    assert load(None, {"SKYTRAIL_OTLP_HEADERS_FILE": str(secret)}, {}).otlp.headers == {"authorization": "Bearer x"}
    said = refusal(environ={f"{name}_FILE": str(secret), name: "x"})
    assert said == f"{name}_FILE: given beside {name}: give one of them"
    assert f"{name}_FILE: {tmp_path}/none: cannot be read" in refusal(environ={f"{name}_FILE": f"{tmp_path}/none"})
    assert "unknown variable" in refusal(environ={"SKYTRAIL_LOG_LEVEL_FILE": str(secret)})


@pytest.mark.parametrize("given", [{"cert"}, {"cert", "key"}, {"key", "ca"}, {"ca"}])
def test_mutual_tls_needs_all_of_its_files(given: set[str]) -> None:
    assert "mutual TLS needs cert, key and ca" in refusal(flags={f"wire.tls_{name}": "f" for name in given})


def test_revoked_certificates_without_tls_are_refused() -> None:
    assert "wire.tls_crl: given without" in refusal(flags={"wire.tls_crl": "f"})
