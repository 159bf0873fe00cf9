"""What agents really tell has the shape that is checked, whatever it is of, and each of its keys is known there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from support.flowrows import points, random_rows

from exporters.bpf import drops
from exporters.bpf.sockets import RECORD
from exporters.drops.conversations import ROW
from exporters.drops.places import Places
from exporters.drops.reasons import Reasons
from exporters.drops.told import KINDS, told
from exporters.flows.applications import Applications
from exporters.flows.collector import add_fate
from exporters.flows.records import Renderer
from exporters.sockets.known import Known
from exporters.sockets.processes import NOBODY, Process
from exporters.sockets.shown import socket_json
from skytrail.asking import shapes
from skytrail.asking.questions import (
    DropsQuestion,
    FlowsQuestion,
    InterfacesQuestion,
    Part,
    Question,
    SocketsQuestion,
    encode_part,
)
from skytrail.asking.shapes import AnswerError, check_of

BELOW = ("tid-", "host/a/")
PROCESS = Process(7, "näme", "/bin/x", "/pod/a")
WAYS = {"AB": 1, "BA": 2}
FATES: list[dict[str, Any]] = [
    {},
    {
        "Drops": {"NO_SOCKET": WAYS}, "DropsAt": [{"Namespace": "", "Interface": "eth0", "Reason": "NO_SOCKET", **WAYS}],
        "Retransmits": WAYS, "SYNTimeouts": WAYS, "SYNACKTimeouts": WAYS, "ResetsSent": WAYS, "ResetsReceived": WAYS,
    },
    {"NATTrackingID": "a" * 32, "NAT": {"To": {"TrackingID": "a" * 32, "Kind": "snat", "Namespace": "", "A": "1", "B": "2"}}},
]  # fmt: skip
_UNREAD = {"MPLSLabel", "Fragment", "IPMetric", "DropsAt"}  # of no meaning to a hub


def described(cgroup: str) -> Mapping[str, Mapping[str, str]]:
    whose = {"Container": {"ID": "c", "Name": "c1"}, "Pod": {"UID": "u", "Name": "p"}, "Unit": {"Name": "x.service"}}
    return whose if cgroup else {}


def flows() -> list[dict[str, Any]]:
    rows = random_rows(2_000)
    rows["flow"]["socket"] = np.random.default_rng(2).choice([0, 1, 2], (len(rows), 2))
    sockets = {1: Known(PROCESS, 120_000, "reset", 3), 2: Known(NOBODY, None, "refused", None)}
    quoted = {int(number): "b" * 32 for number in rows["id"][::7]}
    found = Renderer(points(), Applications(), 4, described).render(rows, quoted=quoted, sockets=sockets)
    for number, flow in enumerate(found):
        fate = FATES[number % len(FATES)]
        if "TCPMetric" in flow or "Retransmits" not in fate:
            add_fate(flow, fate)
    return found


def checked(question: Question, *found: dict[str, Any]) -> None:
    check_of(question)(encode_part(Part(list(found), since=5)), BELOW)


def test_flows_of_every_kind() -> None:
    found = flows()
    checked(FlowsQuestion(), *found)
    assert {key for flow in found for key in flow} - shapes._Flow.__annotations__.keys() == _UNREAD
    tcp = {key for flow in found for key in flow.get("TCPMetric", {})}
    assert tcp <= set(shapes._Tcp.__struct_fields__)
    for name, shape in (("Link", shapes._Link), ("Network", shapes._Network), ("ICMP", shapes._Icmp)):
        assert {key for flow in found for key in flow.get(name, {})} == set(shape.__struct_fields__)


def test_flows_of_which_only_some_keys_were_asked_for() -> None:
    found = flows()
    for fields in (("UUID", "ParentUUID", "TrackingID", "Last"), ("NodeTID", "UUID"), ("Metric",), ()):
        checked(FlowsQuestion(fields=fields), *({key: flow[key] for key in fields if key in flow} for flow in found))
    with pytest.raises(AnswerError, match="missing required field `NodeTID`"):
        checked(FlowsQuestion(fields=("NodeTID", "UUID")), {"UUID": "a"})
    with pytest.raises(AnswerError, match="which is on another host"):
        checked(FlowsQuestion(fields=("UUID",)), {"UUID": "a", "NodeTID": "host/b/x"})


def test_sockets() -> None:
    rows = np.zeros(40, RECORD)
    rows["ends"]["family"], rows["ends"]["proto"] = np.arange(40) % 2 * 2 + 4, np.arange(40) % 3 * 11 + 6
    rows["ends"]["state"], rows["tcp"]["mss"] = np.arange(40) % 14, 1500
    rows["cookie"], rows["drops"], rows["device"], rows["owner"]["uid"] = 1 << 40, 3, 2, 0xFFFF_FFFF
    found = list(socket_json(rows, ([NOBODY, PROCESS], np.arange(40) % 2), {0: "blue"}, described))
    checked(SocketsQuestion(), *found)
    assert any("Pod" in one for one in found)


def test_drops() -> None:
    rows = np.zeros(4 * len(KINDS), ROW)
    rows["key"]["kind"] = np.resize(list(KINDS), len(rows))
    rows["key"]["reason"] = np.resize([0, 3, 1 << 20], len(rows))
    rows["key"]["ends"]["family"], rows["key"]["ends"]["proto"] = 4, np.resize([6, 17, 1, 0], len(rows))
    rows["key"]["netns"], rows["packets"] = np.resize([7, 9], len(rows)), 1 << 40
    found = list(told(rows, Reasons({3: "NO_SOCKET"}, {}, {}), Places({7: "web"}, {}), 0))
    assert {one["What"] for one in found} == set(KINDS.values())
    checked(DropsQuestion(), *found)
    assert drops.PACKET in KINDS
    with pytest.raises(AnswerError, match="a drop has no reason"):
        checked(DropsQuestion(), {**found[0], "What": "Drop", "Reason": ""})


def test_interfaces() -> None:
    checked(InterfacesQuestion(), {"TID": "host/a/x", "Metrics": [{"RxBytes": 1 << 62, "Start": 1, "Last": 2}, {}]})


def test_a_later_release_may_tell_more_and_that_is_bounded_too() -> None:
    flow = flows()[0]
    checked(FlowsQuestion(), {**flow, "New": {"a": [1, 2.5, None, {"b": True}]}})
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    for more in (deep, 1 << 63, [{"a": -(1 << 70)}]):
        with pytest.raises(AnswerError):
            checked(FlowsQuestion(), {**flow, "New": more})


def test_a_part_is_no_larger_than_agents_make_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skytrail.asking.shapes.LARGEST_ITEM", 1 << 20)
    checked(FlowsQuestion(fields=()), {"a": "x" * 1_000_000})
    with pytest.raises(AnswerError, match="1 MiB are allowed"):
        checked(FlowsQuestion(fields=()), {"a": "x" * 2_000_000})


@pytest.mark.parametrize("key", ["UUID", "More"])
def test_a_key_that_is_there_twice_is_for_all_what_it_was_last(key: str) -> None:
    """One reads it here, and another later: both must read the same."""
    body = b'{"found":[{"\\u0055UID":"a","%s":3,"%s":"b"}]}' % (key.encode(), key.encode())
    check_of(FlowsQuestion(fields=("UUID",)))(body, BELOW)
    assert msgspec.json.decode(body)["found"][0][key] == "b"
