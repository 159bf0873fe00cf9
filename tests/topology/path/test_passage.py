"""Paths against what packets really do: the interfaces of a path are those that saw a packet, in its order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support import pathlab
from support.netlab import Net
from support.pathjudge import judge, question

from topology.path.find import find_path

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

RANDOM = 20


@pytest.mark.parametrize("kind", sorted(pathlab.HERE))
def test_a_path_over_each_kind_of_link_is_what_a_packet_takes(kind: str, net: Net, tmp_path: Path) -> None:
    chain = pathlab.build(net, [kind, "veth"])
    pathlab.warm_up(chain)
    seen = pathlab.passage(chain)
    path = find_path(pathlab.graph(net, tmp_path), question(chain))
    assert path.end.kind == "arrives", (path.end, path.hops)
    judge(path, seen)
    assert path.same_back or kind == "macvlan"  # where its lower device may answer for it, too (ARP flux)
    assert path.narrowest is not None
    assert path.narrowest.mtu == min(joint.mtu for joint in chain.joints)


@pytest.mark.parametrize("seed", range(RANDOM))
def test_a_path_over_any_chain_is_what_a_packet_takes(seed: int, net: Net, tmp_path: Path) -> None:
    chain = pathlab.build(net, pathlab.random_kinds(seed, pathlab.HERE))
    pathlab.warm_up(chain)
    seen = pathlab.passage(chain)
    path = find_path(pathlab.graph(net, tmp_path), question(chain))
    assert path.end.kind == "arrives", (path.end, path.hops)
    judge(path, seen)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", sorted(pathlab.FAULTS))
def test_a_path_ends_where_packets_end(name: str, seed: int, net: Net, tmp_path: Path) -> None:
    kinds = list(pathlab.BREAKABLE)
    random.Random(f"{name} {seed}").shuffle(kinds)
    chain = pathlab.build(net, kinds)
    pathlab.warm_up(chain)
    fault = pathlab.break_it(chain, name, seed)
    seen = pathlab.passage(chain)
    path = find_path(pathlab.graph(net, tmp_path), question(chain))
    assert path.end.kind != "arrives", (fault, path)
    assert fault.reason in path.end.reason, (fault, path)
    assert fault.where in ("", path.end.namespace), (fault, path)
    judge(path, seen)
