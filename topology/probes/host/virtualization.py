"""Whether a host is virtual, and of what kind. Pure.

The words are gopsutil's, which Skydive shows (kvm, xen, vbox, vmware, hyperv, openvz, lxc, docker …; guest, host); the
evidence is what systemd-detect-virt(1) takes. Two things differ from gopsutil. A module that is loaded makes no host of a
guest: the guest's own evidence goes first. And /.dockerenv is no evidence: a virtual machine whose disk was made of an image
has it too. PID 1 is looked at and not ourselves, so that an agent in a container tells of the host whose /proc it was given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

HINT_FILES = (
    "proc/1/environ",
    "proc/1/cgroup",
    "proc/1/mountinfo",
    "proc/cpuinfo",
    "proc/xen/capabilities",
    "run/systemd/container",
    "sys/class/dmi/id/product_name",
    "sys/class/dmi/id/sys_vendor",
    "sys/class/dmi/id/board_vendor",
    "sys/class/dmi/id/bios_vendor",
    "sys/devices/system/clocksource/clocksource0/available_clocksource",
    "sys/hypervisor/type",
)
"""The files that are read, their first part the folder."""

HINT_PRESENCES = (
    "proc/bc/0",
    "proc/vz",
    "run/.containerenv",
    "sys/class/misc/kvm",
    "sys/class/misc/vboxdrv",
)
"""Those of which only their being there counts."""

_DMI = "sys/class/dmi/id/"


class _Hint(NamedTuple):
    """A file whose content matches makes the host this; an empty system: something, but what is not known."""

    system: str
    role: str
    file: str
    pattern: str = ""


def _dmi(system: str, *words: str) -> list[_Hint]:
    """Any of the firmware's names begins with one of these words."""
    pattern = rf"\A(?:{'|'.join(map(re.escape, words))})"
    return [_Hint(system, "guest", file, pattern) for file in HINT_FILES if file.startswith(_DMI)]


_HINTS = (
    # The innermost first: containers
    _Hint("docker", "guest", "proc/1/cgroup", r"docker"),
    _Hint("docker", "guest", "proc/1/mountinfo", r"/docker/containers/[0-9a-f]{64}/host\w+ /etc/host"),
    _Hint("lxc", "guest", "proc/1/cgroup", r"lxc"),
    _Hint("lxc", "guest", "proc/1/environ", r"(?:\A|\0)container=lxc"),
    _Hint("lxc", "guest", "run/systemd/container", r"\Alxc"),
    _Hint("docker", "guest", "run/systemd/container", r"\Adocker"),
    _Hint("podman", "guest", "proc/1/environ", r"(?:\A|\0)container=(?:podman|oci)"),
    _Hint("podman", "guest", "run/.containerenv"),
    _Hint("systemd-nspawn", "guest", "proc/1/environ", r"(?:\A|\0)container=systemd-nspawn"),
    _Hint("systemd-nspawn", "guest", "run/systemd/container", r"\Asystemd-nspawn"),
    _Hint("openvz", "host", "proc/bc/0"),
    _Hint("openvz", "guest", "proc/vz"),
    # Machines: what the hypervisor says of itself
    _Hint("xen", "host", "proc/xen/capabilities", r"control_d"),
    _Hint("xen", "guest", "sys/hypervisor/type", r"\Axen"),
    *_dmi("vbox", "innotek GmbH", "VirtualBox"),
    *_dmi("vmware", "VMware", "VMW"),
    *_dmi("xen", "Xen"),
    *_dmi("parallels", "Parallels"),
    *_dmi("bhyve", "BHYVE"),
    *_dmi("apple", "Apple Virtualization"),
    *_dmi("hyperv", "Virtual Machine", "Hyper-V"),
    *_dmi("kvm", "KVM", "QEMU", "OpenStack", "KubeVirt", "Google Compute Engine"),
    _Hint("kvm", "guest", "sys/devices/system/clocksource/clocksource0/available_clocksource", r"\bkvm-clock\b"),
    _Hint("hyperv", "guest", "sys/devices/system/clocksource/clocksource0/available_clocksource", r"\bhyperv_clocksource"),
    _Hint("kvm", "guest", "proc/cpuinfo", r"QEMU Virtual CPU|Common (?:32-bit )?KVM processor"),
    _Hint("", "guest", "proc/cpuinfo", r"(?m)^flags\s*:.*\bhypervisor\b"),
    # What runs machines of its own
    _Hint("kvm", "host", "sys/class/misc/kvm"),
    _Hint("vbox", "host", "sys/class/misc/vboxdrv"),
)
"""The first that matches wins."""


def virtualization(texts: Mapping[str, str]) -> dict[str, str]:
    """VirtualizationSystem and VirtualizationRole; empty strings where nothing tells."""
    found = (hint for hint in _HINTS if hint.file in texts and re.search(hint.pattern, texts[hint.file]))
    system, role = next(((hint.system, hint.role) for hint in found), ("", ""))
    return {"VirtualizationSystem": system, "VirtualizationRole": role}
