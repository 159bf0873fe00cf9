"""Pages that are generated say what the code declares today."""

from __future__ import annotations

from pathlib import Path

import pytest

from skytrail.cli.pages.__main__ import PAGES
from skytrail.cli.pages.routes import ABOUT
from skytrail.http.roles import OPEN, ROUTES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run 'make docs'"


def test_each_route_is_described() -> None:
    assert set(ABOUT) == {OPEN, *ROUTES}, "describe it in skytrail/cli/pages/routes.py, and run 'make docs'"
