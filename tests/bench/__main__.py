"""``python -m tests.bench [NAME …]``: measures, and prints one line for each figure. How to read it: docs/benchmarks.md."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.report import HEAD, Line

# module:function by name, in the order in which they run; imported when they run, so that none weighs on another
BENCHES = {
    "packets": "packets:ns_per_packet",
    "cpus": "packets:both_cpus",
    "drain": "table:drain",
    "owners": "owners:owners",
    "otlp": "otlp:spans",
    "pcap": "capture_file:pcap",
    "memory": "agent:memory",
    "idle": "agent:idle",
    "scrape": "agent:scrape",
    "latency": "agent:latency",
    "load": "agent:load",
    "churn": "agent:churn",
    "veth": "veth:veth",
    "sockets": "sockets:passes",
    "connections": "sockets:connections",
    "translated": "sockets:translated",
    "everything": "sockets:everything",
    "topology": "topology:latency",
    "burst": "topology:burst",
    "queries": "topology:queries",
    "kubernetes": "kubernetes:followed",
    "kubernetes-churn": "kubernetes:churn",
    "janusgraph": "janusgraph:store",
    "ovs": "ovs:latency",
    "apply": "store:apply",
    "history": "store:history",
    "live": "store:live",
    "gremlin": "gremlin:embedded",
    "gremlin-janusgraph": "gremlin_janusgraph:direct",
    "crowd": "crowd:crowd",
    "addresses": "addresses:addresses",
    "asking": "asking:asked",
    "wire": "wire:facts",
    "agents": "wire:agents",
    "answers": "answers:answers",
    "remembered": "answers:remembered",
    "containers": "containers:containers",
    "grafana": "grafana:graph",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measures Skytrail; see docs/benchmarks.md.")
    parser.add_argument("name", nargs="*", choices=[[], *BENCHES], help="which (all without): " + ", ".join(BENCHES))
    names = parser.parse_args().name or list(BENCHES)
    if os.geteuid() != 0:
        parser.error("the benchmarks load programs into the kernel: run them as root")
    print(f"{time.strftime('%Y-%m-%d %H:%M')}  {_machine()}\n{HEAD}", flush=True)
    sys.path.append(str(Path(__file__).parents[1]))  # tests/support; last: tests/exporters is no part of the package exporters
    short = 0
    for name in names:
        module, _, function = BENCHES[name].partition(":")
        bench: Callable[[], Iterator[Line]] = getattr(importlib.import_module(f"tests.bench.{module}"), function)
        before = os.getloadavg()[0]
        for line in bench():
            short += line.verdict == "SHORT"
            print(line, flush=True)
        if before > 0.5:  # what ran a minute ago may be our own bench: the reader judges
            print(f"  ^ the load average was {before:.2f} before: other work may have slowed this down", flush=True)
    print(f"{short} short of the target" if short else "all targets reached", flush=True)
    return 0


def _machine() -> str:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{os.cpu_count()} × {models[0] if models else platform.machine()}, Linux {platform.release()}"


if __name__ == "__main__":
    sys.exit(main())
