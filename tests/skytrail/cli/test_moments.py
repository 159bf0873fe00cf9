"""Moments on the command line are of this machine's zone, as those that are printed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import click
import pytest
from click.testing import CliRunner

from skytrail.cli.main import COMMANDS, cli
from skytrail.cli.moments import at_option, local_text
from skytrail.errors import UsageError
from skytrail.moments import parse_moment, parse_period, with_zone

NOW = 1_795_000_000_123_456  # 2026-11-18T11:06:40Z


@pytest.fixture(params=["America/New_York", "Asia/Kolkata", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_what_is_printed_can_be_asked_for(zone: str) -> None:
    printed = local_text(NOW // 1_000)
    assert parse_moment(with_zone(printed, NOW), NOW) == NOW // 1_000_000 * 1_000_000, zone
    clock = printed.split()[1]
    assert parse_moment(with_zone(clock, NOW), NOW) == NOW // 1_000_000 * 1_000_000, zone


@pytest.mark.parametrize(
    ("zone", "text", "said"),
    [
        ("America/New_York", "06:05", "2026-11-18T11:05:00Z"),
        ("America/New_York", "06:07", "2026-11-17T11:07:00Z"),  # yesterday's
        ("America/New_York", "2026-07-01", "2026-07-01T04:00:00Z"),  # summer
        ("Asia/Kolkata", "2026-11-18 16:30", "2026-11-18T11:00:00Z"),
        ("Asia/Kolkata", "16:30/now", "2026-11-18T11:00:00Z/now"),
        ("Asia/Kolkata", "-1h/-5m", "-1h/-5m"),
        ("Asia/Kolkata", "1795000000", "1795000000"),
        ("Asia/Kolkata", "11:00Z", "11:00Z"),
        ("Asia/Kolkata", "2026-11-18T12:00+01:00", "2026-11-18T12:00+01:00"),
        ("UTC", "11:00", "11:00"),
    ],
    indirect=["zone"],
)
def test_the_zone_is_named_where_none_is(zone: str, text: str, said: str) -> None:
    assert with_zone(text, NOW) == said, zone


@pytest.mark.parametrize("text", ["11:00Z", "11:00 UTC", "12:00+01:00", "06:00 -05:00", "11:00utc"])
def test_a_time_of_day_may_name_its_zone(zone: str, text: str) -> None:
    moment = int(datetime(2026, 11, 18, 11, tzinfo=UTC).timestamp()) * 1_000_000
    assert parse_moment(text, NOW) == parse_moment(text, NOW, None) == moment, zone


def test_a_period_of_local_times(zone: str) -> None:
    begin, end = parse_period(with_zone("2026-11-18T08:00/2026-11-18T09:30", NOW), NOW)
    assert end - begin == 90 * 60 * 1_000_000
    assert begin == int(datetime(2026, 11, 18, 8, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


def test_the_option_asks_with_a_zone_and_refuses_what_is_none(zone: str) -> None:
    @click.command()
    @at_option()
    def command(at: str | None) -> None:
        click.echo(at)

    told = CliRunner().invoke(command, ["--at", "2026-11-18T12:00"]).output.strip()
    assert parse_moment(told, NOW) == int(datetime(2026, 11, 18, 12, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000
    refused = CliRunner().invoke(command, ["--at", "yesterday"])
    assert (refused.exit_code, "'yesterday' is no moment" in refused.output) == (2, True)
    with pytest.raises(UsageError):
        with_zone("5m", NOW)


@pytest.mark.parametrize("name", ["flows", "sockets", "trace", "path", "topology", "query"])
def test_every_command_s_help_says_so(name: str) -> None:
    assert name in COMMANDS
    said = " ".join(CliRunner().invoke(cli, [name, "--help"]).output.split())
    assert "14:32, -5m, 2026-11-25T14:32 (local time; or with a zone: 14:32Z, …+01:00)" in said
