"""Every step of flows is in the documentation; ``tests/docs`` runs what is shown there."""

from __future__ import annotations

from pathlib import Path

from gremlin_api.language.skydive import STEPS
from gremlin_api.skydive.flowsteps import FLOW_STEPS

_DOCS = Path(__file__).parents[3] / "docs"
_FLOWS = (_DOCS / "skydive.md").read_text().partition("## Flows")[2].partition("\n## ")[0]


def test_each_step_of_flows_is_in_the_documentation() -> None:
    for name in FLOW_STEPS:
        assert f"`{name}" in _FLOWS
        assert name in STEPS
