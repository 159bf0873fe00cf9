"""Records what a real agent and hub tell of a small network, for tests without one: ``python -m support.recording`` (root).

Two namespaces, ``client`` and ``server``, on a bridge in a third, ``switch``; each stands for a host. Written are the graph
(Skydive's JSON), each update of each flow, and the sockets: only what is of these namespaces, and nothing of
the machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from support.hublab import Hub
from support.netlab import End, Net, until
from support.ports import free_port

FOLDER = Path(__file__).parent / "recorded"
HOSTS = {"client": "h1", "server": "h2", "switch": "h3"}
UPDATE = 2  # seconds
_POINTS = 7  # eth and vx of both, p1, p2, br0

_SERVER = """
import socket, threading, time
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.0.0.2", 8989))
    while True: s.sendto(b"answer", s.recvfrom(2000)[1])
threading.Thread(target=udp, daemon=True).start()
l = socket.create_server(("10.0.0.2", 5001)); print("ready", flush=True)
kept = []
while True:
    c, _ = l.accept(); kept.append(c)
    def read(c=c):
        while c.recv(1 << 16): pass
    threading.Thread(target=read, daemon=True).start()
"""
_CLIENT = """
import socket, time
c = socket.create_connection(("10.0.0.2", 5001), source_address=("10.0.0.1", 40000)); print("ready", flush=True)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("10.0.0.1", 40001)); u.connect(("10.0.0.2", 8989))
while True:
    c.sendall(bytes(10000)); u.send(b"question"); u.recv(2000); time.sleep(0.2)
"""
_TAGGED = """
import sys
from scapy.all import Dot1Q, Ether, ICMP, IP, sendp
frame = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / Dot1Q(vlan=8)
frame /= IP(src="10.0.8.1", dst="10.0.8.2") / ICMP(id=456)
sendp(frame, iface=sys.argv[1], count=3, verbose=False)
"""
Json = dict[str, Any]


def main() -> None:
    """Record."""
    net = Net()
    try:
        with tempfile.TemporaryDirectory() as folder:
            _record(net, Path(folder))
    finally:
        net.close()


def _record(net: Net, folder: Path) -> None:
    spaces = {net.netns(short): name for short, name in (("c", "client"), ("s", "server"), ("w", "switch"))}
    client, server, switch = spaces
    net.ip("link add br0 type bridge", netns=switch)
    net.ip("link set br0 up", netns=switch)
    for space, number, port in ((client, 1, "p1"), (server, 2, "p2")):
        net.veth(End(space, net.name("eth"), f"10.0.0.{number}"), End(switch, net.name(port), ""))
        net.ip(f"link set {net.name(port)} master br0", netns=switch)
        far = f"10.0.0.{3 - number}"
        net.ip(f"link add {net.name('vx')} type vxlan id 77 remote {far} dstport 4789 dev {net.name('eth')}", netns=space)
        net.ip(f"address add 10.0.9.{number}/24 dev {net.name('vx')}", netns=space)
        net.ip(f"link set {net.name('vx')} up", netns=space)
    port = free_port()
    settings = {
        "agent.listen": f"127.0.0.1:{port}", "flow.interfaces": f"[{net.prefix}*, br0]", "flow.netns": "all",
        "flow.update": f"{UPDATE}s", "host_id": "recorded",
    }  # fmt: skip
    hub = Hub(folder / "hub", settings).start()
    try:
        until(lambda: _points(port) >= _POINTS, 20)
        for space, code in ((server, _SERVER), (client, _CLIENT)):
            process = net.spawn(space, sys.executable, "-c", code)
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        for address, identifier in (("10.0.0.2", 123), ("10.0.9.2", 789)):
            net.ping(client, address, count=15, identifier=identifier, size=1024)
        net.run(client, sys.executable, "-c", _TAGGED, net.name("eth"))
        flows: dict[tuple[str, int], Json] = {}
        until_ = time.monotonic() + 5 * UPDATE
        while time.monotonic() < until_:
            for flow in _get(port, "flows"):
                if flow["Namespace"] in spaces:
                    flows[flow["UUID"], (flow["LastUpdateMetric"] or {}).get("Last", 0)] = flow
            time.sleep(UPDATE / 8)
        sockets = [one for one in _get(port, "sockets") if one["Namespace"] in spaces]
        for one in [*sockets, *(end for flow in flows.values() for end in flow.get("Process", {}).values())]:
            _strip(one)
        graph = _graph(hub, spaces)
    finally:
        hub.stop()
    FOLDER.mkdir(exist_ok=True)
    named = dict(spaces) | {net.prefix: ""}
    for name, told in (
        ("flows", [*flows.values()]), ("sockets", sockets), ("nodes", graph["Nodes"]), ("edges", graph["Edges"])
    ):  # fmt: skip
        text = "".join(json.dumps(one, sort_keys=True) + "\n" for one in told)
        for word, instead in named.items():
            text = text.replace(word, instead)
        (FOLDER / f"{name}.jsonl").write_text(text)


def _strip(process: Json) -> None:
    """What is the recording machine's own."""
    process.pop("Cgroup", None)
    for key in ("Process", "Executable"):
        if key in process:
            process[key] = "/usr/bin/python3"


def _get(port: int, what: str) -> list[Json]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{what}", timeout=20) as answer:
        found: list[Json] = json.loads(answer.read())
    return found


def _points(port: int) -> int:
    """How many interfaces are captured; the hub is ready before its agent is."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=20) as answer:
            return len(json.loads(answer.read())["capture_points"])
    except OSError:
        return 0


def _graph(hub: Hub, spaces: dict[str, str]) -> Json:
    status, body = hub.ask("/api/topology")
    assert status == 200, body
    graph: Json = json.loads(body)
    names = {one["ID"]: one["Metadata"].get("Name") for one in graph["Nodes"]}
    owner = {one["Child"]: one["Parent"] for one in graph["Edges"] if one["Metadata"]["RelationType"] == "ownership"}
    nodes = []
    for one in graph["Nodes"]:
        metadata = one["Metadata"]
        space = names.get(one["ID"]) if metadata["Type"] == "netns" else names.get(owner.get(one["ID"], ""))
        if space in spaces:
            one["Host"] = HOSTS[spaces[space]]
            one["Origin"] = f"agent.{one['Host']}"
            metadata.pop("Features", None)
            nodes.append(one)
    kept = {one["ID"] for one in nodes}
    edges = [one for one in graph["Edges"] if {one["Parent"], one["Child"]} <= kept]
    for one in edges:
        one["Host"] = next(node["Host"] for node in nodes if node["ID"] == one["Parent"])
        one["Origin"] = f"agent.{one['Host']}"
    return {"Nodes": nodes, "Edges": edges}


if __name__ == "__main__":
    main()
