from __future__ import annotations

import sqlite3
from pathlib import Path

from support.netlab import until

from topology.store.interface import AwayError, Batch
from topology.store.janusgraph.spool import Spool


class Store:
    """Takes batches once it is there."""

    def __init__(self) -> None:
        self.there = False
        self.taken: list[int] = []
        self.fault: Exception | None = None

    def write(self, batch: Batch) -> int:
        if not self.there:
            raise AwayError("it does not answer")
        if self.fault:
            raise self.fault
        if batch.number not in self.taken:
            self.taken.append(batch.number)
        return batch.number


def test_a_file_that_cannot_be_written_for_a_while_ends_nothing(tmp_path: Path) -> None:
    store = Store()
    spool = Spool(tmp_path / "spool", 10_000, store.write)
    for number in (1, 2, 3):
        spool.write(Batch("w", 1, number, number, ()))
    with sqlite3.connect(tmp_path / "spool") as database:
        database.execute("CREATE TRIGGER fault BEFORE DELETE ON waiting BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    store.there = True
    until(lambda: "disk is full" in (spool.failure or ""))
    assert (store.taken, spool.waiting) == ([1], 3)
    with sqlite3.connect(tmp_path / "spool") as database:
        database.execute("DROP TRIGGER fault")
    until(lambda: spool.waiting == 0)
    until(lambda: spool.failure is None)
    assert store.taken == [1, 2, 3]
    spool.close()


def test_a_fault_of_the_store_ends_nothing(tmp_path: Path) -> None:
    store = Store()
    spool = Spool(tmp_path / "spool", 10_000, store.write)
    spool.write(Batch("w", 1, 1, 1, ()))
    store.fault, store.there = RuntimeError("a fault of ours"), True
    until(lambda: spool.failure == "a fault of ours")
    store.fault = None
    until(lambda: spool.waiting == 0)
    assert store.taken == [1]
    spool.close()
