"""Open vSwitch: how soon a change of its database can be read by another process."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.hublab import Hub, moment, now_us
from support.netlab import Net, until
from support.ovs import Switch

from tests.bench.report import Line

ROUNDS = 100
PORTS = 200
_PATIENCE = 30.0
_PAUSE = 0.001


def latency() -> Iterator[Line]:
    """From the return of ``ovs-vsctl`` to the answer of the hub that shows the change, beside 200 other ports."""
    net = Net()
    with tempfile.TemporaryDirectory() as folder:
        switch = Switch(net, net.netns("s"), Path(folder) / "s")
        switch.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev")
        ports = " -- ".join(
            f"add-port br0 t{n} tag={n} -- set interface t{n} type=vxlan options:remote_ip=10.9.9.9 options:key={n}"
            for n in range(PORTS)
        )
        switch.vsctl(ports)
        hub = Hub(Path(folder) / "hub", {"topology.ovsdb.databases": json.dumps([switch.remote])})
        try:
            hub.start()
            until(lambda: b'"br0"' in hub.ask("/api/v1/graph")[1], 30)
            for what, change in _CHANGES.items():
                took = [_until_shown(hub, switch, *change(number)) for number in range(ROUNDS)]
                p50, p99 = (1000 * statistics.quantiles(took, n=100, method="inclusive")[at] for at in (49, 98))
                note = f"p50 {p50:.0f} ms, beside {PORTS} ports"
                yield Line(f"ovs-vsctl {what} → over HTTP, p99", p99, "ms", most=150, note=note)
        finally:
            hub.close()
            net.close()


_CHANGES: dict[str, Callable[[int], tuple[str, str]]] = {
    "set port": lambda n: (f"set port t1 external_ids:n=changed{n}", f'"n":"changed{n}"'),
    "add-port": lambda n: (f"add-port br0 new{n} -- set interface new{n} type=internal", f'"Name":"new{n}"'),
    "del-port": lambda n: (f"del-port new{n}", f'"Name":"new{n}"'),
}
"""What is done → the command, and what the difference then shows."""


def _until_shown(hub: Hub, switch: Switch, command: str, wanted: str) -> float:
    """Seconds."""
    connection = hub.connect()
    path = f"/api/v1/diff?from={moment(now_us())}"
    switch.vsctl(command)
    returned = time.monotonic()
    while True:
        connection.request("GET", path)
        found = wanted.encode() in connection.getresponse().read()
        now = time.monotonic()
        if found:
            connection.close()
            return now - returned
        assert now < returned + _PATIENCE, f"{wanted} is not shown"
        time.sleep(_PAUSE)
