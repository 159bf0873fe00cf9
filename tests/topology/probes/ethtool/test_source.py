from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.netlab import Net, in_netns

from skytrail.errors import NotSupportedError
from skytrail.kernel.genetlink import Answer, GenericSocket
from skytrail.kernel.netlink import NetlinkDecodeError
from topology.probes.ethtool import source
from topology.probes.ethtool.source import Ethtool
from topology.probes.ethtool.translate import request as request_body

pytestmark = pytest.mark.kernel

LEGACY = {
    "rx-checksumming": "rx-checksum",
    "generic-segmentation-offload": "tx-generic-segmentation",
    "generic-receive-offload": "rx-gro",
    "large-receive-offload": "rx-lro",
    "rx-vlan-offload": "rx-vlan-hw-parse",
    "tx-vlan-offload": "tx-vlan-hw-insert",
    "ntuple-filters": "rx-ntuple-filter",
    "receive-hashing": "rx-hashing",
}
"""ethtool(8)'s name → the kernel's, where they differ (ethtool's off_flag_def)."""
GROUPS = {"tx-checksumming", "scatter-gather", "tcp-segmentation-offload"}
DRIVER = {"driver": "Driver", "version": "DriverVersion", "firmware-version": "FirmwareVersion", "bus-info": "BusInfo"}
COUNTS = {"RX": "Rx", "TX": "Tx", "Other": "Other", "Combined": "Combined", "RX Mini": "RxMini", "RX Jumbo": "RxJumbo"}
UNKNOWN = {"", "n/a", "N/A", "Unknown!", "Unknown! (255)"}


def lines(text: str) -> list[tuple[str, str]]:
    """``key: value`` of each line."""
    split = (line.partition(":") for line in text.splitlines())
    return [(key.strip(), value.strip()) for key, colon, value in split if colon]


def shown_counts(text: str) -> dict[str, int]:
    """Of ``ethtool -l`` and ``-g``: the maximums come first."""
    found = {}
    suffix = ""
    for key, value in lines(text):
        suffix = {"Pre-set maximums": "Max", "Current hardware settings": ""}.get(key, suffix)
        if key in COUNTS and value not in UNKNOWN:
            found[COUNTS[key] + suffix] = int(value)
    return found


def shown(net: Net, netns: str, interface: str) -> dict[str, Any]:
    """What ethtool(8) says of an interface, under our keys."""

    def say(*options: str) -> str:
        return net.run(netns, "ethtool", *options, interface, check=False)

    settings = dict(lines(say()))
    found: dict[str, Any] = {
        "AutoNeg": settings.get("Auto-negotiation", ""),
        "Duplex": settings.get("Duplex", "").lower(),
        "Port": settings.get("Port", ""),
        "Speed": settings.get("Speed", "").removesuffix("Mb/s"),
        "LinkDetected": settings.get("Link detected", ""),
    } | {DRIVER[key]: value for key, value in lines(say("-i")) if key in DRIVER}
    found = {key: value for key, value in found.items() if value not in UNKNOWN | {"unknown! (255)"}}
    for key, yes in {"AutoNeg": "on", "LinkDetected": "yes"}.items():
        if key in found:
            found[key] = found[key] == yes
    if "Speed" in found:
        found["Speed"] = int(found["Speed"])
    features = [(key, value) for key, value in lines(say("-k")) if value and key not in GROUPS]
    found["Features"] = {LEGACY.get(key, key): value.split()[0] == "on" for key, value in features}
    for key, option in {"Channels": "-l", "Rings": "-g"}.items():
        if counts := shown_counts(say(option)):
            found[key] = counts
    return found


def interfaces(net: Net, netns: str) -> dict[int, str]:
    return {link["ifindex"]: link["ifname"] for link in json.loads(net.ip("-j link show", netns=netns))}


@pytest.fixture
def furnished(net: Net) -> str:
    """A namespace with interfaces of several kinds."""
    netns = net.netns("a")
    net.ip("link add v0 numrxqueues 4 numtxqueues 4 type veth peer name v1 numrxqueues 4 numtxqueues 4", netns=netns)
    net.ip("link add b0 type bridge", netns=netns)
    net.ip("link set v0 up master b0", netns=netns)
    net.ip("link set v1 up", netns=netns)
    net.ip("link add x0 type vxlan id 7 dstport 4789", netns=netns)
    net.ip("tuntap add t0 mode tap", netns=netns)
    net.run(netns, "ethtool", "-s", "t0", "speed", "2500", "duplex", "half", "autoneg", "off")
    net.run(netns, "ethtool", "-L", "v0", "rx", "2", "tx", "3")
    net.run(netns, "ethtool", "-K", "v0", "tso", "off")
    return netns


def test_every_interface_is_as_ethtool_shows_it(net: Net, furnished: str) -> None:
    found = in_netns(furnished, Ethtool().read)
    names = interfaces(net, furnished)
    assert found.keys() == names.keys()
    for ifindex, name in names.items():
        assert found[ifindex] == shown(net, furnished, name), name
    by_name = {name: found[ifindex] for ifindex, name in names.items()}
    assert by_name["v0"]["Channels"] == {"Rx": 2, "RxMax": 4, "Tx": 3, "TxMax": 4}
    assert by_name["v0"]["Features"]["tx-tcp-segmentation"] is False
    assert by_name["v1"]["Features"]["tx-tcp-segmentation"] is True
    assert (by_name["v0"]["Driver"], by_name["v0"]["Speed"], by_name["v0"]["Duplex"]) == ("veth", 10000, "full")
    assert (by_name["t0"]["Speed"], by_name["t0"]["Duplex"]) == (2500, "half")


def test_this_hosts_interfaces_are_as_ethtool_shows_them(net: Net) -> None:
    found = Ethtool().read()
    compared = 0
    for ifindex, name in interfaces(net, "").items():
        if ifindex in found and not name.startswith("k"):  # other tests make and remove theirs
            assert found[ifindex] == shown(net, "", name), name
            compared += 1
    assert compared


def test_one_interface_is_the_same_as_among_all(net: Net, furnished: str) -> None:
    ethtool = Ethtool()
    found = in_netns(furnished, ethtool.read)
    for ifindex, keys in found.items():
        assert in_netns(furnished, partial(ethtool.read_interfaces, [ifindex])) == {ifindex: keys}
    assert in_netns(furnished, partial(ethtool.read_interfaces, [max(found) + 1000])) == {}


def test_a_driver_that_fails_costs_nobody_else_an_answer(net: Net, furnished: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ethtool = Ethtool()
    whole = in_netns(furnished, ethtool.read)
    real = GenericSocket.ask
    asleep = next(ifindex for ifindex, name in interfaces(net, furnished).items() if name == "v1")

    def ask(self: GenericSocket, family: int, command: int, body: bytes, *, dump: bool = False) -> list[Answer]:
        if command == 4 and (dump or body == request_body(asleep)):  # LINKMODES
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return real(self, family, command, body, dump=dump)

    monkeypatch.setattr(GenericSocket, "ask", ask)
    found = in_netns(furnished, ethtool.read)
    silent = {"AutoNeg", "Speed", "Duplex"}
    assert found.pop(asleep) == {key: value for key, value in whole.pop(asleep).items() if key not in silent}
    assert found == whole


@pytest.mark.parametrize("lacking", [2, 4, 6, 15, 17])
def test_a_command_that_the_kernel_lacks_leaves_the_others(
    net: Net, furnished: str, monkeypatch: pytest.MonkeyPatch, lacking: int
) -> None:
    ethtool = Ethtool()
    whole = in_netns(furnished, ethtool.read)
    real = GenericSocket.ask
    asked: list[int] = []

    def ask(self: GenericSocket, family: int, command: int, body: bytes, *, dump: bool = False) -> list[Answer]:
        asked.append(command)
        return real(self, family, 250 if command == lacking else command, body, dump=dump)  # 250: no kernel has it

    monkeypatch.setattr(GenericSocket, "ask", ask)
    found = in_netns(furnished, ethtool.read)
    assert asked.count(lacking) == 1
    lost = {2: {"Port"}, 4: {"AutoNeg", "Speed", "Duplex"}, 6: {"LinkDetected"}, 15: {"Rings"}, 17: {"Channels"}}[lacking]
    assert found == {ifindex: {key: keys[key] for key in keys if key not in lost} for ifindex, keys in whole.items()}


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOBUFS])
def test_a_kernel_without_memory_is_no_drivers_word(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    ethtool = Ethtool()

    def ask(*_: object, **__: object) -> list[Answer]:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(GenericSocket, "ask", ask)
    for read in (ethtool.read, lambda: ethtool.read_interfaces([1])):
        with pytest.raises(OSError, match=r"memory|buffer"):
            read()


def test_a_kernel_without_the_family_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_FAMILY", "no such")
    with pytest.raises(NotSupportedError, match="CONFIG_ETHTOOL_NETLINK"):
        Ethtool()


def test_a_malformed_answer_is_refused_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    ethtool = Ethtool()
    monkeypatch.setattr(GenericSocket, "ask", lambda *_, **__: [Answer(11, b"\x05\0\x01\0")])
    with pytest.raises(NetlinkDecodeError):
        ethtool.read()


def test_interfaces_that_come_and_go_and_change_names_break_nothing(net: Net) -> None:
    netns = net.netns("a")
    ethtool = Ethtool()
    net.ip("link add s0 type bridge", netns=netns)
    net.ip("link add p0 type veth peer name p1", netns=netns)
    steady = in_netns(netns, ethtool.read)
    made = [f"link add v{n} type veth peer name w{n}" for n in range(5)]
    swapped = ["link set s0 name x0\nlink set p0 name s0\nlink set x0 name p0"]  # a bridge and a veth: other drivers
    batch = "\n".join([*made, *swapped * 100, *(f"link del v{n}" for n in range(5))])
    over = threading.Event()

    def storm() -> None:
        while not over.is_set():
            net.run("", "ip", "-n", netns, "-batch", "-", stdin=batch)

    def read_on() -> int:
        seen: list[dict[str, Any]] = []
        reads = 0
        while reads < 50 or (len(seen) < 50 and reads < 5000):
            found = ethtool.read()
            assert steady.items() <= found.items()
            seen += [keys for ifindex, keys in found.items() if ifindex not in steady]
            reads += 1
        assert {keys.get("Driver") for keys in seen} <= {"veth", None}
        return len(seen)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        assert in_netns(netns, read_on) >= 50
    finally:
        over.set()
        thread.join()


def test_a_name_that_became_anothers_meanwhile_is_asked_for_again(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    netns = net.netns("a")
    net.ip("link add s0 type bridge", netns=netns)
    net.ip("link add p0 type veth peer name p1", netns=netns)
    bridge = next(ifindex for ifindex, name in interfaces(net, netns).items() if name == "s0")
    real = fcntl.ioctl
    swaps: list[int] = []

    def ioctl(fd: int, request: int, value: bytes) -> Any:
        if request == 0x8946 and not swaps:  # SIOCETHTOOL
            swaps.append(request)
            for before, after in (("s0", "x0"), ("p0", "s0"), ("x0", "p0")):
                net.ip(f"link set {before} name {after}", netns=netns)
        return real(fd, request, value)

    ethtool = Ethtool()
    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    found = in_netns(netns, partial(ethtool.read_interfaces, [bridge]))
    assert (found[bridge]["Driver"], len(swaps)) == ("bridge", 1)


def test_no_descriptor_is_left_behind() -> None:
    ethtool = Ethtool()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        ethtool.read()
        ethtool.read_interfaces([1])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
