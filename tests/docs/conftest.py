"""Tells at the end of a run what of the documentation is not run, and why."""

from __future__ import annotations

import pytest
from support.docpages import blocks_of, pages


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("blocks of the documentation that no test runs")
    for page in pages():
        for block in blocks_of(page):
            if reason := block.marks.get("not run"):
                terminalreporter.line(f"{block.place}: {reason}")
