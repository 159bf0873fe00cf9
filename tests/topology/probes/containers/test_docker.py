"""A real ``skytrail up`` beside a real dockerd: its containers in the graph are what ``docker`` and ``ip`` say."""

from __future__ import annotations

import json
import os
import signal

import pytest
from support.containerlab import ContainerLab
from support.netlab import until

pytestmark = [pytest.mark.kernel, pytest.mark.lab, pytest.mark.timeout(120)]

CLIENTS = 6
_NEAR = 2  # ms: as the runtime says, however late it is told
_LOOKED = 3000  # ms: without a runtime to tell, processes are looked at every second


def test_containers_that_come_and_go_while_dockerd_is_killed(lab: ContainerLab) -> None:
    labels = ("--label", "com.example.tier=front", "--label", "a~b/c@d=1", "--label", "com.docker.compose.project=shop")
    first = [lab.client(f"one{number}", *labels) for number in range(CLIENTS // 2)]
    until(lambda: lab.all_joined(first))
    assert_questions_are_answered(lab)

    pid = lab.docker.inspect(first[0])["State"]["Pid"]
    lab.docker.kill()
    os.kill(pid, signal.SIGKILL)
    until(lambda: first[0] not in lab.containers())  # nobody tells but the kernel
    status, body = lab.hub.ask("/readyz")
    assert (status, str(lab.docker.socket) in json.loads(body)["waiting"]["containers"]) == (503, True)
    lab.docker.start()
    until(lambda: lab.hub.ask("/readyz")[0] == 200)
    second = [lab.client(f"two{number}") for number in range(CLIENTS // 2)]
    running = [*first[1:], *second]

    until(lambda: lab.all_joined(running))
    until(lambda: lab.all_named(running))
    lab.hub.kill()
    lab.docker.run("kill", running.pop())  # nobody sees it
    unseen = lab.client("three")
    lab.hub.start()
    until(lambda: lab.all_joined([unseen]))
    lab.docker.run("kill", *running, unseen)
    until(lambda: not lab.containers().keys() & {*running, unseen})
    assert_intervals(lab, [*first[1:], *second, unseen], _NEAR)
    assert_intervals(lab, first[:1], _LOOKED)


def assert_intervals(lab: ContainerLab, identities: list[str], near: int) -> None:
    seen, lived = lab.intervals(), lab.lived(identities)
    for one in identities:
        assert len(seen[one]) == 1
        differences = [abs(ours - theirs) for ours, theirs in zip(seen[one][0], lived[one], strict=True)]
        assert max(differences) <= near, (seen[one], lived[one])


def assert_questions_are_answered(lab: ContainerLab) -> None:
    """Those of docs/containers.md, and those that Skydive's own tests ask."""
    one = "G.V().Has('Type', 'container', 'Name', 'one0')"
    names = sorted(f"one{number}" for number in range(CLIENTS // 2))
    veth = lab.expected([lab.docker.inspect("one0")["Id"]]).popitem()[1].veth[1]
    assert lab.asked(f"{one}.In('Type', 'netns').Out('Type', 'veth').Values('Name')") == ["eth0"]
    assert veth in lab.asked(f"{one}.In('Type', 'netns').Out('Type', 'veth').Both('Type', 'veth').Values('Name')")
    assert sorted(lab.asked("G.V().Has('Container.Compose.Project', 'shop').Values('Name')")) == names
    assert sorted(lab.asked("G.V().Has('Container.Labels.com.example.tier', 'front').Values('Name')")) == names
    assert sorted(lab.asked("G.V().Has('Container.Labels.a~b/c@d', '1').Values('Name')")) == names
    members = lab.asked("G.At(NOW).V().Has('Type', 'network', 'Name', 'lab').Out('Type', 'container').Values('Name')")
    assert sorted(members) == [*names, "server"]
    skydives = "G.V().Has('Type', 'netns', 'Manager', 'docker').Out('Type', 'container', 'Name', 'one0')"
    assert [found["Metadata"]["Docker"]["ContainerName"] for found in lab.asked(skydives)] == ["one0"]
