"""What ``ovs-ofctl`` prints of rules and groups → facts. Pure.

A rule is known by its table, priority and match, as in OpenFlow: other actions, a cookie or a timeout are a change of it.
Which packets it had is volatile.

Sources: ovs-ofctl(8), ovs-fields(7), ovs-actions(7); lib/ofp-flow.c, lib/ofp-group.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skytrail.tid import ovs_group_tid, ovs_rule_tid, ovs_tid
from topology.facts import EdgeFact, Fact, NodeFact

_PRIORITY = 32768
"""Of rules that are printed without one."""

_TIMED = {"idle_timeout": "IdleTimeout", "hard_timeout": "HardTimeout", "importance": "Importance"}
_COUNTED = {"n_packets": "RxPackets", "n_bytes": "RxBytes"}
_PASSING = frozenset({"duration", "idle_age", "hard_age"})
_FLAGS = frozenset({"send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts"})
_ACTIONS, _WRITE, _GOTO = "actions=", "write_actions(", "goto_table:"
_OPENS, _CLOSES = "([{", ")]}"
_BUCKET = "bucket"
_OF_BUCKET = {"bucket_id": "Id", "weight": "Weight", "watch_port": "WatchPort", "watch_group": "WatchGroup"}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        table: its table.
        priority: its priority.
        match: as it is printed: ``ip,nw_dst=10.0.0.0/8``; empty: every packet.
        metadata: its keys.
        counted: packets and bytes that it had.
    """

    table: int
    priority: int
    match: str
    metadata: Mapping[str, Any] = field(compare=False)
    counted: Mapping[str, int] = field(compare=False)

    @property
    def key(self) -> tuple[int, int, str]:
        """In the order in which a switch looks at them."""
        return self.table, -self.priority, self.match

    @property
    def name(self) -> str:
        """As ``ovs-ofctl`` takes it."""
        return ",".join(filter(None, (f"table={self.table}", f"priority={self.priority}", self.match)))


def read_rule(line: str) -> Rule | None:
    """A line of ``dump-flows``; None: it tells of no rule. Raises ValueError: a number is none."""
    head, found, tail = line.strip().partition(_ACTIONS)
    if not found:
        return None
    table, priority, match, counted, flags = 0, _PRIORITY, [], {}, []
    keys: dict[str, Any] = {"Cookie": "0x0"}
    for word in _split(head, ", "):
        name, equals, value = word.partition("=")
        if name == "cookie":
            keys["Cookie"] = value
        elif name == "table":
            table = int(value)
        elif name == "priority":
            priority = int(value)
        elif name in _TIMED and equals:
            keys[_TIMED[name]] = int(value)
        elif name in _COUNTED:
            counted[_COUNTED[name]] = int(value)
        elif name in _FLAGS:
            flags.append(name)
        elif name not in _PASSING:
            match.append(word)
    keys |= {"Table": table, "Priority": priority, **({"Flags": flags} if flags else {})}
    if match:
        keys["Filters"] = [_filter(word) for word in match]
    return Rule(table, priority, ",".join(match), keys | _actions(tail), counted)


def _filter(word: str) -> dict[str, str]:
    name, _, value = word.partition("=")
    value, _, mask = value.partition("/")
    return {"Type": name, **({"Value": value} if value else {}), **({"Mask": mask} if mask else {})}


def _actions(text: str) -> dict[str, Any]:
    applied, keys = [], dict[str, Any]()
    for word in _split(text, ","):
        if word.startswith(_WRITE):
            keys["WriteActions"] = list(_split(word.removeprefix(_WRITE).removesuffix(")"), ","))
        elif word.startswith(_GOTO):
            keys["GotoTable"] = int(word.removeprefix(_GOTO))
        else:
            applied.append(word)
    return keys | ({"Actions": applied} if applied else {})


def _split(text: str, marks: str) -> Iterator[str]:
    """Words between marks; what stands in brackets is one word."""
    depth, begin = 0, 0
    for at, sign in enumerate(text):
        depth += (sign in _OPENS) - (sign in _CLOSES)
        if sign in marks and depth <= 0:
            if at > begin:
                yield text[begin:at]
            begin = at + 1
    if begin < len(text):
        yield text[begin:]


@dataclass(frozen=True, slots=True)
class Group:
    """A group: its number and its keys."""

    id: int
    metadata: Mapping[str, Any] = field(compare=False)


def read_group(line: str) -> Group | None:
    """A line of ``dump-groups``; None: it tells of no group. Raises ValueError: a number is none."""
    text = line.strip()
    if not text.startswith("group_id="):
        return None
    head, *buckets = text.split(f",{_BUCKET}=")
    told = dict(word.partition("=")[::2] for word in _split(head, ","))
    number, kind = int(told.pop("group_id")), told.pop("type", "")
    keys = {"GroupId": number, "GroupType": kind, "Buckets": [_bucket(one) for one in buckets]}
    return Group(number, keys | ({"Meta": ",".join(f"{name}={value}" for name, value in told.items())} if told else {}))


def _bucket(text: str) -> dict[str, Any]:
    head, _, actions = text.partition(_ACTIONS)
    keys: dict[str, Any] = {}
    for word in _split(head, ","):
        name, _, value = word.partition(":")
        keys[_OF_BUCKET.get(name, name)] = int(value) if value.isdecimal() else value
    return {**keys, "Actions": list(_split(actions, ","))}


def rule_fact(host_tid: str, bridge: str, rule: Rule, grown: Mapping[str, int]) -> NodeFact:
    """A rule's node; ``bridge``: its row's UUID; ``grown``: what it had since the last look, with the times of both."""
    tid = ovs_rule_tid(host_tid, bridge, rule.table, rule.priority, rule.match)
    volatile = {"Metric": dict(rule.counted), **({"LastUpdateMetric": dict(grown)} if grown else {})}
    return NodeFact(tid, {"Type": "ofrule", "Name": rule.name, **rule.metadata}, volatile)


def group_fact(host_tid: str, bridge: str, group: Group) -> NodeFact:
    """A group's node."""
    tid = ovs_group_tid(host_tid, bridge, group.id)
    return NodeFact(tid, {"Type": "ofgroup", "Name": f"group_id={group.id}", **group.metadata})


def owned(host_tid: str, bridge: str, nodes: Iterator[NodeFact]) -> Iterator[Fact]:
    """Nodes, and that they are a bridge's."""
    parent = ovs_tid(host_tid, bridge)
    for node in nodes:
        yield node
        yield EdgeFact(parent, node.tid, "ownership")
