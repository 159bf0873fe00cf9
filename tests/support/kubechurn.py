"""Pods that are replaced while watches are cut, the API server dies and etcd forgets: and what history must say of each."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from lab.kube import Cluster

from support.cable import Cable
from support.kubelab import KubeLab, now

_SLACK = 1_500_000  # µs: half a second, for objects tell whole ones, and what a busy machine takes
_PATIENCE = 60.0
_UNHEARD = 5  # pods that are replaced while nobody can hear of it


@dataclass(slots=True)
class Life:
    """When a pod was made and ended, each between two times of ours, in µs; 0: not ended."""

    made: tuple[int, int]
    ended: tuple[int, int] = (0, 0)


class Churn:
    """Replaces pods one after the other.

    Args:
        cluster: where.
        cable: through which the probe sees it.
        lab: with the probe.
        seed: of what is chosen.
    """

    def __init__(self, cluster: Cluster, cable: Cable, lab: KubeLab, seed: int) -> None:
        self._cluster, self._cable, self._lab = cluster, cable, lab
        self._random = random.Random(seed)
        self._number = 0
        self.lives: dict[str, Life] = {}
        self._paths: dict[str, str] = {}
        self.blind: list[tuple[int, int]] = []  # nothing was there to be asked, and what then was listed anew

    def adopt(self) -> None:
        """The pods that are there already are among those that may end."""
        for one in self._cluster.list("/api/v1/pods"):
            meta = one["metadata"]
            self.lives[meta["uid"]] = Life((0, now()))
            self._paths[meta["uid"]] = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"

    def make(self) -> None:
        """One more pod."""
        self._number += 1
        labels = {"app": f"a{self._number % 7}", "tier": "web" if self._number % 2 else "data"}
        body = {
            "metadata": {"name": f"churn-{self._number}", "labels": labels},
            "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "i"}], "terminationGracePeriodSeconds": 0},
        }
        before = now()
        made = self._cluster.create("/api/v1/namespaces/default/pods", body)
        uid = made["metadata"]["uid"]
        self.lives[uid] = Life((before, now()))
        path = self._paths[uid] = f"/api/v1/namespaces/default/pods/churn-{self._number}"
        address = f"10.1.{self._number // 250}.{self._number % 250 + 1}"
        self._cluster.patch(f"{path}/status", {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}})

    def end(self) -> None:
        """One pod less."""
        uid = self._random.choice([uid for uid, life in self.lives.items() if not life.ended[0]])
        before = now()
        self._cluster.delete(self._paths[uid])
        self.lives[uid].ended = before, now()

    def run(self, seconds: float, replaced: int, cuts: int, deaths: int) -> None:
        """Replace so many in that time, with trouble at regular moments."""
        steps = replaced
        cut_at = {steps * (index + 1) // (cuts + 1) for index in range(cuts)}
        dead_at = {steps * (2 * index + 1) // (2 * deaths) for index in range(deaths)}
        began = time.monotonic()
        for step in range(steps):
            self.end()
            self.make()
            if step in cut_at:
                self._cable.cut()
            if step in dead_at:
                self._die()
            time.sleep(max(0.0, began + seconds * (step + 1) / steps - time.monotonic()))

    def _die(self) -> None:
        """While the probe hears nothing pods change, the API server is killed, and etcd forgets all that was."""
        source = self._lab.probe.sources["pod"]
        lists, since = source.counters.lists, now()
        self._cable.held = True
        self._cable.cut()
        for _ in range(_UNHEARD):
            self.end()
            self.make()
        self._cluster.kill_server()
        self._cluster.compact()
        self._cluster.start_server()
        self._cable.held = False
        until = time.monotonic() + _PATIENCE
        while source.counters.lists == lists:
            assert time.monotonic() < until, source.failure
            time.sleep(0.01)
        self.blind.append((since, now()))

    def judge(self) -> int:
        """Each pod's interval in history is its own, but for little, and where nobody was there to ask, within that time.

        Returns how many were judged.
        """
        found = self._lab.intervals()
        unheard = {uid for uid, life in self.lives.items() if self._unheard(life)}
        assert self.lives.keys() - unheard <= found.keys() <= self.lives.keys()
        wrong = []
        for uid in found:
            life = self.lives[uid]
            since, until, pieces = found[uid]
            begins = life.made[0] - _SLACK <= since <= life.made[1] + _SLACK
            if life.ended[0]:
                latest = max([life.ended[1], *(end for begin, end in self.blind if begin <= life.ended[1] <= end)])
                ends = life.ended[0] - _SLACK <= until <= latest + _SLACK
            else:
                ends = until > now()
            if not (begins and ends and pieces == 1):
                wrong.append((uid, since - life.made[0], until - life.ended[0], pieces))
        assert not wrong, (len(wrong), wrong[:5])
        return len(found)

    def _unheard(self, life: Life) -> bool:
        """Whether it was made and ended while nobody could hear of it: no list can tell of it."""
        return any(begin <= life.made[0] and 0 < life.ended[1] <= end for begin, end in self.blind)
