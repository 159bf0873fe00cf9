"""What is pushed to the agents changes no answer: random queries, and Skydive's own, with it and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import TIDS, Tables, ask, last_time, recorded, tables, told

from skytrail.asking.questions import FlowsQuestion
from skytrail.asking.terms import Compare, Either, Every, value_at
from skytrail.errors import SkytrailError

FLOWS = recorded("flows")
END = last_time()
KEYS = ["Network.A", "Network.B", "Network", "Transport", "Transport.B", "Application", "LayersPath", "NodeTID", "TrackingID",
        "Metric.ABPackets", "Metric.BABytes", "Metric.RTT", "Start", "Last", "ICMP.ID", "Link", "Link.ID", "FinishType",
        "LastUpdateMetric.ABPackets", "Process.A.Name", "Nowhere"]  # fmt: skip
_QUERIES = Path(__file__).parents[1] / "language/skydive_queries.txt"


def _written(value: Any) -> str:
    return repr(value).upper() if isinstance(value, bool) else repr(value)


@st.composite
def conditions(draw: st.DrawFn) -> str:
    key = draw(st.sampled_from(KEYS))
    ends = [key] if key not in ("Network", "Transport", "Link") else [f"{key}.A", f"{key}.B"]
    there = sorted({found for one in FLOWS for end in ends if (found := value_at(one, end)) is not None}, key=str)
    value = st.sampled_from(there) if there else st.just("x")
    one = _written(draw(value))
    kind = draw(st.sampled_from(["", "NE", "NEE", "Within", "Without", "GT", "LTE", "Between", "Outside", "Regex"]))
    if kind in ("Between", "Outside"):
        one = f"{one}, {_written(draw(value))}"
    elif kind == "Regex":
        one = "'.*[0-4]'"
    return f"'{key}', {f'{kind}({one})' if kind else one}"


ORDERS = st.sampled_from([f"{order}'{key}'" for key in KEYS[:-1] for order in ("", "DESC, ")] + ["", "DESC"])
STEPS = st.one_of(
    conditions().map(lambda said: f"Has({said})"),
    st.tuples(conditions(), conditions()).map(lambda both: f"HasEither({both[0]}, {both[1]})"),
    st.sampled_from(KEYS).map(lambda key: f"HasKey('{key}')"),
    st.sampled_from(KEYS).map(lambda key: f"HasNot('{key}')"),
    st.just("Dedup()"),
    st.sampled_from(KEYS).map(lambda key: f"Dedup('{key}')"),
    ORDERS.map(lambda said: f"Sort({said})"),
    st.integers(0, 12).map(lambda many: f"Limit({many})"),
    st.tuples(st.integers(0, 9), st.integers(0, 12)).map(lambda both: f"Range({both[0]}, {both[0] + both[1]})"),
)
ENDS = st.sampled_from(
    ["", "", ".Count()", ".Values('Last')", ".ValueMap('Network.A', 'Application')", ".Keys()", ".Metrics()", ".Sockets()",
     ".Metrics().Sum()", ".Sum('Metric.ABPackets')", ".Group()", ".Group('Application').MoreThan(2)", ".Hops()", ".Nodes()",
     ".In()", ".RawPackets()", ".Values('Transport.B').Dedup()"]
)  # fmt: skip
BEGINNINGS = st.sampled_from(
    ["G.Flows()", "G.V().Has('Name', 'eth').Flows()", "G.V().Has('Type', 'netns').Flows()",
     "G.Flows('Application', 'ICMPv4')", f"G.At({END - 5000}).Flows()", f"G.Context({END}, 60).Flows()",
     f"G.Context({END - 4000}, 2).V().Flows()"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(BEGINNINGS, st.lists(STEPS, max_size=5), ENDS)
def test_pushing_changes_no_answer(beginning: str, steps: list[str], end: str) -> None:
    query = ".".join([beginning, *steps]) + end
    pushing, plain = tables(), tables()
    assert told(query, pushing) == told(query, plain, pushes=False)
    assert pushing.told <= plain.told


@pytest.mark.parametrize("text", [one for one in _QUERIES.read_text().splitlines() if "Flows" in one or "Sockets" in one])
def test_skydives_queries_are_answered_alike(text: str) -> None:
    assert _or_error(text, pushes=True) == _or_error(text, pushes=False)


def _or_error(text: str, *, pushes: bool) -> Any:
    try:
        return told(text, pushes=pushes)
    except SkytrailError as error:
        return str(error)


def _asked(query: str) -> FlowsQuestion:
    asker = tables()
    told(query, asker)
    [(question, _)] = asker.asked
    assert isinstance(question, FlowsQuestion)
    return question


def test_conditions_an_order_and_a_limit_are_pushed() -> None:
    question = _asked("G.Flows().Has('Network', '10.0.0.1').Sort(DESC, 'Metric.ABBytes').Has('Transport.B', 5001).Limit(2)")
    either = Either((Compare("Network.A", "within", ("10.0.0.1",)), Compare("Network.B", "within", ("10.0.0.1",))))
    assert question.term == Every((Every((either,)), Every((Compare("Transport.B", "within", (5001,)),))))
    assert (question.sort, question.descending, question.limit) == ("Metric.ABBytes", True, 2)
    assert question.fields is None


@pytest.mark.parametrize(
    ("steps", "limit"),
    [("Limit(5)", 5), ("Range(2, 9)", 9), ("Dedup().Limit(5)", 0), ("Limit(5).Has('Last', GT(0))", 5), ("Limit(0)", 0),
     ("Sort('Last').Sort('Start').Limit(5)", 0), ("Sort().Limit(5).Limit(3)", 5)],
)  # fmt: skip
def test_a_limit_is_pushed_where_nothing_later_would_want_more(steps: str, limit: int) -> None:
    assert _asked(f"G.Flows().{steps}").limit == limit


@pytest.mark.parametrize(
    ("steps", "fields"),
    [("Count()", set()), ("Has('Network.A', 'x').Count()", set()), ("Values('Metric.ABBytes')", {"Metric"}),
     ("Dedup().Count()", {"TrackingID"}), ("Dedup()", None), ("Metrics()", {"Metric", "LastUpdateMetric"}),
     ("Sort().Limit(2).Hops()", {"Last"}), ("Dedup().Has('Network', 'x').Values('Last')", {"TrackingID", "Network", "Last"}),
     ("Group()", None), ("Keys()", None), ("Sockets()", {"Network", "Transport"})],
)  # fmt: skip
def test_what_is_not_looked_at_is_not_asked_for(steps: str, fields: set[str] | None) -> None:
    asker = tables()
    told(f"G.Flows().{steps}", asker)
    question = asker.asked[0][0]
    assert isinstance(question, FlowsQuestion)
    assert (None if question.fields is None else set(question.fields)) == (
        None if fields is None else fields | {"UUID", "NodeTID"}
    )


def test_only_the_hosts_of_nodes_are_asked() -> None:
    asker = tables()
    told("G.V().Has('Name', 'p1').Flows()", asker)
    [(question, hosts)] = asker.asked
    assert isinstance(question, FlowsQuestion)
    assert hosts == ["host/h3"]
    assert question.nodes is not None
    assert [one.endswith("switch/link/veth/p1") for one in question.nodes] == [True]


def test_agents_may_answer_in_any_order_of_hosts() -> None:
    hosts = [one.host for one in ask("G.Flows()").values]
    assert hosts == sorted(hosts)


def test_a_flow_that_two_hosts_tell_is_two() -> None:
    [one, *_] = FLOWS
    asker = Tables({tid: [one] for tid in TIDS}, {})
    assert told("G.Flows().Count()", asker) == len(TIDS)
    assert told("G.Flows().Sort().Limit(2).Count()", asker) == 2
