"""The processors of a host, from /proc/cpuinfo and sysfs. Pure.

One entry a logical CPU that is online. Frequencies are left out: they change all the time, and each look would make a
revision. Sources: proc(5); arch/*/kernel/cpuinfo; Documentation/admin-guide/cputopology.rst; lscpu's arm_ids.h.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

CPU_FILES = (
    "proc/cpuinfo",
    "sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id",
    "sys/devices/system/cpu/cpu[0-9]*/topology/core_id",
)
"""The files that are read: glob patterns, their first part the folder."""

_CPU_LIMIT = 1 << 16
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")

_ARM_IMPLEMENTER = {
    0x41: "ARM",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "FUJITSU",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x50: "APM",
    0x51: "Qualcomm",
    0x53: "Samsung",
    0x56: "Marvell",
    0x61: "Apple",
    0x6D: "Microsoft",
    0x70: "Phytium",
    0xC0: "Ampere",
}


def _number(text: str) -> int | None:
    """A decimal number at the beginning ("1024 KB")."""
    found = re.match(r"\d{1,18}", text, re.ASCII)
    return int(found[0]) if found else None


def _implementer(text: str) -> str:
    try:
        return _ARM_IMPLEMENTER.get(int(text, 16), text)
    except ValueError:
        return text


_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "processor": ("CPU", _number),
    "vendor_id": ("VendorID", str),
    "cpu family": ("Family", str),
    "model": ("Model", str),
    "stepping": ("Stepping", _number),
    "physical id": ("PhysicalID", str),
    "core id": ("CoreID", str),
    "model name": ("ModelName", str),
    "cache size": ("CacheSize", _number),  # in KB
    "microcode": ("Microcode", str),
    "CPU implementer": ("VendorID", _implementer),  # ARM from here on
    "CPU architecture": ("Family", str),
    "CPU part": ("Model", str),
    "CPU revision": ("Stepping", _number),
    "cpu": ("ModelName", str),  # POWER
}
"""A line of /proc/cpuinfo → the key, and what makes its value; None: left out."""

_TOPOLOGY = {"PhysicalID": "physical_package_id", "CoreID": "core_id"}
"""What sysfs tells where /proc/cpuinfo does not (ARM)."""


def cpus(texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """The logical CPUs that are online, by number. ``Cores`` is 1, as Skydive has it: an entry stands for one."""
    found = []
    for block in re.split(r"\n\s*\n", texts.get("proc/cpuinfo", "")):
        cpu = _block(block)
        if "CPU" in cpu:
            found.append(_placed(texts, cpu["CPU"]) | cpu | {"Cores": 1})
    return sorted(found, key=lambda cpu: int(cpu["CPU"]))


def _block(block: str) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    for line in block.splitlines():
        name, _, text = line.partition(":")
        key, convert = _FIELDS.get(name.strip(), ("", str))
        value = convert(text.strip())
        if key and value not in {None, ""}:
            cpu[key] = value
    return cpu


def _placed(texts: Mapping[str, str], number: int) -> dict[str, str]:
    folder = f"sys/devices/system/cpu/cpu{number}/topology"
    places = {key: texts.get(f"{folder}/{file}", "").strip() for key, file in _TOPOLOGY.items()}
    return {key: place for key, place in places.items() if place not in {"", "-1"}}  # -1: the kernel does not know


def parse_cpu_list(text: str) -> list[int]:
    """The kernel's list of CPUs ("0-3,8") as numbers; empty for one that is malformed."""
    numbers: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        found = _RANGE.fullmatch(part)
        last = int(found[2] or found[1]) if found else _CPU_LIMIT
        if found is None or last >= _CPU_LIMIT:
            return []
        numbers.update(range(int(found[1]), last + 1))
    return sorted(numbers)
