"""Events wait for their own container's look alone, and for one that began after them."""

from __future__ import annotations

from skytrail.runtimes.dockermessages import Event
from skytrail.runtimes.lanes import Lanes

ONE, TWO, THREE = (Event("container", action) for action in ("start", "die", "rename"))


def test_each_container_is_looked_at_once_at_a_time() -> None:
    lanes = Lanes()
    assert lanes.add("a", ONE)
    assert not lanes.add("a", TWO)  # the look that is under way may have been before it
    assert not lanes.add("a", THREE)
    assert lanes.add("b", TWO)
    assert (len(lanes), "a" in lanes, "c" in lanes) == (4, True, False)
    assert lanes.take("b") == [TWO]
    assert "b" not in lanes
    assert lanes.take("a") == [ONE]
    assert "a" in lanes
    assert lanes.take("a") == [TWO, THREE]
    assert ("a" in lanes, len(lanes)) == (False, 0)
    assert lanes.add("a", ONE)
