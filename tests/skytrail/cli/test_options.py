from __future__ import annotations

from pathlib import Path

import click
import pytest

from skytrail.cli.options import Session, common, settings_options
from skytrail.errors import SettingsError
from skytrail.settings.tree import Settings

KEYS = ("flow.interfaces", "flow.netns", "flow.bpf_loader", "flow.attach", "agent.listen", "http.insecure")


def session_of(*arguments: str, **environ: str) -> Session:
    """Run a command with every shared option and return its session."""

    @click.command()
    @settings_options(*KEYS)
    @common
    def command() -> None:
        pass

    session = Session(environ)
    command.main(list(arguments), standalone_mode=False, obj=session)
    return session


def test_no_option_leaves_the_defaults() -> None:
    assert session_of().settings == Settings()


def test_each_option_sets_its_key() -> None:
    settings = session_of(
        *("--interfaces", "eth0,eth1", "--interfaces", "!veth*", "--netns", "all", "--bpf-loader", "bcc"),
        *("--attach", "tc", "--listen", "127.0.0.1:9", "--insecure", "--set", "flow.idle.tcp=7m"),
    ).settings
    assert settings.flow.interfaces == ("eth0", "eth1", "!veth*")
    assert (settings.flow.netns, settings.flow.bpf_loader, settings.flow.attach) == ("all", "bcc", "tc")
    assert (settings.agent.listen, settings.http.insecure, settings.flow.idle.tcp) == ("127.0.0.1:9", True, 420.0)


def test_option_not_given_does_not_hide_the_environment() -> None:
    settings = session_of(SKYTRAIL_HTTP_INSECURE="1", SKYTRAIL_FLOW_INTERFACES="eth7").settings
    assert (settings.http.insecure, settings.flow.interfaces) == (True, ("eth7",))


def test_file_is_given_by_option(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("host_id: mine")
    assert session_of("--config", str(path)).settings.host_id == "mine"


def test_verbose_means_debug_unless_a_level_is_set() -> None:
    assert session_of("-v").settings.log.level == "debug"
    assert session_of("-v", "--set", "log.level=error").settings.log.level == "error"


def test_settings_are_loaded_on_use_and_once() -> None:
    session = session_of("--set", "flow.drain=never")
    with pytest.raises(SettingsError, match=r"flow\.drain"):
        _ = session.settings
    good = session_of()
    assert good.settings is good.settings


def test_choice_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(click.BadParameter, match="tcx"):
        session_of("--attach", "xdp")


@pytest.mark.parametrize("assignment", ["flow.drain", "", "="])
def test_assignment_without_key_or_value_is_refused(assignment: str) -> None:
    with pytest.raises((click.BadParameter, SettingsError)):
        _ = session_of("--set", assignment).settings
