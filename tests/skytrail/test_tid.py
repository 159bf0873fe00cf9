from __future__ import annotations

import itertools
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytrail.tid import container_network_tid, container_tid, device_tid, device_tids, element_id, host_tid, namespace_tid

HOST = "host/node-1"
BOOT = "4a1b1ed9-91a2-41b5-959c-d019ebc30408"


def test_a_host_is_named_by_its_host_id() -> None:
    assert host_tid("node-1") == HOST


def test_an_element_id_is_the_uuid_that_util_linux_computes() -> None:
    uuidgen = shutil.which("uuidgen")
    if uuidgen is None:
        pytest.skip("uuidgen (util-linux) is the oracle, and is not installed")
    command = [uuidgen, "--sha1", "--namespace", "@oid", "--name", HOST]
    expected = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert element_id(HOST) == expected


def test_a_named_namespace_keeps_its_tid_over_boots() -> None:
    first = namespace_tid(HOST, BOOT, 7, name="blue")
    assert first == namespace_tid(HOST, "another boot", 99, name="blue") == "host/node-1/netns/name/blue"


def test_a_container_is_its_id_and_not_the_name_of_its_namespace() -> None:
    assert namespace_tid(HOST, BOOT, 7, name="1f2e", container_id="abc") == "host/node-1/netns/container/abc"


def test_a_container_and_a_network_of_its_runtime_are_of_their_host() -> None:
    assert container_tid(HOST, "abc") == "host/node-1/container/abc"
    assert container_network_tid(HOST, "docker", "a/b") == "host/node-1/network/docker/a%2Fb"


def test_a_nameless_namespace_is_told_from_the_next_boots() -> None:
    assert namespace_tid(HOST, BOOT, 7) == f"host/node-1/netns/boot/{BOOT}/7"
    assert namespace_tid(HOST, BOOT, 7) != namespace_tid(HOST, "another boot", 7)


def test_our_own_namespace_is_a_fixed_word_even_if_it_has_a_name() -> None:
    assert namespace_tid(HOST, BOOT, 1, of_host=True, name="blue") == namespace_tid(HOST, "other", 2, of_host=True)


def test_a_physical_device_is_the_same_in_every_namespace_and_under_every_name() -> None:
    mac = bytes.fromhex("02fc00000001")
    here = device_tid(HOST, "a", kind="", name="eth0", perm_mac=mac, bus="pci/0000:01:00.0")
    there = device_tid(HOST, "b", kind="", name="wan", perm_mac=mac, bus="pci/0000:02:00.0")
    assert here == there == "host/node-1/device/mac/02:fc:00:00:00:01"


def test_a_device_without_a_permanent_mac_is_its_bus_address_and_port() -> None:
    ports = [
        device_tid(HOST, "a", kind="", name=f"e{port}", bus="pci/0000:01:00.0", phys_port=port) for port in ("", "p0", "p1")
    ]
    assert len(set(ports)) == 3
    assert all(tid.startswith("host/node-1/device/bus/pci%2F0000:01:00.0") for tid in ports)


def test_a_vlan_with_its_parents_permanent_mac_is_no_physical_device() -> None:
    mac = bytes.fromhex("02fc00000001")
    assert device_tid(HOST, "ns", kind="vlan", name="eth0.5", perm_mac=mac) == "ns/link/vlan/eth0.5"


def test_loopback_is_one_of_each_namespace() -> None:
    assert device_tid(HOST, "ns1", kind="", name="lo") != device_tid(HOST, "ns2", kind="", name="lo")


def test_two_physical_devices_with_one_mac_are_told_apart_by_their_bus_address() -> None:
    mac = bytes.fromhex("020000000001")
    synthetic = device_tids(HOST, "ns", kind="", name="eth0", perm_mac=mac, bus="vmbus/1")
    function = device_tids(HOST, "ns", kind="", name="eth1", perm_mac=mac, bus="pci/2")
    assert next(synthetic) == next(function)
    assert next(synthetic) != next(function)


def test_the_candidates_of_a_device_never_repeat() -> None:
    for bus in ("", "pci/1"):
        some = list(itertools.islice(device_tids(HOST, "ns", kind="veth", name="v", bus=bus), 50))
        assert len(set(some)) == 50


parts = st.text(st.characters(codec="utf-8"), min_size=1) | st.sampled_from(["a/b", "a", "b", "%2F", "/", "\udcff"])


@given(st.tuples(parts, parts, parts), st.tuples(parts, parts, parts))
def test_different_places_never_share_a_tid(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    def tid(host: str, space: str, name: str) -> str:
        return device_tid(HOST, namespace_tid(host_tid(host), BOOT, 1, name=space), kind="veth", name=name)

    assert (tid(*one) == tid(*other)) == (one == other)


@given(parts)
def test_a_tid_is_plain_ascii_without_spaces(name: str) -> None:
    tid = namespace_tid(HOST, BOOT, 1, name=name)
    assert tid.isascii()
    assert tid.isprintable()
    assert " " not in tid
