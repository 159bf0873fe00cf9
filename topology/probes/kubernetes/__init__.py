"""What the API server of a Kubernetes cluster says is there: nodes, pods, services, policies and what they stand on.

Here belong the connection to an API server, lists and watches of each kind of object, objects as facts (pure), and the probe
that joins them. Never here: hosts, interfaces and containers' runtimes (a linker joins pods to them), values of secrets and
config maps, anything that changes a cluster.
"""
