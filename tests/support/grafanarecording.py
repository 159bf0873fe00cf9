"""Records what a real hub answers to the data source's questions: ``python -m support.grafanarecording`` (root).

A laboratory of two hosts is built; what is written is of it alone, and nothing of the machine.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from skytrail.lab.places import run
from skytrail.lab.plan import Place, Plan
from skytrail.lab.state import Lab
from support.labs import laboratory
from support.netlab import until

FOLDER = Path(__file__).parents[2] / "grafana/datasource/recorded"
PERIOD = 600
"""Seconds that questions go back."""

_UNTYPED = "application/vnd.gremlin-v3.0+json;types=false"
_OF_THE_MACHINE = frozenset({"CPU", "Features", "KernelCmdLine", "Memory", "NUMA", "KernelVersion", "Cgroup", "Platform"})
_WEB = "Has('Network', '10.10.2.1', 'Transport', 80)"

QUERIES: Mapping[str, str] = {
    "graph": "G.V().Has('@Host', 'h1', 'Type', Within('host', 'netns', 'bridge', 'veth')).SubGraph()",
    "nodes": "G.V().Has('@Host', 'h1', 'Name', 'eth0')",
    "metrics": f"G.At(NOW, {PERIOD}).V().Has('@Host', 'h1', 'Name', 'eth0').Metrics()",
    "names": f"G.At(NOW, {PERIOD}).V().Has('@Host', 'h1', 'Name', 'eth0').Dedup()",
    "flows": f"G.At(NOW, {PERIOD}).Flows().{_WEB}.Limit(8)",
    "flow-metrics": f"G.At(NOW, {PERIOD}).Flows().{_WEB}.Limit(3).Metrics()",
    "sockets": "G.V().Has('Type', 'netns', 'Name', 'a1').Sockets()",
    "values": "G.V().Has('@Host', 'h1').Values('Name')",
    "value-map": "G.V().Has('@Host', 'h1', 'Type', 'veth').ValueMap('Name', 'MTU', 'Metric.RxBytes')",
    "count": "G.V().Count()",
    "path-of-nodes": "G.V().Has('@Host', 'h1', 'Name', 'a1').ShortestPathTo(Metadata('Type', 'host'))",
    "revisions": f"G.At(NOW, {PERIOD}).V().Has('@Host', 'h1', 'Name', 'a2')",
    "edge-revisions": f"G.At(NOW, {PERIOD}).V().Has('@Host', 'h1', 'Name', 'a2').BothE()",
}
"""In Skydive's dialect, by the name of the file that has the answer."""

TINKERPOP: Mapping[str, str] = {
    "vertices": "g.V().has('@Host', 'h1').has('Name', 'eth0')",
    "edges": "g.V().has('@Host', 'h1').hasLabel('bridge').bothE()",
}

PATHS: Mapping[str, str] = {
    "path": f"/api/v1/path?{urlencode({'src': '10.10.1.1', 'dst': '10.10.2.1', 'port': 80})}",
    "path-stops": f"/api/v1/path?{urlencode({'src': '10.10.1.1', 'dst': '10.99.0.1'})}",
    "trace": f"/api/v1/trace?{urlencode({'filter': 'host 10.10.1.1 and host 10.10.2.1 and port 80', 'duration': '600s'})}",
    "diff": f"/api/v1/diff?from=-{PERIOD}s",
    "status": "/api/status",
    "words": "/api/v1/complete",
    "values-of-name": "/api/v1/complete?key=Name&of=nodes",
}


def prepare(lab: Lab, plan: Plan) -> None:
    """Make what is asked about: traffic, and a change of an interface."""
    web = plan.workload("a1").place
    for _ in range(3):
        status, said = run(lab, web, ["curl", "-s", "http://10.10.2.1/"])
        assert status == 0, said
    url = f"http://{lab.hub}"
    for mtu in (1400, 1500):
        assert run(lab, Place("h1"), ["ip", "link", "set", "a2", "mtu", str(mtu)]) == (0, "")
        until(lambda mtu=mtu: _post_query(url, "G.V().Has('@Host', 'h1', 'Name', 'a2').Values('MTU')") == [mtu], 60, 0.5)  # type: ignore[misc]
    until(lambda: len(_ask(url, "flows")) > 3 and len(_ask(url, "metrics")) > 0, 90, 1)


def record(url: str) -> dict[str, Any]:
    """The answers, by name."""
    found = {name: _ask(url, name) for name in QUERIES}
    found |= {name: _tinkerpop(url, query) for name, query in TINKERPOP.items()}
    found |= {name: json.load(urllib.request.urlopen(url + path, timeout=30)) for name, path in PATHS.items()}
    found["diff"] = [one for one in found["diff"] if one["Element"]["Host"] == "h1"][:12]
    return {name: _stripped(answer) for name, answer in found.items()}


def shape(value: Any, where: str = "") -> Iterator[str]:
    """Where values are and of which type; items of lists are one, and keys that are identities."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from shape(one, f"{where}.{'*' if re.fullmatch(r'[0-9a-f-]{32,36}|h[12]', key) else key}")
    elif isinstance(value, list):
        for one in value:
            yield from shape(one, f"{where}[]")
    else:
        yield f"{where}: {'number' if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__}"


def _ask(url: str, name: str) -> Any:
    return _post_query(url, QUERIES[name])


def _post_query(url: str, query: str) -> Any:
    return _post(f"{url}/api/topology", {"GremlinQuery": query}, "application/json")


def _tinkerpop(url: str, query: str) -> Any:
    return _post(f"{url}/gremlin", {"gremlin": query}, _UNTYPED)


def _post(url: str, body: object, accept: str) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Accept": accept, "Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=30))


def _stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stripped(one) for key, one in value.items() if not _of_the_machine(key)}
    return [_stripped(one) for one in value if not _of_the_machine(one)] if isinstance(value, list) else value


def _of_the_machine(key: object) -> bool:
    """Whether it is a key, or one within such a one, that only says what machine this is."""
    return isinstance(key, str) and key.partition(".")[0] in _OF_THE_MACHINE


def main() -> None:
    """Record."""
    FOLDER.mkdir(exist_ok=True)
    with laboratory("two-hosts") as (lab, plan):
        prepare(lab, plan)
        for name, answer in record(f"http://{lab.hub}").items():
            (FOLDER / f"{quote(name)}.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n")
    print(f"written to {FOLDER}")


if __name__ == "__main__":
    sys.exit(main())
