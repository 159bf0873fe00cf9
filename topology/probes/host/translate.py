"""The texts of a host's files as the keys of its node. Pure.

Keys and words as Skydive has them from gopsutil: Platform ``redhat`` for the ID ``rhel``, PlatformVersion from the
distribution's own file where os-release has only the main number. Sources: os-release(5); proc(5);
Documentation/ABI/stable/sysfs-devices-node; Documentation/admin-guide/kernel-parameters.rst.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from topology.probes.host.cpus import CPU_FILES, cpus, parse_cpu_list
from topology.probes.host.virtualization import HINT_FILES, HINT_PRESENCES, virtualization

Texts = Mapping[str, str]

CONTENTS = (
    "proc/sys/kernel/hostname",
    "proc/sys/kernel/osrelease",
    "proc/cmdline",
    "proc/meminfo",
    "etc/os-release",
    "etc/debian_version",
    "etc/redhat-release",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/node/node[0-9]*/cpulist",
    "sys/devices/system/node/node[0-9]*/meminfo",
    "var/lib/cloud/data/instance-id",
    *CPU_FILES,
    *HINT_FILES,
)
"""The files that are read: glob patterns, their first part the folder (Roots)."""

PRESENCES = HINT_PRESENCES
"""Those of which only their being there counts."""

_OS_RELEASE_LINE = re.compile(r"""^([A-Z0-9_]+)=(["']?)(.*)\2$""", re.MULTILINE)
_OS_RELEASE_ESCAPE = re.compile(r"""\\([\\$"'`])""")
_PLATFORM = {"rhel": "redhat", "ol": "oracle", "amzn": "amazon", "opensuse-leap": "opensuse", "opensuse-tumbleweed": "opensuse"}
"""os-release's ID → gopsutil's word, where they differ."""
_FAMILY = {
    "debian": "debian",
    "ubuntu": "debian",
    "linuxmint": "debian",
    "raspbian": "debian",
    "fedora": "fedora",
    "redhat": "rhel",
    "centos": "rhel",
    "rocky": "rhel",
    "almalinux": "rhel",
    "oracle": "rhel",
    "amazon": "rhel",
    "scientific": "rhel",
    "xenserver": "rhel",
    "cloudlinux": "rhel",
    "suse": "suse",
    "opensuse": "suse",
    "sles": "suse",
    "sled": "suse",
    "gentoo": "gentoo",
    "slackware": "slackware",
    "arch": "arch",
    "exherbo": "exherbo",
    "alpine": "alpine",
    "coreos": "coreos",
}
_VERSION_FILE = {
    "debian": ("etc/debian_version", re.compile(r"^(\S+)")),
    "raspbian": ("etc/debian_version", re.compile(r"^(\S+)")),
    "centos": ("etc/redhat-release", re.compile(r"release (\d[\d.]*)")),
}
"""Where the whole version stands ("12.11", "7.9.2009"), for those whose VERSION_ID is only the main number."""
_NO_VERSION_FILE = ("", re.compile(r"(?!)"))

_CMDLINE_WORD = re.compile(r'(?:[^\s"]|"[^"]*(?:"|$))+')
_MEM_TOTAL = re.compile(r"\bMemTotal:\s+(\d{1,15}) kB")
_NODE_CPULIST = re.compile(r"sys/devices/system/node/node(\d+)/cpulist")


def host_metadata(texts: Texts, name: str) -> dict[str, Any]:
    """The keys of the host's node; what the texts do not tell is left out.

    Args:
        texts: the files' contents, by :data:`CONTENTS` and :data:`PRESENCES`; a file that is not there is left out.
        name: the node's Name; empty: the hostname.
    """
    hostname = texts.get("proc/sys/kernel/hostname", "").strip()
    keys: dict[str, Any] = {
        "Name": name or hostname,
        "Hostname": hostname,
        "OS": "linux",
        **platform(texts),
        "KernelVersion": texts.get("proc/sys/kernel/osrelease", "").strip(),
        "KernelCmdLine": kernel_cmdline(texts.get("proc/cmdline", "")),
        **virtualization(texts),
        "IsolatedCPU": parse_cpu_list(texts.get("sys/devices/system/cpu/isolated", "")),
        "CPU": cpus(texts),
        "Memory": _memory(texts),
        "NUMA": numa(texts),
        "InstanceID": texts.get("var/lib/cloud/data/instance-id", "").strip(),
    }
    return {key: value for key, value in keys.items() if value}


def platform(texts: Texts) -> dict[str, str]:
    """Platform, PlatformFamily and PlatformVersion; a family is also found by os-release's ID_LIKE."""
    lines = _OS_RELEASE_LINE.findall(texts.get("etc/os-release", ""))
    release = {key: _OS_RELEASE_ESCAPE.sub(r"\1", value) for key, _, value in lines}
    name = release.get("ID", "")
    like = [name, *release.get("ID_LIKE", "").split()]
    families = (_FAMILY.get(_PLATFORM.get(each, each), "") for each in like)
    file, pattern = _VERSION_FILE.get(name, _NO_VERSION_FILE)
    whole = pattern.search(texts.get(file, ""))
    return {
        "Platform": _PLATFORM.get(name, name),
        "PlatformFamily": next(filter(None, families), ""),
        "PlatformVersion": whole[1] if whole else release.get("VERSION_ID", ""),
    }


def kernel_cmdline(text: str) -> dict[str, Any]:
    """Key → its value; true for a word without one; a list where a key has several values. Init's words (after --) too."""
    values: dict[str, list[str | bool]] = {}
    for word in _CMDLINE_WORD.findall(text):
        bare = word.strip('"') if word.startswith('"') else word
        key, equals, value = bare.partition("=")
        values.setdefault(key, []).append(value.strip('"') if equals else True)
    return {key: found[0] if len(set(found)) == 1 else found for key, found in values.items()}


def numa(texts: Texts) -> list[dict[str, Any]]:
    """The NUMA nodes by number: ID, CPUs (empty: memory alone), MemoryTotal in bytes."""
    nodes = {int(found[1]): texts[key] for key in texts if (found := _NODE_CPULIST.fullmatch(key))}
    return [
        {"ID": number, "CPUs": parse_cpu_list(cpulist)}
        | _total("MemoryTotal", texts.get(f"sys/devices/system/node/node{number}/meminfo", ""))
        for number, cpulist in sorted(nodes.items())
    ]


def _memory(texts: Texts) -> dict[str, int]:
    return _total("Total", texts.get("proc/meminfo", ""))


def _total(key: str, meminfo: str) -> dict[str, int]:
    """MemTotal in bytes, under a key: what the kernel manages, without what the firmware and it keep for themselves."""
    found = _MEM_TOTAL.search(meminfo)
    return {key: int(found[1]) * 1024} if found else {}
