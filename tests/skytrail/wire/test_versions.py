"""Which version two ends speak."""

from __future__ import annotations

import pytest

from skytrail.wire import versions
from skytrail.wire.versions import WireError, agreed


@pytest.mark.parametrize(("oldest", "newest", "spoken"), [(1, 1, 1), (1, 2, 2), (2, 3, 3), (3, 5, 3), (3, 3, 3)])
def test_the_newest_that_both_speak(monkeypatch: pytest.MonkeyPatch, oldest: int, newest: int, spoken: int) -> None:
    monkeypatch.setattr(versions, "OLDEST", 1)
    monkeypatch.setattr(versions, "NEWEST", 3)
    assert agreed(oldest, newest) == spoken


@pytest.mark.parametrize(("oldest", "newest", "upgrade"), [(1, 1, "the agent"), (4, 6, "the hub"), (0, 0, "the agent")])
def test_ends_that_have_none_say_who_is_to_be_upgraded(
    monkeypatch: pytest.MonkeyPatch, oldest: int, newest: int, upgrade: str
) -> None:
    monkeypatch.setattr(versions, "OLDEST", 2)
    monkeypatch.setattr(versions, "NEWEST", 3)
    with pytest.raises(WireError, match=f"versions {oldest} to {newest} of the wire, the hub 2 to 3: upgrade {upgrade}"):
        agreed(oldest, newest)
