"""A damaged file, whatever was done to it, is a clear error or changes no answer; a log that was cut loses its last batches."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from contract.steps import T, apply, batch, element, node
from support.graphhistory import flaws
from support.ports import free_port

from topology.reconcile import Reconciler
from topology.store.embedded.store import FILE, EmbeddedStore
from topology.store.interface import StoreError

PAGE = 4096
ELEMENTS, BATCHES = 120, 200
TURNS = 8
CUTS = 12
LOG = f"{FILE}-wal"
TESTS = Path(__file__).parents[3]


def changes(chance: random.Random, number: int) -> list[tuple[str, int, Any]]:
    """What a batch does to some elements: they come, change and go; some states are large."""
    chosen = chance.sample(range(ELEMENTS), 8)
    states = [node(n=number, pad="x" * chance.randrange(chance.choice((400, 12_000)))) for _ in chosen]
    return [
        (element(one), number * 10, None if chance.random() < 0.15 else state)
        for one, state in zip(chosen, states, strict=True)
    ]  # fmt: skip


def fill(store: EmbeddedStore) -> None:
    chance = random.Random(1)
    for number in range(1, BATCHES + 1):
        store.apply(batch(*changes(chance, number), number=number))


def answers(store: EmbeddedStore) -> list[Any]:
    """All that it can be asked."""
    moments = [sorted(store.as_of(T + at), key=lambda one: one.id) for at in (5, 500, 1500, BATCHES * 10)]
    now = sorted(store.current(), key=lambda one: one.id)
    return [now, moments, list(store.between(0, T + 10**6)), store.feed(0, 10**6)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Any]]:
    """A file, and its answers."""
    folder = tmp_path_factory.mktemp("sound")
    with contextlib.closing(EmbeddedStore(folder)) as store:
        fill(store)
        expected = answers(store)
    assert not (folder / LOG).exists()
    return (folder / FILE).read_bytes(), expected


def overwritten(content: bytes, chance: random.Random, filling: str) -> bytes:
    at, length = chance.randrange(len(content)), chance.choice((16, 200, PAGE, 5 * PAGE))
    length = min(length, len(content) - at)
    put = bytes(length) if filling == "zeros" else chance.randbytes(length)
    return content[:at] + put + content[at + length :]


def misplaced(content: bytes, chance: random.Random, _: str) -> bytes:
    """A page is written where another belongs."""
    target, source = (chance.randrange(len(content) // PAGE) * PAGE for _ in range(2))
    return content[:target] + content[source : source + PAGE] + content[target + PAGE :]


def truncated(content: bytes, chance: random.Random, _: str) -> bytes:
    return content[: chance.randrange(1, len(content))]


@pytest.mark.parametrize("seed", range(TURNS))
@pytest.mark.parametrize(
    ("damage", "how"),
    [(overwritten, "zeros"), (overwritten, "noise"), (misplaced, ""), (truncated, "")],
    ids=["zeros", "noise", "misplaced", "truncated"],
)
def test_damage_is_a_clear_error_and_never_another_answer(
    sound: tuple[bytes, list[Any]], tmp_path: Path, damage: Any, how: str, seed: int
) -> None:
    content, expected = sound
    (tmp_path / FILE).write_bytes(damage(content, random.Random(seed), how))
    said, found = "", None
    try:
        with contextlib.closing(EmbeddedStore(tmp_path)) as store:
            store.soundness.checker.join()
            said = store.health().failure or ""
            Reconciler(store, "hub", lambda: T)
            found = answers(store)
            apply(store, *((element(one), 10**6, node(n=0)) for one in range(ELEMENTS)))
    except StoreError as error:
        said = said or str(error)
    if not said:
        assert found == expected
    else:
        assert said.startswith(str(tmp_path / FILE))
        assert said.count("\n") == 0
        assert "skytrail restore FILE" in said


def test_file_that_was_lost_beside_its_log_is_an_error_and_the_log_is_kept(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    log = (folder / LOG).read_bytes()
    assert log
    for lose in (lambda file: file.write_bytes(b""), Path.unlink):
        lose(folder / FILE)
        with pytest.raises(StoreError, match=rf"{FILE} is empty, and {LOG} beside it is not: .*skytrail restore FILE"):
            EmbeddedStore(folder)
        assert (folder / LOG).read_bytes() == log


_LOADER = textwrap.dedent(
    """
    import runpy, sys, time
    from pathlib import Path
    sys.path[:0] = sys.argv[3:]
    ours = runpy.run_path(sys.argv[1])
    ours["fill"](ours["EmbeddedStore"](Path(sys.argv[2])))
    print("filled", flush=True)
    time.sleep(300)
    """
)


def killed(tmp_path: Path) -> Path:
    """The folder of a store whose process was killed: all is in its log, nothing was brought to its place yet."""
    folder = tmp_path / "killed"
    program = Path(__file__)
    command = [sys.executable, "-c", _LOADER, str(program), str(folder), str(TESTS), str(TESTS.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "filled\n"
        process.send_signal(signal.SIGKILL)
    return folder


def test_log_that_was_cut_loses_its_last_batches_and_nothing_else(tmp_path: Path) -> None:
    folder = killed(tmp_path)
    chance, length, lost = random.Random(2), (folder / LOG).stat().st_size, set()
    for turn in range(CUTS):
        copy = tmp_path / f"cut{turn}"
        shutil.copytree(folder, copy)
        with (copy / LOG).open("r+b") as log:
            log.truncate(chance.randrange(length))
        try:
            store = EmbeddedStore(copy)
        except StoreError as error:
            raise AssertionError(f"cut {turn}") from error
        with contextlib.closing(store):
            last = store.last_number("w", 1)
            lost.add(BATCHES - last)
            assert flaws(store) == []
            assert answers(store) == answers_after(tmp_path / f"whole{turn}", last)
    assert len(lost) > CUTS // 2


def answers_after(folder: Path, last: int) -> list[Any]:
    """What a store answers that was given only the first batches."""
    chance = random.Random(1)
    with contextlib.closing(EmbeddedStore(folder)) as store:
        for number in range(1, last + 1):
            store.apply(batch(*changes(chance, number), number=number))
        return answers(store)


def test_damage_at_the_start_is_one_line(sound: tuple[bytes, list[Any]], tmp_path: Path) -> None:
    content, _ = sound
    folder = tmp_path / "graph"
    folder.mkdir()
    (folder / FILE).write_bytes(content[: len(content) // 2])
    listen = [f"{part}.listen=127.0.0.1:{free_port()}" for part in ("agent", "hub")]
    settings = [word for one in (f"state_dir={tmp_path}", *listen) for word in ("--set", one)]
    words = [sys.executable, "-m", "skytrail", "up", *settings]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=TESTS.parent)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("skytrail: error:")]
    assert "Traceback" not in done.stderr
    assert len(errors) == 1
    assert f"{folder / FILE}: " in errors[0]
    assert "skytrail restore FILE" in errors[0]
