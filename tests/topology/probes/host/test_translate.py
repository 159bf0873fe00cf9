from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.probes.host.cpus import cpus, parse_cpu_list
from topology.probes.host.translate import CONTENTS, host_metadata, kernel_cmdline, numa, platform
from topology.probes.host.virtualization import virtualization

DMI = "sys/class/dmi/id/"
CLOCKS = "sys/devices/system/clocksource/clocksource0/available_clocksource"
FLAGS = "processor\t: 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
UBUNTU = 'NAME="Ubuntu"\nVERSION_ID="22.04"\nVERSION="22.04.4 LTS (Jammy Jellyfish)"\nID=ubuntu\nID_LIKE=debian\n'
RHEL = 'NAME="Red Hat Enterprise Linux"\nVERSION="9.3 (Plow)"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.3"\n'
CENTOS = 'NAME="CentOS Linux"\nVERSION="7 (Core)"\nID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="7"\n'
ALPINE = 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.18.4\n'
AMAZON = 'NAME="Amazon Linux"\nVERSION="2023"\nID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\n'
LEAP = 'NAME="openSUSE Leap"\nVERSION="15.5"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.5"\n'
TALOS = 'NAME="Talos"\nID=talos\nVERSION_ID=v1.6.0\n'
POP = "ID=pop\nID_LIKE='ubuntu debian'\nVERSION_ID='22.04'\n"

XEON = """\
processor\t: {cpu}
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz
stepping\t: 4
microcode\t: 0x2007006
cpu MHz\t\t: 1000.{cpu:03d}
cache size\t: 22528 KB
physical id\t: {socket}
siblings\t: 2
core id\t\t: {core}
cpu cores\t: 1
apicid\t\t: 0
flags\t\t: fpu vme de pse tsc msr pae
bugs\t\t: cpu_meltdown spectre_v1
power management:

"""
GRAVITON = """\
processor\t: {cpu}
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""
RASPBERRY_END = "Hardware\t: BCM2835\nRevision\t: a020d3\nSerial\t\t: 00000000c0ffee00\nModel\t\t: Raspberry Pi 3\n"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"etc/os-release": DEBIAN, "etc/debian_version": "12.11\n"}, ("debian", "debian", "12.11")),
        ({"etc/os-release": DEBIAN}, ("debian", "debian", "12")),
        ({"etc/os-release": DEBIAN, "etc/debian_version": ""}, ("debian", "debian", "12")),
        ({"etc/os-release": UBUNTU, "etc/debian_version": "bookworm/sid\n"}, ("ubuntu", "debian", "22.04")),
        ({"etc/os-release": RHEL, "etc/redhat-release": "Red Hat Enterprise Linux release 9.3\n"}, ("redhat", "rhel", "9.3")),
        (
            {"etc/os-release": CENTOS, "etc/redhat-release": "CentOS Linux release 7.9.2009 (Core)\n"},
            ("centos", "rhel", "7.9.2009"),
        ),
        ({"etc/os-release": ALPINE}, ("alpine", "alpine", "3.18.4")),
        ({"etc/os-release": AMAZON}, ("amazon", "rhel", "2023")),
        ({"etc/os-release": LEAP}, ("opensuse", "suse", "15.5")),
        ({"etc/os-release": POP}, ("pop", "debian", "22.04")),
        ({"etc/os-release": TALOS}, ("talos", "", "v1.6.0")),
        ({"etc/os-release": 'ID="a\\"b"\n# ID=c\n ID=d\n'}, ('a"b', "", "")),
        ({}, ("", "", "")),
    ],
)
def test_the_platform_is_named_as_gopsutil_names_it(texts: dict[str, str], expected: tuple[str, str, str]) -> None:
    assert tuple(platform(texts).values()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quiet ro root=/dev/sda1\n", {"quiet": True, "ro": True, "root": "/dev/sda1"}),
        ("console=tty0 console=ttyS0,115200n8", {"console": ["tty0", "ttyS0,115200n8"]}),
        ("isolcpus=1-3 isolcpus=1-3 quiet quiet", {"isolcpus": "1-3", "quiet": True}),
        ("debug debug=2", {"debug": [True, "2"]}),
        ('dyndbg="file a.c +p" x', {"dyndbg": "file a.c +p", "x": True}),
        ('"dyndbg=file a.c +p"', {"dyndbg": "file a.c +p"}),
        ('open="a b', {"open": "a b"}),
        ("root=UUID=1-2 empty=", {"root": "UUID=1-2", "empty": ""}),
        ("net.ifnames=0 -- --verbose", {"net.ifnames": "0", "--": True, "--verbose": True}),
        ("  \n", {}),
    ],
)
def test_the_kernels_command_line(text: str, expected: dict[str, Any]) -> None:
    assert kernel_cmdline(text) == expected


@pytest.mark.parametrize(
    ("texts", "system", "role"),
    [
        ({}, "", ""),
        ({"proc/cpuinfo": "flags\t: fpu vme\n", DMI + "sys_vendor": "Dell Inc.\n", "sys/class/misc/kvm": ""}, "kvm", "host"),
        ({"sys/class/misc/vboxdrv": ""}, "vbox", "host"),
        ({DMI + "sys_vendor": "QEMU\n", DMI + "product_name": "Standard PC (Q35 + ICH9, 2009)\n"}, "kvm", "guest"),
        ({DMI + "sys_vendor": "QEMU\n", "sys/class/misc/kvm": ""}, "kvm", "guest"),  # nested
        ({DMI + "sys_vendor": "innotek GmbH\n", DMI + "product_name": "VirtualBox\n"}, "vbox", "guest"),
        ({DMI + "sys_vendor": "VMware, Inc.\n", "proc/cpuinfo": FLAGS}, "vmware", "guest"),
        ({DMI + "sys_vendor": "Microsoft Corporation\n", DMI + "product_name": "Virtual Machine\n"}, "hyperv", "guest"),
        ({DMI + "sys_vendor": "Microsoft Corporation\n", DMI + "product_name": "Surface Laptop\n"}, "", ""),
        ({DMI + "sys_vendor": "Google\n", DMI + "product_name": "Google Compute Engine\n"}, "kvm", "guest"),
        ({DMI + "sys_vendor": "Amazon EC2\n", DMI + "product_name": "m5.metal\n"}, "", ""),
        ({DMI + "sys_vendor": "Amazon EC2\n", CLOCKS: "kvm-clock tsc acpi_pm \n"}, "kvm", "guest"),
        ({CLOCKS: "tsc kvm-clock \n", "proc/cpuinfo": FLAGS}, "kvm", "guest"),  # Firecracker: no DMI
        ({CLOCKS: "hyperv_clocksource_tsc_page acpi_pm \n"}, "hyperv", "guest"),
        ({CLOCKS: "tsc hpet acpi_pm \n"}, "", ""),
        ({"sys/hypervisor/type": "xen\n", "proc/xen/capabilities": "control_d\n"}, "xen", "host"),
        ({"sys/hypervisor/type": "xen\n", "proc/xen/capabilities": ""}, "xen", "guest"),
        ({"proc/cpuinfo": "model name\t: QEMU Virtual CPU version 2.5+\n"}, "kvm", "guest"),
        ({"proc/cpuinfo": FLAGS}, "", "guest"),
        ({"proc/vz": "", "proc/bc/0": ""}, "openvz", "host"),
        ({"proc/vz": ""}, "openvz", "guest"),
        ({"proc/1/cgroup": "12:pids:/docker/0a1b\n", DMI + "sys_vendor": "QEMU\n"}, "docker", "guest"),
        ({"proc/1/cgroup": "1:name=systemd:/lxc/web/init.scope\n"}, "lxc", "guest"),
        ({"proc/1/environ": "TERM=linux\0container=lxc\0"}, "lxc", "guest"),
        ({"proc/1/environ": "mycontainer=lxc\0"}, "", ""),
        ({"proc/1/environ": "container=podman\0HOME=/root\0"}, "podman", "guest"),
        ({"run/systemd/container": "systemd-nspawn"}, "systemd-nspawn", "guest"),
        (
            {
                "proc/1/cgroup": "0::/\n",  # a cgroup namespace of its own
                "proc/1/mountinfo": "1046 1025 259:1 /var/lib/docker/containers/"
                + "ab" * 32
                + "/hostname /etc/hostname rw - ext4\n",
            },
            "docker",
            "guest",
        ),
        (  # the host that Docker runs on
            {
                "proc/1/cgroup": "0::/init.scope\n",
                "proc/1/mountinfo": "62 29 0:53 / /var/lib/docker/overlay2/1f/merged rw - overlay\n",
            },
            "",
            "",
        ),
    ],
)
def test_the_evidence_of_virtualization(texts: dict[str, str], system: str, role: str) -> None:
    assert virtualization(texts) == {"VirtualizationSystem": system, "VirtualizationRole": role}


def test_a_server_of_two_sockets_with_isolated_cpus() -> None:
    blocks = [XEON.format(cpu=cpu, socket=cpu % 2, core=0) for cpu in range(4)]
    random.Random(1).shuffle(blocks)
    texts = {
        "proc/cpuinfo": "".join(blocks),
        "proc/meminfo": "MemTotal:       196707436 kB\nMemFree:        1 kB\n",
        "proc/sys/kernel/hostname": "node-7\n",
        "proc/sys/kernel/osrelease": "5.14.0-362.8.1.el9_3.x86_64\n",
        "sys/devices/system/cpu/isolated": "1,3\n",
        "sys/devices/system/node/node1/cpulist": "1,3\n",
        "sys/devices/system/node/node1/meminfo": "Node 1 MemTotal:       99052988 kB\nNode 1 MemFree:  5 kB\n",
        "sys/devices/system/node/node0/cpulist": "0,2\n",
        "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:       97654448 kB\n",
        "sys/devices/system/node/node2/cpulist": "\n",
        "var/lib/cloud/data/instance-id": "i-0123456789abcdef0\n",
        "etc/os-release": RHEL,
    }
    found = host_metadata(texts, "")
    assert found.pop("CPU") == [
        {
            "CPU": cpu,
            "VendorID": "GenuineIntel",
            "Family": "6",
            "Model": "85",
            "Stepping": 4,
            "PhysicalID": str(cpu % 2),
            "CoreID": "0",
            "Cores": 1,
            "ModelName": "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz",
            "CacheSize": 22528,
            "Microcode": "0x2007006",
        }
        for cpu in range(4)
    ]
    assert found == {
        "Name": "node-7",
        "Hostname": "node-7",
        "OS": "linux",
        "Platform": "redhat",
        "PlatformFamily": "rhel",
        "PlatformVersion": "9.3",
        "KernelVersion": "5.14.0-362.8.1.el9_3.x86_64",
        "IsolatedCPU": [1, 3],
        "Memory": {"Total": 196707436 * 1024},
        "NUMA": [
            {"ID": 0, "CPUs": [0, 2], "MemoryTotal": 97654448 * 1024},
            {"ID": 1, "CPUs": [1, 3], "MemoryTotal": 99052988 * 1024},
            {"ID": 2, "CPUs": []},
        ],
        "InstanceID": "i-0123456789abcdef0",
    }
    assert host_metadata(texts, "rack-7") == found | {"Name": "rack-7", "CPU": cpus(texts)}


def test_nothing_but_a_frequency_changed_is_nothing_changed() -> None:
    text = XEON.format(cpu=0, socket=0, core=0)
    assert cpus({"proc/cpuinfo": text}) == cpus({"proc/cpuinfo": text.replace("1000.000", "3700.123")})


def test_an_arm_host_has_its_places_from_sysfs() -> None:
    texts = {"proc/cpuinfo": "".join(GRAVITON.format(cpu=cpu) for cpu in range(2)) + RASPBERRY_END}
    for cpu, package in ((0, "36"), (1, "-1")):
        texts[f"sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id"] = f"{package}\n"
        texts[f"sys/devices/system/cpu/cpu{cpu}/topology/core_id"] = f"{cpu}\n"
    common = {"VendorID": "ARM", "Family": "8", "Model": "0xd0c", "Stepping": 1, "Cores": 1}
    assert cpus(texts) == [
        common | {"CPU": 0, "PhysicalID": "36", "CoreID": "0"},
        common | {"CPU": 1, "CoreID": "1"},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-3,8\n", [0, 1, 2, 3, 8]),
        ("\n", []),
        ("5", [5]),
        ("3-1", []),
        ("0-999999", []),
        ("0-99999999999999999999", []),
        ("1,x", []),
        ("1-2-3", []),
    ],
)
def test_a_list_of_cpus(text: str, expected: list[int]) -> None:
    assert parse_cpu_list(text) == expected


@given(st.sets(st.integers(0, 300)))
def test_a_list_of_cpus_comes_back_as_it_was_written(numbers: set[int]) -> None:
    assert parse_cpu_list(",".join(map(str, sorted(numbers)))) == sorted(numbers)


@given(st.dictionaries(st.sampled_from([*CONTENTS, "sys/devices/system/node/node3/cpulist"]), st.text(max_size=300)))
def test_any_text_is_taken_or_left_out(texts: dict[str, str]) -> None:
    found = host_metadata(texts, "n")
    assert found["Name"] == "n"
    assert all(found.values())


@given(st.data())
def test_a_real_text_that_is_damaged_is_taken_or_left_out(data: Any) -> None:
    text = XEON.format(cpu=0, socket=0, core=0) + GRAVITON.format(cpu=1)
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:at] + data.draw(st.text(max_size=5)) + text[at + data.draw(st.integers(0, 5)) :]
    for cpu in cpus({"proc/cpuinfo": damaged}):
        assert isinstance(cpu["CPU"], int)
    numa({"sys/devices/system/node/node0/cpulist": damaged})
