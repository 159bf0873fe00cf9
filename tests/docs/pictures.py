"""``make pictures``: the screenshots of docs/quick-start.md, each of the real thing, on a laboratory with traffic."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

REPOSITORY = Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from support.labs import laboratory  # noqa: E402 - tests are no package
from support.needs import tool  # noqa: E402
from support.netlab import until  # noqa: E402

from skytrail.lab.places import run, spawn  # noqa: E402
from skytrail.lab.plan import Place  # noqa: E402
from skytrail.lab.state import Lab  # noqa: E402
from skytrail.lab.traffic import Rates, traffic  # noqa: E402

PICTURES = REPOSITORY / "docs" / "pictures"
HERE = Place("h1")
SKYTRAIL = str(Path(sys.executable).with_name("skytrail"))
COLUMNS = 168
SECONDS = 60.0  # of traffic, before anything is shown
PROMETHEUS = "127.0.0.1:9090"  # in the namespace of h1
RATE = 'sum by (device) (rate(skytrail_flow_bytes_total{netns=""}[15s]))'
GRAPH = "G.V().Has('Name', Without('lo', 'mgmt0')).SubGraph()"
CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--window-size=1100,880",
    "--virtual-time-budget=8000",
)


def said(lab: Lab, command: list[str]) -> str:
    """What a command prints on h1."""
    status, text = run(lab, HERE, command)
    assert status == 0, text
    return text


def flows(lab: Lab) -> None:
    """The live table, as a terminal shows it."""
    table = f"stty cols {COLUMNS} rows 30; {SKYTRAIL} flows --once --filter 'tcp port 80' --limit 12"
    screen = said(lab, ["script", "-qec", table, "/dev/null"])
    prompt = Text("# skytrail flows --filter 'tcp port 80' --limit 12", style="bold")
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(prompt, Text.from_ansi(screen.replace("\r\n", "\n").rstrip()), sep="\n", soft_wrap=True)
    # without fonts that a reader's browser would have to fetch from somebody
    frame = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(PICTURES / "seen-flows.svg"), title="h1", unique_id="flows", code_format=frame)


def topology(lab: Lab) -> None:
    """The graph, as Graphviz draws it."""
    dot = subprocess.check_output([SKYTRAIL, "query", "--hub", lab.hub, "--output", "dot", GRAPH])
    drawn = [tool("dot", "graphviz"), "-Tsvg", "-Gbgcolor=white", "-Nfontname=sans-serif", "-Efontname=sans-serif"]
    (PICTURES / "seen-topology.svg").write_bytes(subprocess.check_output(drawn, input=dot))


def metrics(lab: Lab) -> None:
    """Rates, as Prometheus's own page shows them."""
    asked = urlencode({"g0.expr": RATE, "g0.tab": "0", "g0.range_input": "2m"})
    shot = f"--screenshot={PICTURES / 'seen-metrics.png'}"
    said(lab, [tool("chromium", "chromium"), *CHROMIUM, shot, f"http://{PROMETHEUS}/graph?{asked}"])


def start_prometheus(lab: Lab, folder: Path) -> None:
    """One on h1, that asks its agent each second."""
    scraped = {"job_name": "skytrail-agent", "static_configs": [{"targets": ["127.0.0.1:8081"]}]}
    (folder / "prometheus.yaml").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [scraped]}))
    options = [f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}"]
    spawn(lab, HERE, [tool("prometheus", "prometheus"), *options, f"--web.listen-address={PROMETHEUS}"], "prometheus")
    until(lambda: run(lab, HERE, ["curl", "-sf", f"http://{PROMETHEUS}/-/ready"])[0] == 0, 30, 0.5)


def main() -> None:
    with laboratory("two-hosts") as (lab, plan), tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as beside:
        start_prometheus(lab, Path(folder))
        beside.submit(traffic, lab, plan, Rates(), SECONDS + 20, 1)
        time.sleep(SECONDS)
        flows(lab)
        topology(lab)
        metrics(lab)


if __name__ == "__main__":
    main()
