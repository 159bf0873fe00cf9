"""What comes in for an interface that stands on another one, in a namespace that nobody looks at, is not lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.netlab import Net
from support.stackedlab import check

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]


@pytest.mark.parametrize("words", ["macvlan mode bridge", "macvlan mode private"])
def test_containers_on_real_interfaces(words: str, net: Net, tmp_path: Path) -> None:
    check(net, tmp_path, words)
