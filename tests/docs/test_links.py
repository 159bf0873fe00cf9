"""Links within the repository lead somewhere, pages and headings, and every page is found from the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.docpages import ROOT, pages

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(rf"{_BLOCK.pattern}|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def links_of(page: str) -> list[str]:
    found = _LINK.findall(_CODE.sub("", (ROOT / page).read_text(encoding="utf-8")))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors_of(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    for link in links_of(page):
        name, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors_of(target), f"{page}: {link}"


def test_each_page_is_in_the_index() -> None:
    told = {((ROOT / "docs") / link.partition("#")[0]).resolve() for link in links_of("docs/README.md")}
    assert {ROOT / page for page in pages() if page.startswith("docs/")} - told == {ROOT / "docs" / "README.md"}
