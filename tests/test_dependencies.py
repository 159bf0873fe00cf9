"""What we are made of: libraries with a reason each, and objects that are what their source says."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("skytrail", "exporters", "topology", "gremlin_api")
BROUGHT = {"h11": "uvicorn", "werkzeug": "flask"}
"""Parts of a library's own that are used with it."""
SYSTEM = {"bcc"}  # of the distribution, where there is one


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [one for extra, ones in project["optional-dependencies"].items() if extra != "dev" for one in ones]
    return {normal(re.split(r"[<>=!~ \[]", one)[0]) for one in [*project["dependencies"], *extras]}


def test_each_library_has_its_reason() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Dependencies")[2]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    told = {normal(word) for cell in first for word in re.findall(r"[\w.-]+", cell)}
    assert declared() - told == set()


def test_nothing_is_imported_that_is_not_declared() -> None:
    distributions = packages_distributions()
    allowed, strangers = declared(), set()
    for package in OURS:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and not node.level:
                    names.append(node.module or "")
                for top in {name.partition(".")[0] for name in names} - SYSTEM:
                    if top in sys.stdlib_module_names or top in OURS or top == "__future__":
                        continue
                    if not allowed & {normal(one) for one in distributions.get(top, [top])}:
                        strangers.add((top, str(path.relative_to(ROOT))))
    assert {top for top, _ in strangers} == BROUGHT.keys(), strangers
    assert set(BROUGHT.values()) <= allowed


def test_tests_rebuild_the_bpf_objects() -> None:
    rules = (ROOT / "Makefile").read_text()
    assert re.search(r"^test: .*\n(?:\t.*\n)*\t.*\bbpf-check\b", rules, re.MULTILINE)
    assert "cmp" in (ROOT / "exporters/bpf/Makefile").read_text()
