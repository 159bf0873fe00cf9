"""The log of changes goes into the file, also that of processes that were killed before it was due."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from support.netlab import until

from topology.store.embedded.checkpoint import Checkpointer
from topology.store.embedded.schema import connect


def test_what_was_left_in_the_log_is_brought_to_its_place_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "graph.sqlite"
    with closing(connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute("CREATE TABLE one (what BLOB)")
        database.execute("INSERT INTO one VALUES (zeroblob(200000))")
        assert path.stat().st_size < 200_000
        checkpointer = Checkpointer(path, synchronous="normal")
        try:
            until(lambda: path.stat().st_size > 200_000)
        finally:
            checkpointer.close()
