from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from skytrail.kernel.addresses import local_addresses
from skytrail.kernel.worker import NamespaceWorker


@pytest.mark.kernel
def test_the_addresses_of_a_namespace_are_those_that_ip_shows(worker: NamespaceWorker, lab: Any) -> None:
    name = lab.netns("a")
    for command in (
        "link set lo up",
        "address add 10.0.0.1/24 dev lo",
        "address add 10.9.0.1 peer 10.9.0.2/32 dev lo",
        "address add 2001:db8::1/64 dev lo nodad",
    ):
        subprocess.run(["ip", "-n", name, *command.split()], check=True)
    shown = json.loads(subprocess.check_output(["ip", "-n", name, "-j", "address", "show"]))
    with Path(f"/run/netns/{name}").open() as namespace:
        told = worker.run(namespace.fileno(), local_addresses)
    kinds = {4: socket.AF_INET, 6: socket.AF_INET6}
    assert sorted(socket.inet_ntop(kinds[family], address) for family, address in told) == sorted(
        one["local"] for link in shown for one in link["addr_info"]
    )
    assert (4, socket.inet_aton("10.9.0.1")) in told
