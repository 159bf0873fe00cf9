"""Podman by its command: against the real one, and against programs that say what it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab.containers import IMAGE, Podman
from support.interrupted import assert_interrupt_ends_a_wait
from support.netlab import until

from skytrail.runtimes.container import Change, RuntimeAwayError
from skytrail.runtimes.podman import PodmanCommand

LISTEN = """
import sys, time
from skytrail.runtimes.podman import PodmanCommand
api = PodmanCommand(sys.argv[1:])
api.start()
time.sleep(100)
"""


@contextmanager
def client(podman: Podman, quiet: float = 60.0) -> Iterator[PodmanCommand]:
    api = PodmanCommand(podman.program, quiet=quiet)
    try:
        yield api
    finally:
        api.interrupt()
        api.close()
        podman.clear()


def program(folder: Path, script: str) -> PodmanCommand:
    """A client of a program of the test's."""
    path = folder / "podman"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return PodmanCommand([str(path)])


def listeners(podman: Podman) -> list[int]:
    """Processes of ``podman events`` of this storage."""
    wanted, found = f"{podman.folder}/".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if wanted in command and b"\0events\0" in command:
            found.append(int(process.name))
    return found


def test_a_container_that_begins_and_ends(podman: Podman) -> None:
    with client(podman) as api:
        assert api.start() == []
        identity = podman.run("run", "-d", "--name", "web", "--network", "none", "--label", "tier=front", IMAGE)
        changes = api.follow()
        begun = next(changes)
        podman.run("kill", "web")
        ended = next(changes)

    assert isinstance(begun, Change)
    assert begun.container
    assert (begun.id, begun.container.name, begun.container.labels) == (identity, "web", {"tier": "front"})
    assert ended == Change(identity, None)


def test_nothing_is_missed_between_two_lists(podman: Podman) -> None:
    with client(podman, quiet=0.5) as api:
        api.start()
        list(api.follow())  # of the second in which it began to listen there may be more
        identity = podman.run("run", "-d", "--network", "none", IMAGE)
        podman.run("rm", "-f", "-t", "0", identity)  # nobody listens now
        assert api.start() == []
        told = [change for change in api.follow() if isinstance(change, Change) and change.id == identity]

    assert [change.container is None for change in told[:2]] == [False, True]


def test_listening_ends_with_who_listens(podman: Podman) -> None:
    with client(podman) as api:
        api.start()
        assert len(listeners(podman)) == 1
    assert listeners(podman) == []

    agent = subprocess.Popen([sys.executable, "-c", LISTEN, *podman.program])
    until(lambda: len(listeners(podman)) == 1)
    agent.kill()
    agent.wait()
    until(lambda: listeners(podman) == [])


def test_events_that_end_are_an_error(podman: Podman) -> None:
    with client(podman) as api:
        api.start()
        os.kill(listeners(podman)[0], 9)
        with pytest.raises(RuntimeAwayError, match="its events have ended"):
            list(api.follow())


def test_interrupt_ends_a_wait(podman: Podman) -> None:
    with client(podman) as api:
        assert_interrupt_ends_a_wait(api)


def test_no_podman(tmp_path: Path) -> None:
    api = PodmanCommand([str(tmp_path / "podman")])
    with pytest.raises(RuntimeAwayError, match="No such file"):
        api.start()
    api.close()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo '<html>'", "cannot be read"),
        ("echo '{}'", "cannot be read"),
        ("echo 'Error: no room' >&2; exit 125", "Error: no room"),
        ("exit 3", "ends with status 3"),
        ("printf '\\377\\376'", "cannot be read"),
    ],
)
def test_a_command_that_fails_or_prints_nonsense(tmp_path: Path, script: str, said: str) -> None:
    api = program(tmp_path, script)
    with pytest.raises(RuntimeAwayError, match=said):
        api.start()
    api.close()


@pytest.mark.parametrize("event", ["{]", "[]", '{"ID": 1}'])
def test_an_event_that_is_nonsense_is_an_error(tmp_path: Path, event: str) -> None:
    api = program(tmp_path, f"case $1 in events) echo '{event}'; sleep 100;; ps) echo '[]';; esac")
    assert api.start() == []
    with pytest.raises(RuntimeAwayError, match="cannot be read"):
        list(api.follow())
    api.close()
