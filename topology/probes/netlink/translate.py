"""Links and namespaces of a host → facts. Pure."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from typing import Any

from skytrail.kernel.linktable import LinkKey
from skytrail.kernel.namespaces import Namespace
from topology.facts import EdgeFact, NodeFact
from topology.probes.netlink.fields import text
from topology.probes.netlink.hostlinks import HostLink, HostLinks
from topology.probes.netlink.linkdata import link_metadata
from topology.probes.netlink.ruledata import Rule

_AF_INET = 2
_RULE_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Rule)}


def namespace_facts(
    namespace: Namespace, tid: str, host_tid: str, rules: Iterable[Rule], nowhere: dict[str, Any]
) -> Iterator[NodeFact | EdgeFact]:
    """A namespace's node below its host; for the host's own, whose links are the host's, what it adds to the host's node.

    Args:
        namespace: what it is.
        tid: its topology ID.
        host_tid: of its host.
        rules: of its policy routing.
        nowhere: its routes that lead through no interface, as ``RoutingTables`` and ``RoutesLeftOut``.
    """
    shown = [_shown(rule) for rule in rules]
    more: dict[str, Any] = {**({"Rules": shown} if shown else {}), **nowhere}
    if namespace.of_host:
        if more:
            yield NodeFact(host_tid, more, enriches=True)
        return
    metadata: dict[str, Any] = {
        "Type": "netns",
        "Name": _name(namespace) or f"netns:{namespace.inode}",
        "Inode": namespace.inode,
        "Device": namespace.dev,
        **more,
    }
    if namespace.user:
        metadata["User"] = namespace.user
    if namespace.name:
        metadata["Path"] = f"/run/netns/{_name(namespace)}"
    yield NodeFact(tid, metadata)
    yield EdgeFact(host_tid, tid, "ownership")


def _name(namespace: Namespace) -> str:
    """A file's name may be any bytes."""
    return text(os.fsencode(namespace.name or ""))


def _shown(rule: Rule) -> dict[str, Any]:
    """What a rule says, by its fields' names in capitals; what it leaves open is left out."""
    shown = {}
    for name, default in _RULE_DEFAULTS.items():
        value = getattr(rule, name)
        if value != default:
            shown["".join(word.capitalize() for word in name.split("_"))] = list(value) if isinstance(value, tuple) else value
    return shown


def interface_fact(known: HostLink, peer: HostLink | None, linked: Namespace | None) -> NodeFact:
    """A link's node.

    Args:
        known: the link.
        peer: the other end of a pair, whichever of the two told so.
        linked: the other namespace that its peer or lower device is in, where that one is followed.
    """
    link = known.link
    metadata: dict[str, Any] = link_metadata(link.raw)
    # Events number namespaces as the link's own does, dumps as ours: here it is always ours.
    metadata.pop("LinkNetNsID", None)
    number = link.link_nsid if peer is None else linked and linked.nsid
    if peer is not None:
        metadata["PeerIfIndex"] = metadata["ParentIndex"] = peer.link.ifindex
    if number is not None:
        metadata["LinkNetNsID"] = number
        if linked is not None and linked.name:
            metadata["LinkNetNsName"] = _name(linked)
    if known.functions:
        metadata["Vfs"] = known.functions
    if known.port:
        metadata["BridgePort"] = known.port
    metadata |= known.ethtool | known.tables
    for name, of_four in (("IPV4", True), ("IPV6", False)):
        found = sorted(one.cidr for one in known.addresses.values() if (one.family == _AF_INET) == of_four)
        if found:
            metadata[name] = found
    return NodeFact(known.tid, metadata, dict(known.volatile))


def edge_facts(key: LinkKey, links: HostLinks, owner_tid: str, own_cookie: int) -> Iterator[EdgeFact]:
    """The edges that a link tells of: to its owner, its master, its peer, its lower device.

    Args:
        key: the link.
        links: all.
        owner_tid: of its namespace, or of the host.
        own_cookie: of the agent's own namespace: of a pair between it and another, its end is the parent.
    """
    known = links.by_key[key]
    yield EdgeFact(owner_tid, known.tid, "ownership")
    master = links.by_key.get(links.master(known.link) or (0, 0))
    if master is not None:
        yield EdgeFact(master.tid, known.tid, "layer2")
    peer_key, lower = links.peer(key), links.lower(key)
    if peer_key:
        ends = sorted((end[0] != own_cookie, links.by_key[end].tid) for end in (key, peer_key))
        yield EdgeFact(ends[0][1], ends[1][1], "layer2", {"Type": known.link.kind}, key=known.link.kind)
    elif lower:
        yield EdgeFact(links.by_key[lower].tid, known.tid, "layer2", {"Type": known.link.kind}, key=known.link.kind)
