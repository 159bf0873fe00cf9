"""What pages tell to type is typed: on a host of its own, with the laboratory that the page names, in the order of the page.

* ``console``: what follows ``$`` runs, and says what is shown (:func:`support.docpages.unlike`).
* ``sh``: each command runs, and succeeds; a query finds something.
* ``gremlin``: each query is answered, and finds something.
* ``python``: it runs.
* ``yaml``: these are settings.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby

import pytest
from support.docpages import NEVER_RUN, Block, blocks_of, pages, unlike
from support.docshell import Machine, Shell, machine
from support.needs import root, tool

pytestmark = pytest.mark.timeout(400)

_PATIENCE = 40.0  # seconds until what was done is seen everywhere, and the laboratory itself is no news of the last 30
_LASTING = re.compile(
    r"(sudo )?skytrail (up|agent|hub|topology --watch|snapshot load|probe (?!.*--once)\w+$)|.*\| *skytrail flows$"
)
"""Commands that run until they are ended."""
_ASKS = r"(skytrail )?(flows|sockets|trace|path|topology|diff|query|probe|lab status)\b|curl -s http://127"
_READS = re.compile(rf"(sudo )?skytrail (lab exec \w+ )?({_ASKS})|ask ")
"""Commands that may be asked again: they change nothing."""
_QUERY = re.compile(r'(ask|skytrail query) "')
_NOTHING = frozenset({"", "null", "0", "[]", "[0]", "{}", "[{}]"})
"""What queries answer that find nothing."""
_SERVES = re.compile(r"(sudo )?skytrail (up|agent|hub)\b")
_OWN = ("AGENT_LISTEN=127.0.0.1:0", "HUB_LISTEN=127.0.0.1:0", "HUB_WIRE=127.0.0.1:0", "STATE_DIR=$(mktemp -d)")
_BESIDE = " ".join(f"SKYTRAIL_{one}" for one in _OWN)
"""So that it runs beside another one."""
_OURS = re.compile(r"(sudo )?(skytrail|ask|curl|echo)\b|ask\(\)|\w+=")
"""Commands that may be typed here: what installs, or changes a host, is not ours to run."""
_INTERRUPTED = {0, 124, 130, 143}


def laboratory_of(page: str) -> str:
    """The first one that a page needs."""
    return next((block.marks["laboratory"] for block in blocks_of(page) if "laboratory" in block.marks), "none")


def shown(block: Block) -> bool:
    return block.language in NEVER_RUN or "not run" in block.marks


PAGES = sorted((page for page in pages() if not all(map(shown, blocks_of(page)))), key=laboratory_of)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    root()
    tool("jq", "jq")
    tool("dot", "graphviz")
    with machine(tmp_path_factory.mktemp("docs")) as made:
        yield made


def allowed(block: Block) -> set[int]:
    return {0, *map(int, block.marks.get("status", "").split())}


def typed(block: Block, shell: Shell, command: str, expected: str | None) -> None:
    """Type a command; what only looks is asked again until it sees what is shown."""
    assert _OURS.match(command), f"{block.place}: mark the block with 'not run: why', for no test may run: {command}"
    if _LASTING.match(command):
        beside = _BESIDE if _SERVES.match(command) else ""
        status, said = shell.run(f"{beside} timeout --signal=INT 3 {command}")
        assert status in _INTERRUPTED, f"{block.place}: {command}: exit status {status}\n{said}"
        return
    deadline = time.monotonic() + _PATIENCE
    while True:
        status, said = shell.run(command)
        wrong = unlike(expected, said) if expected is not None else found_nothing(block, command, said)
        if status in allowed(block) and wrong is None:
            return
        if not _READS.match(command) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert status in allowed(block), f"{block.place}: {command}: exit status {status}\n{said}"
    assert wrong is None, f"{block.place}: {command}: as shown there should be\n{wrong}\nand it says\n{said}"


def found_nothing(block: Block, command: str, said: str) -> str | None:
    """What is missing where a query of a block that promises something has no answer."""
    if not _QUERY.match(command) or "finds nothing" in block.marks:
        return None
    answer = "".join(line for line in said.splitlines() if not line.startswith("skytrail: ")).strip()
    return "something that is found" if answer in _NOTHING else None


def console(block: Block, shell: Shell) -> None:
    command, lines = "", list[str]()
    for line in [*block.text.splitlines(), "$ true"]:
        if line.startswith("$ "):
            if command:
                typed(block, shell, command, "\n".join(lines))
            command, lines = line[2:], []
        elif command.endswith("\\"):
            command = f"{command[:-1]} {line.removeprefix('> ')}"
        else:
            lines.append(line)


def commands(block: Block, shell: Shell) -> None:
    pending = ""
    for line in block.text.splitlines():
        pending += f"{line}\n"
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # a quote is open
            continue
        if pending.endswith("\\\n"):
            continue
        if words:
            typed(block, shell, re.sub(r"\s\s+#.*", "", pending).strip(), None)
        pending = ""


def queries(block: Block, shell: Shell) -> None:
    asked: list[str] = []
    for line in block.text.splitlines():
        query = re.sub(r"\s+(//|#) .*", "", line).strip()
        if query.startswith(".") and asked:
            asked[-1] += query
        elif query:
            asked.append(query)
    deadline = time.monotonic() + _PATIENCE
    while True:
        status, said = shell.run(f"printf '%s\\n' {' '.join(map(shlex.quote, asked))} | skytrail query --script -")
        answers = [line for line in said.splitlines() if not line.startswith("skytrail: ")]
        assert status == 0, f"{block.place}: {said}"
        assert len(answers) == len(asked), said
        nothing = [query for query, answer in zip(asked, answers, strict=True) if answer.strip() in _NOTHING]
        if not nothing or "finds nothing" in block.marks or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert not nothing or "finds nothing" in block.marks, f"{block.place}: found nothing: {nothing}"


def program(block: Block, shell: Shell) -> None:
    status, said = shell.run(f"python -c {shlex.quote(block.text)}")
    assert status == 0, f"{block.place}: {said}"


def settings(block: Block, shell: Shell) -> None:
    status, said = shell.run(f"printf %s {shlex.quote(block.text)} > settings.yaml; skytrail config --config settings.yaml")
    assert status == 0, f"{block.place}: {said}"


RUN: Mapping[str, Callable[[Block, Shell], None]] = {
    "console": console,
    "sh": commands,
    "gremlin": queries,
    "python": program,
    "yaml": settings,
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_true(page: str, host: Machine) -> None:
    """What a page that fails has left half done is no other page's."""
    try:
        _read(page, host)
    except BaseException:
        host.clear()
        raise


def _read(page: str, host: Machine) -> None:
    """Blocks of one place share a shell, so that a later one knows what an earlier one set."""
    for laboratory, blocks in groupby(_with_laboratory(page), lambda pair: pair[0]):
        if laboratory == "fabric":
            tool("ovs-vswitchd", "openvswitch-switch")
        host.build(laboratory)
        for where, some in groupby((block for _, block in blocks), lambda block: block.marks.get("on")):
            with host.shell(where) as shell:
                for block in some:
                    if first := block.marks.get("first"):
                        status, said = shell.run(first)
                        assert status == 0, f"{block.place}: {first}: {said}"
                    RUN[block.language](block, shell)
                    _follow(block, host)


def _follow(block: Block, host: Machine) -> None:
    """A page may build and remove a laboratory itself."""
    for done in re.findall(r"^\$ (?:sudo )?skytrail lab (up(?: fabric)?|down)$", block.text, re.MULTILINE):
        host.laboratory = {"up": "two-hosts", "up fabric": "fabric", "down": "none"}[done]


def _with_laboratory(page: str) -> Iterator[tuple[str, Block]]:
    laboratory = "none"
    for block in blocks_of(page):
        laboratory = block.marks.get("laboratory", laboratory)
        if not shown(block):
            yield laboratory, block


def test_each_block_says_what_it_is() -> None:
    found = [block for page in pages() for block in blocks_of(page) if "not run" not in block.marks]
    assert [block.place for block in found if block.language not in {*RUN, *NEVER_RUN}] == []


def test_few_blocks_are_not_run() -> None:
    """They are told with their reasons at the end of the run (conftest.py)."""
    left = [block for page in pages() for block in blocks_of(page) if "not run" in block.marks]
    assert len(left) <= 19
    assert all(len(block.marks["not run"]) > 10 for block in left)
