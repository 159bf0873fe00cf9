"""Kubernetes: what clusters have, as their API servers tell the hub."""

from __future__ import annotations

from grafana.dashboards import panels
from grafana.dashboards.panels import NONE_IS_GOOD, ONE_IS_GOOD, Query, answers_of, each, labels_of, lines, number, rate

_CLUSTER = labels_of("cluster", "cluster", "Cluster", "skytrail_kubernetes_objects")
_NAMESPACE = answers_of(
    "namespace", "Namespace", "G.V().Has('Manager', 'k8s', 'Type', 'namespace').Values('Name')", several=True
)
_OF = 'cluster=~"$cluster"'
_IN = "'ClusterName', Regex('$cluster'), 'K8s.Namespace', Regex('$namespace')"
_KINDS = (
    ("node", "Nodes", "Machines of the cluster."),
    ("namespace", "Namespaces", "Of the cluster."),
    ("pod", "Pods", "Those that are over among them."),
    ("service", "Services", "Of all namespaces."),
    ("deployment", "Deployments", "Of all namespaces."),
    ("networkpolicy", "Policies", "Network policies."),
)


def _objects(kind: str, title: str, what: str) -> panels.AnyPanel:
    return number(title, what, "short", f'sum(skytrail_kubernetes_objects{{{_OF}, kind="{kind}"}})', width=3)


def build() -> str:
    """The dashboard as JSON."""
    what = "What clusters have, how it hangs together and what changed, as their API servers tell the hub."
    page = panels.page("kubernetes", "Kubernetes", what, _CLUSTER, _NAMESPACE, refresh="1m")
    panels.section(
        page,
        "Now",
        number(
            "Up to date",
            "Clusters whose graph is as the API server has it: the smallest.",
            "short",
            f"min(skytrail_kubernetes_up{{{_OF}}})",
            width=3,
            limits=ONE_IS_GOOD,
        ),
        number(
            "Kinds not read",
            "That may not be read, or that the server does not have.",
            "short",
            f"sum(skytrail_kubernetes_unread_kinds{{{_OF}}})",
            width=3,
            limits=NONE_IS_GOOD,
        ),
        *(_objects(*kind) for kind in _KINDS),
    )
    panels.section(
        page,
        "How it hangs together",
        panels.graph(
            "Services and what is behind them",
            "Ingresses, services, endpoint slices and pods, and the policies that select these.",
            f"G.V().Has('Manager', 'k8s', {_IN}, 'Type', Within('ingress', 'service', 'endpointslice', 'pod', 'networkpolicy'))"
            ".SubGraph()",
            height=16,
        ),
        panels.listing(
            "Pods",
            "Where they run, and how they are.",
            f"G.V().Has('Manager', 'k8s', 'Type', 'pod', {_IN})"
            ".ValueMap('Name', 'State', 'K8s.Namespace', 'K8s.Node', 'K8s.IP', 'K8s.Status', 'K8s.Ready')",
        ),
        panels.listing(
            "Services",
            "Their addresses and selectors.",
            f"G.V().Has('Manager', 'k8s', 'Type', 'service', {_IN})"
            ".ValueMap('Name', 'K8s.Namespace', 'K8s.ServiceType', 'K8s.ClusterIP')",
        ),
        panels.listing(
            "Nodes",
            "How they are.",
            "G.V().Has('Manager', 'k8s', 'Type', 'node', 'ClusterName', Regex('$cluster'))"
            ".ValueMap('Name', 'State', 'K8s.InternalIP', 'K8s.Kubelet', 'K8s.OSImage', 'K8s.Kernel')",
        ),
        panels.listing(
            "Pods under a policy",
            "Each policy's effect on each pod that it selects.",
            f"G.V().Has('Manager', 'k8s', 'Type', 'networkpolicy', {_IN}).OutE()"
            ".ValueMap('PolicyType', 'PolicyTarget', 'PolicyPoint')",
        ),
        panels.changes(
            "What changed",
            "Each change in the range.",
            f"G.V().Has('Manager', 'k8s', {_IN})",
            "each",
            width=24,
        ),
    )
    panels.section(
        page,
        "The probe",
        each(
            "Objects by kind",
            "In the graph.",
            "short",
            f"skytrail_kubernetes_objects{{{_OF}}}",
            "kind",
            stacked=True,
        ),
        each(
            "Events",
            "Of watches, by kind.",
            "cps",
            f"skytrail_kubernetes_events_total{{{_OF}}}",
            "kind",
        ),
        lines(
            "Watches and lists",
            "Watches begin anew every some minutes, and after one was cut; lists of all come at the start, and after a gap.",
            "cps",
            Query(rate(f"skytrail_kubernetes_watches_total{{{_OF}}}", "cluster"), "{{cluster}} watches"),
            Query(rate(f"skytrail_kubernetes_lists_total{{{_OF}}}", "cluster"), "{{cluster}} lists"),
        ),
        each(
            "Not understood",
            "Objects and events that could not be read.",
            "cps",
            f"skytrail_kubernetes_malformed_total{{{_OF}}}",
            "cluster, kind",
        ),
    )
    return panels.render(page, [panels.annotation("Objects", f"G.V().Has('Manager', 'k8s', {_IN})")])
