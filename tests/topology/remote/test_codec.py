"""Reports as bytes, and back; other bytes are no report."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skytrail.wire import wire_pb2 as wire
from topology.facts import EdgeFact, NodeFact, Report, Source
from topology.remote.codec import MalformedReportError, decode_report, encode_report

TEXT = st.text(max_size=8)
NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), TEXT
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)
METADATA = st.dictionaries(TEXT, JSON, max_size=4)
REPORTS = st.builds(
    Report,
    st.builds(Source, TEXT.filter(bool), TEXT, st.sampled_from(("agent", "hub")), TEXT),
    st.integers(0, 2**62),
    st.tuples(
        st.lists(st.builds(NodeFact, TEXT, METADATA, METADATA, st.booleans()), max_size=4),
        st.lists(st.builds(EdgeFact, TEXT, TEXT, TEXT, METADATA, TEXT), max_size=4),
    ).map(lambda both: (*both[0], *both[1])),
    st.lists(TEXT, max_size=3).map(tuple),
    st.booleans(),
    st.dictionaries(TEXT, METADATA, max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(report=REPORTS)
def test_a_report_comes_back_as_it_was(report: Report) -> None:
    assert decode_report(encode_report(report)) == report


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_other_bytes_are_a_report_or_refused(data: bytes) -> None:
    try:
        found = decode_report(data)
    except MalformedReportError:
        return
    assert decode_report(encode_report(found)) == found


def test_the_message_is_what_the_protocol_says() -> None:
    """Read by protobuf's own parser and json, not by ours."""
    node = NodeFact("host/a", {"Name": "a", "Type": "host"}, {"Metric": {"RxBytes": 7}}, enriches=True)
    edge = EdgeFact("host/a", "host/a/eth0", "ownership", {"n": [1]}, "k")
    made = wire.Report.FromString(
        encode_report(
            Report(Source("netlink", "a", tid="host/a"), 5, (edge, node), ("x",), whole=True, volatile={"y": {"v": 1}}, late=3)
        )
    )
    assert (made.source.probe, made.source.host, made.source.service, made.source.tid) == ("netlink", "a", "agent", "host/a")
    assert (made.observed, list(made.gone), made.whole, made.late) == (5, ["x"], True, 3)
    assert json.loads(made.nodes[0].metadata) == {"Name": "a", "Type": "host"}
    assert json.loads(made.nodes[0].volatile) == {"Metric": {"RxBytes": 7}}
    assert (made.edges[0].relation, json.loads(made.edges[0].metadata), made.edges[0].key) == ("ownership", {"n": [1]}, "k")
    assert json.loads(made.volatile["y"]) == {"v": 1}


def test_a_fact_that_json_cannot_say_is_left_out() -> None:
    said = [NodeFact("a", {"Name": "a"}), NodeFact("b", {"Name": object()}), EdgeFact("a", "b", "layer2", {"n": object()})]
    assert decode_report(encode_report(Report(Source("netlink", "h"), 1, tuple(said)))).facts == (said[0],)


@pytest.mark.parametrize("data", [b"", wire.Report(observed=1).SerializeToString()])
def test_a_report_has_a_source(data: bytes) -> None:
    with pytest.raises(MalformedReportError, match="no source"):
        decode_report(data)
