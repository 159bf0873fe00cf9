"""Paths over the kinds of links that need a distribution's kernel, against what packets really do.

Names with ``short`` belong to `make test`, those with ``long`` to `make kernels` alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import pathlab
from support.netlab import Net
from support.pathjudge import judge, question

from topology.path.find import find_path

pytestmark = pytest.mark.skipif(
    os.environ.get("SKYTRAIL_KERNEL_VM") != "1", reason="runs inside the virtual machines of `make kernels`"
)


@pytest.mark.parametrize("kind", sorted(pathlab.ELSEWHERE))
def test_short_a_path_over_each_kind_of_link_is_what_a_packet_takes(kind: str, net: Net, tmp_path: Path) -> None:
    chain = pathlab.build(net, [kind, "veth"])
    pathlab.warm_up(chain)
    seen = pathlab.passage(chain)
    path = find_path(pathlab.graph(net, tmp_path), question(chain))
    assert path.end.kind == "arrives", (path.end, path.hops)
    judge(path, seen)
    assert path.narrowest is not None
    assert path.narrowest.mtu == min(joint.mtu for joint in chain.joints)


@pytest.mark.parametrize("seed", range(10))
def test_long_a_path_over_any_chain_is_what_a_packet_takes(seed: int, net: Net, tmp_path: Path) -> None:
    chain = pathlab.build(net, pathlab.random_kinds(seed, pathlab.KINDS))
    pathlab.warm_up(chain)
    seen = pathlab.passage(chain)
    path = find_path(pathlab.graph(net, tmp_path), question(chain))
    assert path.end.kind == "arrives", (path.end, path.hops)
    judge(path, seen)


@pytest.mark.parametrize("seed", range(10))
def test_long_a_path_ends_where_packets_end(seed: int, net: Net, tmp_path: Path) -> None:
    chain = pathlab.build(net, ["switch", "vxlan", *pathlab.random_kinds(seed, pathlab.KINDS)])
    pathlab.warm_up(chain)
    fault = pathlab.break_it(chain, sorted(pathlab.FAULTS)[seed], seed)
    seen = pathlab.passage(chain)
    path = find_path(pathlab.graph(net, tmp_path), question(chain))
    assert path.end.kind != "arrives", (fault, path)
    assert fault.reason in path.end.reason, (fault, path)
    assert fault.where in ("", path.end.namespace), (fault, path)
    judge(path, seen)
