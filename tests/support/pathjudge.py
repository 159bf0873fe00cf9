"""Whether a path is what a packet took: each interface of it saw the packet, and no other did, in its order."""

from __future__ import annotations

from collections.abc import Sequence

from support.pathlab import Chain, Seen
from topology.path.find import Question
from topology.path.result import Hop, Path


def told(hops: Sequence[Hop]) -> list[Seen]:
    return [
        (hop.namespace or hop.host, hop.interface, hop.direction)
        for hop in hops
        if hop.direction != "through" and not hop.asked
    ]


def question(chain: Chain) -> Question:
    return Question(chain.source, chain.target, proto="udp", port=7007)


def judge(path: Path, seen: list[tuple[int, Seen]]) -> None:
    """Each interface of the path saw the packet, and no other did, in its order."""
    expected = told(path.hops)
    times = {one: when for when, one in seen}
    assert sorted(expected) == sorted(times), (path.end, set(expected) ^ set(times), path.hops)
    assert [times[one] for one in expected] == sorted(times[one] for one in expected)
