from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrail.settings import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("100ms", 0.1),
        ("1h", 3600),
        ("2d", 172800),
        ("1.5", 1.5),
        (" 7 s ", 7),
        ("0", 0),
        ("1h30m", 5400),
        (".5h", 1800),
        ("1.s", 1),
        ("2m.5s", 120.5),
        ("3\u00b5s", 3e-6),
        ("3\u03bcs", 3e-6),
    ],
)
def test_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert values.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", ".s", "1..5s", "5x", "-1s", "1e3", "5 m 3 s", "٣s", "nan", "inf"])
def test_duration_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        values.parse_duration(text)


@given(st.integers(0, 10**12).map(lambda microseconds: microseconds / 1e6))
def test_duration_survives_being_written_and_read(seconds: float) -> None:
    assert values.parse_duration(values.format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(300, "5m"), (0.1, "100ms"), (90, "90s"), (0, "0s"), (86400, "1d"), (0.5, "500ms")]
)
def test_duration_is_written_as_people_do(seconds: float, text: str) -> None:
    assert values.format_duration(seconds) == text


@pytest.mark.parametrize(("text", "count"), [("64MiB", 64 << 20), ("1GB", 10**9), ("65536", 65536), ("1.5KiB", 1536)])
def test_size_is_read_in_bytes(text: str, count: int) -> None:
    assert values.parse_size(text) == count


@given(st.integers(0, 1 << 40))
def test_size_survives_being_written_and_read(count: int) -> None:
    assert values.parse_size(values.format_size(count)) == count


@pytest.mark.parametrize("text", ["64mib", "MiB", "-1", "1 TB"])
def test_size_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        values.parse_size(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8081", ("127.0.0.1", 8081)),
        ("[::1]:8081", ("::1", 8081)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("host.example:0", ("host.example", 0)),
        (":9", ("", 9)),
    ],
)
def test_address_is_split_into_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert values.parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8081", "host", "::1:8081", "[::1]", "[x]:1", "host:65536", "host:-1", "host:٣"])
def test_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        values.parse_address(text)


@pytest.mark.parametrize("patterns", [["*"], ["eth*", "!veth*"], ["~^e{1,2}$"], ["type:veth", "!type:tun"]])
def test_interface_patterns_pass(patterns: list[str]) -> None:
    values.check_interfaces(patterns)


@pytest.mark.parametrize("patterns", [[], [""], ["!"], ["~("], ["type:"], ["!~["]])
def test_interface_patterns_that_mean_nothing_are_refused(patterns: list[str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        values.check_interfaces(patterns)


@pytest.mark.parametrize(
    "subnets",
    [{"10.0.0.1/8": "x"}, {"office": "x"}, {"10.0.0.0/8": ""}, {f"10.{n // 256}.{n % 256}.0/24": f"n{n}" for n in range(256)}],
)
def test_subnets_that_are_none_are_refused(subnets: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        values.check_subnets(subnets)


@pytest.mark.parametrize("endpoint", ["http://c:4317", "https://c/path", "c:4317", "[::1]:4317", "http://[::1]:4317"])
def test_endpoint_passes(endpoint: str) -> None:
    values.check_endpoint(endpoint)


@pytest.mark.parametrize("endpoint", ["", "c", "ftp://c:1", "http://", "c:port", "http://[::1", "unix:///run/x"])
def test_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        values.check_endpoint(endpoint)


def test_endpoint_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match=r"otlp\.headers") as error:
        values.check_endpoint("http://user:hunter2@c:4317")
    assert "hunter2" not in str(error.value)
