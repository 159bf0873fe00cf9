"""``skytrail lab``: what is wrong with the words or the machine is one line that says what to do."""

from __future__ import annotations

import os
import shutil

import pytest

from skytrail.cli.main import main

Said = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["status", "--name", "none-such"], 1, "there is no laboratory 'none-such': 'skytrail lab up' builds one"),
        (["status", "--name", "No/Name"], 2, "is no name of a laboratory"),
        (["break", "--name", "none-such", "flood"], 2, "there is no fault 'flood': drop-rule, mtu"),
        (["up", "three-hosts"], 2, "'three-hosts' is not one of 'two-hosts', 'fabric'"),
    ],
)
def test_wrong_words(words: list[str], status: int, said: str, capsys: Said) -> None:
    assert main(["lab", *words]) == status
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_down_without_one(capsys: Said) -> None:
    assert main(["lab", "down", "--name", "none-such"]) == 0
    assert capsys.readouterr().out == "there is no laboratory 'none-such'\n"


def test_kinds_are_told(capsys: Said) -> None:
    assert main(["lab", "break"]) == 0
    assert len(capsys.readouterr().out.split()) == 10


def test_needs_root(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["lab", "up", "--name", "none-such"]) == 1
    assert "which needs root: run it with sudo" in capsys.readouterr().err


def test_names_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda program: None if program in ("nft", "ovs-vsctl") else program)
    assert main(["lab", "up", "fabric", "--name", "none-such"]) == 1
    assert "needs nft, ovs-vsctl: apt install nftables openvswitch-switch" in capsys.readouterr().err
