"""Write the generated pages to a folder, docs/ if none is named."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from skytrail.cli import reference
from skytrail.cli.pages import commands, routes, steps
from skytrail.settings.reference import render_reference

PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": commands.render,
    "gremlin-steps.md": steps.render,
    "http.md": routes.render,
    "metrics.md": reference.render,
    "settings.md": render_reference,
}
"""By name: the page as it should be."""


def main(folder: Path) -> None:
    """Write all."""
    for name, render in PAGES.items():
        (folder / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2] or ["docs"]))
