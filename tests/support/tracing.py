"""What ``skytrail trace`` says of a laboratory's exchanges, held against what was broken there."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

from skytrail.lab.breaks.fault import Exchange, Fault
from skytrail.lab.plan import Plan
from skytrail.lab.state import Lab
from skytrail.lab.traffic import LARGE, ask
from support.breaking import counted, works

_TRIES = 40

REASONS: dict[str, tuple[str, ...]] = {
    "drop-rule": ("NETFILTER_DROP", "NETFILTER_INGRESS"),
    "mtu": ("MTU", "PKT_TOO_BIG"),
    "no-route": ("IP_OUTNOROUTES", "IP_INNOROUTES", "NO_ROUTE"),
    "wrong-vlan": ("VLAN",),
    "wrong-vni": ("VXLAN_VNI_NOT_FOUND", "VNI"),
    "closed-port": ("NO_SOCKET",),
    "backlog": ("ACCEPT_QUEUE_FULL",),
    "rp-filter": ("IP_RPFILTER",),
    "one-way-loss": ("NETFILTER_DROP", "NETFILTER_INGRESS", "QDISC_DROP"),
    "nat": ("NO_ANSWER", "NOT_TRANSLATED"),
}
"""What may be told as the reason, by the kind of fault."""


def trace_of(lab: Lab, plan: Plan, exchange: Exchange) -> dict[str, Any]:
    """The trace of the latest such exchange."""
    source, destination = (plan.workload(name).address[exchange.family] for name in (exchange.source, exchange.destination))
    what = {"tcp": f"tcp port {exchange.port}", "udp": f"udp port {exchange.port}", "icmp": "ICMP.Type=ECHO"}[exchange.proto]
    words = urllib.parse.urlencode({"filter": f"host {source} and host {destination} and {what}", "duration": "30s"})
    with urllib.request.urlopen(f"http://{lab.hub}/api/v1/trace?{words}", timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def traced(lab: Lab, plan: Plan, fault: Fault) -> None:
    """The trace of a victim names the place and the reason."""
    suffer(lab, plan, fault)
    trace = trace_of(lab, plan, fault.victim)
    assert judge(fault, trace) == "", (fault, trace["Verdict"])


def suffer(lab: Lab, plan: Plan, fault: Fault) -> None:
    """Ask as the victim does, until it suffers."""
    if fault.effect == "lossy":
        for _ in range(_TRIES):
            before = counted(lab, fault)
            ask(lab, plan, fault.victim, None)
            if counted(lab, fault) > before:
                return
        raise AssertionError("no packet was lost")
    works(lab, plan, fault.victim, LARGE[fault.victim.proto] if fault.effect == "large" else None)


def judge(fault: Fault, trace: dict[str, Any]) -> str:
    """What is wrong with a trace; empty: nothing."""
    verdict = trace["Verdict"]
    place = verdict["Host"], verdict["Namespace"] or ""
    if place != (fault.place.node, fault.place.netns):
        return f"place {place}"
    if verdict["Reason"] not in REASONS[fault.kind]:
        return f"reason {verdict['Reason']!r}"
    return ""
