"""What the kernel matrix relies on, as JSON: run by ``run.sh SERIES python3 tests/lab/vm/smoke.py`` in the virtual machine.

Prints one object: the release, the device kinds that can be made, whether modules load, and whether bpf(2) makes TCX
links. Needs root and the standard library alone; makes a network namespace of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import struct
import subprocess
from pathlib import Path

PAIR4 = "local 192.0.2.1 remote 192.0.2.2"
PAIR6 = "local 2001:db8::1 remote 2001:db8::2"
DEVICES = {
    "dummy": "",
    "bond": "",
    "bridge": "",
    "veth": "",
    "vlan": "id 8",
    "vxlan": "id 7 remote 192.0.2.2 dstport 4789",
    "geneve": "id 7 remote 192.0.2.2",
    "gre": f"{PAIR4} key 7",
    "gretap": f"{PAIR4} key 7",
    "erspan": f"{PAIR4} seq key 9 erspan_ver 1 erspan 5",
    "ipip": PAIR4,
    "sit": PAIR4,
    "ip6tnl": PAIR6,
    "ip6gre": PAIR6,
    "vrf": "table 10",
    "wireguard": "",
}
MODULES = ("openvswitch", "vport-geneve", "vport-gre", "vport-vxlan", "sch_netem", "nf_conntrack", "mpls_iptunnel")
BPF_PROG_LOAD, BPF_LINK_CREATE = 5, 28  # enum bpf_cmd of linux/bpf.h
SYS_BPF, SCHED_CLS, TCX_INGRESS = 321, 3, 46  # x86-64's number; enum bpf_prog_type; enum bpf_attach_type


def ip(arguments: str) -> bool:
    """Run ``ip`` in our namespace; whether it succeeded."""
    return subprocess.run(["ip", *arguments.split()], check=False, capture_output=True).returncode == 0


def bpf(command: int, attributes: bytes) -> int:
    """Call bpf(2); a file descriptor, or the negative errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, 144)
    result = int(libc.syscall(SYS_BPF, command, buffer, 144))
    return result if result >= 0 else -ctypes.get_errno()


def tcx_links() -> bool:
    """Whether a program that returns TCX_NEXT (-1) can be attached to dummy0 by a TCX link."""
    code = struct.pack("<BBhiBBhi", 0xB7, 0, 0, -1, 0x95, 0, 0, 0)  # r0 = -1; exit
    instructions, license_ = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    load = struct.pack("<IIQQ", SCHED_CLS, 2, ctypes.addressof(instructions), ctypes.addressof(license_))
    program = bpf(BPF_PROG_LOAD, load)
    if program < 0:
        raise OSError(-program, f"BPF_PROG_LOAD: {os.strerror(-program)}")
    return bpf(BPF_LINK_CREATE, struct.pack("<III", program, socket.if_nametoindex("dummy0"), TCX_INGRESS)) >= 0


def main() -> None:
    """Find out and print."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare")
    modules = {name: subprocess.run(["modprobe", name], check=False).returncode == 0 for name in MODULES}
    ip("link add dummy0 type dummy")
    devices = {}
    for kind, options in DEVICES.items():
        lower = "link dummy0" if kind == "vlan" else ""
        devices[kind] = ip(f"link add {lower} name t-{kind} type {kind} {options}")
    btf = Path("/sys/kernel/btf/vmlinux").exists()
    found = {"release": platform.release(), "btf": btf, "tcx": tcx_links(), "devices": devices, "modules": modules}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
