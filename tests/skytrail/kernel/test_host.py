from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from skytrail.errors import NotSupportedError, RunError
from skytrail.kernel.host import Roots, clock_offset_ns, lockdown, machine_host_id, machine_id, read_host

MACHINE = "3d1219c7c4c5404aaa1f6d2a48adfda4"


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    made = Roots(tmp_path / "proc", tmp_path / "sys", tmp_path / "run", tmp_path / "etc")
    (made.proc / "sys/kernel/random").mkdir(parents=True)
    (made.sys / "kernel/security").mkdir(parents=True)
    made.etc.mkdir()
    (made.proc / "sys/kernel/random/boot_id").write_text("4a1b1ed9-91a2-41b5-959c-d019ebc30408\n")
    (made.proc / "sys/kernel/hostname").write_text("node-1\n")
    (made.proc / "sys/kernel/osrelease").write_text("6.18.0-test\n")
    (made.etc / "machine-id").write_text(f"{MACHINE}\n")
    return made


def test_this_host_is_what_uname_says() -> None:
    host = read_host("mine")
    name = os.uname()
    assert (host.host_id, host.hostname, host.kernel_release) == ("mine", name.nodename, name.release)
    assert host.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_the_setting_goes_before_the_machine_id(roots: Roots) -> None:
    assert read_host("rack-7", roots).host_id == "rack-7"
    assert read_host("", roots).host_id == machine_host_id(MACHINE)


def test_the_machine_id_itself_never_leaves_the_host(roots: Roots) -> None:
    derived = read_host("", roots).host_id
    assert len(derived) == 32
    assert MACHINE not in derived
    assert derived == read_host("", roots).host_id != machine_host_id("0" * 31 + "1")


@pytest.mark.parametrize("content", ["", "uninitialized\n", "not hexadecimal", "1234"])
def test_a_machine_id_that_is_none_is_named_with_its_remedy(roots: Roots, content: str) -> None:
    (roots.etc / "machine-id").write_text(content)
    with pytest.raises(RunError, match="set host_id"):
        machine_id(roots)


def test_a_missing_machine_id_is_named_with_its_remedy(roots: Roots) -> None:
    (roots.etc / "machine-id").unlink()
    with pytest.raises(RunError, match=r"No such file.*set host_id"):
        read_host("", roots)


def test_a_machine_without_one_keeps_what_is_made_up(roots: Roots, tmp_path: Path) -> None:
    kept = tmp_path / "state" / "host_id"
    assert read_host("", roots, kept).host_id == machine_host_id(MACHINE)
    assert not kept.exists()
    (roots.etc / "machine-id").unlink()
    made = read_host("", roots, kept).host_id
    assert made == read_host("", roots, kept).host_id != machine_host_id(MACHINE)
    kept.write_text("no ID\n")
    with pytest.raises(RunError, match=r"none in .*set host_id"):
        read_host("", roots, kept)
    (roots.etc / "machine-id").write_text("uninitialized\n")  # that will be one: as systemd boots the first time
    with pytest.raises(RunError, match="holds no machine-id"):
        read_host("", roots, kept)


def test_a_missing_proc_is_named(roots: Roots) -> None:
    (roots.proc / "sys/kernel/random/boot_id").unlink()
    with pytest.raises(NotSupportedError, match="mount /proc"):
        read_host("mine", roots)


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ("[none] integrity confidentiality\n", "none"),
        ("none [integrity] confidentiality\n", "integrity"),
        ("none integrity [confidentiality]\n", "confidentiality"),
        ("something new", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_lockdown_state_is_the_word_in_brackets(roots: Roots, content: str | None, state: str) -> None:
    if content is not None:
        (roots.sys / "kernel/security/lockdown").write_text(content)
    assert lockdown(roots) == state


def test_the_offset_turns_monotonic_time_into_the_epochs() -> None:
    computed = time.monotonic_ns() + clock_offset_ns()
    assert abs(computed - time.time_ns()) < 50_000_000


def test_one_late_reading_does_not_spoil_the_offset(monkeypatch: pytest.MonkeyPatch) -> None:
    monotonic = iter([0, 1_000_000, 2_000_000, 2_000_100, 3_000_000, 9_000_000])
    real = iter([5_999_999, 7_000_050, 8_000_000])  # the second pair is tight: the offset is 5 ms
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(monotonic))
    monkeypatch.setattr(time, "time_ns", lambda: next(real))
    assert clock_offset_ns(3) == 5_000_000
