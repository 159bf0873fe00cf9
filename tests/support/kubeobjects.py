"""Objects of a simulated cluster, as the API server stores them: nodes, pods, services, slices, policies."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
_MADE = "2026-01-01T00:00:00Z"
_NAMESPACES = 20


def _meta(name: str, namespace: str = "", **more: Any) -> Json:
    uid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{namespace}/{name}/{more.pop('kind', '')}"))
    return {"name": name, "uid": uid, "creationTimestamp": _MADE, **({"namespace": namespace} if namespace else {}), **more}


def node(number: int) -> Json:
    """A node with an address of its own."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": _meta(f"node-{number}", labels={"kubernetes.io/hostname": f"node-{number}"}),
        "spec": {"podCIDR": f"10.{number // 256 + 100}.{number % 256}.0/24"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": f"172.16.{number // 256}.{number % 256}"},
                {"type": "Hostname", "address": f"node-{number}"},
            ],
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": _MADE}],
            "nodeInfo": {
                "machineID": f"{number:032x}", "systemUUID": f"{number:032x}", "bootID": f"{number:032x}",
                "kernelVersion": "6.12.0", "osImage": "Debian GNU/Linux 12", "operatingSystem": "linux",
                "containerRuntimeVersion": "containerd://2.0.0", "kubeletVersion": "v1.36.3", "kubeProxyVersion": "",
                "architecture": "amd64",
            },
        },
    }  # fmt: skip


def namespace(number: int) -> Json:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _meta(f"team-{number}"), "status": {"phase": "Active"}}


def pod(number: int, nodes: int, services: int, generation: int = 0) -> Json:
    """A pod that runs: of one service, on one node."""
    service = number % services
    team = f"team-{service % _NAMESPACES}"
    name = f"svc-{service}-{number}-{generation}"
    labels = {"app": f"svc-{service}", "tier": "web" if service % 2 else "data", "pod-template-hash": f"{service:08x}"}
    owner = [
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": f"svc-{service}",
            "uid": replicaset(service)["metadata"]["uid"],
            "controller": True,
        }
    ]
    address = f"10.{number % nodes // 256 + 100}.{number % nodes % 256}.{number // nodes + 2 + 100 * (generation % 2)}"
    mounts = [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _meta(
            name, team, kind="pod", labels=labels, ownerReferences=owner, generateName=f"svc-{service}-",
            annotations={"example.com/checksum": f"{number:064x}"},
        ),
        "spec": {
            "nodeName": f"node-{number % nodes}",
            "restartPolicy": "Always",
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30,
            "serviceAccountName": "default",
            "volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            "containers": [
                {
                    "name": "main", "image": f"registry.example/svc-{service}:1.0", "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}], "volumeMounts": mounts,
                    "env": [{"name": f"SETTING_{index}", "value": "something"} for index in range(10)],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": f"172.16.{number % nodes // 256}.{number % nodes % 256}",
            "startTime": _MADE,
            "qosClass": "Burstable",
            "conditions": [
                {"type": one, "status": "True", "lastTransitionTime": _MADE}
                for one in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
            ],
            "containerStatuses": [
                {
                    "name": "main", "ready": True, "restartCount": 0, "started": True, "image": "x",
                    "imageID": f"sha256:{number:064x}",
                    "containerID": f"containerd://{number:032x}{generation:032x}", "state": {"running": {"startedAt": _MADE}},
                }
            ],
        },
    }  # fmt: skip


def replicaset(service: int) -> Json:
    """What keeps the pods of a service."""
    team = f"team-{service % _NAMESPACES}"
    labels = {"app": f"svc-{service}"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": _meta(f"svc-{service}", team, kind="replicaset", labels=labels),
        "spec": {"replicas": 10, "selector": {"matchLabels": labels}, "template": template},
        "status": {"replicas": 10, "readyReplicas": 10, "availableReplicas": 10},
    }


def service(number: int) -> Json:
    """A service of the pods that are labelled so."""
    address = f"10.0.{number // 250 + 1}.{number % 250 + 1}"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(f"svc-{number}", f"team-{number % _NAMESPACES}", kind="service"),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "selector": {"app": f"svc-{number}"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        },
        "status": {"loadBalancer": {}},
    }


def slice_of(number: int, pods: list[Json]) -> Json:
    """The endpoints of a service."""
    team = f"team-{number % _NAMESPACES}"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _meta(f"svc-{number}-abcde", team, kind="slice", labels={"kubernetes.io/service-name": f"svc-{number}"}),
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [one["status"]["podIP"]],
                "conditions": {"ready": True},
                "targetRef": {
                    "kind": "Pod",
                    "namespace": team,
                    "name": one["metadata"]["name"],
                    "uid": one["metadata"]["uid"],
                },
            }
            for one in pods
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def policy(number: int) -> Json:
    """A policy for the pods of some services of a namespace."""
    expressions = [{"key": "app", "operator": "In", "values": [f"svc-{number}", f"svc-{number + 100}"]}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(f"np-{number}", f"team-{number % _NAMESPACES}", kind="policy"),
        "spec": {
            "podSelector": {"matchLabels": {"tier": "web" if number % 2 else "data"}, "matchExpressions": expressions},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": {"matchLabels": {"tier": "web"}}}], "ports": [{"protocol": "TCP", "port": 8080}]}
            ],
        },
    }


def stored(pods: int, nodes: int, services: int, policies: int) -> Iterator[tuple[str, Json]]:
    """All of a cluster, by their keys in etcd."""
    for number in range(_NAMESPACES):
        yield f"/registry/namespaces/team-{number}", namespace(number)
    for number in range(nodes):
        yield f"/registry/minions/node-{number}", node(number)
    made: dict[int, list[Json]] = {}
    for number in range(pods):
        one = pod(number, nodes, services)
        made.setdefault(number % services, []).append(one)
        yield f"/registry/pods/{one['metadata']['namespace']}/{one['metadata']['name']}", one
    for number in range(services):
        team = f"team-{number % _NAMESPACES}"
        yield f"/registry/replicasets/{team}/svc-{number}", replicaset(number)
        yield f"/registry/services/specs/{team}/svc-{number}", service(number)
        yield f"/registry/endpointslices/{team}/svc-{number}-abcde", slice_of(number, made.get(number, []))
    for number in range(policies):
        yield f"/registry/networkpolicies/team-{number % _NAMESPACES}/np-{number}", policy(number)
