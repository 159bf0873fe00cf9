"""The embedded store's file on bad days: killed processes, full and damaged disks, other programs, other versions; backups."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.steps import T, apply, batch, element, node, states
from support.needs import root
from support.netlab import until

from topology.store.embedded import schema
from topology.store.embedded.backup import back_up, bring_back
from topology.store.embedded.schema import APPLICATION_ID
from topology.store.embedded.store import FILE, EmbeddedStore
from topology.store.interface import StaleWriterError, StoreError

A, B = element("a"), element("b")

_WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    sys.path[:0] = sys.argv[2:]
    from contract.steps import batch, element, node
    from topology.store.embedded.store import EmbeddedStore

    store = EmbeddedStore(Path(sys.argv[1]))
    for number in range(1, 10**9):
        store.apply(batch(*((element(one), number, node(n=number, pad="x" * 500)) for one in range(20)), number=number))
        print(number, flush=True)
    """
)


def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    folder, acknowledged = tmp_path / "graph", 0
    tests = Path(__file__).parents[3]
    for _ in range(3):
        command = [sys.executable, "-c", _WRITER, str(folder), str(tests), str(tests.parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                acknowledged = int(line)
                if acknowledged % 50 == 0:
                    process.send_signal(signal.SIGKILL)
                    break
            rest = process.stdout.read().split()
            acknowledged = max([acknowledged, *(int(word) for word in rest)])
        store = EmbeddedStore(folder)
        last = store.last_number("w", 1)
        assert last in {acknowledged, acknowledged + 1}
        numbers = {one.state.metadata["n"] for one in store.current() if one.state}
        assert numbers == {last}  # batches are whole
        assert store.health().revisions == 20 * last
        store.close()
        folder = tmp_path / f"graph{acknowledged}"  # a new one: the writer counts from 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    root()
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_a_clear_error_and_loses_nothing(small_disk: Path) -> None:
    store = EmbeddedStore(small_disk / "graph")
    filler, written = small_disk / "filler", 0
    filler.write_bytes(bytes(800_000))
    failure = ""
    while not failure and written < 1000:
        try:
            apply(store, (element(written), 1, node(n=written, pad="x" * 5000)))
            written += 1
        except StoreError as error:
            failure = str(error)
    assert failure.endswith("full: free space on that disk; nothing stored is lost")
    assert 0 < written < 1000
    assert "full" in str(store.health().failure)
    assert len(list(store.current())) == len(store.as_of(T + 1)) == written
    filler.unlink()
    apply(store, (A, 2, node(n=-1)))  # it goes on by itself
    assert store.health().failure is None
    store.close()
    store = EmbeddedStore(small_disk / "graph")
    assert len(list(store.current())) == written + 1
    store.close()


@pytest.mark.parametrize("damage", ["header", "middle"])
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, damage: str) -> None:
    store = EmbeddedStore(tmp_path)
    for number in range(200):
        apply(store, (element(number), 1, node(n=number, pad="x" * 1000)))
    store.close()
    path = tmp_path / FILE
    content = bytearray(path.read_bytes())
    at = 0 if damage == "header" else 4096
    content[at : at + 40_000] = os.urandom(40_000)
    path.write_bytes(content)

    def use() -> None:
        with contextlib.closing(EmbeddedStore(tmp_path)) as found:
            list(found.between(0, 2 * T))
            apply(found, *((element(number), 2, node(n=number)) for number in range(200)))

    with pytest.raises(StoreError, match=r"graph\.sqlite: .*skytrail restore"):
        use()


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute("CREATE TABLE precious (x)")
        other.commit()
    with pytest.raises(StoreError, match="is no graph of Skytrail's"):
        EmbeddedStore(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    EmbeddedStore(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"later version .schema 99.*upgrade skytrail"):
        EmbeddedStore(tmp_path)


def test_an_earlier_version_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EmbeddedStore(tmp_path)
    apply(store, (A, 1, node(n=1)))
    store.close()
    further = (*schema.MIGRATIONS, "CREATE TABLE further (x); INSERT INTO further VALUES (7);")
    monkeypatch.setattr(schema, "MIGRATIONS", further)
    for _ in range(2):
        store = EmbeddedStore(tmp_path)
        assert states(store.current()) == {A: node(n=1)}
        store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("SELECT x FROM further").fetchall() == [(7,)]
        assert database.execute("PRAGMA user_version").fetchone() == (len(further),)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    with pytest.raises(StoreError, match="another process uses the graph"):
        EmbeddedStore(tmp_path)
    store.close()
    EmbeddedStore(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write .*file/graph: Not a directory: make it writable"):
        EmbeddedStore(tmp_path / "file" / "graph")


def test_a_backup_of_a_store_in_use_has_all_of_one_moment(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "graph")
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            changes = [(element(one), number, node(n=number)) for one in range(10)]
            store.apply(batch(*changes, writer="busy", number=number))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until(lambda: store.health().sequence > 500)
        assert back_up(tmp_path / "graph", tmp_path / "file") == (tmp_path / "file").stat().st_size
    finally:
        stop.set()
        writer.join()
    whole = list(store.between(0, 2 * T))
    store.close()
    assert bring_back(tmp_path / "file", tmp_path / "other") is None
    with contextlib.closing(EmbeddedStore(tmp_path / "other")) as restored:
        numbers = {one.state.metadata["n"] for one in restored.current() if one.state}
        assert len(numbers) == 1
        [last] = numbers
        expected = [one for one in whole if one.state and one.state.metadata["n"] < last]
        found = [one for one in restored.between(0, 2 * T) if one.state and one.state.metadata["n"] < last]
        assert found == expected


def test_what_a_restore_replaces_is_kept(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "graph")
    apply(store, (A, 1, node(n=1)))
    back_up(tmp_path / "graph", tmp_path / "file")
    apply(store, (B, 2, node(n=2)))
    with pytest.raises(StoreError, match="another process uses the graph"):
        bring_back(tmp_path / "file", tmp_path / "graph")
    store.close()
    kept = bring_back(tmp_path / "file", tmp_path / "graph")
    with contextlib.closing(EmbeddedStore(tmp_path / "graph")) as restored:
        assert states(restored.current()) == {A: node(n=1)}
    assert kept
    bring_back(kept, tmp_path / "third")
    with contextlib.closing(EmbeddedStore(tmp_path / "third")) as before:
        assert states(before.current()) == {A: node(n=1), B: node(n=2)}


def test_what_a_killed_process_left_in_the_log_is_kept_too_and_every_time(tmp_path: Path) -> None:
    with contextlib.closing(EmbeddedStore(tmp_path / "graph")) as store:
        back_up(tmp_path / "graph", tmp_path / "file")
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
        apply(store, (A, 1, node(n=1)))
        shutil.copytree(tmp_path / "graph", tmp_path / "killed")  # as SIGKILL leaves it: the change is in the log alone
    first, second = (bring_back(tmp_path / "file", tmp_path / "killed") for _ in range(2))
    assert first
    assert second
    assert first != second
    for number, (kept, expected) in enumerate(((first, {A: node(n=1)}), (second, {}))):
        bring_back(kept, tmp_path / str(number))
        with contextlib.closing(EmbeddedStore(tmp_path / str(number))) as found:
            assert states(found.current()) == expected
    assert not list(tmp_path.glob("*/*.restoring"))


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be looked at" * 100])
def test_what_is_no_backup_is_refused_and_changes_nothing(tmp_path: Path, content: bytes) -> None:
    store = EmbeddedStore(tmp_path / "graph")
    apply(store, (A, 1, node(n=1)))
    store.close()
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(StoreError, match="a file that 'skytrail backup' made"):
        bring_back(file, tmp_path / "graph")
    with pytest.raises(StoreError, match="is there already"):
        back_up(tmp_path / "graph", file)
    with contextlib.closing(EmbeddedStore(tmp_path / "graph")) as found:
        assert states(found.current()) == {A: node(n=1)}


def test_a_database_with_our_mark_alone_is_no_backup(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "file")) as database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("CREATE TABLE other (x)")
    with pytest.raises(StoreError, match="is no graph of Skytrail's"):
        bring_back(tmp_path / "file", tmp_path / "graph")


def test_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no graph in"):
        back_up(tmp_path, tmp_path / "file")


def test_lease_of_a_process_that_ended_keeps_nobody_waiting(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    epoch = store.lease("netlink@host1", "hub1/a", 3600)
    with pytest.raises(StaleWriterError, match="hub1"):
        store.lease("netlink@host1", "hub2/a", 3600)
    store.close()
    store = EmbeddedStore(tmp_path)  # a restored one, say
    assert store.lease("netlink@host1", "hub2/a", 3600) == epoch + 1
    store.close()
