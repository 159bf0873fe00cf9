"""Paths against what packets really do: the interfaces of a path are those that saw a packet, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as Folder

import pytest
from support import pathlab
from support.netlab import Net
from support.pathlab import Seen

from topology.path.find import Question, find_path
from topology.path.result import Hop, Path

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

RANDOM = 20


def told(hops: Sequence[Hop]) -> list[Seen]:
    return [(hop.namespace, hop.interface, hop.direction) for hop in hops if hop.direction != "through" and not hop.asked]


def question(chain: pathlab.Chain) -> Question:
    return Question(chain.source, chain.target, proto="udp", port=7007)


def judge(path: Path, seen: list[tuple[int, Seen]]) -> None:
    """Each interface of the path saw the packet, and no other did, in its order."""
    expected = told(path.hops)
    times = {one: when for when, one in seen}
    assert sorted(expected) == sorted(times), (path.end, path.hops)
    assert [times[one] for one in expected] == sorted(times[one] for one in expected)


@pytest.mark.parametrize("kind", sorted(pathlab.HERE))
def test_a_path_over_each_kind_of_link_is_what_a_packet_takes(kind: str, net: Net, tmp_path: Folder) -> None:
    chain = pathlab.build(net, [kind, "veth"])
    pathlab.warm_up(chain)
    seen = pathlab.passage(chain)
    path = find_path(pathlab.graph(net, tmp_path), question(chain))
    assert path.end.kind == "arrives", path
    judge(path, seen)
    assert path.same_back
    assert path.narrowest is not None
    assert path.narrowest.mtu == min(joint.mtu for joint in chain.joints)


@pytest.mark.parametrize("seed", range(RANDOM))
def test_a_path_over_any_chain_is_what_a_packet_takes(seed: int, net: Net, tmp_path: Folder) -> None:
    chain = pathlab.build(net, pathlab.random_kinds(seed, pathlab.HERE))
    pathlab.warm_up(chain)
    seen = pathlab.passage(chain)
    path = find_path(pathlab.graph(net, tmp_path), question(chain))
    assert path.end.kind == "arrives", path
    judge(path, seen)


@pytest.mark.parametrize("seed", range(RANDOM))
def test_a_path_ends_where_packets_end(seed: int, net: Net, tmp_path: Folder) -> None:
    chain = pathlab.build(net, pathlab.random_kinds(seed, pathlab.HERE))
    pathlab.warm_up(chain)
    fault = pathlab.break_it(chain, seed)
    seen = pathlab.passage(chain)
    path = find_path(pathlab.graph(net, tmp_path), question(chain))
    assert path.end.kind != "arrives", (fault, path)
    assert fault.reason in path.end.reason, (fault, path)
    assert fault.where in ("", path.end.namespace), (fault, path)
    judge(path, seen)
