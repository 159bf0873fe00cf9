from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import click
import pytest

from skytrail import __version__
from skytrail.cli import main as root
from skytrail.cli.options import common
from skytrail.errors import FilterError, LoadError, NotSupportedError


def skytrail(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "skytrail", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=60,
        check=False,
    )


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make ``skytrail fail`` a command that raises ``error``."""

    @click.command()
    @common
    def fail() -> None:
        raise error

    monkeypatch.setattr(root.LazyGroup, "get_command", lambda *_: fail)


def test_version_is_printed() -> None:
    done = skytrail("--version")
    assert (done.returncode, done.stdout) == (0, f"skytrail {__version__}\n")


def test_help_names_every_command_and_imports_none_of_the_heavy_libraries() -> None:
    code = """
import json, sys
from skytrail.cli.main import main
status = main(["--help"])
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stderr)
    assert status == 0
    assert [name for name in root.COMMANDS if f"\n  {name} " not in done.stdout] == []
    heavy = {"flask", "grpc", "msgspec", "numpy", "pyroute2", "rich", "structlog", "uvicorn", "yaml", "exporters"}
    assert heavy & {module.partition(".")[0] for module in modules} == set()


def test_no_command_shows_the_help_as_a_usage_error() -> None:
    done = skytrail()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["confg"], "No such command 'confg'; see skytrail --help"),
        (["config", "--nope"], "see skytrail config --help"),
        (["agent", "--listen"], "Option '--listen' requires an argument"),
        (["agent", "--listen", "--insecure"], "agent.listen: expected an address"),
        (["agent", "--attach", "--netns", "all"], "--attach"),
        (["up", "--interfaces"], "Option '--interfaces' requires an argument"),
        (["--set", "flow.drain", "config"], "expected KEY=VALUE, as flow.drain=2s"),
        (["config", "--set", "flow.drian=1"], "command line: flow.drian: unknown key; did you mean flow.drain?"),
        (["--config", "/absent.yaml", "config"], "/absent.yaml: cannot be read: No such file or directory"),
        (["config", "--reference", "--hash-password"], "exclude each other"),
    ],
)
def test_wrong_words_are_one_line_and_status_2(arguments: list[str], words: str) -> None:
    done = skytrail(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("skytrail: error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.parametrize(("shell", "status", "said"), [(">/dev/full", 1, "No space left on device"), (">&-", 0, "")])
def test_output_that_cannot_be_written_is_one_line(shell: str, status: int, said: str) -> None:
    command = f"exec {sys.executable} -m skytrail --version {shell}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == (1 if said else 0)


def test_unknown_variable_is_one_line_and_status_2() -> None:
    done = skytrail("config", SKYTRAIL_FLOW_DRIAN="1")
    assert done.returncode == 2
    assert done.stderr == ("skytrail: error: SKYTRAIL_FLOW_DRIAN: unknown variable; did you mean SKYTRAIL_FLOW_DRAIN?\n")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (FilterError("column 3: expected a port"), 2, "column 3: expected a port"),
        (NotSupportedError("no BTF", "use --bpf-loader bcc"), 1, "no BTF: use --bpf-loader bcc"),
        (LoadError("refused", "R1 invalid\nmem access"), 1, "refused; -v shows the verifier's log"),
        (KeyError("flow\nkey"), 1, r"KeyError: 'flow\nkey'; -v shows where, please report it"),
    ],
)
def test_error_of_a_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, status: int, line: str
) -> None:
    fail_with(monkeypatch, error)
    assert root.main(["fail"]) == status
    assert capsys.readouterr().err == f"skytrail: error: {line}\n"


@pytest.mark.parametrize("arguments", [["-v", "fail"], ["fail", "-v"]])
def test_verbose_shows_traceback_and_the_verifiers_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    fail_with(monkeypatch, LoadError("refused", "R1 invalid\nmem access"))
    assert root.main(arguments) == 1
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "R1 invalid\nmem access\n" in text
    assert text.endswith("skytrail: error: refused\n")


def test_interrupt_ends_quietly_with_130() -> None:
    waiting = """
import signal, sys, time, click
from skytrail.cli import main as root
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
@click.command()
def wait():
    print("waiting", flush=True)
    time.sleep(60)
root.LazyGroup.get_command = lambda *_: wait
sys.exit(root.main(["wait"]))
"""
    process = subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"waiting\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors.strip() == b""


@pytest.mark.parametrize("lines", ["1", "100000"])
def test_reader_that_goes_away_ends_the_command_quietly(lines: str) -> None:
    printing = """
import sys, click
from skytrail.cli import main as root
from skytrail.cli.options import common
@click.command()
def many():
    sys.stdin.readline()
    for number in range(int(sys.argv[1])):
        click.echo(number)
root.LazyGroup.get_command = lambda *_: many
sys.exit(root.main(["many"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", printing, lines],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()
    process.stdin.write(b"go\n")
    process.stdin.close()
    assert process.wait(10) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_shell_completes_commands_options_and_keys() -> None:
    def complete(words: str) -> list[str]:
        done = skytrail(_SKYTRAIL_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1))
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert complete("skytrail c") == ["check", "config", "cleanup", "completion"]
    assert "--reference" in complete("skytrail config --r")
    assert complete("skytrail config --set flow.idle.") == ["flow.idle.udp=", "flow.idle.tcp=", "flow.idle.other="]
