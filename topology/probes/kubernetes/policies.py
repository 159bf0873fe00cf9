"""What a network policy does to the pods that it selects, in Skydive's words. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from topology.probes.kubernetes.objects import PolicyPort, PolicyRule, PolicySpec

_POINT = {"ingress": "end", "egress": "begin"}
"""At which end of a conversation its pods are."""


def policy_keys(spec: PolicySpec) -> Iterator[dict[str, str]]:
    """Keys of the edges to a pod that is selected: one for each direction that the policy is about.

    Without ``policyTypes`` it is about ingress, and about egress where it has rules of that. A direction without rules is
    denied: the pod is isolated.
    """
    rules = {"ingress": spec.ingress or [], "egress": spec.egress or []}
    types = [one.lower() for one in spec.policy_types or ()] or ["ingress", *(["egress"] if spec.egress else [])]
    for type_ in dict.fromkeys(one for one in types if one in _POINT):
        keys = {"PolicyType": type_, "PolicyTarget": "allow" if rules[type_] else "deny", "PolicyPoint": _POINT[type_]}
        ports = _ports(rules[type_])
        yield {**keys, "PolicyPorts": ports} if ports else keys


def _ports(rules: list[PolicyRule]) -> str:
    """As Skydive has them, ``:80;:443``; empty where a rule allows any."""
    if any(not rule.ports for rule in rules):
        return ""
    return ";".join(dict.fromkeys(_port(one) for rule in rules for one in rule.ports or ()))


def _port(one: PolicyPort) -> str:
    port = "" if one.port is None else one.port
    last = f"-{one.end_port}" if one.end_port else ""
    return f":{port}{last}" if one.protocol == "TCP" else f"{one.protocol}:{port}{last}"
