"""Traces of containers on ipvlan interfaces, which need a distribution's kernel.

Names with ``short`` belong to `make test`, those with ``long`` to `make kernels` alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.netlab import Net
from support.stackedlab import check

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("SKYTRAIL_KERNEL_VM") != "1", reason="runs inside the virtual machines of `make kernels`"
    ),
    pytest.mark.timeout(300),
]


@pytest.mark.parametrize("mode", ["l2", "l3"])
def test_short_containers_on_an_ipvlan_are_well(mode: str, net: Net, tmp_path: Path) -> None:
    check(net, tmp_path, f"ipvlan mode {mode}")
