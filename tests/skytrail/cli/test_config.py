from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from werkzeug.security import check_password_hash

from skytrail.cli.main import main
from skytrail.settings.reference import render_reference


def test_effective_settings_are_printed_as_yaml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "skytrail.yaml"
    path.write_text("flow: {drain: 2s, update: 5m}")
    monkeypatch.setenv("SKYTRAIL_FLOW_DRAIN", "3s")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")
    assert main(["--set", "flow.sampling=10", "config", "--config", str(path)]) == 0
    text = capsys.readouterr().out
    flow = yaml.safe_load(text)["flow"]
    assert (flow["drain"], flow["update"], flow["sampling"]) == ("3s", "5m", 10)
    assert "hunter2" not in text


def test_reference_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--reference"]) == 0
    assert capsys.readouterr().out == render_reference()


def test_password_is_hashed_from_standard_input() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "skytrail", "config", "--hash-password"],
        input="hunter2\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert check_password_hash(done.stdout.strip(), "hunter2")


def test_empty_password_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "skytrail", "config", "--hash-password"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_asks_us_for_completions(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_SKYTRAIL_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_completion_script_is_good_bash(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out
    done = subprocess.run(["bash", "-c", f"{script}\ncomplete -p skytrail"], capture_output=True, text=True, check=True)
    assert "skytrail" in done.stdout
