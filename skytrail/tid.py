"""Topology IDs: an element's identity, that survives restarts of the agent and of the host. Pure functions.

A TID is readable text, like a path; what stands before the last part is where it belongs:

================================================  =======================================================================
``host/<host_id>``                                the host
``host/<host_id>/netns/host``                     the host's own: that of process 1
``host/<host_id>/netns/name/<name>``              a namespace with a name in /run/netns
``host/<host_id>/netns/container/<id>``           a container's
``host/<host_id>/netns/boot/<boot id>/<cookie>``  any other: lasts until the next boot, as the namespace itself does
``host/<host_id>/device/mac/<permanent MAC>``     a physical device; ``/<bus address>`` follows if another has that MAC
``host/<host_id>/device/bus/<bus address>``       one without a permanent MAC; ``/port/<port>`` if several share it
``<namespace's TID>/link/<kind>/<name>``          a virtual device, by where it was first seen
``host/<host_id>/ovs/<UUID>``                     a row of Open vSwitch's database: bridge, port, interface
``host/<host_id>/container/<id>``                 a container
``host/<host_id>/network/<runtime>/<id>``         a network that a runtime made for containers
``<bridge>/rule/<table>/<priority>/<match>``      a rule of OpenFlow in a bridge of Open vSwitch
``<bridge>/group/<number>``                       a group of OpenFlow there
``cluster/<name>``                                a Kubernetes cluster, by the name that the settings give it
``cluster/<name>/<kind>/<UID>``                   an object of it; ``/container/<name>`` follows for a container of a pod
``…/<n>``                                         the n-th (from 2 on) of those that would otherwise share a TID
================================================  =======================================================================

Each part is percent-encoded (RFC 3986), so that two different lists of parts never give one TID, whatever bytes a name
holds. The element's ``ID`` is the UUIDv5 of its TID in the OID namespace, as Skydive makes its IDs.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
import uuid
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes

_KIND_OF_NONE = "device"
_LONGEST_ID = 255  # bytes of a host_id that others take
_REMEMBERED = 1 << 16  # IDs: each is asked for again and again


def host_tid(host_id: str) -> str:
    """The TID of the host with that ``host_id`` (setting, or derived from the machine-id)."""
    return _join("host", host_id)


def is_host_tid(tid: str) -> bool:
    """Whether a TID is as :func:`host_tid` makes it: of a host, and nothing that is on one."""
    kind, _, rest = tid.partition("/")
    host_id = unquote_to_bytes(rest)
    return kind == "host" and 0 < len(host_id) <= _LONGEST_ID and tid == host_tid(os.fsdecode(host_id))


def namespace_tid(
    host: str, boot_id: str, cookie: int, *, of_host: bool = False, name: str | None = None, container_id: str | None = None
) -> str:
    """The TID of a network namespace.

    Args:
        host: the host's TID.
        boot_id: of this boot.
        cookie: SO_NETNS_COOKIE.
        of_host: whether it is the host's own.
        name: its name in /run/netns, if it has one.
        container_id: of the container that it was made for, if it is known.
    """
    if of_host:
        return _under(host, "netns", "host")
    if container_id:
        return _under(host, "netns", "container", container_id)
    if name:
        return _under(host, "netns", "name", name)
    return _under(host, "netns", "boot", boot_id, str(cookie))


def device_tids(
    host: str, namespace: str, *, kind: str, name: str, perm_mac: bytes = b"", bus: str = "", phys_port: str = ""
) -> Iterator[str]:
    """The TIDs that a device may have, best first, without end: the first that no other living device holds is its own.

    Only a device without a kind counts as physical: VLANs, DSA ports and the like report the permanent MAC of what they
    stand on. Two physical devices may share one MAC (a virtual function and the synthetic device above it), and several
    may share one bus address (ports of one PCI function).

    Args:
        host: the host's TID.
        namespace: the TID of the namespace where it was first seen; of no matter for a physical one.
        kind: ``veth``, ``bridge`` …; empty for physical devices and ``lo``.
        name: its name there.
        perm_mac: its permanent link-layer address; empty if it has none.
        bus: its bus address ("pci/0000:01:00.0"); empty if it has none.
        phys_port: the port of the device at that address, if it says so.
    """
    address = (bus, "port", phys_port) if phys_port else (bus,)
    if kind or not (perm_mac or bus):
        bases = [_under(namespace, "link", kind or _KIND_OF_NONE, name)]
    elif perm_mac:
        bases = [_under(host, "device", "mac", perm_mac.hex(":"))]
        if bus:
            bases.append(_under(bases[0], *address))
    else:
        bases = [_under(host, "device", "bus", *address)]
    yield from bases
    for serial in itertools.count(2):
        yield _under(bases[-1], str(serial))


def device_tid(
    host: str, namespace: str, *, kind: str, name: str, perm_mac: bytes = b"", bus: str = "", phys_port: str = ""
) -> str:
    """The TID of a device that shares its marks with no other: the first of :func:`device_tids`."""
    return next(device_tids(host, namespace, kind=kind, name=name, perm_mac=perm_mac, bus=bus, phys_port=phys_port))


def host_of(tid: str) -> str:
    """The TID of the host in a TID."""
    return "/".join(tid.split("/", 2)[:2])


def ovs_tid(host: str, uuid: str) -> str:
    """The TID of what a row of Open vSwitch's database on a host says."""
    return _under(host, "ovs", uuid)


def container_tid(host: str, container_id: str) -> str:
    """The TID of a container on a host: one that is stopped and started again is the same."""
    return _under(host, "container", container_id)


def container_network_tid(host: str, runtime: str, network_id: str) -> str:
    """The TID of a network that a container runtime on a host made."""
    return _under(host, "network", runtime, network_id)


def ovs_rule_tid(host: str, bridge: str, table: int, priority: int, match: str) -> str:
    """The TID of a rule of OpenFlow in a bridge, whose row has that UUID."""
    return _under(ovs_tid(host, bridge), "rule", str(table), str(priority), match)


def ovs_group_tid(host: str, bridge: str, number: int) -> str:
    """The TID of a group of OpenFlow."""
    return _under(ovs_tid(host, bridge), "group", str(number))


@functools.lru_cache(_REMEMBERED)
def cluster_tid(name: str, *parts: str) -> str:
    """The TID of a Kubernetes cluster; with a kind and a UID, that of an object of it."""
    return _join("cluster", name, *parts)


@functools.lru_cache(_REMEMBERED)
def element_id(tid: str) -> str:
    """The ``ID`` of the graph's element with that TID: a UUIDv5."""
    return sys.intern(str(uuid.uuid5(uuid.NAMESPACE_OID, tid)))


def _under(parent: str, *parts: str) -> str:
    return f"{parent}/{_join(*parts)}"


def _join(*parts: str) -> str:
    return "/".join(quote(os.fsencode(part), safe=":@+=,") for part in parts)
