"""The words of a question about flows: what is taken, and how wrong ones are refused."""

from __future__ import annotations

import pytest

from exporters.flows.query import LONGEST_WAIT, MOST, Query, Wait, read_query, read_wait
from skytrail.errors import FilterError, UsageError


def test_nothing_asked_is_all_by_bytes() -> None:
    assert read_query(None, None, None) == Query(None, "bytes", 0)
    assert read_query("", None, "0") == Query()


def test_words_are_taken() -> None:
    query = read_query("udp port 53", "rtt", str(MOST))
    assert (query.sort, query.limit) == ("rtt", MOST)
    assert query.filter is not None
    udp = {"Transport": {"Protocol": "UDP", "A": 53, "B": 9}}
    assert query.filter.matches(udp)
    assert not query.filter.matches({"Transport": {"Protocol": "UDP", "A": 54, "B": 9}})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((None, "size", None), "sort: 'size' is not known: use one of bytes, packets, last, start, rtt"),
        ((None, None, "-1"), f"limit: '-1' is not a number from 0 (all) to {MOST}"),
        ((None, None, "ten"), f"limit: 'ten' is not a number from 0 (all) to {MOST}"),
        ((None, None, "1" * 5000), f"limit: '{'1' * 5000}' is not a number from 0 (all) to {MOST}"),
        ((None, None, "²"), f"limit: '²' is not a number from 0 (all) to {MOST}"),
        ((None, None, str(MOST + 1)), f"limit: '{MOST + 1}' is not a number from 0 (all) to {MOST}"),
    ],
)
def test_wrong_words_are_refused_with_the_right_ones(words: tuple[str | None, ...], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_query(*words)
    assert str(refused.value) == message


def test_filter_that_does_not_parse_is_refused() -> None:
    with pytest.raises(FilterError):
        read_query("port port", None, None)


def test_wait_is_taken() -> None:
    assert read_wait(None, None) is None
    with pytest.raises(UsageError, match="begun: goes with wait"):
        read_wait("7", None)
    assert read_wait("7", str(LONGEST_WAIT)) == Wait(7, LONGEST_WAIT)


@pytest.mark.parametrize(
    ("begun", "seconds", "what"),
    [
        ("7", str(LONGEST_WAIT + 1), "wait"),
        ("7", "-1", "wait"),
        ("7", "1.5", "wait"),
        (None, "1", "begun"),
        ("x", "1", "begun"),
    ],
)
def test_wrong_wait_is_refused(begun: str | None, seconds: str, what: str) -> None:
    with pytest.raises(UsageError, match=f"^{what}: "):
        read_wait(begun, seconds)
