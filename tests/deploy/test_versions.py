"""What is deployed is of one version: this one, wherever it has to be written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skytrail import __version__

REPOSITORY = Path(__file__).parents[2]
PLACES = {
    "deploy/helm/skytrail/Chart.yaml": r"ersion: (\d\S*)$",
    "deploy/helm/skytrail/values.yaml": r"image: skytrail-\w+:(\S+)$",
    "deploy/docker/compose.yaml": r"image: skytrail-\w+:(\S+)$",
    "deploy/docker/Dockerfile": r"image\.version=(\S+)",
    "deploy/ansible/roles/skytrail/defaults/main.yml": r"skytrail_version: (\S+)$",
    "docs/deployment.md": r"skytrail-(\d[\d.]*)-py3|skytrail-\w+:(\d\S*)",
    "README.md": r"skytrail-(\d[\d.]*)-py3",
}


@pytest.mark.parametrize(("place", "pattern"), PLACES.items())
def test_it_is_this_version(place: str, pattern: str) -> None:
    found = re.findall(pattern, (REPOSITORY / place).read_text(), re.MULTILINE)
    assert {"".join(one) for one in found} == {__version__}
