"""What is broken in part is not broken for ever."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from skytrail.errors import RunError
from skytrail.lab import state
from skytrail.lab.breaks import breaking
from skytrail.lab.fabric import fabric
from skytrail.lab.plan import Command
from skytrail.lab.state import Lab


def test_what_cannot_be_undone_is_said_once_and_the_rest_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "ROOT", tmp_path)
    lab, plan, ran = Lab("lab", "fabric", 0, "127.0.0.1:8082", complete=True), fabric(), list[Command]()
    lab.folder.mkdir()

    def run(_: Lab, commands: Sequence[Command]) -> None:
        ran.extend(commands)
        if commands == [fault.undo[0]]:
            raise RunError("h1: a command failed")

    fault = breaking.choose(plan, "wrong-vni", 0)
    monkeypatch.setattr(breaking, "run_commands", run)
    answer = breaking.break_it(lab, plan, "wrong-vni", 0)
    assert msgspec.structs.asdict(answer)["fault"] == fault
    del ran[:]
    with pytest.raises(RunError, match="h1: a command failed: if that was not broken all is well"):
        breaking.mend(lab)
    assert ran == list(fault.undo)
    assert breaking.mend(lab) is None
