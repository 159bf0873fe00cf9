"""What pages of documentation show: their fenced blocks, and marks before these that say how a test runs them.

A mark is a comment on a line of its own, ``<!-- status: 3 -->``, before the block; :data:`MARKS` says which there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

MARKS: Mapping[str, str] = {
    "laboratory": "which one the page needs from here on: two-hosts, fabric, up (this host alone), none",
    "on": "the host of the laboratory where the block runs",
    "first": "a command that runs before the block",
    "status": "exit status that commands of the block may have, beside 0",
    "finds nothing": "why a query of the block finds nothing in the laboratory",
    "not run": "why the block is not run",
}

NEVER_RUN = frozenset({"text", "json", "toml", "ini"})
"""Languages of blocks that are pictures, answers, files."""

_FENCE = re.compile(r"```(\S*)\s*")
_MARK = re.compile(r"<!-- ([a-z ]+): (.*?) -->")
_END = "```"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        page: it stands in, from the root of the repository.
        line: of its fence, from 1 on.
        language: that its fence names.
        text: of it.
        marks: before it, by name.
    """

    page: str
    line: int
    language: str
    text: str
    marks: Mapping[str, str]

    @property
    def place(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """All pages, from the root of the repository."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def blocks_of(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order. Raises ValueError: a mark is not known, or a fence is not closed."""
    lines = iter(enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1))
    marks: dict[str, str] = {}
    for number, line in lines:
        if mark := _MARK.fullmatch(line):
            if mark[1] not in MARKS:
                raise ValueError(f"{page}:{number}: '{mark[1]}' is no mark: {', '.join(MARKS)}")
            marks[mark[1]] = mark[2]
        elif fence := _FENCE.fullmatch(line):
            inside: list[str] = []
            for _, text in lines:
                if text == _END:
                    break
                inside.append(text)
            else:
                raise ValueError(f"{page}:{number}: the block has no end")
            yield Block(page, number, fence[1], "\n".join(inside), marks)
            marks = {}
        elif line:
            marks = {key: value for key, value in marks.items() if key == "laboratory"}


# What is otherwise each time, by what stands for it; in this order.
_MASKS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b"), "<mac>"),
    (re.compile(r"\bfe80::[0-9a-f:]+"), "<link-local>"),
    (re.compile(r"\b(?=\w*\d)(?=\w*[a-f])[0-9a-f]{12,32}\b"), "<id>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?"), "<time>"),
    (re.compile(r"(?<=[:\]])(3[2-9]|[45]\d|6[0-5])\d{3}\b"), "<port>"),
    (re.compile(r"(?<=\w)\[\d+\]"), "[<pid>]"),
    (re.compile(r"\+?\b\d+(\.\d+)? ?(ns|µs|ms|s)\b"), "<duration>"),
    (re.compile(r"\b[1-9]\d*(\.\d+)? ?(k|M|G)?B\b"), "<n> B"),
    (re.compile(r"\b[1-9]\d*( packets\b| / (?=<n> B))"), r"<n>\1"),
    (re.compile(r"─+"), "─"),
    (re.compile(r"\s+"), " "),
)
_ANY = "…"


def masked(line: str) -> str:
    """A line without what is otherwise each time: times, identities, how much was sent if anything, the width of columns."""
    for pattern, name in _MASKS:
        line = pattern.sub(name, line)
    return line.strip()


def unlike(shown: str, seen: str) -> str | None:
    """The first line that is shown and not seen; None: it is all as it is shown.

    ``…`` stands for the rest of a word, or a part of a line; alone on a line for any lines.
    """
    wanted = [masked(line) for line in shown.splitlines() if line.strip()]
    found = [masked(line) for line in seen.splitlines() if line.strip()]
    at, free = 0, False
    for number, line in enumerate(wanted):
        if line == _ANY:
            free = True
            continue
        pattern = re.compile(".*".join(re.escape(piece.strip()) for piece in line.split(_ANY)))
        if not free:
            if at >= len(found) or not pattern.fullmatch(found[at]):
                return wanted[number]
        else:
            at = next((place for place in range(at, len(found)) if pattern.fullmatch(found[place])), len(found))
            if at == len(found):
                return wanted[number]
        at, free = at + 1, False
    return None if free or at == len(found) else f"{found[at]} (is not shown)"
