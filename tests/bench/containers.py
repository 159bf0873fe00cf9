"""100 containers started and stopped by a real dockerd, which is killed in between, before a real ``skytrail up``."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.containers import image
from support.containerlab import ContainerLab
from support.netlab import Net

from tests.bench.report import Line

COUNT = 100
AT_ONCE = 4
_PATIENCE = 120.0


def containers() -> Iterator[Line]:
    """Half of them before dockerd is killed, half after it came back; then all end."""
    net = Net()
    with tempfile.TemporaryDirectory() as folder:
        archive = image(Path(folder) / "box.tar")
        lab = ContainerLab(Path(folder), net, archive)
        try:
            lab.start()
            yield from _measure(lab)
        finally:
            lab.close()
            net.close()


def _measure(lab: ContainerLab) -> Iterator[Line]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = time.monotonic()
        first = list(pool.map(lab.client, [f"one{number}" for number in range(COUNT // 2)]))
        lab.docker.kill()
        lab.docker.start()
        second = list(pool.map(lab.client, [f"two{number}" for number in range(COUNT // 2)]))
        both = [*first, *second]
        yield Line(f"{COUNT} containers: dockerd starts them", time.monotonic() - begun, "s")
        yield Line(f"{COUNT} containers: joined, after the last began", _until(lambda: lab.all_joined(both)), "s")
        yield Line(f"{COUNT} containers: flows named, after that", _until(lambda: lab.all_named(both)), "s")
        yield Line("hub's memory", lab.hub.rss() / 2**20, "MB")
        list(pool.map(lambda one: lab.docker.run("kill", one), both))
        yield Line(
            f"{COUNT} containers: gone, after the last ended", _until(lambda: not lab.containers().keys() & {*both}), "s"
        )
    seen, lived = lab.intervals(), lab.lived(both)
    pairs = [(seen[one][0], lived[one]) for one in both if len(seen.get(one, ())) == 1]
    yield Line(f"{COUNT} containers: one interval each", len(pairs), "", least=COUNT)
    for what, end in (("beginning", 0), ("end", 1)):
        apart = [abs(ours[end] - theirs[end]) for ours, theirs in pairs]
        note = f"the median {statistics.median(apart):.0f} ms"
        yield Line(f"{COUNT} containers: {what}, furthest from dockerd's", max(apart), "ms", note=note)


def _until(condition: Callable[[], bool]) -> float:
    """Seconds until it is true."""
    begun = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - begun
            failure = AssertionError("it does not come true")
        except AssertionError as error:
            failure = error
        if time.monotonic() > begun + _PATIENCE:
            raise failure
        time.sleep(0.1)
