"""A short storm of faults, one of each kind; ``tests/bench/chaos.py`` has long ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.chaos.faults import KINDS
from support.chaos.laboratory import chaos
from support.chaos.storm import Storm, weather

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]


def test_graph_history_and_totals_are_as_without_faults(tmp_path: Path) -> None:
    with chaos(tmp_path) as made:
        outcome = weather(made, Storm(len(KINDS), seed=7, lasts=(0.5, 1.0), pause=0.5), print)
    assert {what: lines[:10] for what, lines in outcome.wrong.items() if lines} == {}
    assert outcome.kinds == dict.fromkeys(KINDS, 1)
