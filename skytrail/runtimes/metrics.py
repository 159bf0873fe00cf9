"""The metrics of the client of container runtimes, declared as data."""

from __future__ import annotations

from skytrail.metrics import Kind, Metric

_RUNTIME = ("runtime",)
_RUNTIME_OTEL = ("container.runtime",)
_BOUND = "runtimes, four"

UP = Metric(
    "skytrail_runtime_up", "skytrail.runtime.up", Kind.GAUGE, "1", "Whether a container runtime's API answers: 1 or 0.",
    ("runtime", "socket"), "sockets of runtimes on this host, 32 at most", ("container.runtime", "skytrail.runtime.socket"),
)  # fmt: skip
CONTAINERS = Metric(
    "skytrail_runtime_containers", "skytrail.runtime.containers", Kind.GAUGE, "{container}",
    "Containers that run, as their runtimes tell, sandboxes of pods among them.", _RUNTIME, _BOUND, _RUNTIME_OTEL,
)  # fmt: skip
LISTS = Metric(
    "skytrail_runtime_lists_total", "skytrail.runtime.lists", Kind.COUNTER, "{list}",
    "Times that a runtime's containers were listed.", _RUNTIME, _BOUND, _RUNTIME_OTEL,
)  # fmt: skip
LIST_SECONDS = Metric(
    "skytrail_runtime_list_seconds_total", "skytrail.runtime.list.time", Kind.COUNTER, "s",
    "Time that these lists took, a look at each new container included.", _RUNTIME, _BOUND, _RUNTIME_OTEL,
)  # fmt: skip
FAILURES = Metric(
    "skytrail_runtime_failures_total", "skytrail.runtime.failures", Kind.COUNTER, "{failure}",
    "Times that a runtime's API did not answer, or not as it should.", _RUNTIME, _BOUND, _RUNTIME_OTEL,
)  # fmt: skip
LOOKUPS = Metric(
    "skytrail_runtime_lookups_total", "skytrail.runtime.lookups", Kind.COUNTER, "{lookup}",
    "Times that a container was asked for by its ID, by what was found.", ("result",), "three: running, ended, unknown",
)  # fmt: skip

DECLARED = (UP, CONTAINERS, LISTS, LIST_SECONDS, FAILURES, LOOKUPS)
