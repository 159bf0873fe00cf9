"""Writes what a distribution's kernel answers of links that this one lacks, and what ``ip`` says of them, to recorded.jsonl.

In the repository's root: ``VM_OUT=tests/topology/probes/netlink tests/lab/vm/run.sh 6.12 env PYTHONPATH=.:tests
.venv/bin/python tests/topology/probes/netlink/record.py /vm-out``
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from support.linkkinds import make_links
from support.linkoracle import dump, ip_json
from support.netlab import Net

from skytrail.kernel.linkmessages import dump_request
from skytrail.kernel.netlink import attribute
from topology.probes.netlink.fields import each

HEADER = 16  # struct ifinfomsg
IFLA_MAP = 14
IFLA_AF_SPEC = 26


def main(folder: Path) -> None:
    """Make the links, write one line for each."""
    net = Net()
    try:
        netns = net.netns("r", ipv6=True)
        make_links(net, netns, everything=True)
        shown = {link["ifindex"]: link for link in ip_json(netns, "-d", "link", "show")}
        payloads = {int.from_bytes(raw[4:8], sys.byteorder): raw for raw in dump(netns, 18, dump_request(None, functions=True))}
    finally:
        net.close()
    with (folder / "recorded.jsonl").open("w") as file:
        for ifindex, link in shown.items():
            raw = payloads[ifindex]
            kept = b"".join(
                attribute(number, value) for number, value in each(raw, HEADER) if number not in {IFLA_MAP, IFLA_AF_SPEC}
            )
            line = {"payload": base64.b64encode(raw[:HEADER] + kept).decode(), "shown": link}
            print(json.dumps(line, separators=(",", ":")), file=file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
