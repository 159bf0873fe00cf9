"""Objects as facts, by tables: what a policy says of a pod, what is odd or hostile, what a container is named by."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from topology.facts import EdgeFact, Fact, NodeFact
from topology.probes.kubernetes.inventory import Inventory
from topology.probes.kubernetes.kinds import KINDS
from topology.probes.kubernetes.objects import PolicySpec
from topology.probes.kubernetes.packing import pack
from topology.probes.kubernetes.policies import policy_keys
from topology.probes.kubernetes.probe import ClusterProbe

Json = dict[str, Any]
TCP80 = {"protocol": "TCP", "port": 80}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"podSelector": {}}, [("ingress", "deny", "end", None)]),
        ({"podSelector": {}, "ingress": [{}]}, [("ingress", "allow", "end", None)]),
        ({"podSelector": {}, "egress": [{}]}, [("ingress", "deny", "end", None), ("egress", "allow", "begin", None)]),
        ({"podSelector": {}, "policyTypes": ["Egress"]}, [("egress", "deny", "begin", None)]),
        ({"podSelector": {}, "policyTypes": ["Ingress", "Sideways"]}, [("ingress", "deny", "end", None)]),
        (
            {"podSelector": {}, "ingress": [{"ports": [TCP80, {"protocol": "UDP", "port": "dns"}]}, {"ports": [TCP80]}]},
            [("ingress", "allow", "end", ":80;UDP:dns")],
        ),
        ({"podSelector": {}, "ingress": [{"ports": [{"port": 1, "endPort": 9}]}]}, [("ingress", "allow", "end", ":1-9")]),
        ({"podSelector": {}, "ingress": [{"ports": [TCP80]}, {}]}, [("ingress", "allow", "end", None)]),
    ],
)
def test_what_a_policy_does_to_its_pods(spec: Json, expected: list[tuple[str, ...]]) -> None:
    given = msgspec.json.decode(json.dumps(spec), type=PolicySpec)
    keys = ("PolicyType", "PolicyTarget", "PolicyPoint", "PolicyPorts")
    assert [tuple(said.get(key) for key in keys) for said in policy_keys(given)] == expected


def facts(kind: str, **fields: Any) -> list[Fact]:
    meta = {"name": "n", "uid": "u", "namespace": "ns"} if KINDS[kind].namespaced else {"name": "n", "uid": "u"}
    inventory = Inventory("c")
    inventory.put("namespace", decode("namespace", {"metadata": {"name": "ns", "uid": "ns"}}))
    inventory.put(kind, decode(kind, {"metadata": meta, **fields}))
    return [one for one in inventory.difference(kind).facts.values() if f"/{kind}/u" in repr(one)]


def decode(kind: str, given: Json) -> bytes:
    return pack(msgspec.json.decode(json.dumps(given), type=KINDS[kind].struct))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_object_without_anything_is_a_node_that_is_owned(kind: str) -> None:
    node, owned = facts(kind)
    assert isinstance(node, NodeFact)
    assert isinstance(owned, EdgeFact)
    assert (node.tid, node.metadata["Type"], node.metadata["Name"]) == (f"cluster/c/{kind}/u", kind, "n")
    assert (owned.parent, owned.relation) == ("cluster/c/namespace/ns" if KINDS[kind].namespaced else "cluster/c", "ownership")


def test_a_container_is_named_by_its_runtime_and_a_terminal_pod_is_selected_by_nobody() -> None:
    states = [{"name": "main", "containerID": "containerd://abc", "ready": True, "restartCount": 2, "state": {"running": {}}}]
    spec = {"containers": [{"name": "main", "image": "i"}], "ephemeralContainers": [{"name": "debug", "image": "d"}]}
    found = [one for one in facts("pod", spec=spec, status={"containerStatuses": states}) if isinstance(one, NodeFact)]
    said = {one.metadata["Name"]: one.metadata["K8s"] for one in found}
    keys = ("Runtime", "ContainerID", "State", "Ready", "Restarts")
    assert [said["main"].get(key) for key in keys] == ["containerd", "abc", "running", True, 2]
    assert (said["debug"]["Role"], said["debug"].get("ContainerID")) == ("ephemeral", None)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("odd", [None, [], {}, "x", 7, [None], {"a": None}])
def test_an_odd_object_is_refused_whole_or_read(kind: str, odd: Any) -> None:
    for fields in ({"spec": odd, "status": odd}, {"metadata": odd}, {"endpoints": odd, "ports": odd}):
        given = {"metadata": {"name": "n", "uid": "u", "namespace": "ns", "labels": {"a": "b"}}, **fields}
        try:
            one = decode(kind, given)
        except msgspec.ValidationError:
            continue
        inventory = Inventory("c")
        inventory.put(kind, one)
        assert inventory.difference(kind).facts


def test_a_service_that_selects_otherwise_leads_to_others_only() -> None:
    inventory = Inventory("c")
    for name in ("a", "b"):
        meta = {"name": name, "uid": name, "namespace": "ns", "labels": {"app": name}}
        inventory.put("pod", decode("pod", {"metadata": meta}))
    service = {"metadata": {"name": "s", "uid": "s", "namespace": "ns"}, "spec": {"selector": {"app": "a"}}}
    inventory.put("service", decode("service", service))
    first = {one.child for one in inventory.difference("service").facts.values() if isinstance(one, EdgeFact)}
    service["spec"] = {"selector": {"app": "b"}}
    inventory.put("service", decode("service", service))
    second = inventory.difference("service")
    assert first == {"cluster/c/pod/a"}
    assert {one.child for one in second.facts.values() if isinstance(one, EdgeFact)} == {"cluster/c/pod/b"}
    assert len(second.gone) == 1
    over = {"metadata": {"name": "b", "uid": "b", "namespace": "ns", "labels": {"app": "b"}}, "status": {"phase": "Failed"}}
    inventory.put("pod", decode("pod", over))
    assert len(inventory.difference("service").gone) == 1


@pytest.mark.parametrize("patterns", [("*",), ("kubectl.kubernetes.io/*",)])
def test_the_copy_of_the_whole_object_is_kept_by_no_pattern(patterns: tuple[str, ...]) -> None:
    probe = ClusterProbe(lambda _: None, "lab", "/nowhere", (), patterns, lambda: 0)
    assert probe._keeps("kubectl.kubernetes.io/restartedAt")
    assert not probe._keeps("kubectl.kubernetes.io/last-applied-configuration")  # of a secret it has the values
