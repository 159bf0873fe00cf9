"""Hints of namespaces that come, from real processes: after a hint, a look at /proc finds whoever is in the new one."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.needs import root
from support.netlab import until

from exporters.bpf import libbpf
from exporters.bpf.namespaces import OBJECT, NamespaceHints
from skytrail.errors import LoadError

pytestmark = pytest.mark.kernel

MANY = 10_000
OWN, FDS = Path("/proc/self/ns/net"), Path("/proc/self/fd")
PART = 250
RING_RECORDS = 65536 // 16
BRIEFLY = 0.05
LONG = 600.0

_LIBC = "import ctypes, os, signal, threading\nlibc = ctypes.CDLL(None, use_errno=True)\nNEW = 0x40000000\n"
_NR_CLONE = {"x86_64": 56}.get(os.uname().machine, 220)
_THREAD = f"{_LIBC}threading.Thread(target=lambda: (libc.unshare(NEW), signal.pause())).start()\nsignal.pause()"
_SPINNER = f"{_LIBC}assert libc.unshare(NEW) == 0\nwhile True: pass"
_CLONE = f"{_LIBC}child = libc.syscall({_NR_CLONE}, NEW | signal.SIGCHLD, 0, 0, 0, 0)\nassert child >= 0\nsignal.pause()"
_BY_FILE = (  # the namespace is made by a thread that leaves it again; another process enters it by its file
    f"{_LIBC}mine = os.open('/proc/self/ns/net', os.O_RDONLY)\nassert libc.unshare(NEW) == 0\n"
    "new = os.open('/proc/self/ns/net', os.O_RDONLY)\nassert libc.setns(mine, NEW) == 0\n"
    "if os.fork() == 0: assert libc.setns(new, NEW) == 0\nsignal.pause()"
)
_MANY_NAMESPACES = (
    f"{_LIBC}for _ in range({RING_RECORDS + 100}): assert libc.unshare(NEW) == 0\nprint('made', flush=True)\nsignal.pause()"
)
WAYS = {
    "unshare, then another program": ["unshare", "--net", "sleep", "600"],
    "unshare, then a child": ["unshare", "--net", "--fork", "sleep", "600"],
    "clone": [sys.executable, "-c", _CLONE],
    "a thread's unshare": [sys.executable, "-c", _THREAD],
    "unshare by one that never sleeps": [sys.executable, "-c", _SPINNER],
    "setns": [sys.executable, "-c", _BY_FILE],
}
_CHURN = f"""{_LIBC}import sys, time
files = [os.open(path, os.O_RDONLY) for path in sys.argv[1:]]
for turn in range({MANY}):
    child = os.fork()
    if child == 0:
        libc.setns(files[turn % len(files)], NEW)
        time.sleep(1e-6)  # leaves its CPU
        os._exit(0)
    os.waitpid(child, 0)
    if turn % {PART} == {PART} - 1:
        print(turn, flush=True)
"""


def namespaces() -> set[Path]:
    """Of every thread of this machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*/ns/net"):
        try:
            found.add(path.readlink())
        except OSError:
            continue  # it ended
    return found


class Looker:
    """Looks at /proc when it is told to, and only then."""

    def __init__(self, alert: float) -> None:
        self.known: set[Path] = set()
        self.failing = False
        self.looking = threading.Event()
        self.may_look = threading.Event()
        self.may_look.set()
        self.hints = NamespaceHints(self._look, alert=alert)

    def _look(self) -> None:
        self.looking.set()
        self.may_look.wait()
        self.known |= namespaces()
        if self.failing:
            raise RuntimeError


Look = Callable[..., Looker]
Run = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def look() -> Iterator[Look]:
    root()
    made: list[Looker] = []

    def start(alert: float = LONG) -> Looker:
        made.append(Looker(alert))
        made[-1].hints.start()
        return made[-1]

    yield start
    for looker in made:
        looker.hints.stop()


@pytest.fixture
def run() -> Iterator[Run]:
    """Start a process that is ended, with its children, at the end of the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        os.killpg(process.pid, 9)
        process.communicate()


def of_group(pid: int) -> set[Path]:
    """The namespaces of a process, its threads and its children."""
    found = set()
    for folder in Path(f"/proc/{pid}/task").iterdir():
        found.add((folder / "ns/net").readlink())
        for child in (folder / "children").read_text().split():
            found.add(Path(f"/proc/{child}/ns/net").readlink())
    return found


def new_one(pid: int) -> Path:
    found = of_group(pid) - {OWN.readlink()}
    assert len(found) == 1
    return found.pop()


def links_of_bpf() -> int:
    """How many programs this process holds attached, by its descriptors; another thread may close one meanwhile."""
    count = 0
    for fd in FDS.iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += fd.readlink() == Path("anon_inode:bpf_link")
    return count


@pytest.mark.parametrize("rested", [False, True], ids=["alert", "rested"])
@pytest.mark.parametrize("way", WAYS)
def test_namespace_is_told_of_when_a_task_is_in_it(way: str, rested: bool, look: Look, run: Run) -> None:
    looker = look(BRIEFLY if rested else LONG)
    if rested:
        until(lambda: links_of_bpf() == 1)

    process = run(*WAYS[way])

    inode = until(lambda: of_group(process.pid) - {OWN.readlink()})
    assert until(lambda: inode <= looker.known)


def test_programs_that_look_at_tasks_hang_on_only_while_namespaces_come(look: Look, run: Run) -> None:
    look(BRIEFLY)
    until(lambda: links_of_bpf() == 1)

    process = run("unshare", "--net", "sleep", "600")

    until(lambda: links_of_bpf() == 2)
    until(lambda: links_of_bpf() == 1)
    assert process.poll() is None


def test_only_the_first_few_in_a_namespace_are_told_of(look: Look, run: Run) -> None:
    looker = look()
    homes = [run("unshare", "--net", "sleep", "600") for _ in range(3)]
    inodes = {until(lambda home=home: new_one(home.pid)) for home in homes}
    until(lambda: inodes <= looker.known)
    command = [sys.executable, "-c", _CHURN]
    files = ["/proc/self/ns/net", *(f"/proc/{home.pid}/ns/net" for home in homes)]

    churn = run(*command, *files)
    counts = [looker.hints.hints for _ in iter(churn.stdout.readline, b"")] if churn.stdout else []

    quiet = sum(one == other for one, other in itertools.pairwise(counts))
    assert len(counts) == MANY // PART
    assert quiet > len(counts) / 2  # others on this machine may make namespaces meanwhile


def test_more_hints_than_the_ring_holds_lose_nothing(look: Look, run: Run) -> None:
    looker = look()
    looker.may_look.clear()
    looker.looking.clear()
    process = run(sys.executable, "-c", _MANY_NAMESPACES)
    assert looker.looking.wait(10)
    assert process.stdout
    assert process.stdout.readline()
    inode = new_one(process.pid)
    before = looker.hints.hints

    looker.may_look.set()

    assert until(lambda: inode in looker.known)
    assert looker.hints.hints < before + RING_RECORDS // 10  # no call for each; others on this machine make some, too
    last = run("unshare", "--net", "sleep", "600")
    inode = until(lambda: new_one(last.pid))
    assert until(lambda: inode in looker.known)


def test_failure_of_who_is_told_does_not_end_the_hearing(look: Look, run: Run) -> None:
    looker = look()
    looker.failing = True

    for _ in range(2):
        process = run("unshare", "--net", "sleep", "600")
        inode = until(lambda process=process: new_one(process.pid))
        assert until(lambda inode=inode: inode in looker.known)


def test_stopped_one_leaves_nothing_and_calls_no_more(look: Look, run: Run) -> None:
    before = len(list(FDS.iterdir()))
    looker = look()
    looker.hints.stop()
    looker.hints.stop()
    count = looker.hints.hints

    assert len(list(FDS.iterdir())) == before
    process = run("unshare", "--net", "sleep", "600")
    until(lambda: new_one(process.pid))
    assert looker.hints.hints == count
    assert not [thread for thread in threading.enumerate() if thread.name == "namespace-hints"]


def test_without_privileges_one_line_says_why() -> None:
    program = (
        "from exporters.bpf.namespaces import NamespaceHints\nfrom skytrail.errors import LoadError\n"
        "try: NamespaceHints(lambda: None).start()\nexcept LoadError as error: print(error)"
    )
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program], capture_output=True, text=True
    )

    assert "EPERM" in done.stdout
    assert "CAP_BPF" in done.stdout
    assert len(done.stdout.splitlines()) == 1, done


def test_damaged_object_is_refused_in_words(tmp_path: Path) -> None:
    damaged = tmp_path / OBJECT.name
    damaged.write_bytes(OBJECT.read_bytes()[:100])

    with pytest.raises(LoadError, match="cannot be opened"):
        libbpf.load_object(damaged)
