"""What is collected of answers: one that cannot be read takes none of the others with it."""

from __future__ import annotations

import pytest

from skytrail.asking.collecting import Collected, Room
from skytrail.asking.questions import Part


@pytest.mark.parametrize(
    "answer",
    [b"", b"\xff", b'{"found":3}', b'{"found":[{"a":"\xff"}]}', b'{"found":[{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}]}"],
)
def test_an_answer_that_cannot_be_read_is_told_and_the_others_are_there(answer: bytes) -> None:
    collected, told = Collected(Room(1 << 20)), dict[str, str]()
    collected.unreadable = told.__setitem__
    for tid, data in (("host/a", b'{"found":[{"n":1}]}'), ("host/bad", answer), ("host/b", b'{"found":[{"n":2}]}')):
        collected.add(tid, data)
    for _ in range(2):
        assert list(collected) == [("host/a", Part([{"n": 1}])), ("host/b", Part([{"n": 2}]))]
    assert told.keys() == {"host/bad"}
    assert told["host/bad"].startswith("its answer cannot be read (")
