"""Writes all dashboards, and alerts for Grafana: ``python -m grafana.dashboards``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from grafana.dashboards import (
    alerting,
    drops,
    flows,
    host,
    itself,
    kubernetes,
    openvswitch,
    overview,
    services,
    tcp,
    topology,
)

_MODULES = (overview, host, flows, tcp, drops, services, topology, kubernetes, openvswitch, itself)
FOLDER = Path(__file__).parents[1]
JSON = FOLDER / "dashboards" / "json"


def rendered() -> Mapping[Path, str]:
    """What each file is to hold."""
    made = {JSON / f"{module.__name__.rpartition('.')[2]}.json": module.build() for module in _MODULES}
    return {**made, FOLDER / "provisioning" / "alerting" / "skytrail.yaml": alerting.build()}


def write() -> None:
    """Write them; what is no dashboard any more goes."""
    found = rendered()
    for path in set(JSON.glob("*.json")) - found.keys():
        path.unlink()
    for path, text in found.items():
        path.write_text(text)


if __name__ == "__main__":
    write()
