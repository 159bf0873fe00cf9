"""The numbers of attributes in the tables, against the kernel's headers on this machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.needs import missing

import topology.probes.netlink

INCLUDE = Path("/usr/include/linux")
HEADERS = (
    "if_link.h",
    "if_tunnel.h",
    "can/netlink.h",
    "if_addr.h",
    "rtnetlink.h",
    "fib_rules.h",
    "neighbour.h",
    "mpls_iptunnel.h",
)
ENUM = re.compile(r"\benum\s*\w*\s*\{(.*?)\}", re.DOTALL)
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
ROW = re.compile(r"^\s*\(?(\d+), .*# ((?:IFLA|IFA|RTA|RTAX|FRA|NDA|MPLS)_[A-Z0-9_]+)", re.MULTILINE)
CONSTANT = re.compile(r"^_((?:IFLA|IFA|RTA|FRA|NDA)_[A-Z0-9_]+) = (\d+)$", re.MULTILINE)


def numbers() -> dict[str, int]:
    """Every enumerator of the headers that counts from 0."""
    found = {}
    for header in HEADERS:
        if not (INCLUDE / header).exists():
            missing(f"{INCLUDE / header} is not installed (package linux-libc-dev)")
        text = "\n".join(line for line in COMMENT.sub("", (INCLUDE / header).read_text()).splitlines() if line[:1] != "#")
        for body in ENUM.findall(text):
            names = [name.strip() for name in body.split(",") if name.strip()]
            if not any("=" in name and not name.startswith(("IFLA_TARGET", "__", "IFLA_CAN_MAX")) for name in names):
                counted = [name for name in names if "=" not in name]
                found |= {name: number for number, name in enumerate(counted)}
    return found


def rows() -> dict[str, list[tuple[str, int]]]:
    """Module → names and numbers in its tables."""
    folder = Path(topology.probes.netlink.__path__[0])
    sources = {path.stem: path.read_text() for path in folder.glob("*.py")}
    return {
        name: [(key, int(number)) for number, key in ROW.findall(text)]
        + [(key, int(number)) for key, number in CONSTANT.findall(text)]
        for name, text in sources.items()
    }


@pytest.mark.parametrize("module", [name for name, found in rows().items() if found])
def test_attributes_have_the_headers_numbers(module: str) -> None:
    known = numbers()
    named = [(name, number) for name, number in rows()[module] if name in known]
    assert named, "no name of the table is in the headers"
    assert [(name, number, known[name]) for name, number in named if known[name] != number] == []


def test_enough_is_compared() -> None:
    known = numbers()
    assert sum(name in known for found in rows().values() for name, _ in found) > 250
