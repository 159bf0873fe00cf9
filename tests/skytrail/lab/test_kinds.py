"""Faults as data: by seed, enough of each kind, with somebody who does not suffer."""

from __future__ import annotations

import pytest

from skytrail.errors import UsageError
from skytrail.lab.breaks.fault import control
from skytrail.lab.breaks.kinds import KINDS, choose
from skytrail.lab.fabric import fabric
from skytrail.lab.two_hosts import two_hosts


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_chooses_always_the_same_and_seeds_differ(kind: str) -> None:
    plan = fabric()
    chosen = [choose(plan, kind, seed) for seed in range(20)]
    assert chosen == [choose(fabric(), kind, seed) for seed in range(20)]
    assert len({(fault.place, fault.victim, fault.do) for fault in chosen}) > 10
    assert {fault.kind for fault in chosen} == {kind}


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_can_be_undone_and_leaves_somebody_alone(kind: str) -> None:
    plan = fabric()
    for fault in list(KINDS[kind](plan))[::7]:
        assert {command.place for command in (*fault.do, *fault.undo)} == {fault.place}
        works = control(plan, fault)
        for way in (plan.way(works.source, works.destination), plan.way(works.destination, works.source)):
            assert fault.place.node not in {hop.place.node for hop in way.hops}


def test_what_a_topology_has_not_is_an_error_that_names_what_it_has() -> None:
    with pytest.raises(UsageError, match=r"two-hosts has no wrong-vlan: it can have drop-rule, mtu, no-route"):
        choose(two_hosts(), "wrong-vlan", 0)
