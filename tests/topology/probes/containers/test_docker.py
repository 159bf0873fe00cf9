"""A real ``skytrail up`` beside a real dockerd: its containers in the graph are what ``docker`` and ``ip`` say."""

from __future__ import annotations

import os
import signal

import pytest
from support.containerlab import ContainerLab
from support.netlab import until

pytestmark = [pytest.mark.kernel, pytest.mark.lab, pytest.mark.timeout(120)]

CLIENTS = 6
_NEAR = 100  # ms: changes of a source keep their order, so an end may be put behind what was seen just before
_LOOKED = 3000  # ms: without a runtime to tell, processes are looked at every second


def test_containers_that_come_and_go_while_dockerd_is_killed(lab: ContainerLab) -> None:
    first = [lab.client(f"one{number}") for number in range(CLIENTS // 2)]
    until(lambda: lab.all_joined(first))

    pid = lab.docker.inspect(first[0])["State"]["Pid"]
    lab.docker.kill()
    os.kill(pid, signal.SIGKILL)
    until(lambda: first[0] not in lab.containers())  # nobody tells but the kernel
    lab.docker.start()
    second = [lab.client(f"two{number}") for number in range(CLIENTS // 2)]
    running = [*first[1:], *second]

    until(lambda: lab.all_joined(running))
    until(lambda: lab.all_named(running))
    lab.docker.run("kill", *running)
    until(lambda: not lab.containers().keys() & {*running})
    assert_intervals(lab, running, _NEAR)
    assert_intervals(lab, first[:1], _LOOKED)


def assert_intervals(lab: ContainerLab, identities: list[str], near: int) -> None:
    seen, lived = lab.intervals(), lab.lived(identities)
    for one in identities:
        assert len(seen[one]) == 1
        differences = [abs(ours - theirs) for ours, theirs in zip(seen[one][0], lived[one], strict=True)]
        assert max(differences) <= near, (seen[one], lived[one])
