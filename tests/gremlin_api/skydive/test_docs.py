"""What the documentation shows is answered, and finds something (``support.recording``)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.tables import recorded, told

from gremlin_api.language.skydive import STEPS
from gremlin_api.skydive.flowsteps import FLOW_STEPS

_DOCS = Path(__file__).parents[3] / "docs"
_FLOWS = (_DOCS / "skydive.md").read_text().partition("## Flows")[2].partition("\n## ")[0]
QUERIES = re.findall(r'^(?:ask|skytrail query) "(G\..*?)"', _FLOWS, re.MULTILINE)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_of_the_documentation_finds_something(query: str) -> None:
    [udp] = {one["TrackingID"] for one in recorded("flows") if one.get("Transport", {}).get("B") == 8989}
    assert told(re.sub(r"'[0-9a-f]{32}'", f"'{udp}'", query))


def test_there_are_such_queries() -> None:
    assert len(QUERIES) > 12


def test_each_step_of_flows_is_in_the_documentation() -> None:
    for name in FLOW_STEPS:
        assert f"`{name}" in _FLOWS
        assert name in STEPS
