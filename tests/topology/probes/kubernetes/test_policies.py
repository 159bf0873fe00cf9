"""Who may speak with whom: what the graph says of a policy is what the policy itself says, by the reference of the API."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.facts import EdgeFact, NodeFact
from topology.probes.kubernetes.inventory import Inventory
from topology.probes.kubernetes.kinds import KINDS

Json = dict[str, Any]
_KEYS, _VALUES = ("app", "tier"), ("a", "b", "")
_NAMESPACES = ("blue", "green")
_ADDRESSES = ("10.0.0.1", "10.0.1.1", "10.1.0.1", "192.0.2.1", "2001:db8::1")
_BLOCKS = {"10.0.0.0/8": ["10.0.0.0/16", "10.1.0.0/24"], "10.0.1.0/24": ["10.0.1.1/32"], "2001:db8::/32": ["2001:db8::1/128"]}
_PORTS = [(protocol, port) for protocol in ("TCP", "UDP") for port in (80, 85, "web")]
_TYPES = {"Ingress": ("from", "ingress"), "Egress": ("to", "egress")}


@dataclass(frozen=True)
class Other:
    """One who speaks with the policy's pods: a pod of a namespace, or an address outside of the cluster."""

    address: str
    namespace: str = ""
    labels: Json = field(default_factory=dict)


labels = st.dictionaries(st.sampled_from(_KEYS), st.sampled_from(_VALUES))
values = st.lists(st.sampled_from(_VALUES), min_size=1, max_size=2, unique=True)
expressions = st.fixed_dictionaries(
    {"key": st.sampled_from(_KEYS), "operator": st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist"))}
).flatmap(lambda one: values.map(lambda some: {**one, **({"values": some} if one["operator"].endswith("In") else {})}))
selectors = st.fixed_dictionaries({}, optional={"matchLabels": labels, "matchExpressions": st.lists(expressions, max_size=2)})
blocks = st.sampled_from(sorted(_BLOCKS)).flatmap(
    lambda cidr: st.fixed_dictionaries(
        {"cidr": st.just(cidr)}, optional={"except": st.lists(st.sampled_from(_BLOCKS[cidr]), unique=True)}
    )
)
peers = st.one_of(
    st.fixed_dictionaries({"podSelector": selectors}),
    st.fixed_dictionaries({"namespaceSelector": selectors}),
    st.fixed_dictionaries({"namespaceSelector": selectors, "podSelector": selectors}),
    st.fixed_dictionaries({"ipBlock": blocks}),
)
ports = st.fixed_dictionaries({}, optional={"protocol": st.sampled_from(("TCP", "UDP")), "port": st.sampled_from((80, "web"))})
ranges = st.just({"port": 80, "endPort": 90})


def rules(direction: str) -> st.SearchStrategy[Any]:
    """Rules of a direction; none, an empty list and null stand for different and for the same things."""
    some = st.fixed_dictionaries(
        {}, optional={direction: st.lists(peers, max_size=2), "ports": st.lists(ports | ranges, max_size=2)}
    )
    return st.lists(some, max_size=2) | st.none()


specs = st.fixed_dictionaries(
    {"podSelector": st.just({}) | selectors},
    optional={
        "policyTypes": st.lists(st.sampled_from(sorted(_TYPES)), unique=True),
        "ingress": rules("from"),
        "egress": rules("to"),
    },
)
pods = st.tuples(labels, st.lists(st.tuples(st.sampled_from(_NAMESPACES), labels), max_size=3)).map(
    lambda told: [("blue", told[0]), *told[1]]
)


@given(specs, pods, st.dictionaries(st.sampled_from(_NAMESPACES), labels))
@settings(max_examples=600, deadline=None)
def test_the_graph_lets_those_speak_whom_the_policy_lets(
    spec: Json, some: list[tuple[str, Json]], spaces: dict[str, Json]
) -> None:
    spaces = {name: spaces.get(name, {}) for name in _NAMESPACES}
    others = [Other(_ADDRESSES[n], namespace, said) for n, (namespace, said) in enumerate(some)]
    node, edges = said_of(spec, others)
    for number, pod in enumerate(others):
        selected = pod.namespace == "blue" and matches(spec["podSelector"], pod.labels)
        wanted = isolated(spec) if selected else []
        assert edges.get(f"cluster/c/pod/{number}", {}).keys() == set(wanted), "isolated otherwise"
        for type_ in wanted:
            edge = edges[f"cluster/c/pod/{number}"][type_]
            section = spec.get(_TYPES[type_][1]) or []
            assert edge["PolicyTarget"] == ("allow" if section else "deny")
            for protocol, port in _PORTS:
                assert open_by_edge(edge, protocol, port) == any(has_port(rule, protocol, port) for rule in section)
                for other in [*others, *(Other(address) for address in _ADDRESSES[len(others) :])]:
                    told = any(
                        lets(rule, other, spaces) and port_shown(rule, protocol, port) for rule in node["K8s"].get(type_, [])
                    )
                    true = any(
                        has_peer(rule, _TYPES[type_][0], other, spaces) and has_port(rule, protocol, port) for rule in section
                    )
                    assert told == true, (type_, other, protocol, port)


def said_of(spec: Json, others: list[Other]) -> tuple[Json, dict[str, dict[str, Json]]]:
    """The policy's node, and its edges by pod and direction, as the graph has them."""
    inventory = Inventory("c")
    for number, pod in enumerate(others):
        meta = {"name": f"p{number}", "uid": str(number), "namespace": pod.namespace, "labels": pod.labels}
        inventory.put("pod", decoded("pod", {"metadata": meta}))
    meta = {"name": "policy", "uid": "policy", "namespace": "blue"}
    inventory.put("networkpolicy", decoded("networkpolicy", {"metadata": meta, "spec": spec}))
    found = inventory.difference("networkpolicy").facts.values()
    edges: dict[str, dict[str, Json]] = {}
    for one in found:
        if isinstance(one, EdgeFact) and one.relation == "networkpolicy":
            edges.setdefault(one.child, {})[one.metadata["PolicyType"].title()] = dict(one.metadata)
    (node,) = (dict(one.metadata) for one in found if isinstance(one, NodeFact))
    return node, edges


def decoded(kind: str, told: Json) -> Any:
    return msgspec.json.decode(json.dumps(told), type=KINDS[kind].struct)


# The policy as it is, by the reference of NetworkPolicySpec, NetworkPolicyPeer, NetworkPolicyPort and LabelSelector.


def isolated(spec: Json) -> list[str]:
    """In which directions its pods are: without policyTypes always for ingress, and for egress where that has a rule."""
    return spec.get("policyTypes") or ["Ingress"] + (["Egress"] if spec.get("egress") else [])


def matches(selector: Json, told: Json) -> bool:
    for key, value in (selector.get("matchLabels") or {}).items():
        if told.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or []:
        there = one["key"] in told
        among = there and told[one["key"]] in one.get("values", [])
        if {"In": not among, "NotIn": among, "Exists": not there, "DoesNotExist": there}[one["operator"]]:
            return False
    return True


def has_peer(rule: Json, direction: str, other: Other, spaces: dict[str, Json]) -> bool:
    """An empty or missing list is everybody; several are alternatives."""
    if not rule.get(direction):
        return True
    for peer in rule[direction]:
        if "ipBlock" in peer:
            address = ipaddress.ip_address(other.address)
            inside = address in ipaddress.ip_network(peer["ipBlock"]["cidr"])
            if inside and not any(address in ipaddress.ip_network(but) for but in peer["ipBlock"].get("except", [])):
                return True
        elif other.namespace:
            space = "namespaceSelector" in peer and matches(peer["namespaceSelector"], spaces[other.namespace])
            own = "namespaceSelector" not in peer and other.namespace == "blue"
            if (space or own) and matches(peer.get("podSelector", {}), other.labels):
                return True
    return False


def has_port(rule: Json, protocol: str, port: int | str) -> bool:
    """An empty or missing list is every port; without a protocol it is TCP's, without a port all of that protocol."""
    if not rule.get("ports"):
        return True
    for one in rule["ports"]:
        if one.get("protocol", "TCP") != protocol:
            continue
        if "port" not in one or one["port"] == port:
            return True
        if "endPort" in one and isinstance(port, int) and one["port"] <= port <= one["endPort"]:
            return True
    return False


# What the graph says, read as docs/kubernetes.md has it.


def lets(rule: Json, other: Other, spaces: dict[str, Json]) -> bool:
    return any(_is(peer, other, spaces) for peer in rule["Peers"])


def _is(peer: Json, other: Other, spaces: dict[str, Json]) -> bool:
    if peer.get("CIDR") == "*":
        return True
    if "CIDR" in peer:
        address = ipaddress.ip_address(other.address)
        holds = [address in ipaddress.ip_network(one) for one in (peer["CIDR"], *peer.get("Except", []))]
        return holds[0] and not any(holds[1:])
    if not other.namespace:
        return False
    there = fits(peer["Namespaces"], spaces[other.namespace]) if "Namespaces" in peer else other.namespace == "blue"
    return there and fits(peer.get("Pods", "*"), other.labels)


def fits(selector: str, told: Json) -> bool:
    """A selector as kubectl reads it."""
    for one in [] if selector == "*" else re.split(r",(?![^(]*\))", selector):
        if among := re.fullmatch(r"(\w+) (in|notin) \((.*)\)", one):
            key, word, listed = among.groups()
            if (key in told and told[key] in listed.split(",")) != (word == "in"):
                return False
        elif "=" in one:
            key, _, value = one.partition("=")
            if told.get(key) != value:
                return False
        elif (one.lstrip("!") in told) == one.startswith("!"):
            return False
    return True


def port_shown(rule: Json, protocol: str, port: int | str) -> bool:
    if "Ports" not in rule:
        return True
    for one in rule["Ports"]:
        if one["Protocol"] == protocol and (
            one.get("Port", port) == port
            or ("EndPort" in one and isinstance(port, int) and one["Port"] <= port <= one["EndPort"])
        ):
            return True
    return False


def open_by_edge(edge: Json, protocol: str, port: int | str) -> bool:
    """``:80;UDP:53;:80-90;UDP:``, as Skydive writes ports; absent: any, where there is a rule."""
    if edge["PolicyTarget"] == "deny":
        return False
    if "PolicyPorts" not in edge:
        return True
    for one in edge["PolicyPorts"].split(";"):
        name, _, where = one.partition(":")
        first, _, last = where.partition("-")
        if (name or "TCP") == protocol and (
            where in ("", str(port)) or (last and isinstance(port, int) and int(first) <= port <= int(last))
        ):
            return True
    return False
