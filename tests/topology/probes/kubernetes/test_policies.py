"""Who may speak with whom: what the graph says of a policy is what the policy itself says, by the reference of the API."""

from __future__ import annotations

import ipaddress
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from topology.facts import EdgeFact, NodeFact
from topology.probes.kubernetes.inventory import Inventory
from topology.probes.kubernetes.kinds import KINDS
from topology.probes.kubernetes.packing import pack

Json = dict[str, Any]
_KEYS, _VALUES = ("app", "tier"), ("a", "b", "")
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
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


class Chooser:
    """Policies by chance, each of whose parts may be missing."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def some(self, most: int, make: Callable[[], Any]) -> list[Any]:
        return [make() for _ in range(self._random.randint(0, most))]

    def parts(self, **makers: Callable[[], Any]) -> Json:
        return {name: make() for name, make in makers.items() if self._random.random() < 0.6}

    def labels(self) -> Json:
        return {key: self._random.choice(_VALUES) for key in _KEYS if self._random.random() < 0.6}

    def expression(self) -> Json:
        one: Json = {"key": self._random.choice(_KEYS), "operator": self._random.choice(_OPERATORS)}
        return {**one, "values": self._random.sample(_VALUES, 2)} if one["operator"].endswith("In") else one

    def selector(self) -> Json:
        one = lambda: {key: self._random.choice(_VALUES) for key in self._random.sample(_KEYS, 1)}  # noqa: E731
        return self.parts(matchLabels=one, matchExpressions=lambda: self.some(1, self.expression))

    def block(self) -> Json:
        cidr = self._random.choice(sorted(_BLOCKS))
        return {"cidr": cidr, **self.parts(**{"except": lambda: self._random.sample(_BLOCKS[cidr], 1)})}

    def peer(self) -> Json:
        if self._random.random() < 0.4:
            return {"ipBlock": self.block()}
        return self.parts(podSelector=self.selector, namespaceSelector=self.selector) or self.peer()

    def port(self) -> Json:
        if self._random.random() < 0.2:
            return {"port": 80, "endPort": 90}
        return self.parts(protocol=lambda: self._random.choice(("TCP", "UDP")), port=lambda: self._random.choice((80, "web")))

    def rule(self, direction: str) -> Json:
        return self.parts(**{direction: lambda: self.some(2, self.peer), "ports": lambda: self.some(2, self.port)})

    def spec(self) -> Json:
        found = self.parts(
            policyTypes=lambda: self._random.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"], [])),
            ingress=lambda: self._random.choice((None, self.some(2, lambda: self.rule("from")))),
            egress=lambda: self._random.choice((None, self.some(2, lambda: self.rule("to")))),
        )
        return {"podSelector": self._random.choice(({}, self.selector())), **found}

    def pods(self) -> list[tuple[str, Json]]:
        return [("blue", self.labels()), *((one, self.labels()) for one in _NAMESPACES)]


def test_the_graph_lets_those_speak_whom_the_policy_lets() -> None:
    chooser, answers = Chooser(8), Counter[bool]()
    for _ in range(1500):
        spaces = {name: chooser.labels() for name in _NAMESPACES}
        compare(chooser.spec(), chooser.pods(), spaces, answers)
    assert min(answers[True], answers[False]) > 10_000


def compare(spec: Json, some: list[tuple[str, Json]], spaces: dict[str, Json], answers: Counter[bool]) -> None:
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
                    answers[true] += 1
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


def decoded(kind: str, told: Json) -> bytes:
    return pack(msgspec.json.decode(json.dumps(told), type=KINDS[kind].struct))


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
