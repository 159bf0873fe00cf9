"""Runs commands in the places of a laboratory that is there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from skytrail.errors import RunError
from skytrail.lab.plan import Command, Place
from skytrail.lab.processes import only_child, read_record
from skytrail.lab.state import Lab

_CONFIG = "/run/skytrail/skytrail.yaml"
_INIT = "init.pid"
_SHOWN = 3  # lines of what a shell says, the failing one among them


def node_folder(lab: Lab, node: str) -> Path:
    """Of a node's files: /run/skytrail inside of it."""
    return lab.folder / "nodes" / node


def record_of(lab: Lab, node: str) -> Path:
    """Of the process that holds a node."""
    return node_folder(lab, node) / _INIT


def init_of(lab: Lab, node: str) -> int:
    """Process 1 of a node, as this machine numbers it.

    Raises:
        RunError: it has ended.
    """
    outer = read_record(record_of(lab, node))
    inner = only_child(outer) if outer is not None else None
    if inner is None:
        raise RunError(f"{node} of laboratory {lab.name!r} has ended: 'skytrail lab down', then 'lab up'")
    return inner


def entering(lab: Lab, place: Place) -> list[str]:
    """The words before a command that is to run in a place."""
    words = ["nsenter", f"--target={init_of(lab, place.node)}", "--mount", "--net", "--uts", "--ipc", "--pid", "--"]
    return [*words, "ip", "netns", "exec", place.netns] if place.netns else words


@lru_cache(1)
def environment() -> Mapping[str, str]:
    """Of what runs in a place: this very release of Skytrail, with the node's settings."""
    import skytrail  # noqa: PLC0415 - this package's own place

    release = str(Path(skytrail.__file__).resolve().parent.parent)
    paths = [release, os.environ.get("PYTHONPATH", "")]
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SKYTRAIL_")}
    return {
        **ours,
        "PYTHONPATH": ":".join(filter(None, paths)),
        "PATH": ":".join(filter(None, programs)),
        "SKYTRAIL_CONFIG": _CONFIG,
    }


def run(lab: Lab, place: Place, words: Sequence[str], *, stdin: str = "", timeout: float = 60.0) -> tuple[int, str]:
    """Run a command in a place; gives its exit status and all that it wrote.

    Raises:
        RunError: the place is not there, or the command takes too long.
    """
    try:
        done = subprocess.run(
            [*entering(lab, place), *words],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            env=environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"{place}: {' '.join(words)[:80]!r} has not ended within {timeout:g} s") from error
    return done.returncode, done.stdout


def run_lines(lab: Lab, place: Place, lines: Sequence[str]) -> None:
    """Run lines of shell in a place.

    Raises:
        RunError: one failed; says which.
    """
    status, said = run(lab, place, ["sh", "-e", "-v"], stdin="\n".join(lines) + "\n")
    if status:
        raise RunError(f"{place}: a command failed: {' '.join(' '.join(said.splitlines()[-_SHOWN:]).split())}")


def run_commands(lab: Lab, commands: Sequence[Command]) -> None:
    """Run commands in order. Raises RunError."""
    for command in commands:
        run_lines(lab, command.place, [command.line])


def spawn(lab: Lab, place: Place, words: Sequence[str], name: str) -> None:
    """Start a program in a place, that ends with the laboratory; its pid there is in /run/skytrail/<name>.pid."""
    folder = "/run/skytrail"
    line = f'exec >>{folder}/{name}.log 2>&1 </dev/null; "$@" & echo $! >{folder}/{name}.pid'
    run_lines_in = [*entering(lab, place), "setsid", "sh", "-c", line, "sh", *words]
    subprocess.run(run_lines_in, check=True, stdin=subprocess.DEVNULL, env=environment(), cwd="/")
